"""Weights of ours in the names and order of another layout and back, for benches and tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_wan.convert.families import FORMATS, from_ours, to_ours

Arrays = dict[str, np.ndarray]


def to_layout(
    network: str,
    layout: str,
    weights: Mapping[str, np.ndarray],
    settings: Mapping[str, Any] | None = None,
) -> Arrays:
    """Our tensors as they are in another layout; `settings` as in the config.json beside it."""
    form, shares = FORMATS[network], from_ours(network, layout, weights)
    rows: dict[str, dict[int, np.ndarray]] = {}
    for name, array in weights.items():
        shape = form.foreign_shape(name, array.shape, layout, settings or {})
        order = form.reorder(name, shape, layout, settings or {})
        share = shares[name]
        rows.setdefault(share.name, {})[share.index] = order.undo(array).reshape(shape)
    return {
        name: np.concatenate([parts[index] for index in sorted(parts)])
        if len(parts) > 1
        else parts[0]
        for name, parts in rows.items()
    }


def from_layout(network: str, layout: str, foreign: Mapping[str, np.ndarray]) -> Arrays:
    """Another layout's tensors as ours; what the network does not have is left out."""
    form, arrays = FORMATS[network], {}
    for theirs, names in to_ours(network, layout, foreign).items():
        for name, part in zip(names, np.split(foreign[theirs], len(names)), strict=True):
            arrays[name] = form.reorder(name, part.shape, layout, {}).apply(part)
    return arrays

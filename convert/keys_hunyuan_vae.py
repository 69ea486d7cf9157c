"""Tensor names of HunyuanVideo 1.5's VAE and ours.

A row names the same tensor in three columns: ours, the original release, diffusers; `N` and `M`
stand for numbers, a final `*` for weight, bias or gamma. ComfyUI's file has the original names.
Reference: Tencent-Hunyuan/HunyuanVideo-1.5, hyvideo/models/autoencoders/hunyuanvideo_15_vae.py, and
diffusers' converter of it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from . import axes
from .axes import Reorder, Shape
from .keys import _rule
from .keys_mochi import LAYOUTS, Row, Share

NETWORKS = ("hunyuan_vae",)

_RESIDUAL: list[Row] = [
    ("norm1.gamma", "norm1.gamma", "norm1.gamma"),
    ("conv1.*", "conv1.conv.*", "conv1.conv.*"),
    ("norm2.gamma", "norm2.gamma", "norm2.gamma"),
    ("conv2.*", "conv2.conv.*", "conv2.conv.*"),
]
_ATTENTION: list[Row] = [
    ("norm.gamma", "norm.gamma", "norm.gamma"),
    ("q.*", "q.*", "to_q.*"),
    ("k.*", "k.*", "to_k.*"),
    ("v.*", "v.*", "to_v.*"),
    ("proj_out.*", "proj_out.*", "proj_out.*"),
]
# inside the encoder as inside the decoder
_ENDS: list[Row] = [
    ("conv_in.*", "conv_in.conv.*", "conv_in.conv.*"),
    ("head.norm.gamma", "norm_out.gamma", "norm_out.gamma"),
    ("head.conv.*", "conv_out.conv.*", "conv_out.conv.*"),
]

# tensors left out on purpose, with the reason
DROPPED: dict[str, dict[str, str]] = {"hunyuan_vae": {}}


@lru_cache
def table(network: str) -> list[Row]:
    """All rows of a network."""
    rows: list[Row] = []
    for half, side in (("encoder", "down"), ("decoder", "up")):
        stage, theirs = f"{half}.{side}.N", f"{half}.{side}_blocks.N"
        rows += _inside(half, half, half, _ENDS)
        rows += _inside(f"{stage}.blocks.M", f"{stage}.block.M", f"{theirs}.resnets.M", _RESIDUAL)
        rows.append(
            (
                f"{stage}.resample.conv.*",
                f"{stage}.{side}sample.conv.conv.*",
                f"{theirs}.{side}samplers.0.conv.conv.*",
            )
        )
        ours, original, theirs = f"{half}.middle", f"{half}.mid", f"{half}.mid_block"
        rows += _inside(f"{ours}.0", f"{original}.block_1", f"{theirs}.resnets.0", _RESIDUAL)
        rows += _inside(f"{ours}.1", f"{original}.attn_1", f"{theirs}.attentions.0", _ATTENTION)
        rows += _inside(f"{ours}.2", f"{original}.block_2", f"{theirs}.resnets.1", _RESIDUAL)
    return rows


def _inside(ours: str, original: str, theirs: str, rows: list[Row]) -> list[Row]:
    """Rows of a block put at its places."""
    return [(f"{ours}.{a}", f"{original}.{b}", f"{theirs}.{c}") for a, b, c in rows]


def from_ours(network: str, layout: str, names: Iterable[str]) -> dict[str, Share]:
    """Our name -> where that tensor is in this layout."""
    return {
        name: Share(theirs)
        for name in names
        if (theirs := _translated(network, "ours", layout, name))
    }


def to_ours(network: str, layout: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Foreign name -> our name, in a list of one, for those the network has."""
    return {name: [ours] for name in names if (ours := _translated(network, layout, "ours", name))}


def foreign_shapes(network: str, layout: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Every tensor of a layout with its shape, from ours."""
    return {
        share.name: foreign_shape(network, name, shapes[name])
        for name, share in from_ours(network, layout, shapes).items()
    }


def foreign_shape(network: str, name: str, shape: Shape) -> Shape:
    """The shape both releases give to our tensor `name` of this shape."""
    if name.endswith(".gamma"):
        return (*shape, 1, 1, 1)
    return (shape[0], shape[-1], *shape[1:-1]) if len(shape) == 5 else shape


def reorder(network: str, name: str, shape: Shape) -> Reorder:
    """How a foreign tensor of this shape, named `name` by us, becomes ours."""
    return axes.reorder(network, name, shape, "original", ())


def _translated(network: str, source: str, target: str, name: str) -> str | None:
    for pattern, names in _rules(network, source, target):
        if match := pattern.fullmatch(name):
            return match.expand(names)
    return None


@lru_cache
def _rules(network: str, source: str, target: str) -> list[tuple[re.Pattern[str], str]]:
    """(pattern, what it expands to) of every row."""
    columns = LAYOUTS.index(source), LAYOUTS.index(target)
    return [_rule(*(row[column] for column in columns)) for row in table(network)]

"""ComfyUI's float8 checkpoints: which scale belongs to which weight.

`X.weight` in float8 times a single number, `X.scale_weight` or (newer) `X.weight_scale`, is the
weight. Other tensors beside it are about computing in float8, which we do not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlx_wan.errors import BadFileError
from mlx_wan.tensorfile import read_tensor

from .discover import Place

_SCALES = (".scale_weight", ".weight_scale")
_ACTIVATIONS = (".scale_input", ".input_scale")
_KNOWN_FORMATS = ("float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True)
class Scaled:
    """Tensors with the helpers of float8 taken out: scales by the name of their weight."""

    weights: dict[str, Place]
    scales: dict[str, float]
    dropped: dict[str, str]  # name -> reason


def take_scales(tensors: Mapping[str, Place]) -> Scaled:
    """Split off scales and markers. Raises BadFileError for ways of scaling we do not know."""
    weights, scales, dropped = {}, {}, {}
    for name, place in tensors.items():
        stem, _, last = name.rpartition(".")
        if name.endswith(_SCALES):
            scales[f"{stem}.weight"] = _scale(place)
            dropped[name] = "multiplied into its weight"
        elif name.endswith(_ACTIVATIONS):
            dropped[name] = "scale for computing in float8"
        elif name == "scaled_fp8":
            dropped[name] = "marker of scaled float8 files"
        elif last == "comfy_quant":
            _check_format(place)
            dropped[name] = "description of the float8 format"
        else:
            weights[name] = place
    for name in scales:
        if name not in weights or not weights[name].info.dtype.startswith("F8"):
            file = next(iter(tensors.values())).file
            raise BadFileError(f"{file} has a scale for {name}, which is no float8 weight in it")
    return Scaled(weights, scales, dropped)


def _scale(place: Place) -> float:
    if place.info.dtype != "F32" or place.info.nbytes != 4:
        raise BadFileError(
            f"{place.file} scales {place.key} by {place.info.dtype} {list(place.info.shape)}; "
            "only one float32 for all of a weight is read",
            "use the fp16 or fp8_scaled file of the same model",
        )
    value = float(read_tensor(place.file, place.info).reshape(()))
    if not np.isfinite(value) or value <= 0:
        raise BadFileError(f"{place.file} has the scale {value} in {place.key}")
    return value


def _check_format(place: Place) -> None:
    raw = read_tensor(place.file, place.info).tobytes() if place.info.nbytes <= 10_000 else b""
    try:
        kind = str(json.loads(raw)["format"])[:40]
    except (ValueError, KeyError, TypeError, RecursionError):
        kind = "unknown"
    if kind not in _KNOWN_FORMATS:
        raise BadFileError(
            f"{place.file} stores weights as {kind!r} ({place.key})",
            f"known are {', '.join(_KNOWN_FORMATS)}; use the fp16 or fp8_scaled file of the model",
        )

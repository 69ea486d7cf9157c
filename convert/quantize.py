"""Which weights are quantised and how a piece of a tensor becomes what is stored.

Weights are quantised as the source has them, as `mx.quantize` does it; only scales are rounded.
"""

import re
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_wan.cpu import is_cpu
from mlx_wan.errors import BadFileError, UsageError

from .families import FORMATS
from .jobs import Quantization, TensorJob
from .read import Piece

BITS = (8, 6, 4)
GROUP_SIZES = (32, 64, 128)

_FLOATS = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}


def is_quantized(network: str, name: str) -> bool:
    """Whether the tensor of ours is one of those that `--quantize` is about.

    That is attention and feed-forward; embedders, modulation, norms and head are not.
    """
    pattern = FORMATS[network].quantized if network in FORMATS else None
    return bool(pattern and re.fullmatch(pattern, name))


def check_group_size(what: str, columns: int, quantization: Quantization) -> None:
    """Raise UsageError unless rows of this length divide into groups."""
    if columns % quantization.group_size:
        fitting = [str(size) for size in GROUP_SIZES if columns % size == 0]
        raise UsageError(
            f"{what} has rows of {columns}; groups of {quantization.group_size} do not divide that",
            f"use --group-size {' or '.join(fitting)}"
            if fitting
            else "none of 32, 64 and 128 does; convert without --quantize",
        )


def convert_piece(piece: Piece) -> list[np.ndarray]:
    """The arrays to be stored for this piece: one, or codes, scales and biases.

    Arrays come in the order of `TensorJob.outputs`, as flat bytes.
    """
    job, data = piece.job, piece.data
    if job.whole:
        data = _in_our_order(job, data)
    if job.info.dtype == job.dtype and job.quantization is None:
        return [data.reshape(-1).view(np.uint8)]
    values = _floats(job, data)
    if job.quantization is None:
        return [_rounded(job, values)]
    values = values.reshape(-1, job.reorder.shape[1])  # as precise as the source has them
    bits, group_size = job.quantization.bits, job.quantization.group_size
    if bits == 8 and is_cpu():
        codes, *more = quantize_8bit(values, group_size)
    else:
        packed, *more = mx.quantize(values, group_size=group_size, bits=bits)
        codes = _bytes(packed)
    return [codes, *(_rounded(job, part) for part in more)]


def quantize_8bit(values: mx.array, group_size: int) -> tuple[np.ndarray, mx.array, mx.array]:
    """As `mx.quantize` with 8 bits, to the last bit, in half its time on the CPU backend.

    The codes come as flat bytes. The extremes of a group are found among the integers that the
    bits of its numbers are, which takes MLX a sixth of the time that floats take.
    """
    groups = values.reshape(-1, group_size)
    low, high = (part.astype(mx.float32) for part in _extremes(groups))
    below = mx.abs(low) > mx.abs(high)
    scale = mx.maximum((high - low) / 255.0, 1e-7)
    scale = mx.where(below, scale, -scale)
    edge = mx.where(below, low, high)  # the value furthest from 0 is kept exactly
    steps = mx.round(edge / scale)
    scale = mx.where(steps == 0, scale, edge / mx.where(steps == 0, 1.0, steps))
    bias = mx.where(steps == 0, 0.0, edge)
    codes = mx.minimum((groups.astype(mx.float32) - bias) / scale, 255.0)
    scales, biases = (part.astype(values.dtype) for part in (scale, bias))
    mx.eval(codes, scales, biases)
    packed = np.empty(values.size, np.uint8)
    np.rint(np.asarray(codes).reshape(-1), out=packed, casting="unsafe")
    return packed, scales, biases


def _extremes(groups: mx.array) -> tuple[mx.array, mx.array]:
    """The least and the greatest number of each row (n, 1), without comparing floats.

    The bits of floats, taken as integers, keep the order of positive numbers and reverse that of
    negative ones. So if a row has any negative number (below 0 as a signed integer, above all
    positive ones as an unsigned), the greatest unsigned integer is the least number.
    """
    kinds = (mx.int32, mx.uint32) if groups.itemsize == 4 else (mx.int16, mx.uint16)
    signed, unsigned = (groups.view(kind) for kind in kinds)
    least, greatest = (f(signed, axis=-1, keepdims=True) for f in (mx.min, mx.max))
    most_negative = mx.max(unsigned, axis=-1, keepdims=True).view(kinds[0])
    low = mx.where(least < 0, most_negative, least)
    high = mx.where(greatest < 0, least, greatest)
    return low.view(groups.dtype), high.view(groups.dtype)


def _in_our_order(job: TensorJob, data: np.ndarray) -> np.ndarray:
    if job.info.strides is not None:
        steps = tuple(step * data.itemsize for step in job.info.strides)
        data = np.lib.stride_tricks.as_strided(data, job.info.shape, steps, writeable=False)
    return job.reorder.apply(data).reshape(-1)


def _floats(job: TensorJob, data: np.ndarray) -> mx.array:
    kind = job.info.dtype
    if kind == "BF16":
        return mx.array(data).view(mx.bfloat16)
    if kind == "F8_E4M3":
        return mx.from_fp8(mx.array(data), mx.float32) * job.scale
    if kind == "F8_E5M2":  # the upper half of a float16
        return (mx.array(data.astype(np.uint16) << 8).view(mx.float16)).astype(
            mx.float32
        ) * job.scale
    return mx.array(data)


def _rounded(job: TensorJob, values: mx.array) -> np.ndarray:
    """The bytes in the dtype of the job. Raises BadFileError for what float16 cannot hold."""
    stored = values.astype(_FLOATS[job.dtype])
    if job.dtype == "F16" and values.dtype != mx.float16 and mx.any(mx.isinf(stored)).item():
        raise BadFileError(
            f"{job.name} in {job.file} has values beyond float16", "use --dtype bf16 or fp32"
        )
    return _bytes(stored)


def _bytes(array: mx.array) -> Any:
    mx.eval(array)
    return np.asarray(array.reshape(-1).view(mx.uint8))

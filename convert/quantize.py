"""Which weights are quantised and how a piece of a tensor becomes what is stored.

MLX does the arithmetic, so that a weight quantised here equals `nn.quantize` of the 16-bit model.
"""

import re
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_wan.cpu import is_cpu
from mlx_wan.errors import BadFileError, UsageError

from .jobs import Quantization, TensorJob
from .read import Piece

BITS = (8, 6, 4)
GROUP_SIZES = (32, 64, 128)

# attention and feed-forward; embedders, time projection, modulation, norms and head are not
_QUANTIZED = {
    "wan_transformer": re.compile(r"blocks\.\d+\.((self|cross)_attn\.[qkvo]|ffn\.fc[12])\.weight"),
    "umt5": re.compile(r"blocks\.\d+\.(attn\.[qkvo]|ffn\.(gate|fc1|fc2))\.weight"),
}
_FLOATS = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}


def is_quantized(network: str, name: str) -> bool:
    """Whether the tensor of ours is one of those that `--quantize` is about."""
    pattern = _QUANTIZED.get(network)
    return bool(pattern and pattern.fullmatch(name))


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
    values = _floats(job, data).astype(_FLOATS[job.dtype])
    if job.dtype == "F16":
        _check_range(job, values)
    if job.quantization is None:
        return [_bytes(values)]
    values = values.reshape(-1, job.reorder.shape[1])
    bits, group_size = job.quantization.bits, job.quantization.group_size
    if bits == 8 and is_cpu():
        return [_bytes(part) for part in quantize_8bit(values, group_size)]
    return [_bytes(part) for part in mx.quantize(values, group_size=group_size, bits=bits)]


def quantize_8bit(values: mx.array, group_size: int) -> tuple[Any, mx.array, mx.array]:
    """As `mx.quantize` with 8 bits, to the last bit, in half its time on the CPU backend.

    Numbers of any float type are ordered like the integers of their bits, if those of negative
    ones are turned round; and the extremes of integers take MLX a sixth of the time.
    """
    groups = values.reshape(-1, group_size)
    integers = mx.int32 if values.itemsize == 4 else mx.int16
    order = _turned(groups.view(integers))
    low, high = (
        _turned(extreme(order, axis=-1, keepdims=True)).view(values.dtype).astype(mx.float32)
        for extreme in (mx.min, mx.max)
    )
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
    packed = np.empty(codes.shape, np.uint8)
    np.rint(np.asarray(codes), out=packed, casting="unsafe")
    return packed, scales, biases


def _turned(integers: mx.array) -> mx.array:
    """All bits but the sign flipped where it is set; doing it twice undoes it."""
    sign = 8 * integers.itemsize - 1
    return integers ^ ((integers >> sign) & (2**sign - 1))


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


def _check_range(job: TensorJob, values: mx.array) -> None:
    if job.info.dtype != "F16" and mx.any(mx.isinf(values)).item():
        raise BadFileError(
            f"{job.name} in {job.file} has values beyond float16", "use --dtype bf16 or fp32"
        )


def _bytes(array: Any) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return array.reshape(-1)
    mx.eval(array)
    return np.asarray(array.reshape(-1).view(mx.uint8))

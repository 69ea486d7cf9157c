"""What only MLX's CPU backend needs, behind one device check.

MLX's CPU `exp` and `tanh` are scalar; there softmax and gelu cost more than all matmuls together.
NumPy's are vectorised and work in place on the memory of MLX arrays, a cache-sized piece at a time,
and need no compiler at hand (as mx.compile does on the CPU). On every other device these functions
are the plain MLX ones.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.lib.stride_tricks import as_strided

LINEAR_ROWS = 8192  # rows of one linear: few copies
WIDE_ROWS = 2048  # and of a hidden layer: BLAS still at full speed, and its memory is used again
CONV_CHANNELS = 1024  # that a convolution makes at a time: its kernel is four times the weights
PIECE = 1 << 16  # elements that elementwise work is done on at a time: they stay in the cache
TILE = 640  # so do the attention scores of this many queries and keys, 1.6 MiB
# e^x is 2^(x log2 e): exp2 is twice as fast as exp in NumPy (AVX-512), and the factor goes into
# one that is there anyway.
LOG2_E = math.log2(math.e)
SAFE_SCORE = 80.0  # 2^80 times any number of keys is an ordinary float32
TINY_SCORE = -110.0  # 2^-110 times anything ordinary is normal; subnormals are 100 times slower

# Overflow to infinity and NaN behave as in MLX, silently; runs look for them (health.py).
_as_mlx = np.errstate(all="ignore")


_for_gpu = False


def is_cpu() -> bool:
    """Whether arrays made now are computed by the CPU backend."""
    return not _for_gpu and mx.default_device().type == mx.DeviceType.cpu


@contextmanager
def counting_for_gpu() -> Iterator[None]:
    """For plans of another machine, with a GPU: memory is counted as there. Not for computing."""
    global _for_gpu
    before, _for_gpu = _for_gpu, True
    try:
        yield
    finally:
        _for_gpu = before


# `reuse` in these functions: x is not needed any more, the result may take its memory.


def silu(x: mx.array, reuse: bool = False) -> mx.array:
    """x * sigmoid(x)."""
    return _elementwise(_silu, x, reuse) if is_cpu() else nn.silu(x)


def gelu_tanh(x: mx.array, reuse: bool = False) -> mx.array:
    """GELU in its tanh form, the one Wan and UMT5 use."""
    return _elementwise(_gelu_tanh, x, reuse) if is_cpu() else nn.gelu_approx(x)


def layer_norm(x: mx.array, scale: mx.array, shift: mx.array, eps: float) -> mx.array:
    """(x - mean) / std * scale + shift over the last axis of (B, L, dim), in float32.

    scale and shift broadcast to x.
    """
    x, scale, shift = (a.astype(mx.float32) for a in (x, scale, shift))
    if not is_cpu():
        return mx.fast.layer_norm(x, None, None, eps) * scale + shift
    return _by_rows(_layer_norm, x, scale, shift, eps=eps)


def rms_norm(
    x: mx.array,
    weight: mx.array,
    eps: float,
    rotary: mx.array | None = None,
    reuse: bool = False,
) -> mx.array:
    """x / rms * weight over the last axis of (B, L, dim), in float32.

    With a weight (head_dim,) each head is normed on its own. Then, with `rotary`
    (L, 1, head_dim / 2) complex, the rotary embedding of each head: channels 2i and 2i + 1 are one
    complex number.
    """
    x, weight = x.astype(mx.float32), weight.astype(mx.float32)
    if is_cpu():
        tables = () if rotary is None else (rotary,)
        return _by_rows(_rms_norm, x, weight, *tables, eps=eps, out=x if reuse else None)
    shape = x.shape
    x = mx.fast.rms_norm(x.reshape(*shape[:2], -1, weight.shape[-1]), weight, eps).reshape(shape)
    if rotary is None:
        return x
    heads = x.view(mx.complex64).reshape(*shape[:2], -1, rotary.shape[-1])
    return (heads * rotary).reshape(*shape[:2], -1).view(mx.float32)


def softmax_attention(
    q: mx.array, k: mx.array, v: mx.array, scale: float, bias: mx.array | None = None
) -> mx.array:
    """softmax(q k^T * scale + bias) v over (B, heads, L, head_dim).

    `bias` is added to the scores and broadcasts to (B, heads, Lq, Lk). On the CPU the scores
    exist a tile at a time only.
    """
    if is_cpu():
        return _attention_in_tiles(q, k, v, scale, bias)
    bias = None if bias is None else bias.astype(q.dtype)
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=bias)


def run_pair(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """Both results, evaluated: on the CPU on two streams at once, elsewhere one after the other.

    What the two share (weights, latents) must have been evaluated before. Each of our CPU functions
    occupies the thread that calls it, so the second stream has a thread of its own. With one BLAS
    thread (OPENBLAS_NUM_THREADS=1) this uses two cores.
    """
    if not is_cpu():
        return _evaluated(first), _evaluated(second)
    later = _second_thread().submit(_evaluated, second)
    try:
        return _evaluated(first), later.result()
    finally:
        wait([later])  # if the first one failed: nothing goes on behind the caller's back


def _evaluated(function: Callable[[], Any]) -> Any:
    result = function()
    mx.eval(result)
    return result


@cache
def _second_thread() -> ThreadPoolExecutor:
    def start() -> None:  # in the new thread: streams belong to the thread that makes them
        mx.set_default_device(mx.cpu)
        mx.set_default_stream(mx.new_stream(mx.cpu))

    return ThreadPoolExecutor(1, "mlx-wan-pair", start)


@_as_mlx
def _elementwise(
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], None], x: mx.array, reuse: bool
) -> mx.array:
    """function(x, out, scratch) in pieces, in float32."""
    dtype, shape = x.dtype, x.shape
    x = x.astype(mx.float32).flatten()
    out = x if reuse else mx.zeros(x.shape)
    mx.eval(x, out)
    x_view, out_view = np.asarray(x), np.asarray(out)  # no copies: out is filled in place
    scratch = np.empty(min(PIECE, x.size), np.float32)
    for start in range(0, x.size, PIECE):
        piece = x_view[start : start + PIECE]
        function(piece, out_view[start : start + PIECE], scratch[: piece.size])
    return out.reshape(shape).astype(dtype)


def _silu(x: np.ndarray, out: np.ndarray, t: np.ndarray) -> None:
    np.multiply(x, -LOG2_E, out=t)
    np.exp2(t, out=t)
    t += 1
    np.divide(x, t, out=out)


def _gelu_tanh(x: np.ndarray, out: np.ndarray, t: np.ndarray) -> None:
    # 0.5 * (1 + tanh(u)) is sigmoid(2u), with 2u = 2 * sqrt(2 / pi) * (x + 0.044715 x^3)
    slope = -2 * math.sqrt(2 / math.pi) * LOG2_E
    np.multiply(x, x, out=t)
    t *= slope * 0.044715
    t += slope
    t *= x
    np.exp2(t, out=t)
    t += 1
    np.divide(x, t, out=out)


@_as_mlx
def _by_rows(
    function: Callable[..., None],
    x: mx.array,
    *others: mx.array,
    eps: float,
    out: mx.array | None = None,
) -> mx.array:
    """function(x, out, *others, eps) on a few rows of (B, L, dim) at a time.

    Of the others, whatever has a token axis is passed the same rows of it.
    """
    batch, length, dim = x.shape
    out = mx.zeros(x.shape) if out is None else out
    mx.eval(x, out, *others)
    x_view, out_view, *views = (np.asarray(a) for a in (x, out, *others))
    rows = max(1, PIECE // dim)
    for b in range(batch):
        for start in range(0, length, rows):
            here = slice(start, start + rows)
            parts = [_rows_of(a, b, here) for a in views]
            function(x_view[b, here], out_view[b, here], *parts, eps=eps)
    return out


def _rows_of(a: np.ndarray, b: int, rows: slice) -> np.ndarray:
    """The part of (dim,), (B, 1, dim), (B, L, dim) or a rotary table for some rows of item b."""
    if a.dtype == np.complex64:
        return a[rows]
    if a.ndim == 3:
        a = a[b if len(a) > 1 else 0]
        return a if len(a) == 1 else a[rows]
    return a


def _layer_norm(
    x: np.ndarray, out: np.ndarray, scale: np.ndarray, shift: np.ndarray, eps: float
) -> None:
    dim = x.shape[1]
    mean = x @ np.full(dim, 1 / dim, np.float32)
    np.subtract(x, mean[:, None], out=out)
    variance = np.vecdot(out, out) / np.float32(dim)
    out *= (1 / np.sqrt(variance + np.float32(eps)))[:, None]
    out *= scale
    out += shift


def _rms_norm(
    x: np.ndarray,
    out: np.ndarray,
    weight: np.ndarray,
    rotary: np.ndarray | None = None,
    eps: float = 0.0,
) -> None:
    rows, width = len(x), weight.shape[-1]
    x, normed = (a.reshape(rows, -1, width) for a in (x, out))  # by what is normed on its own
    mean = np.vecdot(x, x) / np.float32(width)
    factor = (1 / np.sqrt(mean + np.float32(eps)))[:, :, None]
    np.multiply(x, weight.reshape(-1, 1, width), out=normed)
    normed *= factor
    if rotary is not None:
        pairs = out.view(np.complex64).reshape(rows, -1, rotary.shape[-1])  # (rows, heads, pairs)
        pairs *= rotary


@_as_mlx
def _attention_in_tiles(
    q: mx.array, k: mx.array, v: mx.array, scale: float, bias: mx.array | None
) -> mx.array:
    batch, heads, queries, _ = q.shape
    dtype = v.dtype
    q, k, v = (x.astype(mx.float32) for x in (q, k, v))
    if batch * heads * queries * k.shape[2] <= TILE**2:
        return _attention_at_once(q, k, v, scale, bias).astype(dtype)
    # (B, Lq, heads, head_dim) in memory: what follows joins the heads again
    out = mx.zeros((batch, queries, heads, v.shape[-1]))
    mx.eval(q, k, v, out)
    q_view, k_view, v_view, out_view = (np.asarray(x) for x in (q, k, v, out))
    bias_view = None if bias is None else _broadcast(bias, (batch, heads, queries, k.shape[2]))
    for b, h in np.ndindex(batch, heads):
        head_bias = None if bias_view is None else bias_view[b, h]
        head = (q_view[b, h], k_view[b, h], v_view[b, h])
        _attend(*head, scale * LOG2_E, head_bias, out_view[b, :, h])
    return out.swapaxes(1, 2).astype(dtype)


def _broadcast(bias: mx.array, shape: tuple[int, ...]) -> np.ndarray:
    # The bound keeps a mask of float32's least number finite.
    bias = mx.maximum(bias.astype(mx.float32) * LOG2_E, -1e30)
    return np.broadcast_to(np.asarray(bias), shape)


def _attention_at_once(
    q: mx.array, k: mx.array, v: mx.array, scale: float, bias: mx.array | None
) -> mx.array:
    """All heads together, for few scores: one head at a time would be mostly Python."""
    scores = (q * (scale * LOG2_E)) @ k.swapaxes(-1, -2)
    if bias is not None:
        scores = scores + bias.astype(mx.float32) * LOG2_E
    scores = mx.maximum(scores - scores.max(axis=-1, keepdims=True), TINY_SCORE)
    mx.eval(scores)
    view = np.asarray(scores)
    np.exp2(view, out=view)
    return (scores @ v) / scores.sum(axis=-1, keepdims=True)


def _attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    scale: float,
    bias: np.ndarray | None,
    out: np.ndarray,
) -> None:
    """Fill out (Lq, head_dim) with one head's attention; scale and bias are in units of log 2.

    Softmax does not change when all scores of a row are shifted; the row maximum is only there to
    keep the powers in range. Where the norms of q and k, normed in Wan, bound every score by
    SAFE_SCORE, no shift is needed, and sums over tiles of keys simply add up. A bias that is the
    same for all queries then is a weight of each key, 2^bias, on its value and in the total.
    """
    bound = scale * math.sqrt(_longest(q) * _longest(k))
    weights = np.ones(len(k), np.float32)
    if bias is not None and bias.strides[0] == 0 and abs(bias[0].max()) <= SAFE_SCORE:
        weights, bias = np.exp2(bias[0]), None
        v = v * weights[:, None]
    bound += 0 if bias is None else float(np.abs(bias).max())
    safe = bound <= SAFE_SCORE  # not so with a NaN
    keys = _split(len(k), TILE if safe else len(k))
    rows = _split(len(q), max(16, TILE**2 // keys[0].stop))
    k, v = np.ascontiguousarray(k), np.ascontiguousarray(v)
    scores = np.empty((rows[0].stop, keys[0].stop), np.float32)
    for row in rows:
        scaled = q[row] * np.float32(scale)
        summed = np.zeros((len(scaled), v.shape[1]), np.float32)
        total = np.zeros(len(scaled), np.float32)
        for key in keys:
            s = scores[: len(scaled), : key.stop - key.start]
            np.matmul(scaled, k[key].T, out=s)
            if bias is not None:
                s += bias[row, key]
            if not safe:
                s -= s.max(axis=1, keepdims=True)
                np.maximum(s, TINY_SCORE, out=s)
            np.exp2(s, out=s)
            total += s @ weights[key]
            summed += s @ v[key]
        np.divide(summed, total[:, None], out=out[row])


def _longest(x: np.ndarray) -> float:
    """The largest squared norm of a row."""
    return float(np.vecdot(x, x).max())


def _split(length: int, most: int) -> list[slice]:
    """Slices of at most `most`, as even as can be, the longest first."""
    count = -(-length // most)
    size = -(-length // count)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


@_as_mlx
def conv_3x3(
    x: mx.array, weight: mx.array, bias: mx.array | None = None, past: mx.array | None = None
) -> mx.array:
    """A convolution of 3x3 (stride 1, zero padding 1) and any size in time, evaluated.

    x (B, T, H, W, C), weight (O, kt, 3, 3, C), past (B, kt - 1, H, W, C): the frames before x.
    """
    dtype, out = x.dtype, mx.zeros((*x.shape[:4], weight.shape[0]))
    past = x[:, :0] if past is None else past
    bias = mx.zeros(weight.shape[:1]) if bias is None else bias
    x, weight, bias, past = (a.astype(mx.float32) for a in (x, weight, bias, past))
    mx.eval(out, x, weight, bias, past)
    past_view, x_view, weight_view, bias_view, out_view = (
        np.asarray(a) for a in (past, x, weight, bias, out)
    )  # no copies: out is filled in place
    for start in range(0, len(weight), CONV_CHANNELS):
        some = slice(start, start + CONV_CHANNELS)
        kernel = _winograd_kernel(weight_view[some])
        for frames_before, frames, frames_out in zip(past_view, x_view, out_view, strict=True):
            _winograd(frames_before, frames, kernel, bias_view[some], frames_out[..., some])
    return out.astype(dtype)


# Winograd's F(4x4, 3x3): 36 multiplications for 16 outputs instead of 144. A few rows of tiles at a
# time pass through buffers that fit the cache, and every step is one matmul. NumPy's, because it
# multiplies views with any distance between rows, where MLX would copy them first. The usual points
# 0, 1, -1, 2, -2 err by 1e-5 of the largest value, these by 3e-6, the plain sum by 5e-7.
_POINTS = np.array([0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)])


def _powers(count: int) -> np.ndarray:
    """The points, and infinity, to the powers 0 .. count - 1."""
    infinity = np.eye(count)[-1:]
    return np.concatenate([_POINTS[:, None] ** np.arange(count), infinity])


_INPUT = np.linalg.inv(_powers(6)).T.astype(np.float32)  # 6 pixels in
_OUTPUT = _powers(4).T.astype(np.float32)  # 4 pixels out
_KERNEL = np.kron(_powers(3), _powers(3)).astype(np.float32)  # (36, 9)


def _winograd_kernel(weight: np.ndarray) -> np.ndarray:
    """(O, kt, 3, 3, C) -> (36, kt * C, O)."""
    taps = weight.transpose(2, 3, 1, 4, 0).reshape(9, -1)
    return (_KERNEL @ taps).reshape(36, -1, weight.shape[0])


def _winograd(
    past: np.ndarray, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, out: np.ndarray
) -> None:
    """Fill out (T, H, W, O) from the frames past and x, (.., H, W, C)."""
    (t, height, width, c), o = x.shape, out.shape[-1]
    columns = -(-width // 4)
    rows = max(1, min(-(-height // 4), 48 // columns))  # of tiles at a time
    frames, k = len(past) + t, kernel.shape[1]
    # i, j: pixel in the tile; a, b: point; r, s: row and column of tiles; f, c: frame and channel
    pixels = np.zeros((4 * rows + 2, 4 * columns + 2, frames, c), np.float32)
    half = np.empty((rows, 6, 4 * columns + 2, frames * c), np.float32)  # r a j fc
    points = np.empty((6, 6, rows, columns, frames * c), np.float32)  # a b r s fc
    products = np.empty((6, 6, rows, columns, t * o), np.float32)  # a b r s fo
    half_out = np.empty((rows, 6, columns, 4, t * o), np.float32)  # r a s j fo
    tiles = np.empty((rows, 4, columns * 4, t, o), np.float32)  # r i (s j) f o

    # tiles overlap by 2 pixels and clips by kt - 1 frames: all of them are views
    d = pixels.strides
    tile_rows = as_strided(pixels, (rows, 6, pixels[0].size), (4 * d[0], d[0], 4))
    d = half.strides
    tile_columns = as_strided(
        half, (rows, 6, columns, 6, frames * c), (d[0], d[1], 4 * d[2], d[2], 4)
    )
    d = points.strides
    clips = as_strided(points, (36, t, rows * columns, k), (d[1], 4 * c, d[3], 4))
    d = products.strides
    results = as_strided(products, (36, t, rows * columns, o), (d[1], 4 * o, d[3], 4))

    for top in range(0, height, 4 * rows):
        first, last = max(top - 1, 0), min(top + 4 * rows + 1, height)
        inside = pixels[first - top + 1 : last - top + 1]
        pixels[: first - top + 1] = pixels[last - top + 1 :] = 0
        inside[:, 1 : width + 1, : len(past)] = past[:, first:last].transpose(1, 2, 0, 3)
        inside[:, 1 : width + 1, len(past) :] = x[:, first:last].transpose(1, 2, 0, 3)
        np.matmul(_INPUT, tile_rows, out=half.reshape(rows, 6, -1))
        np.matmul(_INPUT, tile_columns, out=points.transpose(2, 0, 3, 1, 4))
        np.matmul(clips, kernel[:, None], out=results)
        np.matmul(_OUTPUT, products.transpose(2, 0, 3, 1, 4), out=half_out)
        np.matmul(_OUTPUT, half_out.reshape(rows, 6, -1), out=tiles.reshape(rows, 4, -1))
        done = tiles.reshape(4 * rows, columns * 4, t, o)[: height - top, :width]
        np.add(done.transpose(2, 0, 1, 3), bias, out=out[:, top : top + 4 * rows])

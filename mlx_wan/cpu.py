"""What only MLX's CPU backend needs, behind one device check.

MLX's CPU `exp` and `tanh` are scalar; there softmax and gelu cost more than all matmuls together.
On every other device these functions are the plain MLX ones.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn

QUERY_ROWS = 256  # scores of this many queries at a time: they stay near the cache


def is_cpu() -> bool:
    """Whether arrays made now are computed by the CPU backend."""
    return mx.default_device().type == mx.DeviceType.cpu


def silu(x: mx.array) -> mx.array:
    """x * sigmoid(x)."""
    return _silu(x) if is_cpu() else nn.silu(x)


def gelu_tanh(x: mx.array) -> mx.array:
    """GELU in its tanh form, the one Wan and UMT5 use."""
    return _gelu_tanh(x) if is_cpu() else nn.gelu_approx(x)


def softmax_attention(
    q: mx.array, k: mx.array, v: mx.array, scale: float, bias: mx.array | None = None
) -> mx.array:
    """softmax(q k^T * scale + bias) v over (B, heads, L, head_dim).

    `bias` is added to the scores and broadcasts to (B, heads, Lq, Lk); on the CPU each chunk of
    query rows is evaluated at once, so the scores never exist whole.
    """
    if not is_cpu():
        bias = None if bias is None else bias.astype(q.dtype)
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=bias)
    return _attention_by_rows(q, k, v, scale, bias)


def run_pair(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """Evaluate two independent results: on the CPU on two streams, elsewhere in turn."""
    a = first()
    mx.eval(a)
    b = second()
    mx.eval(b)
    return a, b


def _attention_by_rows(
    q: mx.array, k: mx.array, v: mx.array, scale: float, bias: mx.array | None
) -> mx.array:
    q, keys = q * scale, k.swapaxes(-1, -2)
    rows = []
    for start in range(0, q.shape[2], QUERY_ROWS):
        scores = q[:, :, start : start + QUERY_ROWS] @ keys  # (B, heads, rows, Lk)
        if bias is not None:
            one_row = bias.ndim < 2 or bias.shape[-2] == 1
            scores = scores + (bias if one_row else bias[..., start : start + QUERY_ROWS, :])
        weights = _exp_shifted(scores, scores.max(axis=-1, keepdims=True))
        out = (weights @ v) / weights.sum(axis=-1, keepdims=True)
        mx.eval(out)
        rows.append(out)
    return mx.concatenate(rows, axis=2)


def _exp(x: mx.array) -> mx.array:
    """exp as adds and multiplies: exp(x / 64) by its series to degree 7, squared six times.

    Exact to 1e-6 for |x| up to 88; below -88 it is taken as exp(-88), above as exp(88).
    """
    x = mx.clip(x, -88.0, 88.0) * (1 / 64)
    y = x * (1 / 5040) + 1 / 720
    for coefficient in (1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        y = y * x + coefficient
    for _ in range(6):
        y = y * y
    return y


@partial(mx.compile, shapeless=True)
def _exp_shifted(x: mx.array, shift: mx.array) -> mx.array:
    return _exp(x - shift)


@partial(mx.compile, shapeless=True)
def _silu(x: mx.array) -> mx.array:
    return x / (1 + _exp(-x))


@partial(mx.compile, shapeless=True)
def _gelu_tanh(x: mx.array) -> mx.array:
    # 0.5 * (1 + tanh(u)) is sigmoid(2u), with 2u = 2 * sqrt(2 / pi) * (x + 0.044715 x^3)
    u = 1.5957691216057308 * x * (1 + 0.044715 * x * x)
    return x / (1 + _exp(-u))

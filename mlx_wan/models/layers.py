"""What the video transformers share: linears, a feed-forward, sinusoids of time, rotary tables."""

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import row_chunks
from mlx_wan.errors import UsageError

Time = float | np.ndarray | mx.array
Watch = Callable[[str, mx.array], None]  # called with a layer's name and its tokens (B, L, .)


def linear(layer: nn.Module, x: mx.array) -> mx.array:
    """A linear (quantised or not) in the dtype of its weights."""
    return layer(x.astype(layer["scales" if "scales" in layer else "weight"].dtype))


def linear_float32(layer: nn.Linear, x: mx.array) -> mx.array:
    """A linear in float32 whatever its weights are stored in."""
    return mx.addmm(layer.bias.astype(mx.float32), x, layer.weight.astype(mx.float32).T)


class TwoLinears(nn.Module):
    """Linear, SiLU, linear: a time or a prompt as a vector, in float32."""

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(in_dim, dim)
        self.fc2 = nn.Linear(dim, dim)

    def __call__(self, x: mx.array) -> mx.array:
        return linear_float32(self.fc2, cpu.silu(linear_float32(self.fc1, x)))


class FeedForward(nn.Module):
    """Linear, GELU in its tanh form, linear; in row chunks."""

    def __init__(self, dim: int, ffn_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, dim)

    def __call__(self, x: mx.array) -> mx.array:
        parts = []
        for rows in row_chunks(x.shape[1], wide=True):
            h = cpu.gelu_tanh(linear(self.fc1, x[:, rows]), reuse=True)
            parts.append(linear(self.fc2, h))
            mx.async_eval(parts[-1])  # lets go of this chunk's hidden layer before the next one's
            del h
        return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=1)


def time_features(times: np.ndarray, freq_dim: int) -> mx.array:
    """Sinusoids of each timestep, cosines first: (U,) -> (U, freq_dim) float32."""
    half = freq_dim // 2
    angles = times[:, None] * 10000.0 ** (-np.arange(half) / half)  # float64, as the originals
    return mx.array(np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))


def batch_times(timestep: Time, batch: int) -> np.ndarray:
    """One number or one per batch item -> (1,) or (B,) float64."""
    times = np.atleast_1d(np.asarray(timestep, dtype=np.float64))
    if times.shape not in ((1,), (batch,)):
        raise UsageError(
            f"timestep has shape {np.shape(timestep)}; accepted are one number or ({batch},)"
        )
    return times


def rotary_by_axis(
    grid: tuple[int, int, int], widths: tuple[int, int, int], theta: float
) -> mx.array:
    """e^(i * position * frequency) of every token: (L, 1, sum(widths) / 2) complex.

    Each axis of the grid has `widths` channels of a head, in pairs, with frequencies of its own
    width. Built in float64 as the originals do.
    """
    angles = []
    for axis, width in enumerate(widths):
        frequencies = theta ** (-np.arange(0, width, 2) / max(width, 1))
        angle = np.arange(grid[axis])[:, None] * frequencies
        shape = [1, 1, 1, width // 2]
        shape[axis] = grid[axis]
        angles.append(np.broadcast_to(angle.reshape(shape), (*grid, width // 2)))
    table = np.exp(1j * np.concatenate(angles, axis=-1)).astype(np.complex64)
    return mx.array(table.reshape(-1, 1, sum(widths) // 2))


def show(watch: Watch | None, name: str, chunks: list[mx.array]) -> None:
    """Tell `watch` of a layer's tokens, which are in row chunks."""
    if watch is not None:
        watch(name, mx.concatenate(chunks, axis=1))

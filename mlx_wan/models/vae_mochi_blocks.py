"""The layers Mochi's VAE is made of, streaming: each call gets a few frames and the history.

Everything is `(B, T, H, W, C)`. Convolutions repeat the edge, in space and before the first frame;
group norms look at one frame at a time; the encoder's attention looks back in time at one pixel.
So every layer is causal, and frames may come in any number at a time. The names of the parts are
those of genmoai/mochi (vae/models.py) and diffusers where these are plain.
"""

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import SCORE_BYTES
from mlx_wan.cpu import conv_3x3, is_cpu, silu

from . import vae_wan_blocks

GROUPS, EPS = 32, 1e-5  # of the group norms
HEAD_DIM = 32  # of the attention in time
# The encoder's Fourier features: sin and cos of these times each colour.
WAVES = tuple(2 * math.pi * 2**octave for octave in (6, 7))


class History(vae_wan_blocks.History):
    """What came before: the first frame stands for all before it; attention keeps every frame."""

    def past(self, layer: nn.Module, x: mx.array, count: int) -> mx.array:
        """The `count` frames `layer` was given before `x`."""
        if id(layer) not in self._frames:
            self._frames[id(layer)] = mx.repeat(x[:, :1], count, axis=1)
        return super().past(layer, x, count)

    def all(self, layer: nn.Module, x: mx.array) -> mx.array:
        """Every frame `layer` was given, the last of them `x`."""
        before = self._frames.get(id(layer))
        x = x if before is None else mx.concatenate([before, x], axis=1)
        self._frames[id(layer)] = x
        return x


class GroupNorm(nn.Module):
    """Over each frame alone, in float32."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = mx.ones((dim,))
        self.bias = mx.zeros((dim,))

    def __call__(self, x: mx.array) -> mx.array:
        b, t, h, w, c = x.shape
        frames = x.astype(mx.float32).reshape(b * t, h * w, c)
        mean = _by_group(frames)
        scale = mx.rsqrt(_by_group(mx.square(frames - mean)) + EPS) * self.weight
        mx.eval(scale)  # the squares are let go before the result is made
        return (frames * scale + (self.bias - mean * scale)).astype(x.dtype).reshape(x.shape)


def _by_group(frames: mx.array) -> mx.array:
    """The mean over pixels and each group's channels: (N, pixels, C) -> (N, 1, C)."""
    means = frames.mean(axis=1).reshape(len(frames), GROUPS, -1).mean(axis=-1)
    return mx.repeat(means, frames.shape[-1] // GROUPS, axis=1)[:, None]


class CausalConv3d(vae_wan_blocks.CausalConv3d):
    """3x3x3, the edge repeated in space and the past in time; weight (O, 3, 3, 3, I)."""

    def __call__(self, x: mx.array, history: vae_wan_blocks.History) -> mx.array:
        past = history.past(self, x, 2)
        if is_cpu():  # which pads with zeros: all that sees them is cut off
            y = conv_3x3(_edges(x), self.weight, self.bias, _edges(past))
            return y[:, :, 1:-1, 1:-1]
        x = _edges(mx.concatenate([past, x], axis=1))
        # one video at a time and no padding: Metal has a fast path for that
        parts = [mx.conv3d(x[i : i + 1], self.weight) for i in range(len(x))]
        return (parts[0] if len(parts) == 1 else mx.concatenate(parts)) + self.bias


def _edges(x: mx.array) -> mx.array:
    """One more row and column on each side; mx.pad would hold five copies for it."""
    x = mx.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)
    return mx.concatenate([x[:, :, :, :1], x, x[:, :, :, -1:]], axis=3)


class ResidualBlock(nn.Module):
    def __init__(self, dim: int, attention: bool = False):
        super().__init__()
        self.norm1 = GroupNorm(dim)
        self.conv1 = CausalConv3d(dim, dim)
        self.norm2 = GroupNorm(dim)
        self.conv2 = CausalConv3d(dim, dim)
        if attention:
            self.attn = TimeAttention(dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        h = silu(self.norm1(x), reuse=True)  # a name for each step would keep all in memory
        h = self.conv1(h, history)
        h = silu(self.norm2(h), reuse=True)
        h = self.conv2(h, history)
        x = history.settle(x + h)
        del h
        return self.attn(x, history) if "attn" in self else x


class TimeAttention(nn.Module):
    """Each pixel looks back at its own past; directions of queries and keys only, no lengths."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = GroupNorm(dim)
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        h = self.norm(x)
        keys, values = history.all(self.k, _unit(self.k(h))), history.all(self.v, self.v(h))
        if keys.shape[1] == 1:  # nothing to choose from
            return history.settle(x + self.out(values))
        q, k, v = (_by_pixel(a) for a in (_unit(self.q(h)), keys, values))
        out = _look_back(q, k, v)  # (pixels, heads, t, HEAD_DIM)
        b, t, height, width, _ = x.shape
        out = out.reshape(b, height, width, -1, t, HEAD_DIM).transpose(0, 4, 1, 2, 3, 5)
        return history.settle(x + self.out(out.reshape(x.shape)))


def _unit(x: mx.array) -> mx.array:
    """Each head's vector at length 1."""
    heads = x.reshape(*x.shape[:-1], -1, HEAD_DIM)
    return (mx.fast.rms_norm(heads, None, 1e-24) * HEAD_DIM**-0.5).reshape(x.shape)


def _by_pixel(x: mx.array) -> mx.array:
    """(B, T, H, W, C) -> (B * H * W, heads, T, HEAD_DIM)."""
    b, t, h, w, _ = x.shape
    x = x.reshape(b, t, h * w, -1, HEAD_DIM).transpose(0, 2, 3, 1, 4)
    return x.reshape(b * h * w, -1, t, HEAD_DIM)


def _look_back(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """Causal attention; the queries are the last of the keys' frames. A few pixels at a time."""
    pixels, heads, queries, _ = q.shape
    frames = k.shape[2]
    ahead = mx.arange(frames)[None] > mx.arange(frames - queries, frames)[:, None]
    bias = mx.where(ahead, -math.inf, 0.0)
    scores = cpu.TILE**2 if is_cpu() else SCORE_BYTES // 4
    few = max(1, scores // (heads * queries * frames))
    parts = []
    for start in range(0, pixels, few):
        some = slice(start, start + few)
        parts.append(cpu.softmax_attention(q[some], k[some], v[some], HEAD_DIM**-0.5, bias))
        mx.async_eval(parts[-1])
    return mx.concatenate(parts)


class Downsample(nn.Module):
    """Blocks of (temporal, 2, 2) pixels through one matrix; weight (O, temporal, 2, 2, I).

    Before the first frame it is repeated.
    """

    def __init__(self, in_dim: int, out_dim: int, temporal: int):
        super().__init__()
        self.weight = mx.zeros((out_dim, temporal, 2, 2, in_dim))
        self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array, history: History) -> mx.array:
        temporal = self.weight.shape[1]
        if history.first and temporal > 1:
            x = mx.concatenate([mx.repeat(x[:, :1], temporal - 1, axis=1), x], axis=1)
        b, t, h, w, c = x.shape
        x = x.reshape(b, t // temporal, temporal, h // 2, 2, w // 2, 2, c)
        x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)
        return mx.addmm(self.bias, x, self.weight.flatten(1).T)


class DownStage(nn.Module):
    def __init__(self, in_dim: int, out_dim: int, blocks: int, temporal: int):
        super().__init__()
        self.conv = Downsample(in_dim, out_dim, temporal)
        self.blocks = [ResidualBlock(out_dim, attention=True) for _ in range(blocks)]

    def __call__(self, x: mx.array, history: History) -> mx.array:
        x = self.conv(x, history)
        for block in self.blocks:
            x = block(x, history)
        return x


class UpStage(nn.Module):
    """Residual blocks, then channels become pixels: twice the size, `temporal` times the frames.

    Of the first frame only the last copy in time is kept, at once as in the original; diffusers
    takes all of them through the layers that follow, which then see other frames.
    """

    def __init__(self, in_dim: int, out_dim: int, blocks: int, temporal: int):
        super().__init__()
        self.blocks = [ResidualBlock(in_dim) for _ in range(blocks)]
        self.proj = nn.Linear(in_dim, out_dim * temporal * 4)
        self.temporal = temporal

    def __call__(self, x: mx.array, history: History) -> mx.array:
        for block in self.blocks:
            x = block(x, history)
        b, t, h, w, _ = x.shape
        x = self.proj(x).reshape(b, t, h, w, -1, self.temporal, 2, 2)  # channels slowest
        x = x.transpose(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, t * self.temporal, 2 * h, 2 * w, -1)
        return history.settle(x[:, self.temporal - 1 :] if history.first else x)


def fourier_features(frames: mx.array) -> mx.array:
    """(..., 3) -> (..., 15): the colours, then sines and cosines of fine stripes of each; float32.

    In float32 like the reference, whose rounding of the angles is larger than that of the sines.
    """
    frames = frames.astype(mx.float32)
    angles = (frames[..., None] * mx.array(WAVES)).flatten(-2)
    if is_cpu():  # where MLX takes them one by one
        view = np.asarray(angles)
        return mx.concatenate([frames, mx.array(np.sin(view)), mx.array(np.cos(view))], axis=-1)
    return mx.concatenate([frames, mx.sin(angles), mx.cos(angles)], axis=-1)

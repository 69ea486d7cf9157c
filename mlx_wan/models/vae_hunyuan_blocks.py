"""The layers of HunyuanVideo 1.5's VAE, streaming: each call gets a few frames and the history.

Everything is `(B, T, H, W, C)`. Convolutions and the history are Mochi's (the edge repeated, in
space and before the first frame), norms and residual blocks Wan's. A change of size moves pixels to
channels or back, channels fastest, beside a plain mean or copies; the first frame is alone in time.
Reference: Tencent-Hunyuan/HunyuanVideo-1.5, hyvideo/models/autoencoders/hunyuanvideo_15_vae.py.
"""

import mlx.core as mx
import mlx.nn as nn

from mlx_wan.attention import attention

from .vae_mochi_blocks import CausalConv3d, History
from .vae_wan_blocks import Pointwise, ResidualBlock, RMSNorm


class CausalAttention(nn.Module):
    """One head as wide as the network over all pixels of this frame and of those before.

    The history keeps the keys and values of the whole video.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm = RMSNorm(dim)
        self.q = Pointwise(dim, dim)
        self.k = Pointwise(dim, dim)
        self.v = Pointwise(dim, dim)
        self.proj_out = Pointwise(dim, dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        b, t, h, w, c = x.shape
        normed = self.norm(x)
        keys = history.settle(history.all(self.k, self.k(normed)))  # one old copy at a time
        values = history.settle(history.all(self.v, self.v(normed)))
        queries = self.q(normed)
        frames = []
        for i in range(t):  # a frame sees the same keys everywhere: no mask
            seen = keys.shape[1] - t + i + 1
            k, v = (a[:, :seen].reshape(b, 1, seen * h * w, c) for a in (keys, values))
            q = queries[:, i].reshape(b, 1, h * w, c)
            frames.append(attention(q, k, v, scale=c**-0.5).reshape(b, 1, h, w, c))
        return history.settle(x + self.proj_out(mx.concatenate(frames, axis=1)))


class Downsample(nn.Module):
    """Half the size in space and, where `temporal`, in time (all but the first frame)."""

    def __init__(self, dim: int, out_dim: int, temporal: bool):
        super().__init__()
        self.temporal = temporal
        self.conv = CausalConv3d(dim, out_dim // (4 * (1 + temporal)))

    def __call__(self, x: mx.array, history: History) -> mx.array:
        frames = 2 if self.temporal and not history.first else 1
        y = to_channels(self.conv(x, history), frames)
        if self.temporal and history.first:  # it stands for both frames of a pair
            y = mx.concatenate([y, y], axis=-1)
        return history.settle(y + mean_of_neighbours(to_channels(x, frames), y.shape[-1]))


class Upsample(nn.Module):
    """Twice the size in space and, where `temporal`, in time (all but the first frame)."""

    def __init__(self, dim: int, out_dim: int, temporal: bool):
        super().__init__()
        self.temporal = temporal
        self.conv = CausalConv3d(dim, 4 * (1 + temporal) * out_dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        frames = 2 if self.temporal and not history.first else 1
        y = to_pixels(self.conv(x, history), frames)
        if self.temporal and history.first:  # made for two frames, of which there is one
            y = y[..., : y.shape[-1] // 2]
        return history.settle(add_repeated(y, to_pixels(x, frames)))


class Stage(nn.Module):
    """Residual blocks of one width, then a change of size (none in the last stage)."""

    def __init__(self, dim: int, num_res_blocks: int, resample: nn.Module | None):
        super().__init__()
        self.blocks = [residual(dim) for _ in range(num_res_blocks)]
        if resample is not None:
            self.resample = resample

    @property
    def least(self) -> int:
        """Frames after the first must come in multiples of this."""
        resample = self.get("resample")
        return 2 if isinstance(resample, Downsample) and resample.temporal else 1

    def __call__(self, x: mx.array, history: History) -> mx.array:
        for block in self.blocks:
            x = block(x, history)
        return self.resample(x, history) if "resample" in self else x


def residual(dim: int) -> ResidualBlock:
    return ResidualBlock(dim, dim, CausalConv3d)


def middle(dim: int) -> list[nn.Module]:
    return [residual(dim), CausalAttention(dim), residual(dim)]


def to_channels(x: mx.array, frames: int) -> mx.array:
    """Blocks of (frames, 2, 2) pixels as channels, in the order (frame, row, column, channel)."""
    b, t, h, w, c = x.shape
    x = x.reshape(b, t // frames, frames, h // 2, 2, w // 2, 2, c)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)


def to_pixels(x: mx.array, frames: int) -> mx.array:
    """What undoes `to_channels`."""
    b, t, h, w, _ = x.shape
    x = x.reshape(b, t, h, w, frames, 2, 2, -1).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, t * frames, 2 * h, 2 * w, -1)


def mean_of_neighbours(x: mx.array, dim: int) -> mx.array:
    """To fewer channels: the mean of each few that follow each other."""
    return x.reshape(*x.shape[:-1], dim, -1).mean(axis=-1)


def add_repeated(x: mx.array, fewer: mx.array) -> mx.array:
    """x and each channel of `fewer` several times in a row, which are never made."""
    grouped = x.reshape(*fewer.shape, -1)
    return (grouped + fewer[..., None]).reshape(x.shape)

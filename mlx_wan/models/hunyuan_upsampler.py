"""HunyuanVideo 1.5's two latent upsamplers: latents brought to a larger size, then made sharp.

Before the super-resolution transformer the latents of a small video are resized between pixels, and
one of these networks, for 720p or for 1080p, adds what that lacks. Both are causal convolutions
without any change of size, so frames pass a few at a time, as through the VAE; float32 throughout.
Reference: Tencent-Hunyuan/HunyuanVideo-1.5, hyvideo/models/transformers/modules/upsample.py.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan.cpu import silu
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.roofline.work import Op, conv3d

from .vae_hunyuan_blocks import add_repeated
from .vae_mochi_blocks import CausalConv3d, History
from .vae_wan_blocks import Head, ResidualBlock

FRAMES = 4  # at a time


@dataclass(frozen=True)
class Upsampler720Config:
    """The published network: ComfyUI's copy of it, 90 MB in float32, has these sizes."""

    z_dim: int = 32
    dim: int = 128
    num_blocks: int = 16
    global_residual: bool = False


@dataclass(frozen=True)
class Upsampler1080Config:
    """`dims` has the width of every stage; a checkpoint's shapes tell all of it."""

    dims: tuple[int, ...]
    z_dim: int = 32
    num_res_blocks: int = 2

    def __post_init__(self) -> None:
        if not self.dims or self.dims[0] % self.z_dim:
            raise ModelError(
                f"the upsampler's config has stages of {self.dims} channels for latents of "
                f"{self.z_dim}; the first is a multiple of that",
                "convert the checkpoint again",
            )


class ConvBlock(nn.Module):
    """Three convolutions with SiLU between them, beside the input."""

    def __init__(self, dim: int):
        super().__init__()
        self.conv1 = CausalConv3d(dim, dim)
        self.conv2 = CausalConv3d(dim, dim)
        self.conv3 = CausalConv3d(dim, dim)

    def __call__(self, x: mx.array, history: History) -> mx.array:
        h = silu(self.conv1(x, history))
        h = silu(self.conv2(h, history))
        return history.settle(x + self.conv3(h, history))


class Upsampler720(nn.Module):
    """Convolution blocks of one width."""

    def __init__(self, config: Upsampler720Config):
        super().__init__()
        self.config = config
        self.in_conv = CausalConv3d(config.z_dim, config.dim)
        self.blocks = [ConvBlock(config.dim) for _ in range(config.num_blocks)]
        self.out_conv = CausalConv3d(config.dim, config.z_dim)

    def __call__(self, latents: mx.array) -> mx.array:
        """Resized latents (B, T, H, W, z_dim) -> the same shape, float32."""
        history = History()
        return mx.concatenate([self._some(x, history) for x in _few(latents, self.config.z_dim)], 1)

    def _some(self, latents: mx.array, history: History) -> mx.array:
        x = self.in_conv(latents, history)
        for block in self.blocks:
            x = block(x, history)
        x = self.out_conv(x, history)
        return history.settle(x + latents if self.config.global_residual else x)


class Upsampler1080(nn.Module):
    """The VAE's residual blocks in stages of several widths; the latents repeated go in too."""

    def __init__(self, config: Upsampler1080Config):
        super().__init__()
        self.config = config
        self.conv_in = CausalConv3d(config.z_dim, config.dims[0])
        widths = [config.dims[0], *config.dims]
        self.stages = [
            [
                ResidualBlock(before if i == 0 else dim, dim, CausalConv3d)
                for i in range(config.num_res_blocks + 1)
            ]
            for before, dim in zip(widths[:-1], config.dims, strict=True)
        ]
        self.head = Head(config.dims[-1], config.z_dim, CausalConv3d)

    def __call__(self, latents: mx.array) -> mx.array:
        """Resized latents (B, T, H, W, z_dim) -> the same shape, float32."""
        history = History()
        return mx.concatenate([self._some(x, history) for x in _few(latents, self.config.z_dim)], 1)

    def _some(self, latents: mx.array, history: History) -> mx.array:
        x = history.settle(add_repeated(self.conv_in(latents, history), latents))
        for stage in self.stages:
            for block in stage:
                x = block(x, history)
        return history.settle(self.head(x, history))


def upsample_memory(
    config: Upsampler720Config | Upsampler1080Config, shape: tuple[int, ...]
) -> int:
    """Bytes alive at the peak of latents (1, T, H, W, C), beside the weights."""
    layers = _convolutions(config)
    pixel_bytes = shape[2] * shape[3] * 4
    kept = sum(2 * before for before, _ in layers)  # frames each convolution looks back at
    alive = 6 * FRAMES * max(after for _, after in layers)
    return pixel_bytes * (kept + alive + 3 * shape[1] * config.z_dim)


def upsample_work(
    config: Upsampler720Config | Upsampler1080Config, shape: tuple[int, ...]
) -> list[Op]:
    """The convolutions for latents (1, T, H, W, C)."""
    pixels = shape[2] * shape[3]
    return [conv3d(shape[1], pixels, before, after) for before, after in _convolutions(config)]


def _convolutions(config: Upsampler720Config | Upsampler1080Config) -> list[tuple[int, int]]:
    """(channels in, channels out) of each."""
    if isinstance(config, Upsampler720Config):
        inner = [(config.dim, config.dim)] * (3 * config.num_blocks)
        return [(config.z_dim, config.dim), *inner, (config.dim, config.z_dim)]
    found, before = [(config.z_dim, config.dims[0])], config.dims[0]
    for dim in config.dims:
        found += [(before, dim), *[(dim, dim)] * (2 * config.num_res_blocks + 1)]
        before = dim
    return [*found, (before, config.z_dim)]


def resize(latents: mx.array, height: int, width: int) -> mx.array:
    """(B, T, H, W, C) to another size, linear between the centres of pixels in both directions."""
    latents = latents.astype(mx.float32)
    for axis, size in ((2, height), (3, width)):
        before = latents.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0, before - 1)
        first = np.floor(at).astype(np.int32)
        second = np.minimum(first + 1, before - 1)
        share = mx.array((at - first).astype(np.float32)).reshape(-1, *[1] * (4 - axis))
        low, high = (mx.take(latents, mx.array(i), axis=axis) for i in (first, second))
        latents = low + (high - low) * share
    return latents


def _few(latents: mx.array, channels: int) -> list[mx.array]:
    """Some frames at a time, float32."""
    if latents.ndim != 5 or latents.shape[-1] != channels:
        raise UsageError(
            f"latents have shape {latents.shape}; this upsampler takes (B, T, H, W, {channels})"
        )
    starts = range(0, latents.shape[1], FRAMES)
    return [latents[:, i : i + FRAMES].astype(mx.float32) for i in starts]

"""Mochi's VAE: 12 channels, 6x8x8. Decoding streams at flat memory; encoding streams too, but its
attention in time keeps something of every frame.

The first frame goes alone, then 6 frames for each latent frame, through layers that see a few
frames at a time (vae_mochi_blocks.py). The decoder is that of genmoai/mochi; the one in diffusers
makes other frames at the beginning of a video (the first 13 or so; see UpStage).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, prod

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan.cpu import silu
from mlx_wan.errors import ModelError, UsageError

from .layers import linear
from .vae_mochi_blocks import (
    GROUPS,
    DownStage,
    GroupNorm,
    History,
    ResidualBlock,
    UpStage,
    fourier_features,
)
from .vae_mochi_work import decode_memory, decode_work, encode_memory, encode_work
from .vae_wan_stream import (
    Frames,
    check_latents,
    decode_stream,
    depth_first,
    encode_stream,
    parameter_count,
    small_cache,
)

__all__ = [
    "MochiVAE",
    "MochiVAEConfig",
    "decode_memory",
    "decode_share",
    "decode_work",
    "encode_memory",
    "encode_share",
    "encode_work",
]

TILE_OVERLAP = 8  # latent rows or columns that two tiles share


@dataclass(frozen=True)
class MochiVAEConfig:
    """Widths from the frames inwards. `num_blocks` are the residual blocks of each width, the last
    those next to the latents; between two widths the size halves in space, and in time by
    `temporal`."""

    encoder_dims: tuple[int, ...] = (64, 128, 256, 384)
    decoder_dims: tuple[int, ...] = (128, 256, 512, 768)
    num_blocks: tuple[int, ...] = (3, 3, 4, 6, 3)
    temporal: tuple[int, ...] = (1, 2, 3)
    z_dim: int = 12
    latents_mean: tuple[float, ...] = (
        *(-0.06730895953510081, -0.038011381506090416, -0.07477820912866141),
        *(-0.05565264470995561, 0.012767231469026969, -0.04703542746246419),
        *(0.043896967884726704, -0.09346305707025976, -0.09918314763016893),
        *(-0.008729793427399178, -0.011931556316503654, -0.0321993391887285),
    )
    latents_std: tuple[float, ...] = (
        *(0.9263795028493863, 0.9248894543193766, 0.9393059390890617),
        *(0.959253732819592, 0.8244560132752793, 0.917259975397747),
        *(0.9294154431013696, 1.3720942357788521, 0.881393668867029),
        *(0.9168315692124348, 0.9185249279345552, 0.9274757570805041),
    )

    def __post_init__(self) -> None:
        sizes = [*self.encoder_dims, *self.decoder_dims, *self.num_blocks, *self.temporal]
        statistics = [*self.latents_mean, *self.latents_std]
        widths = len(self.encoder_dims)
        fits = (
            all(type(size) is int and 0 < size < 1 << 14 for size in [*sizes, self.z_dim])
            and all(dim % GROUPS == 0 for dim in (*self.encoder_dims, *self.decoder_dims))
            and 1 < widths == len(self.decoder_dims) == len(self.num_blocks) - 1
            and widths == len(self.temporal) + 1 <= 8
            and max(self.num_blocks) <= 64
            and max(self.temporal) <= 8
            and len(self.latents_mean) == len(self.latents_std) == self.z_dim
            and all(type(value) in (int, float) and isfinite(value) for value in statistics)
            and all(std > 0 for std in self.latents_std)
        )
        if not fits:
            raise ModelError(f"the VAE's config does not fit together: {self}")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Frames, rows and columns of the video for each of the latents."""
        space = 2 ** len(self.temporal)
        return prod(self.temporal), space, space


class Encoder(nn.Module):
    def __init__(self, config: MochiVAEConfig):
        super().__init__()
        dims, (first, *between, last) = config.encoder_dims, config.num_blocks
        self.proj_in = nn.Linear(15, dims[0])
        self.block_in = [ResidualBlock(dims[0]) for _ in range(first)]
        self.down = [
            DownStage(dim, out_dim, blocks, temporal)
            for (dim, out_dim), blocks, temporal in zip(
                pairwise(dims), between, config.temporal, strict=True
            )
        ]
        self.block_out = [ResidualBlock(dims[-1], attention=True) for _ in range(last)]
        self.norm_out = GroupNorm(dims[-1])
        self.proj_out = nn.Linear(dims[-1], 2 * config.z_dim, bias=False)

    def __call__(self, frames: mx.array, history: History) -> mx.array:
        """Frames (B, T, H, W, 3) -> mean and log variance, (B, t, h, w, 2 * z_dim)."""
        x = linear(self.proj_in, fourier_features(frames))
        for layer in [*self.block_in, *self.down, *self.block_out]:
            x = layer(x, history)
        return self.proj_out(silu(self.norm_out(x)))


class Decoder(nn.Module):
    def __init__(self, config: MochiVAEConfig):
        super().__init__()
        dims = config.decoder_dims[::-1]
        first, *between, last = config.num_blocks[::-1]
        self.conv_in = nn.Linear(config.z_dim, dims[0])
        self.block_in = [ResidualBlock(dims[0]) for _ in range(first)]
        self.up = [
            UpStage(dim, out_dim, blocks, temporal)
            for (dim, out_dim), blocks, temporal in zip(
                pairwise(dims), between, config.temporal[::-1], strict=True
            )
        ]
        self.block_out = [ResidualBlock(dims[-1]) for _ in range(last)]
        self.proj_out = nn.Linear(dims[-1], 3)

    def __call__(self, latents: mx.array, history: History) -> mx.array:
        """Latents (B, t, h, w, z_dim) -> frames (B, T, H, W, 3), not clamped."""
        x = linear(self.conv_in, latents)
        for block in self.block_in:
            x = block(x, history)
        return depth_first([*self.up, self._end], x, history)

    def _end(self, x: mx.array, history: History) -> mx.array:
        for block in self.block_out:
            x = block(x, history)
        return history.settle(self.proj_out(silu(x)))


class MochiVAE(nn.Module):
    """Encode and decode, a few frames at a time."""

    def __init__(self, config: MochiVAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, frames: Frames | Iterable[Frames]) -> mx.array:
        """Frames (B, T, H, W, 3) in [-1, 1] -> the normalised mean latents (B, t, h, w, C).

        `frames` may also be an iterable of arrays of any numbers of frames. T must be n * stride
        + 1, H and W multiples of the stride.
        """
        history = History()

        def latents(chunk: mx.array) -> mx.array:
            mean = mx.split(self.encoder(chunk, history), 2, axis=-1)[0].astype(mx.float32)
            return (mean - self._mean) / self._std

        return encode_stream(latents, frames, self.config.stride, history)

    def decode(self, latents: mx.array, tiles: tuple[int, int] = (1, 1)) -> mx.array:
        """Normalised latents (B, t, h, w, C) -> all frames (B, T, H, W, 3), clamped to [-1, 1]."""
        return mx.concatenate(list(self.decode_chunks(latents, tiles=tiles)), axis=1)

    def decode_chunks(
        self, latents: mx.array, group: int = 1, tiles: tuple[int, int] = (1, 1)
    ) -> Iterator[mx.array]:
        """The frames of `decode` as they are made: 1, then `stride[0]` for each latent frame.

        `group` latent frames go through together: the same frames, fewer and larger steps. `tiles`
        (columns, rows), powers of 2, decode parts of the picture on their own and blend them where
        they overlap: less memory, and not quite the same frames, for norms see one tile only. The
        original's command line takes 4 x 2.
        """
        check_latents(latents, self.config.z_dim)
        _check_tiles(tiles, latents.shape)
        with small_cache():
            for frames in self._tiled(latents, group, tiles):
                frames = mx.clip(frames, -1, 1)
                mx.eval(frames)
                yield frames

    def _tiled(self, latents: mx.array, group: int, tiles: tuple[int, int]) -> Iterator[mx.array]:
        """Halves, side by side first and then one above the other (the original's apply_tiled)."""
        columns, rows = tiles
        if columns * rows == 1:
            yield from self._decode(latents, group)
            return
        axis = 3 if columns > 1 else 2
        half = (columns // 2, rows) if columns > 1 else (columns, rows // 2)
        middle, shared = latents.shape[axis] // 2, TILE_OVERLAP // 2
        one = _part(latents, axis, 0, middle + shared)
        two = _part(latents, axis, middle - shared, latents.shape[axis])
        pixels = TILE_OVERLAP * self.config.stride[axis - 1]
        both = (self._tiled(part, group, half) for part in (one, two))
        for frames, others in zip(*both, strict=True):
            yield blend(frames, others, pixels, axis)

    def _decode(self, latents: mx.array, group: int) -> Iterator[mx.array]:
        history = History()

        def frames(part: mx.array) -> mx.array:
            z = part.astype(mx.float32) * self._std + self._mean
            return self.decoder(z, history).astype(mx.float32)

        yield from decode_stream(frames, latents, history, group)

    @property
    def _mean(self) -> mx.array:
        return mx.array(self.config.latents_mean)

    @property
    def _std(self) -> mx.array:
        return mx.array(self.config.latents_std)


def blend(one: mx.array, two: mx.array, shared: int, axis: int) -> mx.array:
    """Two neighbours joined: what both have fades from one to the other, never wholly either."""
    alone = one.shape[axis] - shared
    before, after = _part(one, axis, alone, one.shape[axis]), _part(two, axis, 0, shared)
    weight = mx.array(np.arange(1, shared + 1, dtype=np.float32) / (shared + 1))
    weight = weight.reshape([-1 if i == axis else 1 for i in range(one.ndim)])
    faded = before * (1 - weight) + after * weight
    rest = _part(two, axis, shared, two.shape[axis])
    return mx.concatenate([_part(one, axis, 0, alone), faded, rest], axis=axis)


def _part(x: mx.array, axis: int, start: int, stop: int) -> mx.array:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _check_tiles(tiles: tuple[int, int], shape: tuple[int, ...]) -> None:
    columns, rows = tiles
    for count, size, what in ((columns, shape[3], "columns"), (rows, shape[2], "rows")):
        fits = type(count) is int and count > 0 and count & (count - 1) == 0
        if not fits or (count > 1 and size // count < TILE_OVERLAP):
            raise UsageError(
                f"{count} tiles of {size} latent {what}; the number must be a power of 2 and each "
                f"tile at least {TILE_OVERLAP} {what}",
                "use fewer tiles, or none",
            )


def encode_share(config: MochiVAEConfig) -> float:
    """The part of the weights that encoding reads."""
    return 1 - decode_share(config)


def decode_share(config: MochiVAEConfig) -> float:
    """The part of the weights that decoding reads."""
    encoder, decoder = (parameter_count(half(config)) for half in (Encoder, Decoder))
    return decoder / (encoder + decoder)

"""HunyuanVideo 1.5's VAE: 32 channels, 4x16x16; encoding and decoding stream.

The first frame goes alone, then 4 frames for each latent frame. Memory does not grow with the video
but for the keys and values of the attention in the middle, which looks back at all frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isfinite, prod

import mlx.core as mx
import mlx.nn as nn

from mlx_wan.errors import ModelError

from .vae_hunyuan_blocks import (
    Downsample,
    Stage,
    Upsample,
    add_repeated,
    mean_of_neighbours,
    middle,
)
from .vae_hunyuan_tiles import check_tile, decode_tiled
from .vae_hunyuan_work import decode_memory, decode_work, encode_memory, encode_work
from .vae_mochi_blocks import CausalConv3d, History
from .vae_wan_blocks import Head
from .vae_wan_stream import (
    Frames,
    check_latents,
    decode_stream,
    depth_first,
    encode_stream,
    in_portions,
    parameter_count,
    small_cache,
)

__all__ = [
    "HunyuanVAE",
    "HunyuanVAEConfig",
    "decode_memory",
    "decode_share",
    "decode_work",
    "encode_memory",
    "encode_share",
    "encode_work",
]


@dataclass(frozen=True)
class HunyuanVAEConfig:
    """Widths from the frames inwards; between two stages the size halves in space, and in time
    where `temporal_downsample` says so. The decoder has one residual block more in each stage."""

    block_out_channels: tuple[int, ...] = (128, 256, 512, 1024, 1024)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, False, True, True)
    z_dim: int = 32
    scaling_factor: float = 1.03682

    def __post_init__(self) -> None:
        dims, temporal = self.block_out_channels, self.temporal_downsample
        fits = (
            all(type(n) is int and 0 < n < 1 << 14 for n in (*dims, self.z_dim))
            and type(self.num_res_blocks) is int
            and 0 < self.num_res_blocks <= 64
            and 1 < len(dims) == len(temporal) + 1 <= 8
            and all(type(flag) is bool for flag in temporal)
            and all(_change_fits(*change) for change in zip(dims, dims[1:], temporal, strict=False))
            and dims[-1] % (2 * self.z_dim) == 0
            and type(self.scaling_factor) in (int, float)
            and isfinite(self.scaling_factor)
            and self.scaling_factor > 0
        )
        if not fits:
            raise ModelError(f"the VAE's config does not fit together: {self}")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Frames, rows and columns of the video for each of the latents."""
        space = 2 ** len(self.temporal_downsample)
        return 2 ** sum(self.temporal_downsample), space, space


def _change_fits(dim: int, out_dim: int, temporal: bool) -> bool:
    """Whether a pixel block of 4 (or 8) times `dim` channels averages to `out_dim`, and back."""
    block = 4 * (1 + temporal)
    return out_dim % block == 0 and 4 * dim % out_dim == 0


class Encoder(nn.Module):
    def __init__(self, config: HunyuanVAEConfig):
        super().__init__()
        dims = config.block_out_channels
        temporal = zip(pairwise(dims), config.temporal_downsample, strict=True)
        changes = [Downsample(dim, out_dim, halved) for (dim, out_dim), halved in temporal]
        self.conv_in = CausalConv3d(3, dims[0])
        self.down = [
            Stage(dim, config.num_res_blocks, change)
            for dim, change in zip(dims, [*changes, None], strict=True)
        ]
        self.middle = middle(dims[-1])
        self.head = Head(dims[-1], 2 * config.z_dim, CausalConv3d)

    def __call__(self, frames: mx.array, history: History) -> mx.array:
        """Frames (B, T, H, W, 3) -> mean and log variance, (B, t, h, w, 2 * z_dim)."""
        first, *stages = self.down

        def begin(part: mx.array) -> mx.array:
            return first(self.conv_in(part, history), history)

        size = len(frames) * prod(frames.shape[2:4]) * self.conv_in.weight.shape[0]
        x = in_portions(begin, frames, size * frames.itemsize, first.least)
        for stage in stages:
            run = partial(stage, history=history)
            x = in_portions(run, x, len(x) * prod(x.shape[2:]) * x.itemsize, stage.least)
        for layer in self.middle:
            x = layer(x, history)
        moments = self.head(x, history)
        return moments + mean_of_neighbours(x, moments.shape[-1])


class Decoder(nn.Module):
    def __init__(self, config: HunyuanVAEConfig):
        super().__init__()
        dims = config.block_out_channels[::-1]
        temporal = zip(pairwise(dims), config.temporal_downsample[::-1], strict=True)
        changes = [Upsample(dim, out_dim, doubled) for (dim, out_dim), doubled in temporal]
        self.conv_in = CausalConv3d(config.z_dim, dims[0])
        self.middle = middle(dims[0])
        self.up = [
            Stage(dim, config.num_res_blocks + 1, change)
            for dim, change in zip(dims, [*changes, None], strict=True)
        ]
        self.head = Head(dims[-1], 3, CausalConv3d)

    def __call__(self, latents: mx.array, history: History) -> mx.array:
        """Latents (B, t, h, w, z_dim) -> frames (B, T, H, W, 3), not clamped."""
        x = add_repeated(self.conv_in(latents, history), latents)
        for layer in self.middle:
            x = layer(x, history)
        return depth_first([*self.up[:-1], self._end], x, history)

    def _end(self, x: mx.array, history: History) -> mx.array:
        return self.head(self.up[-1](x, history), history)


class HunyuanVAE(nn.Module):
    """Encode and decode, a few frames at a time."""

    def __init__(self, config: HunyuanVAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, frames: Frames | Iterable[Frames]) -> mx.array:
        """Frames (B, T, H, W, 3) in [-1, 1] -> the scaled mean latents (B, t, h, w, C).

        `frames` may also be an iterable of arrays of any numbers of frames. T must be n * stride
        + 1, H and W multiples of the stride.
        """
        history = History()

        def latents(chunk: mx.array) -> mx.array:
            moments = self.encoder(chunk.astype(self.encoder.conv_in.weight.dtype), history)
            return mx.split(moments, 2, axis=-1)[0].astype(mx.float32) * self.config.scaling_factor

        return encode_stream(latents, frames, self.config.stride, history)

    def decode(self, latents: mx.array, tile: int | None = None, overlap: int = 2) -> mx.array:
        """Scaled latents (B, t, h, w, C) -> all frames (B, T, H, W, 3), clamped to [-1, 1]."""
        return mx.concatenate(list(self.decode_chunks(latents, 1, tile, overlap)), axis=1)

    def decode_chunks(
        self, latents: mx.array, group: int = 1, tile: int | None = None, overlap: int = 2
    ) -> Iterator[mx.array]:
        """The frames of `decode` as they are made: 1, then `stride[0]` for each latent frame.

        `group` latent frames go through together: the same frames, fewer and larger steps.

        With `tile`, squares of that many latents a side are decoded on their own and blended where
        they overlap, if a side is longer: not the same frames, for the attention sees one square
        only. The original always does so, with 16 and 2 (8 and 2 on GPUs of up to 21 GB); diffusers
        decodes the whole picture unless told to, and then takes 16 and 4. Here tiles save little
        memory, since each has a history to keep, and 16 and 2 decode 1.3 times the latents. So the
        whole picture is the default, at 480p (6.5 GB) and at 720p (11.6 GB) alike; the attention
        over all of it is 1 % of the decoder's operations there.
        """
        check_latents(latents, self.config.z_dim)
        with small_cache():
            if tile is None:
                chunks = self._decode(latents, group)
            else:
                check_tile(tile, overlap)
                decode = partial(self._decode, group=group)
                stride = self.config.stride[1]
                chunks = decode_tiled(decode, latents, tile, overlap, stride)
            for frames in chunks:
                frames = mx.clip(frames, -1, 1)
                mx.eval(frames)
                yield frames

    def _decode(self, latents: mx.array, group: int) -> Iterator[mx.array]:
        history = History()

        def frames(part: mx.array) -> mx.array:
            z = part.astype(mx.float32) / self.config.scaling_factor
            z = z.astype(self.decoder.conv_in.weight.dtype)
            return self.decoder(z, history).astype(mx.float32)

        yield from decode_stream(frames, latents, history, group)


def encode_share(config: HunyuanVAEConfig) -> float:
    """The part of the weights that encoding reads."""
    return 1 - decode_share(config)


def decode_share(config: HunyuanVAEConfig) -> float:
    """The part of the weights that decoding reads."""
    encoder, decoder = (parameter_count(net(config)) for net in (Encoder, Decoder))
    return decoder / (encoder + decoder)

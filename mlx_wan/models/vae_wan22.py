"""The Wan 2.2 VAE: 48 channels, 4x16x16; used by TI2V-5B."""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from mlx_wan.errors import ModelError
from mlx_wan.roofline.work import Op

from .vae_wan_blocks import (
    CausalConv3d,
    Downsample,
    Head,
    History,
    ResidualBlock,
    Upsample,
    average_down,
    duplicate_up,
    middle,
)
from .vae_wan_stream import Network, StreamingVAE, check_config, parameter_count
from .vae_wan_work import network_work


@dataclass(frozen=True)
class WanVAE22Config:
    """As WanVAE21Config, on patches of the frames, with a width of its own for the decoder."""

    base_dim: int = 160
    decoder_base_dim: int = 256
    z_dim: int = 48
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    patch_size: int = 2
    latents_mean: tuple[float, ...] = (
        *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557),
        *(-0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825),
        *(-0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502),
        *(-0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230),
        *(-0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748),
        *(0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
    )
    latents_std: tuple[float, ...] = (
        *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013),
        *(0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978),
        *(0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659),
        *(0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093),
        *(0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887),
        *(0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
    )

    def __post_init__(self) -> None:
        check_config(self)
        for size in (self.decoder_base_dim, self.patch_size):
            if type(size) is not int or size < 1:
                raise ModelError(f"the VAE's config has a wrong size: {size!r}")
        factors = [4 * (1 + temporal) for temporal in self.temporal_downsample] + [1]
        for dim, out_dim, factor in zip((1, *self.dim_mult), self.dim_mult, factors, strict=False):
            if dim * factor % out_dim:
                raise ModelError(
                    f"the VAE's config has stages of widths {dim} and {out_dim}",
                    f"the shortcut around a stage averages {dim * factor} channels to {out_dim}",
                )

    @property
    def stride(self) -> tuple[int, int, int]:
        """Frames, rows and columns of the video for each of the latents."""
        space = self.patch_size * 2 ** (len(self.dim_mult) - 1)
        return 2 ** sum(self.temporal_downsample), space, space


class DownStage(nn.Module):
    """Residual blocks and a downsampling (None: the last stage), beside a plain average."""

    def __init__(self, dim: int, out_dim: int, num_res_blocks: int, temporal: bool | None):
        super().__init__()
        self.out_dim = out_dim
        self.factors = (1, 1) if temporal is None else (1 + temporal, 2)
        self.downsamples: list[nn.Module] = [
            ResidualBlock(out_dim if j else dim, out_dim) for j in range(num_res_blocks)
        ]
        if temporal is not None:
            self.downsamples.append(Downsample(out_dim, temporal))

    @property
    def blocks(self) -> list[nn.Module]:
        return self.downsamples

    def __call__(self, x: mx.array, history: History) -> mx.array:
        beside = average_down(x, self.out_dim, *self.factors)
        for layer in self.downsamples:
            x = layer(x, history)
        return history.settle(x + beside)


class UpStage(nn.Module):
    """Residual blocks and an upsampling beside plain copies; the last stage (None) has neither."""

    def __init__(self, dim: int, out_dim: int, num_res_blocks: int, temporal: bool | None):
        super().__init__()
        self.out_dim = out_dim
        self.factors = None if temporal is None else (1 + temporal, 2)
        self.upsamples: list[nn.Module] = [
            ResidualBlock(out_dim if j else dim, out_dim) for j in range(num_res_blocks)
        ]
        if temporal is not None:
            self.upsamples.append(Upsample(out_dim, out_dim, temporal))

    @property
    def blocks(self) -> list[nn.Module]:
        return self.upsamples

    def __call__(self, x: mx.array, history: History) -> mx.array:
        given = x
        for layer in self.upsamples:
            x = layer(x, history)
        if self.factors is None:
            return x
        return history.settle(x + duplicate_up(given, self.out_dim, *self.factors, history.first))


class Encoder(Network):
    alive = 6.5

    def __init__(self, config: WanVAE22Config):
        super().__init__()
        widths = [config.base_dim * m for m in (1, *config.dim_mult)]
        self.conv1 = CausalConv3d(3 * config.patch_size**2, widths[0])
        self.downsamples = [
            DownStage(dim, out_dim, config.num_res_blocks, temporal)
            for dim, out_dim, temporal in zip(
                widths, widths[1:], (*config.temporal_downsample, None), strict=False
            )
        ]
        self.middle = middle(widths[-1])
        self.head = Head(widths[-1], 2 * config.z_dim)

    def layers(self) -> list[nn.Module]:
        return [self.conv1, *self.downsamples, *self.middle, self.head]


class Decoder(Network):
    alive = 5

    def __init__(self, config: WanVAE22Config):
        super().__init__()
        mult = config.dim_mult[::-1]
        widths = [config.decoder_base_dim * m for m in (mult[0], *mult)]
        self.conv1 = CausalConv3d(config.z_dim, widths[0])
        self.middle = middle(widths[0])
        self.upsamples = [
            UpStage(dim, out_dim, config.num_res_blocks + 1, temporal)
            for dim, out_dim, temporal in zip(
                widths, widths[1:], (*config.temporal_downsample[::-1], None), strict=False
            )
        ]
        self.head = Head(widths[-1], 3 * config.patch_size**2)

    def layers(self) -> list[nn.Module]:
        return [self.conv1, *self.middle, *self.upsamples, self.head]


class WanVAE22(StreamingVAE):
    def __init__(self, config: WanVAE22Config):
        super().__init__(config, Encoder(config), Decoder(config))

    def to_patches(self, frames: mx.array) -> mx.array:
        """(B, T, H, W, 3) -> (B, T, H/p, W/p, 3 p p), channels in the order (c, column, row)."""
        p = self.config.patch_size
        b, t, h, w, c = frames.shape
        x = frames.reshape(b, t, h // p, p, w // p, p, c).transpose(0, 1, 2, 4, 6, 5, 3)
        return x.reshape(b, t, h // p, w // p, c * p * p)

    def from_patches(self, x: mx.array) -> mx.array:
        p = self.config.patch_size
        b, t, h, w, c = x.shape
        x = x.reshape(b, t, h, w, c // p**2, p, p).transpose(0, 1, 2, 6, 3, 5, 4)
        return x.reshape(b, t, h * p, w * p, c // p**2)


def encode_memory(
    config: WanVAE22Config, height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of encoding frames of this size, beside the weights.

    The same for any number of frames.
    """
    pixels = height // config.patch_size * (width // config.patch_size)
    frames = 3 * config.stride[0] * height * width * itemsize  # whole, and as patches
    return Encoder(config).working_set(pixels, config.stride[0], itemsize) + 3 * frames


def decode_memory(
    config: WanVAE22Config, height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of decoding to frames of this size, beside the weights.

    The same for any number of frames.
    """
    _, row, column = config.stride
    pixels = height // row * (width // column)
    return Decoder(config).working_set(pixels, config.stride[0], itemsize)


def encode_share(config: WanVAE22Config) -> float:
    """The part of the weights that encoding reads."""
    return 1 - decode_share(config)


def decode_share(config: WanVAE22Config) -> float:
    """The part of the weights that decoding reads."""
    encoder, decoder = (parameter_count(net(config)) for net in (Encoder, Decoder))
    return decoder / (encoder + decoder)


def decode_work(config: WanVAE22Config, height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of decoding to a video of this size."""
    _, row, column = config.stride
    pixels = height // row * (width // column)
    return network_work(Decoder(config), pixels, num_frames, config.stride[0], decode=True)


def encode_work(config: WanVAE22Config, height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of encoding a video of this size."""
    pixels = height // config.patch_size * (width // config.patch_size)
    return network_work(Encoder(config), pixels, num_frames, config.stride[0])

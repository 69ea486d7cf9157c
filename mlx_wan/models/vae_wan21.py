"""The Wan 2.1 VAE: 16 channels, 4x8x8; used by the A14B models and the 1.3B one."""

from dataclasses import dataclass
from itertools import pairwise

import mlx.nn as nn

from mlx_wan.roofline.work import Op

from .vae_wan_blocks import (
    CausalConv3d,
    Downsample,
    Head,
    ResidualBlock,
    Upsample,
    middle,
)
from .vae_wan_stream import Network, StreamingVAE, check_config, parameter_count
from .vae_wan_work import network_work


@dataclass(frozen=True)
class WanVAE21Config:
    """Widths are `base_dim * dim_mult[i]`; between two stages the size halves in space, and in time
    where `temporal_downsample[i]` says so."""

    base_dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] = (
        *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
        *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    )
    latents_std: tuple[float, ...] = (
        *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
        *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
    )

    def __post_init__(self) -> None:
        check_config(self)

    @property
    def stride(self) -> tuple[int, int, int]:
        """Frames, rows and columns of the video for each of the latents."""
        space = 2 ** (len(self.dim_mult) - 1)
        return 2 ** sum(self.temporal_downsample), space, space


class Encoder(Network):
    def __init__(self, config: WanVAE21Config):
        super().__init__()
        widths = [config.base_dim * m for m in (1, *config.dim_mult)]
        self.conv1 = CausalConv3d(3, widths[0])
        self.downsamples: list[nn.Module] = []
        for i, (dim, out_dim) in enumerate(pairwise(widths)):
            for j in range(config.num_res_blocks):
                self.downsamples.append(ResidualBlock(out_dim if j else dim, out_dim))
            if i < len(config.temporal_downsample):
                self.downsamples.append(Downsample(out_dim, config.temporal_downsample[i]))
        self.middle = middle(widths[-1])
        self.head = Head(widths[-1], 2 * config.z_dim)

    def layers(self) -> list[nn.Module]:
        return [self.conv1, *self.downsamples, *self.middle, self.head]


class Decoder(Network):
    def __init__(self, config: WanVAE21Config):
        super().__init__()
        widths = [config.base_dim * m for m in config.dim_mult[::-1]]
        temporal = config.temporal_downsample[::-1]
        self.conv1 = CausalConv3d(config.z_dim, widths[0])
        self.middle = middle(widths[0])
        self.upsamples: list[nn.Module] = []
        dim = widths[0]
        for i, out_dim in enumerate(widths):
            for _ in range(config.num_res_blocks + 1):
                self.upsamples.append(ResidualBlock(dim, out_dim))
                dim = out_dim
            if i < len(temporal):
                dim = out_dim // 2
                self.upsamples.append(Upsample(out_dim, dim, temporal[i]))
        self.head = Head(dim, 3)

    def layers(self) -> list[nn.Module]:
        return [self.conv1, *self.middle, *self.upsamples, self.head]


class WanVAE21(StreamingVAE):
    def __init__(self, config: WanVAE21Config):
        super().__init__(config, Encoder(config), Decoder(config))


def encode_memory(
    config: WanVAE21Config, height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of encoding frames of this size, beside the weights.

    The same for any number of frames.
    """
    return Encoder(config).working_set(height * width, config.stride[0], itemsize)


def decode_memory(
    config: WanVAE21Config, height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of decoding to frames of this size, beside the weights.

    The same for any number of frames.
    """
    _, row, column = config.stride
    pixels = height // row * (width // column)
    return Decoder(config).working_set(pixels, config.stride[0], itemsize)


def encode_share(config: WanVAE21Config) -> float:
    """The part of the weights that encoding reads."""
    return 1 - decode_share(config)


def decode_share(config: WanVAE21Config) -> float:
    """The part of the weights that decoding reads."""
    encoder, decoder = (parameter_count(net(config)) for net in (Encoder, Decoder))
    return decoder / (encoder + decoder)


def decode_work(config: WanVAE21Config, height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of decoding to a video of this size."""
    _, row, column = config.stride
    pixels = height // row * (width // column)
    return network_work(Decoder(config), pixels, num_frames, config.stride[0], decode=True)


def encode_work(config: WanVAE21Config, height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of encoding a video of this size."""
    return network_work(Encoder(config), height * width, num_frames, config.stride[0])

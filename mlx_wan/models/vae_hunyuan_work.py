"""What a pass of HunyuanVideo 1.5's VAE costs: bytes at its peak, and its operations."""

from typing import TYPE_CHECKING

from mlx_wan.roofline import work
from mlx_wan.roofline.work import Op

from .vae_mochi_work import residual_work
from .vae_wan_stream import frames_at_once

if TYPE_CHECKING:
    from .vae_hunyuan import HunyuanVAEConfig

# Tensors of its size alive at once in a residual block, and of the size it makes in an enlargement,
# beside what a stage was given; bench/decode_memory.py measures them.
ALIVE, ALIVE_CHANGE = 6.6, 3.6


def decode_memory(
    config: "HunyuanVAEConfig", height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of decoding to frames of this size, beside the weights.

    It grows with `num_frames` by the attention's keys and values only. 121 frames in half precision
    take 6.5 GB at 848x480 and 11.6 GB at 1280x720, of which these are 0.2 and 0.5 GB.
    """
    frame = _latent_pixels(config, height, width) * itemsize
    dims, blocks = config.block_out_channels[::-1], config.num_res_blocks + 1
    kept = 2 * config.z_dim * frame + _middle_kept(config, frame, num_frames)
    doubled = (*config.temporal_downsample[::-1], False)
    peak, held, frames = 0, 0, 1
    for dim, out_dim, twice in zip(dims, (*dims[1:], 0), doubled, strict=True):
        size = dim * frame
        few = frames_at_once(size, frames)
        kept += 2 * (2 * blocks + 1) * size  # and the convolution of the change of size
        held += frames * size  # what comes in waits until the last stage is through with it
        frames = few * (2 if twice and num_frames > 1 else 1)
        made = frames * out_dim * 4 * frame
        peak = max(peak, held + int(ALIVE * few * size), held + int(ALIVE_CHANGE * made))
        frame *= 4
    return kept + peak


def encode_memory(
    config: "HunyuanVAEConfig", height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of encoding frames of this size, beside the weights.

    It grows with `num_frames` as that of decoding does.
    """
    frame = height * width * itemsize
    dims, halved = config.block_out_channels, (*config.temporal_downsample, False)
    frames = config.stride[0] if num_frames > 1 else 1
    latent = _latent_pixels(config, height, width) * itemsize
    middle_kept = _middle_kept(config, latent, num_frames)
    kept, held = 2 * 3 * frame, 2 * 3 * frames * frame  # a chunk of frames, one by one and joined
    first = peak = 0  # while the histories of later stages are empty, and after that
    for dim, out_dim, half in zip(dims, (*dims[1:], 0), halved, strict=True):
        size = dim * frame
        fewer = 2 if half and frames > 1 else 1
        few = frames_at_once(size, frames, fewer)
        kept += 2 * (2 * config.num_res_blocks + 1) * size
        frame //= 4
        made = frames // fewer * out_dim * frame
        work = int(held + made + (1 + ALIVE) * few * size)
        first, peak = max(first, kept + work), max(peak, work)
        frames, held = frames // fewer, made
    return max(first, kept + middle_kept + peak * (num_frames > 1))


def _latent_pixels(config: "HunyuanVAEConfig", height: int, width: int) -> int:
    _, row, column = config.stride
    return height // row * (width // column)


def _middle_kept(config: "HunyuanVAEConfig", frame: int, num_frames: int) -> int:
    """What the layers in the middle keep: frames for four convolutions, all keys and values."""
    latent_frames = 1 + (num_frames - 1) // config.stride[0]
    return (4 * 2 + 2 * latent_frames) * config.block_out_channels[-1] * frame


def decode_work(config: "HunyuanVAEConfig", height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of decoding to a video of this size."""
    frames = chunks = 1 + (num_frames - 1) // config.stride[0]
    pixels, dims = _latent_pixels(config, height, width), config.block_out_channels[::-1]
    ops = [work.conv3d(1, pixels, config.z_dim, dims[0], chunks)]
    ops += _middle_work(dims[0], pixels, chunks)
    doubled = (*config.temporal_downsample[::-1], False)
    for dim, out_dim, twice in zip(dims, (*dims[1:], 0), doubled, strict=True):
        ops += residual_work(dim, config.num_res_blocks + 1, frames, pixels, chunks)
        if out_dim:
            ops += _change_work(dim, 4 * (1 + twice) * out_dim, frames, pixels, chunks)
            frames, pixels = (2 * frames - 1 if twice else frames), 4 * pixels
    return [*ops, work.conv3d(frames / chunks, pixels, dims[-1], 3, chunks)]


def encode_work(config: "HunyuanVAEConfig", height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of encoding a video of this size."""
    pixels, dims, frames = height * width, config.block_out_channels, num_frames
    chunks = 1 + (num_frames - 1) // config.stride[0]
    ops = [work.conv3d(frames / chunks, pixels, 3, dims[0], chunks)]
    halved = (*config.temporal_downsample, False)
    for dim, out_dim, half in zip(dims, (*dims[1:], 0), halved, strict=True):
        ops += residual_work(dim, config.num_res_blocks, frames, pixels, chunks)
        if out_dim:
            ops += _change_work(dim, out_dim // (4 * (1 + half)), frames, pixels, chunks)
            frames, pixels = ((frames + 1) // 2 if half else frames), pixels // 4
    ops += _middle_work(dims[-1], pixels, chunks)
    return [*ops, work.conv3d(1, pixels, dims[-1], 2 * config.z_dim, chunks)]


def _change_work(dim: int, conv_dim: int, frames: int, pixels: int, chunks: int) -> list[Op]:
    """A convolution, and both ways around it moved between pixels and channels."""
    elements = frames * pixels * (dim + conv_dim) / chunks
    return [
        work.conv3d(frames / chunks, pixels, dim, conv_dim, chunks),
        work.elementwise(work.ADD, elements, 2 * chunks),
    ]


def _middle_work(dim: int, pixels: int, chunks: int) -> list[Op]:
    """Two residual blocks and the attention, where a frame sees itself and those before."""
    return [
        *residual_work(dim, 2, chunks, pixels, chunks),
        work.linear(pixels, dim, dim, 4 * chunks),
        work.attention(1, pixels, pixels * (chunks + 1) / 2, dim, chunks),
    ]

"""What a pass of Mochi's VAE costs: bytes at its peak, and its operations."""

from typing import TYPE_CHECKING

from mlx_wan.roofline import work
from mlx_wan.roofline.work import Op

from .vae_mochi_blocks import HEAD_DIM
from .vae_wan_stream import frames_at_once

if TYPE_CHECKING:
    from .vae_mochi import MochiVAEConfig

# tensors of its largest size that are alive in a stage at once, as measured on the CPU backend
DECODER_ALIVE, ENCODER_ALIVE = 7, 6


def decode_work(config: "MochiVAEConfig", height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of decoding to a video of this size."""
    step, row, column = config.stride
    pixels, frames = height // row * (width // column), 1 + (num_frames - 1) // step
    dims, temporal = config.decoder_dims[::-1], config.temporal[::-1]
    first, second, *others = config.num_blocks[::-1]
    ops = [work.linear(pixels, config.z_dim, dims[0], frames)]
    chunks = frames
    for i, (dim, count) in enumerate(zip(dims, (first + second, *others), strict=True)):
        ops += residual_work(dim, count, frames, pixels, chunks)
        if i < len(temporal):
            columns = dims[i + 1] * temporal[i] * 4
            ops.append(work.linear(frames * pixels / chunks, dim, columns, chunks))
            ops.append(work.elementwise(work.ADD, frames * pixels * columns / chunks, chunks))
            frames, pixels = 1 + (frames - 1) * temporal[i], 4 * pixels
    ops.append(work.elementwise(work.ACTIVATION, frames * pixels * dims[-1] / chunks, chunks))
    ops.append(work.linear(frames * pixels / chunks, dims[-1], 3, chunks))
    return ops


def encode_work(config: "MochiVAEConfig", height: int, width: int, num_frames: int) -> list[Op]:
    """The operations of encoding a video of this size."""
    pixels, frames = height * width, num_frames
    chunks = 1 + (num_frames - 1) // config.stride[0]
    first, *between, last = config.num_blocks
    between[-1] += last
    dim = config.encoder_dims[0]
    ops = [
        work.elementwise(work.ACTIVATION, 12 * frames * pixels / chunks, chunks),
        work.linear(frames * pixels / chunks, 15, dim, chunks),
        *residual_work(dim, first, frames, pixels, chunks),
    ]
    for in_dim, out_dim, count, temporal in zip(
        config.encoder_dims, config.encoder_dims[1:], between, config.temporal, strict=False
    ):
        frames, pixels = 1 + (frames - 1) // temporal, pixels // 4
        rows = frames * pixels / chunks
        ops.append(work.linear(rows, in_dim * temporal * 4, out_dim, chunks))
        ops += residual_work(out_dim, count, frames, pixels, chunks)
        ops.append(work.linear(rows, out_dim, out_dim, 4 * count * chunks))
        lines = out_dim // HEAD_DIM * pixels  # of each head and pixel: one look back for each frame
        seen = frames * (frames + 1) / 2
        ops.append(work.attention(lines, seen / chunks, 1, HEAD_DIM, count * chunks))
    dim = config.encoder_dims[-1]
    ops.append(work.linear(frames * pixels / chunks, dim, 2 * config.z_dim, chunks))
    return ops


def residual_work(dim: int, count: int, frames: int, pixels: int, chunks: int) -> list[Op]:
    elements = frames * pixels * dim / chunks
    return [
        work.conv3d(frames / chunks, pixels, dim, dim, 2 * count * chunks),
        work.elementwise(work.NORM, elements, 2 * count * chunks),
        work.elementwise(work.ACTIVATION, elements, 2 * count * chunks),
        work.elementwise(work.ADD, elements, 5 * count * chunks),  # edges, history, the sum
    ]


def decode_memory(
    config: "MochiVAEConfig", height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of decoding to frames of this size, beside the weights.

    The same for any number of frames.
    """
    pixels = height // config.stride[1] * (width // config.stride[2])
    dims, temporal = config.decoder_dims[::-1], (*config.temporal[::-1], 1)
    blocks = config.num_blocks[::-1]
    blocks = (blocks[0] + blocks[1], *blocks[2:])
    kept = peak = 0
    frames = held = 1
    held = 0
    for dim, count, times in zip(dims, blocks, temporal, strict=True):
        frame = pixels * dim * itemsize
        kept += 4 * count * frame  # two convolutions, two frames each
        few = frames_at_once(frame, frames)
        peak = max(peak, held + DECODER_ALIVE * few * frame)
        held += frames * frame  # the input of a stage waits while its parts go on
        frames = few * times
        pixels *= 4
    return kept + peak


def encode_memory(
    config: "MochiVAEConfig", height: int, width: int, itemsize: int = 4, num_frames: int = 1
) -> int:
    """Bytes alive at the peak of encoding frames of this size, beside the weights.

    It grows with `num_frames`: the attention in time keeps two vectors of every pixel it had.
    """
    pixels, frames = height * width, config.stride[0] if num_frames > 1 else 1
    past = num_frames
    first, *between, last = config.num_blocks
    between[-1] += last
    dim = config.encoder_dims[0]
    kept = 4 * first * pixels * dim * itemsize
    peak = ENCODER_ALIVE * frames * pixels * dim * itemsize
    stages = zip(config.encoder_dims[1:], between, config.temporal, strict=True)
    for dim, count, temporal in stages:
        pixels, frames, past = pixels // 4, -(-frames // temporal), -(-past // temporal)
        frame = pixels * dim * itemsize
        kept += (4 + 2 * past) * count * frame
        peak = max(peak, (ENCODER_ALIVE * frames + 4 * past) * frame)
    return kept + peak

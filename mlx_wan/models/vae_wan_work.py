"""The operations of a Wan VAE's encoder or decoder, counted by walking its layers."""

from collections.abc import Iterator

import mlx.nn as nn

from mlx_wan.roofline import work
from mlx_wan.roofline.work import Op

from .vae_wan_blocks import AttentionBlock, CausalConv3d, Downsample, ResidualBlock, Upsample
from .vae_wan_stream import Network


def network_work(
    network: Network, pixels: int, num_frames: int, stride: int, decode: bool = False
) -> list[Op]:
    """All operations for `num_frames` of video; `pixels` are those of a frame at the input.

    Frames pass in chunks: one first, then `stride` for each latent frame. The frame rate changes
    in the layers that have a convolution in time.
    """
    chunks = 1 + (num_frames - 1) // stride
    rate = 1 if decode else stride  # frames of a chunk after the first, where the layer is
    ops: list[Op] = []
    for layer in _flat(network.layers()):
        frames = 1 + (chunks - 1) * rate
        if isinstance(layer, Downsample):
            pixels //= 4
            dim = layer.conv.weight.shape[0]
            ops.append(work.upsample(frames / chunks, pixels / 4, dim, dim, chunks))
            if "time_conv" in layer:
                rate //= 2
                rows = pixels * (chunks - 1) * rate / chunks
                ops.append(work.linear(rows, 3 * dim, dim, chunks))
        elif isinstance(layer, Upsample):
            out_dim, *_, dim = layer.conv.weight.shape
            if "time_conv" in layer:
                rows = pixels * (chunks - 1) * rate / chunks
                ops.append(work.linear(rows, 3 * dim, 2 * dim, chunks))
                rate *= 2
                frames = 1 + (chunks - 1) * rate
            ops.append(work.upsample(frames / chunks, pixels, dim, out_dim, chunks))
            pixels *= 4
            ops.append(work.elementwise(work.ADD, frames * pixels * out_dim / chunks, 2 * chunks))
        else:
            ops += _at_one_size(layer, pixels, frames / chunks, chunks)
    return ops


def _flat(layers: list[nn.Module]) -> Iterator[nn.Module]:
    for layer in layers:
        yield from getattr(layer, "blocks", [layer])


def _at_one_size(layer: nn.Module, pixels: int, frames: float, chunks: int) -> Iterator[Op]:
    """The convolutions of a layer with what goes around each, or the attention within frames."""
    if isinstance(layer, AttentionBlock):
        dim = layer.proj.weight.shape[0]
        yield work.linear(frames * pixels, dim, 3 * dim, chunks)
        yield work.attention(1, pixels, pixels, dim, frames * chunks)
        yield work.linear(frames * pixels, dim, dim, chunks)
        return
    for conv in layer.modules():
        if not isinstance(conv, CausalConv3d):
            continue
        out_dim, *_, in_dim = conv.weight.shape
        yield work.conv3d(frames, pixels, in_dim, out_dim, chunks)
        yield work.elementwise(work.ADD, frames * pixels * in_dim, 2 * chunks)  # norm, history
        yield work.elementwise(work.ACTIVATION, frames * pixels * in_dim, chunks)
    if isinstance(layer, ResidualBlock):
        out_dim, *_, in_dim = layer.conv1.weight.shape
        yield work.elementwise(work.ADD, frames * pixels * out_dim, chunks)
        if "shortcut" in layer:
            yield work.linear(frames * pixels, in_dim, out_dim, chunks)

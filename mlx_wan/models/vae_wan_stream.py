"""How both Wan VAEs take a video through their networks: a few frames at a time.

The first frame goes alone, then `stride[0]` frames for each latent frame. What the causal layers
remember between chunks (History) has a fixed size, so memory does not grow with the video.

Every residual block is evaluated at once (History.settle), so that one block's tensors are alive
and no more. That serves Metal: a block at 480p is tens of milliseconds of GPU work, and the wait
between two of them microseconds. On the CPU backend convolutions are evaluated singly anyway.
MLX keeps freed buffers for reuse; during a pass it may keep CACHE_BYTES of them, enough for the
next block to find its buffers, instead of everything the odd sizes of ten layers leave behind. The
CPU backend keeps none.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, prod
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from mlx_wan.cpu import is_cpu
from mlx_wan.errors import ModelError, UsageError

from .vae_wan_blocks import CausalConv3d, Downsample, History, Pointwise, TimeConv, Upsample

Frames = mx.array | np.ndarray

CACHE_BYTES = 1 << 30
# For one tensor of the layers at the full size and rate, where all the memory goes. It lets the
# four frames of a chunk through together up to 480p and in ones or twos at 720p, where each is
# enough work for a GPU.
WORKING_BYTES = 512 << 20
# How many such tensors are alive in a residual block: its input, what the convolution reads (with
# the frames before) and writes, and the steps of the norm. bench/decode_memory.py measures it.
ALIVE = 6


def check_config(config: Any) -> None:
    """Raise ModelError when the fields of a VAE's config do not fit together."""
    sizes = [config.base_dim, config.z_dim, config.num_res_blocks, *config.dim_mult]
    statistics = [*config.latents_mean, *config.latents_std]
    fits = (
        all(type(size) is int and 0 < size < 1 << 14 for size in sizes)
        and config.num_res_blocks <= 64
        and len(config.dim_mult) - 1 == len(config.temporal_downsample)
        and all(type(flag) is bool for flag in config.temporal_downsample)
        and len(config.latents_mean) == len(config.latents_std) == config.z_dim
        and all(type(value) in (int, float) and isfinite(value) for value in statistics)
        and all(std > 0 for std in config.latents_std)
    )
    if not fits:
        raise ModelError(f"the VAE's config does not fit together: {config}")


class Network(nn.Module):
    """An encoder or decoder: layers in a row, of which the full-size ones see few frames at once.

    Layers before the first change of the frame rate and after the last one may take the frames of
    a chunk in any portions, since their history continues from one to the next.
    """

    alive: float = ALIVE

    def layers(self) -> list[nn.Module]:
        raise NotImplementedError

    def __call__(self, x: mx.array, history: History) -> mx.array:
        before, during, after = self._by_rate()
        x = _run_few(before, x, history)
        for layer in during:
            x = layer(x, history)
        return _run_few(after, x, history)

    def working_set(self, pixels: int, frames: int, itemsize: int) -> int:
        """Bytes alive at the peak of a long video, of a frame of `pixels` at the input."""
        kept = peak = 0
        for layers, most in zip(self._by_rate(), (WORKING_BYTES, None, WORKING_BYTES), strict=True):
            largest, history, pixels = _footprint(layers, pixels)
            once = frames if most is None else frames_at_once(largest * itemsize, frames)
            kept += history * itemsize
            peak = max(peak, int(self.alive * largest * once * itemsize))
        return kept + max(peak, _upsampling_weights(self) * itemsize)

    def _by_rate(self) -> tuple[list[nn.Module], ...]:
        layers = self.layers()
        timed = [
            i
            for i, layer in enumerate(layers)
            if any(isinstance(part, TimeConv) for part in layer.modules())
        ]
        first, last = (timed[0], timed[-1] + 1) if timed else (len(layers), len(layers))
        return layers[:first], layers[first:last], layers[last:]


class StreamingVAE(nn.Module):
    """Encode and decode; a subclass names its networks and, if it has any, its patches."""

    def __init__(self, config: Any, encoder: Network, decoder: Network):
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.conv1 = Pointwise(2 * config.z_dim, 2 * config.z_dim)
        self.conv2 = Pointwise(config.z_dim, config.z_dim)
        self.decoder = decoder

    def encode(self, frames: Frames | Iterable[Frames]) -> mx.array:
        """Frames (B, T, H, W, 3) in [-1, 1] -> the normalised mean latents (B, t, h, w, C).

        `frames` may also be an iterable of arrays of any numbers of frames. T must be n * stride
        + 1, H and W multiples of the stride.
        """
        history = History()

        def latents(chunk: mx.array) -> mx.array:
            chunk = chunk.astype(self.conv1.weight.dtype)
            moments = self.conv1(self.encoder(self.to_patches(chunk), history))
            mean = mx.split(moments, 2, axis=-1)[0].astype(mx.float32)
            return (mean - self._mean) / self._std

        return encode_stream(latents, frames, self.config.stride, history)

    def decode(self, latents: mx.array) -> mx.array:
        """Normalised latents (B, t, h, w, C) -> all frames (B, T, H, W, 3), clamped to [-1, 1]."""
        return mx.concatenate(list(self.decode_chunks(latents)), axis=1)

    def decode_chunks(self, latents: mx.array, group: int = 1) -> Iterator[mx.array]:
        """The frames of `decode` as they are made: 1, then `stride[0]` for each latent frame.

        `group` latent frames go through together: the same frames, fewer and larger steps.
        """
        check_latents(latents, self.config.z_dim)
        history = History()

        def frames(part: mx.array) -> mx.array:
            z = part.astype(mx.float32) * self._std + self._mean
            x = self.decoder(self.conv2(z.astype(self.conv2.weight.dtype)), history)
            return mx.clip(self.from_patches(x).astype(mx.float32), -1, 1)

        with small_cache():
            yield from decode_stream(frames, latents, history, group)

    def to_patches(self, frames: mx.array) -> mx.array:
        return frames

    def from_patches(self, x: mx.array) -> mx.array:
        return x

    @property
    def _mean(self) -> mx.array:
        return mx.array(self.config.latents_mean)

    @property
    def _std(self) -> mx.array:
        return mx.array(self.config.latents_std)


def parameter_count(network: nn.Module) -> int:
    """How many numbers its weights are."""
    weights: dict[str, mx.array] = dict(tree_flatten(network.parameters()))
    return sum(value.size for value in weights.values())


def encode_stream(
    latents: Callable[[mx.array], mx.array],
    frames: Frames | Iterable[Frames],
    stride: tuple[int, int, int],
    history: History,
) -> mx.array:
    """The latents of all frames; `latents` makes those of one chunk."""
    parts = []
    with small_cache():
        for chunk in chunked(frames, stride):
            parts.append(history.settle(latents(chunk)))
            history.first = False
    return mx.concatenate(parts, axis=1)


def decode_stream(
    frames: Callable[[mx.array], mx.array], latents: mx.array, history: History, group: int
) -> Iterator[mx.array]:
    """The first latent frame alone, then `group` at a time through `frames`."""
    starts = [0, *range(1, latents.shape[1], group)]
    for start, end in zip(starts, [*starts[1:], latents.shape[1]], strict=True):
        yield history.settle(frames(latents[:, start:end]))
        history.first = False


def chunked(frames: Frames | Iterable[Frames], stride: tuple[int, int, int]) -> Iterator[mx.array]:
    """The same frames as 1 and then `stride[0]` at a time, checked."""
    step, row, column = stride
    waiting, wanted, count = [], 1, 0
    for part in [frames] if isinstance(frames, Frames) else frames:
        if part.ndim != 5 or part.shape[-1] != 3:
            raise UsageError(
                f"frames have the shape {tuple(part.shape)}",
                "(batch, frames, height, width, 3) can be encoded",
            )
        height, width = part.shape[2:4]
        if height % row or width % column or not height * width:
            raise UsageError(
                f"frames are {width}x{height}; this model encodes multiples of {column}x{row}",
                f"try {_nearest(width, column)}x{_nearest(height, row)}",
            )
        count += part.shape[1]
        waiting += [part[:, i : i + 1] for i in range(part.shape[1])]
        while len(waiting) >= wanted:
            chunk = [mx.array(frame) for frame in waiting[:wanted]]
            yield mx.concatenate(chunk, axis=1)
            waiting, wanted = waiting[wanted:], step
    if waiting or not count:
        below = max(1, count - len(waiting))
        raise UsageError(
            f"num_frames is {count}; this model encodes {step}n+1 frames",
            f"try {below} or {below + step}",
        )


def check_latents(latents: mx.array, z_dim: int) -> None:
    """Raise UsageError unless latents can be decoded."""
    if latents.ndim != 5 or latents.shape[-1] != z_dim or not latents.size:
        raise UsageError(
            f"latents have the shape {latents.shape}",
            f"(batch, frames, height, width, {z_dim}) can be decoded",
        )


@contextmanager
def small_cache() -> Iterator[None]:
    before = mx.set_cache_limit(CACHE_BYTES)
    mx.set_cache_limit(min(before, CACHE_BYTES))
    try:
        yield
    finally:
        mx.set_cache_limit(before)


def _run_few(layers: list[nn.Module], x: mx.array, history: History) -> mx.array:
    def run(part: mx.array) -> mx.array:
        for layer in layers:
            part = layer(part, history)
        return part

    largest, _, _ = _footprint(layers, prod(x.shape[2:4]))
    return in_portions(run, x, len(x) * largest * x.itemsize)


def depth_first(
    stages: Sequence[Callable[..., mx.array]], x: mx.array, history: History
) -> mx.array:
    """Through stages that enlarge frames, each on few of them at once as the sizes of their inputs
    ask; what a portion becomes goes on to the last stage before the next portion starts."""
    if not stages:
        return x

    def run(part: mx.array) -> mx.array:
        return depth_first(stages[1:], stages[0](part, history), history)

    return in_portions(run, x, len(x) * prod(x.shape[2:]) * x.itemsize)


def in_portions(
    run: Callable[[mx.array], mx.array], x: mx.array, frame_bytes: int, least: int = 1
) -> mx.array:
    """`run` on as many of x's frames at once as WORKING_BYTES hold, a multiple of `least`."""
    few = frames_at_once(frame_bytes, x.shape[1], least)
    parts = [run(x[:, start : start + few]) for start in range(0, x.shape[1], few)]
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=1)


def frames_at_once(frame_bytes: int, frames: int, least: int = 1) -> int:
    few = WORKING_BYTES // max(1, frame_bytes) // least * least
    return max(least, min(frames, few))


def _footprint(layers: list[nn.Module], pixels: int) -> tuple[int, int, int]:
    """(elements of the largest tensor of one frame, elements of history, pixels at the end)."""
    largest = history = 0
    for layer in [block for stage in layers for block in getattr(stage, "blocks", [stage])]:
        pixels //= 4 if isinstance(layer, Downsample) else 1
        for conv in layer.modules():
            if isinstance(conv, CausalConv3d):
                out_dim, *_, in_dim = conv.weight.shape
                largest = max(largest, pixels * max(in_dim, out_dim))
                history += 2 * pixels * in_dim
        pixels *= 4 if isinstance(layer, Upsample) else 1
    return largest, history, pixels


def _upsampling_weights(network: nn.Module) -> int:
    """Elements of the largest upsampling's weights while they are made into those of four phases.

    More than the pictures where those are tiny; measured on the CPU backend.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Upsample)]
    sizes = [layer.conv.weight.shape for layer in layers] if is_cpu() else []
    return max((88 * shape[0] * shape[-1] for shape in sizes), default=0)


def _nearest(size: int, multiple: int) -> int:
    return max(multiple, round(size / multiple) * multiple)

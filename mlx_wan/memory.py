"""What a plan needs in memory, stage by stage, and whether this machine has it.

The formulas count what is alive at the peak of each stage; `bench/memory.py` compares them with
measured peaks.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import mlx.core as mx

from .attention import FUSED_HEAD_SIZES, SCORE_BYTES, row_chunks
from .cpu import is_cpu
from .errors import MemoryPlanError
from .geometry import latent_shape, multiples, token_count
from .loading import Component, ModelFolder, network_config, network_module

_FLOAT32 = 4
_CACHE_BYTES = 2 * 2**30
_MARGIN = 1.15  # for what the formulas of activations leave out; weights are known exactly


@dataclass(frozen=True)
class MemoryPlan:
    """Predicted peak bytes of each stage, and the bytes this machine offers.

    `both_experts` says that all experts fit at once, so none has to be read twice.
    """

    encode: int
    denoise: int
    decode: int
    available: int
    both_experts: bool

    def stages(self) -> dict[str, int]:
        return {"encode": self.encode, "denoise": self.denoise, "decode": self.decode}

    @property
    def peak(self) -> int:
        return max(self.stages().values())


@contextmanager
def run_limits() -> Iterator[None]:
    """For a whole run: a small buffer cache, and on Metal the weights wired into memory.

    Left alone, the cache hoards every odd size of activations it ever saw (speed.md 4.5).
    """
    cache = mx.set_cache_limit(_CACHE_BYTES)
    wired = None if is_cpu() else mx.set_wired_limit(available_memory())
    try:
        yield
    finally:
        mx.set_cache_limit(cache)
        if wired is not None:
            mx.set_wired_limit(wired)
        mx.clear_cache()


def available_memory() -> int:
    """Bytes a run may use: Metal's recommended working set, or the free memory on Linux."""
    if sys.platform == "darwin":
        info: dict[str, Any] = dict(mx.device_info())
        return int(info.get("max_recommended_working_set_size") or info.get("memory_size") or 0)
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()))
    return free


def loaded_bytes(component: Component) -> int:
    """Bytes of a component's weights once loaded: widened to float32 on the CPU backend."""
    if not is_cpu() or component.dtype == "float32" or component.quantization:
        return component.nbytes
    return component.nbytes * 2


def predict(
    folder: ModelFolder,
    width: int,
    height: int,
    num_frames: int,
    expert_names: list[str],
    available: int,
    image: bool,
) -> MemoryPlan:
    """Predicted peaks for a video of this size through these experts, with or without an image."""
    shape = latent_shape(folder, width, height, num_frames)
    weights = [loaded_bytes(folder[name]) for name in expert_names]
    vae = loaded_bytes(folder["vae"])
    activations = int(_MARGIN * _denoise_working_set(folder, shape, expert_names[0]))
    fits_both = len(weights) > 1 and sum(weights) + activations <= available
    encode = int(_MARGIN * _text_working_set(folder))
    if image:
        first_frame = _vae_working_set(folder, width, height, decode=False)
        encode = max(encode, vae + int(_MARGIN * first_frame))
    decode = _vae_working_set(folder, width, height, decode=True) + 2 * _FLOAT32 * prod(shape)
    return MemoryPlan(
        encode=encode,
        denoise=(sum(weights) if fits_both else max(weights)) + activations,
        decode=vae + int(_MARGIN * decode),
        available=available,
        both_experts=fits_both,
    )


def check_fits(
    memory: MemoryPlan,
    folder: ModelFolder,
    width: int,
    height: int,
    num_frames: int,
    expert_names: list[str],
    image: bool,
) -> None:
    """Raise MemoryPlanError when a stage cannot fit, naming the nearest sizes that do."""
    if memory.peak <= memory.available:
        return

    def fits(width: int, height: int, frames: int) -> bool:
        smaller = predict(folder, width, height, frames, expert_names, memory.available, image)
        return smaller.peak <= memory.available

    stage, amount = max(memory.stages().items(), key=lambda item: item[1])
    raise MemoryPlanError(
        f"{width}x{height} with {num_frames} frames needs {format_bytes(amount)} to {stage}; "
        f"{format_bytes(memory.available)} are available",
        _nearest_that_fits(folder, width, height, num_frames, fits),
    )


def _nearest_that_fits(
    folder: ModelFolder,
    width: int,
    height: int,
    num_frames: int,
    fits: Callable[[int, int, int], bool],
) -> str:
    step_w, step_h = multiples(folder)
    stride = network_config(folder["vae"]).stride[0]
    suggestions = []
    for columns in range(width // step_w - 1, 0, -1):
        smaller_w = columns * step_w
        smaller_h = max(step_h, round(height * smaller_w / width / step_h) * step_h)
        if fits(smaller_w, smaller_h, num_frames):
            suggestions.append(f"--width {smaller_w} --height {smaller_h}")
            break
    for frames in range(num_frames - stride, 0, -stride):
        if fits(width, height, frames):
            suggestions.append(f"--num-frames {frames}")
            break
    if suggestions:
        return "these fit: " + ", or ".join(suggestions)
    return "no size fits: convert the model with --quantize 8, or use a smaller model"


def _denoise_working_set(folder: ModelFolder, shape: tuple[int, ...], expert: str) -> int:
    """Bytes alive at the peak of one block, plus what is kept for the whole run.

    The residual before and after, then either q, k and v as chunks and whole, or the attention's
    output and one row chunk of the feed-forward; and for both prompts the keys and values of every
    block.
    """
    config = network_config(folder[expert])
    tokens = token_count(folder, shape)
    size = _compute_bytes(folder[expert])
    residual = 2 * tokens * config.dim * _FLOAT32
    qkv = 6 * tokens * config.dim * size
    feed_forward = (
        tokens * config.dim * size + 2 * row_chunks(tokens)[0].stop * config.ffn_dim * size
    )
    fused = is_cpu() or config.head_dim in FUSED_HEAD_SIZES
    text = 2 * config.num_layers * 2 * config.text_len * config.dim * _FLOAT32
    rotary = tokens * config.head_dim * _FLOAT32
    latents = 8 * _FLOAT32 * prod(shape) * max(1, config.in_dim // config.out_dim)
    block = residual + max(qkv, feed_forward) + (0 if fused else SCORE_BYTES)
    pair = 2 if is_cpu() else 1  # there the guidance pair runs at once
    return pair * block + text + rotary + latents


def _text_working_set(folder: ModelFolder) -> int:
    """Bytes of the embedding table or of one layer of the text encoder, whichever is more.

    Layers are let go as they are used. On the CPU backend a layer's largest matrix is widened to
    float32. Activations are counted at full text length.
    """
    component = folder["text_encoder"]
    config = network_config(component)
    table = config.vocab_size * config.dim * (_FLOAT32 if component.dtype == "float32" else 2)
    layer = (component.nbytes - table) // config.num_layers
    widened = config.dim * config.dim_ffn * _FLOAT32
    length = network_config(folder[folder.preset.experts[0].name]).text_len
    scores = 2 * config.num_heads * length**2 * _FLOAT32  # the position bias, and room
    activations = scores + length * (6 * config.dim + 3 * config.dim_ffn) * _FLOAT32
    return max(table, layer + widened) + activations


def _vae_working_set(folder: ModelFolder, width: int, height: int, decode: bool) -> int:
    """Bytes of the streaming VAE at its top stage; frames come and leave a few at a time."""
    vae = folder["vae"]
    module = network_module(vae)
    estimate = module.decode_memory if decode else module.encode_memory
    return int(estimate(network_config(vae), height, width, _compute_bytes(vae)))


def _compute_bytes(component: Component) -> int:
    return _FLOAT32 if is_cpu() or component.dtype == "float32" else 2


def format_bytes(amount: int) -> str:
    """For people: GiB, or MiB for what is small."""
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 / 10 else f"{amount / 2**20:.1f} MiB"

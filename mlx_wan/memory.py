"""What a plan needs in memory, stage by stage, and whether this machine has it.

The formulas count what is alive at the peak of each stage, as MLX counts it; each network's file
has its own. `bench/predictions.py` compares them with measured peaks. What must fit is more than
what is expected: a margin, and prompts of full length.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import mlx.core as mx

from .conditioning import family
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

    Left alone, the cache hoards every odd size of activations it ever saw.
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
    *,
    text_tokens: Sequence[int] = (),
    steps: int = 1,
    margin: float = 1.0,
) -> MemoryPlan:
    """Predicted peaks for a video of this size through these experts, with or without an image.

    `text_tokens` are those of the prompt and, with guidance, of the negative prompt; without them
    both are as long as can be. `margin` is for activations; weights are known exactly.
    """
    shape = latent_shape(folder, width, height, num_frames)
    experts = [folder[name] for name in expert_names]
    reads = family(folder.preset)
    texts = tuple(text_tokens) or reads.text_tokens(folder, (None, None))
    weights = [loaded_bytes(expert) - _released(expert) for expert in experts]
    latents = 8 * _FLOAT32 * prod(shape) * max(1, _channels(experts[0]) // shape[-1])
    forward = _forward(folder, shape, experts[0], steps, len(texts)) + latents
    kept = _conditioning(folder, shape, experts[0], texts)
    both = len(weights) * kept + forward
    fits_both = len(weights) > 1 and sum(weights) + int(_MARGIN * both) <= available
    encode = int(margin * reads.text_memory(folder, texts, image))
    if image:
        first_frame = _vae_weights(folder, decode=False)
        shown = reads.image_frames(folder.preset, num_frames)
        first_frame += int(margin * _vae_working_set(folder, width, height, shown, decode=False))
        encode = max(encode, first_frame)
    if folder.preset.continues:
        encode = max(encode, reads.small_memory(folder, shape))
    decode = _vae_working_set(folder, width, height, num_frames, decode=True)
    decode += 2 * _FLOAT32 * prod(shape)
    denoise = sum(weights) if fits_both else max(weights)
    return MemoryPlan(
        encode=encode,
        denoise=denoise + int(margin * (both if fits_both else kept + forward)),
        decode=_vae_weights(folder, decode=True) + int(margin * decode),
        available=available,
        both_experts=fits_both,
    )


def text_tokens(folder: ModelFolder, *texts: str) -> tuple[int, ...]:
    """About how many tokens each text will have; the tokenizer is not read for it."""
    return family(folder.preset).text_tokens(folder, texts)


def check_fits(
    memory: MemoryPlan,
    folder: ModelFolder,
    width: int,
    height: int,
    num_frames: int,
    expert_names: list[str],
    image: bool,
    *,
    steps: int = 1,
) -> None:
    """Raise MemoryPlanError when a stage may not fit, naming the nearest sizes that do."""

    def needed(width: int, height: int, frames: int) -> MemoryPlan:
        names, most = expert_names, memory.available
        size = (width, height, frames)
        return predict(folder, *size, names, most, image, steps=steps, margin=_MARGIN)

    def fits(width: int, height: int, frames: int) -> bool:
        return needed(width, height, frames).peak <= memory.available

    here = needed(width, height, num_frames)
    if here.peak <= memory.available:
        return
    stage, amount = max(here.stages().items(), key=lambda item: item[1])
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


def _forward(
    folder: ModelFolder, shape: tuple[int, ...], expert: Component, steps: int, prompts: int
) -> int:
    """Bytes alive at the peak of a forward; on the CPU backend the guidance pair runs at once."""
    estimate = network_module(expert).denoise_memory
    config, tokens = network_config(expert), token_count(folder, shape)
    peak = int(estimate(config, tokens, steps, _compute_bytes(expert)))
    if is_cpu() and prompts > 1:  # what is kept for the steps is there once
        peak += int(estimate(config, tokens, 0, _compute_bytes(expert)))
    return peak


def _conditioning(
    folder: ModelFolder, shape: tuple[int, ...], expert: Component, texts: tuple[int, ...]
) -> int:
    """Bytes one expert keeps of the prompts for all its steps, where its network does so."""
    module, tokens = network_module(expert), token_count(folder, shape)
    if not hasattr(module, "conditioning_memory"):
        return 0
    config = network_config(expert)
    return int(sum(module.conditioning_memory(config, tokens, length) for length in texts))


def _released(expert: Component) -> int:
    """Bytes of the weights an expert lets go of before its first step; they are not quantised."""
    module = network_module(expert)
    if not hasattr(module, "released_parameters"):
        return 0
    widened = is_cpu() and not expert.quantization
    itemsize = _FLOAT32 if widened or expert.dtype == "float32" else 2
    return int(module.released_parameters(network_config(expert))) * itemsize


def _channels(expert: Component) -> int:
    return int(network_config(expert).in_dim)


def _vae_weights(folder: ModelFolder, decode: bool) -> int:
    """Bytes of the half that runs: weights are read when they are used."""
    vae = folder["vae"]
    module = network_module(vae)
    share = getattr(module, "decode_share" if decode else "encode_share", None)
    return int(loaded_bytes(vae) * (share(network_config(vae)) if share else 1.0))


def _vae_working_set(
    folder: ModelFolder, width: int, height: int, num_frames: int, decode: bool
) -> int:
    """Bytes of the streaming VAE at its top stage; frames come and leave a few at a time.

    Only an attention over time keeps something of every frame.
    """
    vae = folder["vae"]
    module = network_module(vae)
    estimate = module.decode_memory if decode else module.encode_memory
    return int(estimate(network_config(vae), height, width, _compute_bytes(vae), num_frames))


def _compute_bytes(component: Component) -> int:
    return _FLOAT32 if is_cpu() or component.dtype == "float32" else 2


def format_bytes(amount: int) -> str:
    """For people: GiB, or MiB for what is small."""
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 / 10 else f"{amount / 2**20:.1f} MiB"

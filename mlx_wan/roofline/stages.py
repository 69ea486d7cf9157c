"""The operations of a plan, stage by stage, from the configs of its model; no weight is read."""

from collections.abc import Mapping
from typing import Any

from mlx_wan.conditioning import family
from mlx_wan.loading import Component, ModelFolder, network_config, network_module
from mlx_wan.memory import loaded_bytes, text_tokens
from mlx_wan.plan import ExpertPlan, Plan
from mlx_wan.tensorfile import read_header

from . import work
from .rates import Rates, pair_seconds, seconds

_STEP_OPS = 24  # the solver's, the guidance's and the check for NaN


def stage_seconds(plan: Plan, folder: ModelFolder, rates: Rates) -> dict[str, float]:
    """Seconds of encode, denoise and decode."""
    texts = text_tokens(folder, plan.prompt, *([plan.negative_prompt] if plan.guided else []))
    return {
        "encode": _encode(plan, folder, rates, texts),
        "denoise": sum(
            _expert(plan, folder[expert.name], expert, rates, texts)
            for expert in plan.experts
            if expert.last_step > expert.first_step
        ),
        "decode": _decode(plan, folder, rates),
    }


def _encode(plan: Plan, folder: ModelFolder, rates: Rates, texts: tuple[int, ...]) -> float:
    reads, image = family(folder.preset), plan.image is not None
    total = rates.start
    for name in folder.preset.encoders(image):
        total += loading_seconds(folder[name], folder[name].nbytes, rates)
    total += seconds(reads.text_work(folder, texts, image), rates)
    if image:
        vae = folder["vae"]
        frames = reads.image_frames(folder.preset, plan.num_frames)
        total += loading_seconds(vae, loaded_bytes(vae), rates)
        total += _vae(vae, "encode_work", plan, frames, rates)
    return total


def _expert(
    plan: Plan,
    component: Component,
    expert: ExpertPlan,
    rates: Rates,
    texts: tuple[int, ...],
) -> float:
    module, config = network_module(component), network_config(component)
    guided = expert.guidance_scale != 1 and len(texts) > 1
    total = loading_seconds(component, loaded_bytes(component), rates)
    conditioned = texts if guided else texts[:1]
    if hasattr(module, "condition_work"):
        ops = [module.condition_work(config, plan.tokens, n) for n in conditioned]
        total += sum(seconds(each, rates) for each in ops)
    steps = expert.last_step - expert.first_step
    if hasattr(module, "precompute_work"):
        total += len(conditioned) * seconds(module.precompute_work(config, steps), rates)
    forward = seconds(_forward(module, config, plan.tokens, max(conditioned)), rates)
    elements = 1
    for side in plan.latent_shape:
        elements *= side
    step = seconds([work.elementwise(work.ADD, elements, _STEP_OPS)], rates)
    step += pair_seconds(forward, rates) if guided else forward
    return total + steps * step


def _forward(module: Any, config: Any, tokens: int, text: int) -> list[work.Op]:
    """Counted by the network's file; of one that counts only its flops, one large matmul."""
    if hasattr(module, "forward_work"):
        return list(module.forward_work(config, tokens, text))
    width = getattr(config, "dim", 1024)
    return [work.Op(work.LINEAR, module.forward_flops(config, tokens), width, tokens)]


def _decode(plan: Plan, folder: ModelFolder, rates: Rates) -> float:
    vae = folder["vae"]
    total = loading_seconds(vae, loaded_bytes(vae), rates)
    total += rates.frame * plan.width * plan.height * plan.num_frames
    return total + _vae(vae, "decode_work", plan, plan.num_frames, rates)


def _vae(vae: Component, name: str, plan: Plan, frames: int, rates: Rates) -> float:
    count = getattr(network_module(vae), name, None)
    if count is None:
        return 0.0
    return seconds(count(network_config(vae), plan.height, plan.width, frames), rates)


def loading_seconds(component: Component, in_memory: int, rates: Rates) -> float:
    """To read a component, build its network and widen its weights to so many bytes."""
    reading = component.nbytes / rates.load + rates.widen * max(0, in_memory - component.nbytes)
    return reading + rates.tensor * tensor_count(component)


def tensor_count(component: Component) -> int:
    """How many tensors a component has, from the headers of its files if there are any."""
    if not component.files:
        return component.tensors
    headers: list[Mapping[str, Any]] = [read_header(file) for file in component.files]
    return sum(map(len, headers))

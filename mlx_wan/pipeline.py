"""The story: encode -> denoise -> decode -> save. One function per arrow, each usable alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from .conditioning import (
    ImageCondition,
    PromptEmbeds,
    encode_image,
    encode_prompt,
    read_small,
)
from .cpu import run_pair
from .errors import GenerationError
from .loading import Component, ModelFolder, load_network
from .memory import loaded_bytes
from .plan import ExpertPlan, Plan
from .sampling import Schedule, make_solver

__all__ = [
    "Step",
    "continue_latents",
    "decode",
    "denoise",
    "encode_image",
    "encode_prompt",
    "start_noise",
]


@dataclass(frozen=True)
class Step:
    """What one step of `denoise` leaves: latents `(1, T, H, W, C)` before and after, evaluated."""

    index: int
    expert: str
    before: mx.array
    latents: mx.array


def start_noise(plan: Plan) -> mx.array:
    """Standard normal latents `(1, T, H, W, C)` in float32, from the plan's seed alone."""
    return mx.random.normal(plan.latent_shape, key=_keys(plan)[0])


def continue_latents(
    plan: Plan, folder: ModelFolder, latents: mx.array, image: ImageCondition
) -> ImageCondition:
    """What the plan's network reads of `latents`, those of `plan.before`, and of the image."""
    key = mx.random.split(mx.random.key(plan.seed), 3)[2]  # none of `_keys`
    return read_small(plan, folder, latents, key, image)


def denoise(
    plan: Plan,
    experts: "Experts",
    latents: mx.array,
    condition: ImageCondition | None = None,
) -> Iterator[Step]:
    """Turn noise into clean latents, yielding after each evaluated step."""
    condition = condition or ImageCondition()
    solver = make_solver(plan.solver, Schedule(plan.sigmas, plan.timesteps))
    renoise = _keys(plan)[1]
    latents = condition.put_back(latents)
    for index in range(plan.steps):
        expert = experts.at(index)
        before = latents
        velocity = expert.guided_velocity(latents, plan.timesteps[index], condition)
        latents = solver.step(index, velocity, latents, renoise)
        latents = condition.put_back(latents)
        mx.eval(latents)
        yield Step(index, expert.name, before, latents)
        del expert  # else two are in memory while the next one loads


def decode(
    plan: Plan, folder: ModelFolder, latents: mx.array, networks: "Networks | None" = None
) -> Iterator[np.ndarray]:
    """Latents -> frames, uint8 `(t, H, W, 3)`, a few at a time: peak memory has no T in it."""
    vae = (networks or Networks()).load(folder["vae"])
    for chunk in vae.decode_chunks(latents):
        if not mx.isfinite(chunk).all().item():
            raise GenerationError(
                "the VAE made NaN or infinite frames of finite latents",
                "a damaged weight: check the model with `mlx-wan convert --verify`",
            )
        # Wan-Video/Wan2.2 truncates rather than rounds (wan/utils/utils.py, save_video)
        yield np.array(((chunk[0] + 1) * 127.5).astype(mx.uint8))


class Networks:
    """Loads networks, and leaves those of one model loaded for its next run where memory allows.

    Only between runs that say so by sharing one of these: alone, a stage lets go of what it used.
    The text encoder is not kept; it is let go layer by layer while it runs.
    """

    def __init__(self) -> None:
        self._model: str | None = None
        self._kept: dict[str, Any] = {}
        self._keep = False

    def begin(self, plan: Plan, folder: ModelFolder) -> None:
        """Decide for a run, and forget what it has no use or no room for.

        Everything kept has to fit beside the run's own peak.
        """
        names = [*(expert.name for expert in plan.experts), "vae"]
        weights = sum(loaded_bytes(folder[name]) for name in names)
        self._keep = plan.memory.peak + weights <= plan.memory.available
        if not self._keep or self._model != folder.fingerprint:
            self._kept.clear()
            mx.clear_cache()
        self._model = folder.fingerprint

    @property
    def keeps(self) -> bool:
        """Whether what is loaded stays for the next run, and so has to stay whole."""
        return self._keep

    def load(self, component: Component) -> Any:
        """The network of a component, with its weights."""
        if component.name in self._kept:
            return self._kept[component.name]
        network = load_network(component)
        if self._keep:
            self._kept[component.name] = network
        return network


class Experts:
    """The experts of a plan, taking turns in memory unless the plan found room for all."""

    def __init__(
        self,
        plan: Plan,
        folder: ModelFolder,
        embeds: PromptEmbeds,
        networks: Networks | None = None,
    ):
        self.plan, self.folder, self.embeds = plan, folder, embeds
        self.networks = networks or Networks()
        self.loaded: dict[str, GuidedExpert] = {}

    def at(self, step: int) -> "GuidedExpert":
        """The expert for a step, loaded; the one before it is let go first."""
        wanted = self.plan.expert_at(step)
        if wanted.name not in self.loaded:
            if not self.plan.memory.both_experts:
                self.release()
            network = self.networks.load(self.folder[wanted.name])
            release = not self.networks.keeps
            expert = GuidedExpert(wanted, network, self.plan, self.embeds, release=release)
            mx.eval(network.parameters())  # those that were let go are never read whole
            self.loaded[wanted.name] = expert
        return self.loaded[wanted.name]

    def release(self) -> None:
        """Let go of all weights."""
        self.loaded.clear()
        mx.clear_cache()


class GuidedExpert:
    """One expert with all that stays the same over its steps: text keys, rotary tables, and where
    the network has it the modulation of the whole schedule.

    With `release` the network may let go of weights that no step needs any more.
    """

    def __init__(
        self,
        expert: ExpertPlan,
        network: Any,
        plan: Plan,
        embeds: PromptEmbeds,
        *,
        release: bool = False,
    ):
        self.name, self.network, self.guidance_scale = expert.name, network, expert.guidance_scale
        self.tokens, self.latent_frames = plan.tokens, plan.latent_shape[1]
        grid = tuple(
            n // p for n, p in zip(plan.latent_shape[1:4], network.config.patch_size, strict=True)
        )
        prompts = [embeds.prompt_embeds]
        if expert.guidance_scale != 1 and embeds.negative_prompt_embeds is not None:
            prompts.append(embeds.negative_prompt_embeds)
        made = [network.condition(prompt, grid) for prompt in prompts]
        if hasattr(network, "precompute"):
            timesteps = plan.timesteps[expert.first_step : expert.last_step]
            made = network.precompute(made, timesteps, release=release)
        self.positive, self.negative = made[0], made[1] if len(made) > 1 else None

    def guided_velocity(
        self, latents: mx.array, timestep: float, condition: ImageCondition
    ) -> mx.array:
        """`uncond + scale * (cond - uncond)`, or `cond` alone without guidance."""
        inputs = condition.network_input(latents, timestep)
        mx.eval(inputs)  # shared by the two of the pair, like the weights
        time = condition.timestep(timestep, self.tokens, self.latent_frames)
        if self.negative is None:
            return self.network(inputs, time, self.positive)
        cond, uncond = run_pair(
            lambda: self.network(inputs, time, self.positive),
            lambda: self.network(inputs, time, self.negative),
        )
        return uncond + self.guidance_scale * (cond - uncond)


def _keys(plan: Plan) -> mx.array:
    """Independent keys for the start noise and for solvers that renoise."""
    return mx.random.split(mx.random.key(plan.seed), 2)

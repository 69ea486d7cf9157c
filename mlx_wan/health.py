"""Broken results are caught, not delivered: NaN latents, black or frozen frames."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from .conditioning import ImageCondition, PromptEmbeds
from .errors import GenerationError
from .pipeline import GuidedExpert, Step
from .plan import Plan

_BLACK = 8  # no sample above this: the frame is black to any eye
_FROZEN = 0.02  # mean change between frames, in grey levels
_WEIGHTS = (
    "overflow in 16 bit or a damaged weight: `mlx-wan convert --verify`, or convert with "
    "--dtype bf16 and without --quantize"
)


def check_encoded(embeds: PromptEmbeds, condition: ImageCondition) -> None:
    """Raise GenerationError when what the network will be told is not finite, naming the part."""
    for name, array in [*_arrays(embeds), *_arrays(condition)]:
        if not mx.isfinite(array).all().item():
            raise GenerationError(f"the encoders made NaN or infinite {name}", _WEIGHTS)


def _arrays(told: Any, name: str = "") -> Iterator[tuple[str, mx.array]]:
    """The arrays in dataclasses of any family, and what they are called."""
    if isinstance(told, mx.array):
        yield name, told
    elif is_dataclass(told):
        for field in fields(told):
            yield from _arrays(getattr(told, field.name), f"{name} {field.name}".strip())


def check_step(step: Step, expert: GuidedExpert, plan: Plan, condition: ImageCondition) -> None:
    """Raise GenerationError when the latents are not finite, naming step and layer group."""
    if mx.isfinite(step.latents).all().item():
        return
    where = _first_bad_group(step, expert, plan, condition)
    raise GenerationError(
        f"NaN or infinite latents at step {step.index + 1} of {plan.steps} "
        f"in {where} of {step.expert}",
        _WEIGHTS,
    )


def _first_bad_group(
    step: Step, expert: GuidedExpert, plan: Plan, condition: ImageCondition
) -> str:
    """Repeat the step's forwards, watching each group of layers."""
    inputs = condition.network_input(step.before, plan.timesteps[step.index])
    time = condition.timestep(plan.timesteps[step.index], plan.tokens, plan.latent_shape[1])
    for prompt in (expert.positive, expert.negative):
        if prompt is None:
            continue
        bad: list[str] = []

        def watch(group: str, value: Any, bad: list[str] = bad) -> None:
            if not bad and not mx.isfinite(value).all().item():
                bad.append(group)

        watch("the head", expert.network(inputs, time, prompt, watch=watch))
        if bad:
            return bad[0]
    return "the solver, not the network,"


class FrameHealth:
    """Looks at frames on their way out; `verdict` says what is wrong with the whole, or None."""

    def __init__(self) -> None:
        self.count = 0
        self.brightest = 0
        self.largest_change = 0.0
        self._last: np.ndarray | None = None

    def watch(self, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass chunks `(t, H, W, 3)` through unchanged, remembering what matters."""
        for chunk in chunks:
            for frame in chunk:
                self._see(frame)
            yield chunk

    def verdict(self) -> str | None:
        if self.brightest <= _BLACK:
            return "black"
        if self.count > 1 and self.largest_change <= _FROZEN:
            return "frozen"
        return None

    def _see(self, frame: np.ndarray) -> None:
        self.count += 1
        self.brightest = max(self.brightest, int(frame.max()))
        if self._last is not None:
            change = np.abs(frame.astype(np.int16) - self._last).mean()
            self.largest_change = max(self.largest_change, float(change))
        self._last = frame.astype(np.int16)

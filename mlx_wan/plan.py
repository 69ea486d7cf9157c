"""The plan: every choice of a run as data. It prints well, and goes to JSON and back.

It is stored in the record beside the video, so the same latents can be made again from it; it is
made in planning.py.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import UsageError
from .memory import MemoryPlan, format_bytes
from .presets import PRESETS


@dataclass(frozen=True)
class ExpertPlan:
    """The steps `first_step <= i < last_step` of one expert, and its guidance (1 is off)."""

    name: str
    guidance_scale: float
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Plan:
    """Everything that decides the result, and what it is predicted to cost.

    `latent_shape` is (1, T, H, W, C); `timesteps` are what the network sees (0..1000);
    `tokens` is the transformer's sequence length; `flops` covers all its forwards. `before` is the
    plan of the smaller video whose latents this one makes larger; the video is that of this plan.
    """

    model: str
    model_path: str
    model_fingerprint: str
    task: str
    prompt: str
    negative_prompt: str
    image: str | None
    image_sha256: str | None
    last_image: str | None
    last_image_sha256: str | None
    width: int
    height: int
    num_frames: int
    fps: int
    latent_shape: tuple[int, ...]
    tokens: int
    steps: int
    shift: float
    solver: str
    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]
    experts: tuple[ExpertPlan, ...]
    seed: int
    output: str | None
    flops: float
    memory: MemoryPlan
    notes: tuple[str, ...] = ()
    before: "Plan | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is the inverse."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """A plan from `to_dict`'s data, as found in a record. Raises UsageError if damaged."""
        try:
            data = dict(values)
            data["experts"] = tuple(ExpertPlan(**expert) for expert in data["experts"])
            data["memory"] = MemoryPlan(**data["memory"])
            for name in ("latent_shape", "sigmas", "timesteps", "notes"):
                data[name] = tuple(data[name])
            if (before := data.get("before")) is not None:
                if before.get("before") is not None:
                    raise ValueError("it continues a plan that continues another")
                data["before"] = cls.from_dict(before)
            return cls(**data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"this is not a plan of this version: {error}", "take it from a video's record"
            ) from None

    @property
    def stages(self) -> "tuple[Plan, ...]":
        """This plan, behind the one it continues."""
        return (self,) if self.before is None else (self.before, self)

    @property
    def forwards(self) -> int:
        """How often a transformer runs: twice a step where guidance is on."""
        return count_forwards(self.experts)

    @property
    def guided(self) -> bool:
        """Whether any expert uses guidance, and so the negative prompt."""
        return any(expert.guidance_scale != 1 for expert in self.experts)

    def expert_at(self, step: int) -> ExpertPlan:
        """The expert that runs step `step`."""
        return next(e for e in self.experts if e.first_step <= step < e.last_step)


def describe(plan: Plan) -> list[tuple[str, str]]:
    """The plan as (label, text) rows for people."""
    if plan.before is not None:
        small, large = describe(plan.before), describe(replace(plan, before=None))
        once = {"prompt", "length", "seed", "image", "memory available"}
        unused = {"peak memory, decode"}
        return [
            *[row for row in small if row[0] not in unused | {"memory available", "note"}],
            *[("then " + row[0], row[1]) for row in large if row[0] not in once | {"note"}],
            *[row for row in large if row[0] == "memory available"],
            *[row for row in small + large if row[0] == "note"],
        ]
    seconds = plan.num_frames / plan.fps
    experts = ", ".join(
        f"{e.name} steps {e.first_step + 1}-{e.last_step} guidance {e.guidance_scale:g}"
        for e in plan.experts
        if e.last_step > e.first_step
    )
    rows = [
        ("model", f"{plan.model} ({plan.model_path})"),
        ("prompt", plan.prompt),
        ("negative prompt", plan.negative_prompt or "(none)"),
        ("video", f"{plan.width}x{plan.height}, {plan.num_frames} frames at {plan.fps} fps"),
        ("length", f"{seconds:.2f} s"),
        ("latents", "x".join(map(str, plan.latent_shape[1:])) + f", {plan.tokens:,} tokens"),
        ("sampling", f"{plan.solver}, {plan.steps} steps, {spacing(plan)}"),
        ("experts", experts),
        ("seed", str(plan.seed)),
        ("work", f"{plan.forwards} forwards, {plan.flops / 1e12:,.3g} TFLOP"),
    ]
    if plan.image:
        rows.insert(2, ("image", plan.image))
    if plan.last_image:
        rows.insert(3, ("last image", plan.last_image))
    for stage, amount in plan.memory.stages().items():
        rows.append((f"peak memory, {stage}", format_bytes(amount)))
    rows.append(("memory available", format_bytes(plan.memory.available)))
    rows += [("note", note) for note in plan.notes]
    return rows


def spacing(plan: Plan) -> str:
    """How its noise levels are spaced, in words."""
    preset = PRESETS.get(plan.model)
    own = preset is not None and preset.schedule is not None
    return "linear-quadratic schedule" if own else f"shift {plan.shift:g}"


def count_forwards(experts: tuple[ExpertPlan, ...]) -> int:
    """How often a transformer runs: twice a step where guidance is on."""
    return sum((e.last_step - e.first_step) * (2 if e.guidance_scale != 1 else 1) for e in experts)

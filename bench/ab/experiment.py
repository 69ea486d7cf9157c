"""One comparison as data: variants, prompts, seeds, and every plan that follows from them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.memory import available_memory
from mlx_wan.plan import Plan
from mlx_wan.planning import plan_for
from mlx_wan.request import MAX_SEED, Request

from .facts import facts
from .prompts import Prompt
from .schedule import Run, schedule
from .variants import Variant, precision, request_settings

FORMAT, VERSION = "mlx-wan-experiment", 1
MAX_SEEDS, MAX_REPEATS, MAX_RUNS = 100, 100, 100_000
SIZE = ("width", "height", "num_frames", "fps", "image", "negative_prompt")
_IN_PLANS = (  # what of a plan is told as a difference, in this order
    *("model", "width", "height", "num_frames", "fps", "steps", "solver", "shift"),
    *("negative_prompt", "image_sha256", "tokens", "forwards", "flops"),
)


@dataclass(frozen=True)
class Experiment:
    """What is compared. `common` are the settings all share: size, frames, image, quality ..."""

    variants: tuple[Variant, ...]
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    repeats: int = 1
    order_seed: int = 0
    common: dict[str, Any] = field(default_factory=dict)
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise UsageError(f"repeats is {self.repeats}", f"accepted: 1 to {MAX_REPEATS}")
        count = len(self.variants) * (1 + len(self.prompts) * len(self.seeds) * self.repeats)
        if count > MAX_RUNS:
            raise UsageError(f"these are {count:,} runs", f"accepted: up to {MAX_RUNS:,}")

    @property
    def runs(self) -> list[Run]:
        """All runs in their order, the warm-ups first."""
        return schedule(
            [variant.id for variant in self.variants],
            [prompt.id for prompt in self.prompts],
            self.seeds,
            self.repeats,
            self.order_seed,
        )


class Plans:
    """The plan of each run. All are made for the memory that was free at first, so that no variant
    is planned otherwise halfway. Making this checks every variant, in each density.
    """

    def __init__(self, experiment: Experiment):
        self._prompts = {prompt.id: prompt for prompt in experiment.prompts}
        self._variants = {variant.id: variant for variant in experiment.variants}
        self._common = experiment.common
        limit = experiment.memory_limit
        self._memory = available_memory() if limit is None else limit
        firsts: dict[str, Prompt] = {}
        for prompt in experiment.prompts:
            firsts.setdefault(prompt.density, prompt)
        self.base = {
            (id, density): self._plan(id, prompt, experiment.seeds[0])
            for id in self._variants
            for density, prompt in firsts.items()
        }

    def __getitem__(self, run: Run) -> Plan:
        return self._plan(run.variant, self._prompts[run.prompt], run.seed)

    def flops(self, run: Run) -> float:
        """Of a run, without planning it: no prompt changes them."""
        return self.base[run.variant, self._prompts[run.prompt].density].flops

    def of(self, variant: str) -> dict[str, Plan]:
        """A plan of a variant for each density; others of it differ by prompt and seed alone."""
        return {density: plan for (id, density), plan in self.base.items() if id == variant}

    def _plan(self, id: str, prompt: Prompt, seed: int) -> Plan:
        variant = self._variants[id]
        values = _settings_of(variant, prompt.density, self._common)
        try:
            request = Request(prompt.text, model=str(variant.folder.path), seed=seed, **values)
            return plan_for(request, variant.folder, memory_limit=self._memory)
        except MlxWanError as error:
            raise type(error)(f"variant {variant.label}: {error.message}", error.hint) from None


def describe(experiment: Experiment, plans: Plans) -> dict[str, Any]:
    """`experiment.json`: what the result folder says of itself."""
    variants = {v.id: _described(v, plans.of(v.id)) for v in experiment.variants}
    return {
        "format": FORMAT,
        "version": VERSION,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts(),
        "variants": variants,
        "prompts": [asdict(prompt) for prompt in experiment.prompts],
        "seeds": list(experiment.seeds),
        "repeats": experiment.repeats,
        "order_seed": experiment.order_seed,
        "common": experiment.common,
        "plan_differences": _plan_differences(variants),
    }


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Why a folder with `experiment.json` `there` cannot take the runs of `here`; None if it can.

    The commit may differ, where a model lies, and the machine's memory, which a virtual one's
    system counts a little differently after each start.
    """
    for name in ("variants", "prompts", "seeds", "repeats", "order_seed", "common"):
        if found := _first_difference(name, there.get(name), here[name]):
            return found
    if found := _first_difference("versions", there.get("versions"), here["versions"]):
        return found
    machines = [dict(one.get("machine") or {}) | {"memory": 0} for one in (there, here)]
    return _first_difference("machine", *machines)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise UsageError unless they are few, different and seeds."""
    fine = all(type(seed) is int and 0 <= seed <= MAX_SEED for seed in seeds)
    if not seeds or len(seeds) > MAX_SEEDS or not fine or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"seeds are {', '.join(map(str, seeds))[:200] or 'none'}",
            f"accepted: up to {MAX_SEEDS} different whole numbers from 0, as in 0,1",
        )


def _settings_of(variant: Variant, density: str, shared: Mapping[str, Any]) -> dict[str, Any]:
    """What a variant's Request has besides prompt, model and seed."""
    from mlx_wan.studio.profiles import PROFILES
    from mlx_wan.studio.shots import render_size

    values = {name: shared[name] for name in SIZE if shared.get(name) is not None}
    values |= request_settings(variant.spec, shared)
    quality = values.pop("quality", None)
    if quality is not None:
        profile = PROFILES[density if quality == "auto" else quality]
        values.setdefault("steps", min(profile.steps, variant.folder.preset.steps))
        if not {"width", "height"} & values.keys():
            shape = variant.folder.preset.sizes[0]
            values["width"], values["height"] = render_size(variant.folder, shape, profile.area)
    return values


def _described(variant: Variant, plans: Mapping[str, Plan]) -> dict[str, Any]:
    folder = variant.folder
    return {
        "label": variant.label,
        "model": folder.preset.id,
        "model_path": str(folder.path.absolute()),
        "fingerprint": folder.fingerprint,
        "bytes": sum(component.nbytes for component in folder.components.values()),
        "asked": variant.spec.settings,
        "settings": {"precision": precision(folder)} | _by_density(plans),
    }


def _by_density(plans: Mapping[str, Plan]) -> dict[str, Any]:
    """Each setting of the plans: one value, or one for each density where they differ."""
    each = {density: _settings(plan) for density, plan in plans.items()}
    names = dict.fromkeys(name for settings in each.values() for name in settings)
    joined: dict[str, Any] = {}
    for name in names:
        values = {density: settings.get(name) for density, settings in each.items()}
        first = next(iter(values.values()))
        joined[name] = first if all(value == first for value in values.values()) else values
    return joined


def _settings(plan: Plan) -> dict[str, Any]:
    settings = {name: getattr(plan, name) for name in _IN_PLANS}
    for expert in plan.experts:
        if expert.last_step > expert.first_step:
            settings[f"{expert.name}.guidance_scale"] = expert.guidance_scale
            settings[f"{expert.name}.steps"] = expert.last_step - expert.first_step
    return settings


def _plan_differences(variants: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Settings that are not the same in all variants, with the value of each in order."""
    all_settings = [about["settings"] for about in variants.values()]
    names = dict.fromkeys(name for settings in all_settings for name in settings)
    told = {name: [settings.get(name) for settings in all_settings] for name in names}
    weights = [about["fingerprint"] for about in variants.values()]
    differing = {k: v for k, v in told.items() if any(value != v[0] for value in v)}
    return differing | ({"weights": weights} if len(set(weights)) > 1 else {})


def _first_difference(name: str, there: Any, here: Any) -> str | None:
    """The first place where two pieces of plain data differ, in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            if key != "model_path" and (
                found := _first_difference(f"{name}.{key}", there.get(key), here.get(key))
            ):
                return found
        return None
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, pair in enumerate(zip(there, here, strict=True)):
            if found := _first_difference(f"{name}[{i}]", *pair):
                return found
        return None
    if type(there) is type(here) and there == here:
        return None
    return f"{name} is {_brief(there)} there and {_brief(here)} here"


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."

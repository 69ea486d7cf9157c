"""Do the figures tell good from bad? wan-mini at 20 steps against 2, and against swapped experts.

    python -m mlx_wan.bench.metrics.separation DIR [--prompts 24] [--seeds 0,1] [--model FOLDER]

makes the clips in DIR (those already there are kept) and prints, for each figure, the means, the
paired difference over prompts in standard deviations of single clips, and on how many prompts it
is better; then how many clips each gate stops.
"""

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_wan.files import complete_or_absent

from .measure import METRICS, measure_and_gate
from .metric import Values

GOOD = "20 steps"
_EXPERTS = "high_noise", "low_noise"


@dataclass(frozen=True)
class Clip:
    variant: str
    prompt: str
    values: Values
    passed: dict[str, bool]


def swap_experts(folder: Path, target: Path) -> Path:
    """A copy of a converted model in which each expert has the other's weights."""
    shutil.copytree(folder, target)
    high, low = (target / name for name in _EXPERTS)
    high.rename(target / "third")
    low.rename(high)
    (target / "third").rename(low)
    config = json.loads((target / "config.json").read_text())
    other = dict(zip(_EXPERTS, reversed(_EXPERTS), strict=True))

    def moved(name: str) -> str:
        first, _, rest = name.partition("/")
        return f"{other.get(first, first)}/{rest}"

    config["files"] = {moved(name): about for name, about in config["files"].items()}
    parts = config["components"]
    for one in _EXPERTS:
        parts[one]["files"] = [moved(name) for name in parts[one]["files"]]
    parts[_EXPERTS[0]], parts[_EXPERTS[1]] = parts[_EXPERTS[1]], parts[_EXPERTS[0]]
    (target / "config.json").write_text(json.dumps(config))
    return target


def make_clip(path: Path, model: Path, prompt: str, steps: int, seed: int) -> None:
    from mlx_wan import Request, make_plan, save_video
    from mlx_wan.run import Rendering

    plan = make_plan(Request(prompt=prompt, model=str(model), steps=steps, seed=seed))
    with complete_or_absent(path) as partial:
        save_video(Rendering(plan).frames(), partial, fps=plan.fps, crf=10, preset="medium")


def table(clips: Sequence[Clip]) -> str:
    lines = [f"{'':20}{'better':>8}{GOOD:>10}" + "".join(
        f"{name:>10}{'effect':>8}{'prompts':>9}" for name in _others(clips)
    )]  # fmt: skip
    for name, metric in METRICS.items():
        means = {variant: _by_prompt(clips, variant, name) for variant in (GOOD, *_others(clips))}
        good = means[GOOD]
        if metric.kind == "gate" or not good:
            continue
        line = f"{name:20}{metric.better:>8}{np.mean(list(good.values())):10.3f}"
        for variant in _others(clips):
            line += _compared(good, means[variant], metric.better, _spread(clips, variant, name))
        lines.append(line + ("  *" if metric.kind == "quality" else ""))
    lines.append("\n* decides. effect: of the bad one, in standard deviations, below 0 is worse; ")
    lines[-1] += "prompts: on how many it is worse\n\nclips stopped by gates"
    for variant in (GOOD, *_others(clips)):
        own = [clip for clip in clips if clip.variant == variant]
        stopped = Counter(name for clip in own for name, ok in clip.passed.items() if not ok)
        told = ", ".join(f"{name} {count}" for name, count in sorted(stopped.items())) or "none"
        lines.append(f"{variant:20} of {len(own)}: {told}")
    return "\n".join(lines)


def _compared(
    good: Mapping[str, float], bad: Mapping[str, float], better: str, spread: float
) -> str:
    sign = -1 if better == "lower" else 1
    change = [sign * (bad[prompt] - good[prompt]) for prompt in good if prompt in bad]
    if not change:
        return f"{'-':>10}{'-':>8}{'-':>9}"
    effect = np.mean(change) / spread if spread else 0.0
    worse = f"{sum(c < 0 for c in change)}/{len(change)}" if better != "none" else "-"
    return f"{np.mean(list(bad.values())):10.3f}{effect:+8.2f}{worse:>9}"


def _by_prompt(clips: Sequence[Clip], variant: str, name: str) -> dict[str, float]:
    """Seeds of one prompt count once."""
    found: dict[str, list[float]] = {}
    for clip in clips:
        value = clip.values.get(name)
        if clip.variant == variant and value is not None:
            found.setdefault(clip.prompt, []).append(value)
    return {prompt: float(np.mean(values)) for prompt, values in found.items()}


def _spread(clips: Sequence[Clip], variant: str, name: str) -> float:
    """The standard deviation of single clips, each variant's around its own mean."""
    variances = []
    for one in (GOOD, variant):
        values = [clip.values.get(name) for clip in clips if clip.variant == one]
        variances.append(np.var([value for value in values if value is not None] or [0.0]))
    return float(np.sqrt(np.mean(variances)))


def _others(clips: Sequence[Clip]) -> list[str]:
    return list(dict.fromkeys(clip.variant for clip in clips if clip.variant != GOOD))


def main() -> int:
    from mlx_wan.bench.ab.prompts import read_prompts
    from mlx_wan.loading import embedded_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument(
        "--model", type=Path, help="a converted model; the embedded one if left out"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model = options.model or embedded_model()
    swapped = options.folder / "swapped"
    if not swapped.exists():
        swap_experts(model, swapped)
    variants = {GOOD: (model, 20), "2 steps": (model, 2), "swapped": (swapped, 20)}
    clips = []
    for seed in map(int, options.seeds.split(",")):
        for prompt in read_prompts(limit=options.prompts):
            for variant, (weights, steps) in variants.items():
                path = options.folder / f"{variant.replace(' ', '-')}-{prompt.id}-{seed}.mp4"
                if not path.exists():
                    make_clip(path, weights, prompt.text, steps, seed)
                told = measure_and_gate(path, prompt=prompt.text, loops=True)
                clips.append(Clip(variant, prompt.id, *told))
                print(path.name, file=sys.stderr)
    print(table(clips))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Does a report see differences that are none, and does it see those there are?

    python -m mlx_wan.bench.aa_simulation --reports 100 [--prompts 24] [--seeds 2] [--json]

A/A: both variants are drawn from the same distribution, so every PASS and FAIL is wrong. Then one
real effect at a time is put on B, and reports that find it are counted. The figures are made to be
as awkward as real ones: prompts and seeds that differ much more than the variants (and that both
share, as they share the noise), differences with heavy tails and another size for each prompt,
metrics that hang together, times that drift, slow outliers, runs that fail and gates that do not
hold, and people who agree with each other about a pair for reasons that are none of the variants'.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .ab.prompts import Prompt
from .ab.results import RunResult, StoredExperiment
from .ab.schedule import schedule
from .report.build import build_report
from .report.votes import Vote

VERDICTS = ("PASS", "FAIL", "NOT ENOUGH EVIDENCE")
STAGE_SHARES = {"encode": 0.1, "denoise": 0.6, "decode": 0.25, "save": 0.05}


@dataclass(frozen=True)
class Effect:
    """What is different about B: metrics in standard deviations of single videos, time and memory
    as factors, the chance that a video breaks, and that a person without other reason takes B."""

    metrics: Mapping[str, float] | None = None
    time: float = 1.0
    memory: float = 1.0
    breaks: float = 0.001
    taken: float = 0.5


@dataclass(frozen=True)
class Figure:
    unit: str
    better: str
    kind: str


FIGURES = {
    "flicker": Figure("levels", "lower", "quality"),
    "smoothness": Figure("", "higher", "quality"),
    "sharpness": Figure("", "higher", "quality"),
    "colourfulness": Figure("", "higher", "quality"),
    "legibility": Figure("", "higher", "quality"),
    "text score": Figure("", "higher", "quality"),
    "loudness": Figure("dB", "none", "information"),
}
EFFECTS = {
    "A/A": Effect(breaks=0.01),
    "quality +0.6": Effect({"sharpness": 0.6, "text score": 0.6}),
    "quality -0.6": Effect({"sharpness": -0.6, "text score": -0.6}),
    "quality +0.6, 10 times slower": Effect({"sharpness": 0.6, "text score": 0.6}, time=10),
    "time -15 %": Effect(time=0.85),
    "time +15 %": Effect(time=1.15),
    "memory -10 %": Effect(memory=0.9),
    "taken 4 of 5": Effect(taken=0.8),
    "taken 1 of 5": Effect(taken=0.2),
    "half break": Effect(breaks=0.5),
}
EXPECTED = dict(
    zip(
        EFFECTS,
        (*(VERDICTS[2], "PASS", "FAIL", "PASS"), *("PASS", "FAIL", "PASS", "PASS", "FAIL", "FAIL")),
        strict=True,
    )
)


def simulate(
    effect: Effect, seed: int, prompts: int = 24, seeds: int = 2, raters: int = 2
) -> dict[str, Any]:
    """One report's figures, as `write_report` would make them of such runs."""
    dice = np.random.default_rng(seed)
    experiment = _experiment(prompts, seeds)
    order = [
        run
        for run in schedule(["a", "b"], [p.id for p in experiment.prompts], range(seeds))
        if not run.warmup
    ]
    names = list(FIGURES)
    offsets = {id: dice.normal(0, 1, len(names)) for id in {run.prompt for run in order}}
    loudness = {id: dice.lognormal(0, 0.5) for id in offsets}
    shared = {(r.prompt, r.seed): dice.normal(0, 0.6, len(names)) for r in order}
    drift, runs = 0.0, []
    for number, run in enumerate(order):
        own = effect if run.variant == "b" else Effect(breaks=min(effect.breaks, 0.01))
        drift = 0.95 * drift + dice.normal(0, 0.01)
        seconds = 20 * own.time * np.exp(drift + abs(dice.standard_t(3)) * 0.01)
        seconds *= 1.8 if dice.random() < 0.02 else 1
        common, single = dice.standard_t(4), dice.standard_t(4, len(names))
        values = offsets[run.prompt] + shared[run.prompt, run.seed]
        values = values + 0.4 * loudness[run.prompt] * (0.5 * common + single)
        for name, size in (own.metrics or {}).items():
            values[names.index(name)] += (
                1.4 * size * (1 if FIGURES[name].better == "higher" else -1)
            )
        peak = 8e9 * own.memory * (1 + dice.normal(0, 0.002))
        breaks, failed = dice.random() < own.breaks, dice.random() < 0.5 * min(own.breaks, 0.01)
        result = RunResult(
            run=run,
            folder=Path(),
            state="failed" if failed else "done",
            error="killed" if failed else None,
            video=None,
            latents=None,
            seconds={} if failed else {n: x * seconds for n, x in STAGE_SHARES.items()},
            seconds_per_step=None,
            step_seconds=(),
            peak_memory={"denoise": int(peak)},
            peak_rss=None,
            bytes_on_disk=None,
            work={"flops": 1e12},
            hashes={},
            health=None,
            metrics={} if failed else dict(zip(names, map(float, values), strict=True)),
            gates={} if failed else {"moving": bool(not breaks), "clean": True},
            commit=None,
            started=f"{number:06}",
            finished=f"{number:06}",
        )
        runs.append(result)
    return build_report(experiment, runs, _votes(experiment, effect, raters, dice), FIGURES)


def _votes(
    experiment: StoredExperiment, effect: Effect, raters: int, dice: np.random.Generator
) -> list[Vote]:
    """People see what neither variant is to blame for, and mostly see the same."""
    votes = []
    for prompt in experiment.prompts:
        habit = dice.normal(0, 0.5)  # one prompt may suit one of two equal videos
        for seed in experiment.seeds:
            appeal = habit + dice.normal(0, 1)
            for rater in range(raters):
                seen = appeal + dice.normal(0, 0.7)
                sides = ("a", "b") if dice.random() < 0.5 else ("b", "a")
                taken = "b" if seen > 0 else "a"
                if dice.random() < abs(2 * effect.taken - 1):
                    taken = "b" if effect.taken > 0.5 else "a"
                choice = "left" if sides[0] == taken else "right"
                choice = "tie" if abs(seen) < 0.2 else choice
                votes.append(Vote(f"{prompt.id}-{seed}", *sides, choice, f"rater {rater}", ""))
    return votes


def _experiment(prompts: int, seeds: int) -> StoredExperiment:
    about = {"label": "a", "model": "m", "fingerprint": "0" * 64, "settings": {}}
    return StoredExperiment(
        folder=Path(),
        variants={"a": about, "b": about | {"label": "b"}},
        prompts=tuple(Prompt(f"p{n:02}", f"prompt {n}", "low") for n in range(prompts)),
        seeds=tuple(range(seeds)),
        repeats=1,
        data={},
    )


def count_verdicts(effect: Effect, reports: int, first_seed: int = 0, **sizes: int) -> Counter[str]:
    """Verdicts of so many simulated reports."""
    return Counter(
        str(simulate(effect, first_seed + number, **sizes)["verdict"]) for number in range(reports)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reports", type=int, default=100, help="of each kind")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--raters", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-aa", action="store_true", help="no effects")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sizes = {"prompts": given.prompts, "seeds": given.seeds, "raters": given.raters}
    rows = []
    start = time.perf_counter()
    for name, effect in EFFECTS.items():
        if given.only_aa and name != "A/A":
            break
        if not given.raters:
            effect = replace(effect, taken=0.5)
        counts = count_verdicts(effect, given.reports, given.seed, **sizes)
        rows.append({"effect": name, "expected": EXPECTED[name]} | {v: counts[v] for v in VERDICTS})
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if given.json:
        print(json.dumps({"sizes": sizes, "reports": given.reports, "rows": rows}))
    else:
        print(f"{given.reports} reports each: {given.prompts} prompts x {given.seeds} seeds")
        for row in rows:
            counts_text = "".join(f"{row[v]:>6} {v}" for v in VERDICTS)
            print(f"{row['effect']:<32}{counts_text}    expected {row['expected']}")
    aa = rows[0][VERDICTS[2]]
    sys.exit(0 if aa >= 0.95 * given.reports else 1)


if __name__ == "__main__":
    main()

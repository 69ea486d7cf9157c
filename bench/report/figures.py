"""What was measured of two variants, row by row: differences, their intervals, what is clear."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from mlx_wan.bench.ab.results import RunResult
from mlx_wan.bench.metrics import Metric

from .pairs import Pair, peak
from .stats import bootstrap_interval, swap_test

ALPHA = 0.01  # the chance that two equal variants differ clearly in anything measured
LEVEL = 0.95
TIME_NOISE, MEMORY_NOISE = 0.03, 0.01  # a machine differs from itself by so much
OVERALL = "overall quality"
_LARGEST = 1e30  # larger figures would overflow when squared


@dataclass(frozen=True)
class Figure:
    """One row: the means of A and B over prompts, and B's difference with its 95 % interval.

    `difference` is B - A, or B / A - 1 where `ratio`; `effect` and its ends are the difference in
    standard deviations of single videos, turned so that above 0 is better. `p` is corrected for
    all rows that are decided on together. `clear` is "better", "worse" or None, for B.
    """

    name: str
    unit: str
    better: str
    kind: str  # "quality", "time", "memory" or "information"
    ratio: bool
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    prompts: int
    pairs: int
    p: float | None = None
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    noise: float | None = None
    clear: str | None = None


def figures_of(
    pairs: Sequence[Pair], metrics: Mapping[str, Metric], *, alpha: float = ALPHA, seed: int = 0
) -> list[Figure]:
    """All rows: overall quality first, then quality, time, memory, and what is for information.

    `alpha` is split among the rows that are decided on by `swap_test`. Pairs of which a video is
    missing are left out here: they count as failed at the gates.
    """
    done = [pair for pair in pairs if pair.done]
    measured = [_metric_table(name, metrics.get(name), done) for name in _names(done, metrics)]
    overall = _overall(measured)
    sound = [*([overall] if overall else []), *measured, *_cost_tables(done)]
    sound = [table for table in sound if table.values]
    deciding = [table for table in sound if table.kind != "information"]
    corrected: dict[str, float] = {}
    if deciding:
        names = list(dict.fromkeys(pair.prompt for pair in done))
        differences = np.array(
            [[table.by_prompt().get(name, math.nan) for table in deciding] for name in names]
        )
        corrected = dict(
            zip((t.name for t in deciding), swap_test(differences, seed=seed).tolist(), strict=True)
        )
    order = ("quality", "time", "memory", "information")
    sound.sort(key=lambda table: order.index(table.kind))
    return [table.figure(corrected.get(table.name), alpha, seed) for table in sound]


@dataclass(frozen=True)
class _Table:
    """One figure of every pair: `(prompt, a, b)`; a ratio's are natural logarithms."""

    name: str
    unit: str
    better: str
    kind: str
    ratio: bool
    values: tuple[tuple[str, float, float], ...]
    noise: float = 0.0

    def by_prompt(self) -> dict[str, float]:
        return _by_prompt((prompt, b - a) for prompt, a, b in self.values)

    def spread(self) -> float:
        """The standard deviation of single videos, A's and B's each around their own mean."""
        a, b = (np.array([value[side] for value in self.values]) for side in (1, 2))
        return math.sqrt((a.var() + b.var()) / 2)

    def figure(self, p: float | None, alpha: float, seed: int) -> Figure:
        a = fmean(_by_prompt((prompt, a) for prompt, a, _ in self.values).values())
        b = fmean(_by_prompt((prompt, b) for prompt, _, b in self.values).values())
        differences = np.array(list(self.by_prompt().values()))
        interval = bootstrap_interval(differences, level=LEVEL, seed=seed)
        mean = float(differences.mean())
        low, high = (interval.low, interval.high) if interval else (None, None)
        sign = {"higher": 1.0, "lower": -1.0}.get(self.better)
        spread = self.spread()
        effects: list[float | None] = [None] * 3
        if sign and spread > 0 and not self.ratio:
            ends = (low, high) if sign > 0 else (high, low)
            effects = [None if x is None else sign * x / spread for x in (mean, *ends)]
        shown = [_as_ratio(x) if self.ratio else x for x in (mean, low, high)]
        return Figure(
            *(self.name, self.unit, self.better, self.kind, self.ratio),
            *((math.exp(a), math.exp(b)) if self.ratio else (a, b)),
            difference=shown[0] or 0.0,
            low=shown[1],
            high=shown[2],
            prompts=len(differences),
            pairs=len(self.values),
            p=p,
            effect=effects[0],
            effect_low=effects[1],
            effect_high=effects[2],
            noise=math.expm1(self.noise) if self.ratio else None,
            clear=self._clear(p, low, high, sign, alpha),
        )

    def _clear(
        self,
        p: float | None,
        low: float | None,
        high: float | None,
        sign: float | None,
        alpha: float,
    ) -> str | None:
        """Both must say so: the corrected test, and an interval wholly beyond the noise."""
        if p is None or low is None or high is None or not sign or p > alpha:
            return None
        if low > self.noise:
            return "better" if sign > 0 else "worse"
        if high < -self.noise:
            return "worse" if sign > 0 else "better"
        return None


def _names(pairs: Sequence[Pair], metrics: Mapping[str, Metric]) -> list[str]:
    found = {name for pair in pairs for run in (*pair.a, *pair.b) for name in run.metrics}
    known = [name for name in metrics if name in found and metrics[name].kind != "gate"]
    return known + sorted(found - metrics.keys())


def _metric_table(name: str, metric: Metric | None, pairs: Sequence[Pair]) -> _Table:
    """Means over repeats; pairs where either side could not be measured are left out."""
    values = []
    for pair in pairs:
        a, b = (_mean_metric(name, side) for side in (pair.a, pair.b))
        if a is not None and b is not None:
            values.append((pair.prompt, a, b))
    about: tuple[str, str, str] = ("", "none", "information")
    if metric is not None:
        decides = metric.kind == "quality" and metric.better in ("higher", "lower")
        about = (metric.unit, metric.better, "quality" if decides else "information")
    return _Table(name, *about, False, tuple(values))


def _mean_metric(name: str, runs: Sequence[RunResult]) -> float | None:
    found = [run.metrics.get(name) for run in runs if run.done]
    numbers = [x for x in found if x is not None and math.isfinite(x) and abs(x) < _LARGEST]
    return fmean(numbers) if numbers else None


def _overall(tables: Sequence[_Table]) -> _Table | None:
    """The mean of all quality metrics, each in standard deviations of its single videos."""
    counted = [t for t in tables if t.kind == "quality" and t.values and t.spread() > 0]
    if len(counted) < 2:
        return None
    sums: dict[str, list[float]] = {}
    for table in counted:
        sign, spread = (1 if table.better == "higher" else -1), table.spread()
        for prompt, difference in table.by_prompt().items():
            sums.setdefault(prompt, []).append(sign * difference / spread)
    values = tuple((prompt, 0.0, fmean(found)) for prompt, found in sums.items())
    return _Overall(OVERALL, "SD", "higher", "quality", False, values)


class _Overall(_Table):
    def spread(self) -> float:
        return 1.0  # it is in standard deviations already


def _cost_tables(pairs: Sequence[Pair]) -> list[_Table]:
    costs = (
        ("time", "s", TIME_NOISE, lambda run: run.total_seconds),
        ("peak memory", "bytes", MEMORY_NOISE, peak),
    )
    tables = []
    for name, unit, noise, cost in costs:
        values = []
        for pair in pairs:
            sides = [[cost(run) for run in side if run.done] for side in (pair.a, pair.b)]
            if all(side and min(side) > 0 for side in sides):
                a, b = (math.log(median(side)) for side in sides)
                values.append((pair.prompt, a, b))
        kind = "time" if name == "time" else "memory"
        if kind == "time":
            noise = max(noise, _own_spread(pairs))
        tables.append(
            _Table(name, unit, "lower", kind, True, tuple(values), noise=math.log1p(noise))
        )
    return tables


def _own_spread(pairs: Sequence[Pair]) -> float:
    """How far one variant's times for the same work lie apart: half their quartiles' distance.

    The same work is the same number of floating-point operations. The larger of A's and B's.
    """
    spreads = [0.0]
    for side in ("a", "b"):
        by_work: dict[Any, list[float]] = {}
        for pair in pairs:
            for run in getattr(pair, side):
                if run.done and run.total_seconds > 0:
                    times = by_work.setdefault(run.work.get("flops"), [])
                    times.append(math.log(run.total_seconds))
        groups = [times for times in by_work.values() if len(times) > 1]
        rest = [time - median(times) for times in groups for time in times]
        if len(rest) >= 4:
            low, high = np.quantile(rest, [0.25, 0.75])
            spreads.append(math.expm1((high - low) / 2))
    return max(spreads)


def _by_prompt(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for prompt, value in values:
        found.setdefault(prompt, []).append(value)
    return {prompt: fmean(numbers) for prompt, numbers in found.items()}


def _as_ratio(log: float | None) -> float | None:
    return None if log is None else math.expm1(min(log, 60))

"""What the runs of each variant cost, in a few figures: for the terminal and for JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .results import STAGES, RunResult, StoredExperiment


@dataclass(frozen=True)
class Spread:
    """Of n values; a single one is its own median."""

    median: float
    min: float
    max: float
    n: int


@dataclass(frozen=True)
class VariantSummary:
    """Warm-ups are not in it; failed runs are counted, and in no other figure.
    `failed_before` counts failures of runs that were tried again.

    Seconds by stage and of the whole run, peak bytes by stage, bytes of the model on disk.
    """

    id: str
    label: str
    done: int
    failed: int
    errors: tuple[str, ...]
    failed_before: int
    seconds: dict[str, Spread]
    seconds_per_step: Spread | None
    peak_memory: dict[str, int]
    peak_rss: int | None
    model_bytes: int | None
    teraflops: float | None


def summarize(experiment: StoredExperiment, runs: Sequence[RunResult]) -> list[VariantSummary]:
    """One summary for each variant, in their order."""
    return [
        _summary(id, about, [run for run in runs if run.run.variant == id and not run.run.warmup])
        for id, about in experiment.variants.items()
    ]


def to_json(summaries: Iterable[VariantSummary]) -> list[dict[str, Any]]:
    return [asdict(summary) for summary in summaries]


def spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def _summary(id: str, about: dict[str, Any], runs: Sequence[RunResult]) -> VariantSummary:
    done = [run for run in runs if run.done]
    seconds = {stage: spread([run.seconds[stage] for run in done]) for stage in STAGES}
    seconds["total"] = spread([run.total_seconds for run in done])
    stages = dict.fromkeys(stage for run in done for stage in run.peak_memory)
    rates = [
        run.work["flops"] / run.seconds["denoise"] / 1e12
        for run in done
        if run.work.get("flops") and run.seconds["denoise"]
    ]
    model_bytes = about.get("bytes")
    return VariantSummary(
        id=id,
        label=about["label"],
        done=len(done),
        failed=len(runs) - len(done),
        errors=tuple(dict.fromkeys(run.error for run in runs if run.error)),
        failed_before=sum(len(run.earlier_errors) for run in runs),
        seconds={stage: value for stage, value in seconds.items() if value is not None},
        seconds_per_step=spread([r.seconds_per_step for r in done if r.seconds_per_step]),
        peak_memory={s: max(run.peak_memory.get(s, 0) for run in done) for s in stages},
        peak_rss=max((run.peak_rss for run in done if run.peak_rss), default=None),
        model_bytes=model_bytes if type(model_bytes) is int else None,
        teraflops=median(rates) if rates else None,
    )

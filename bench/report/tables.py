"""CSV files of a report: runs.csv with what each run cost, metrics.csv with what it looked like."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from mlx_wan.bench.ab.results import STAGES, RunResult

from .pairs import peak


def runs_csv(runs: Sequence[RunResult]) -> str:
    """One line for each run, warm-ups left out; seconds and bytes."""
    header = ["variant", "prompt", "seed", "repeat", "state", *(f"{s}_seconds" for s in STAGES)]
    header += ["total_seconds", "seconds_per_step", "peak_memory", "peak_rss", "video_bytes"]
    rows = []
    for one in _counted(runs):
        run = one.run
        row = [run.variant, run.prompt, run.seed, run.repeat, one.state]
        row += [one.seconds.get(stage) for stage in STAGES]
        row += [round(one.total_seconds, 6) if one.done else None, one.seconds_per_step]
        row += [peak(one) or None, one.peak_rss, one.bytes_on_disk]
        rows.append([*row, one.started, one.finished, one.error])
    return _csv([*header, "started", "finished", "error"], rows)


def metrics_csv(runs: Sequence[RunResult]) -> str:
    """One line for each metric and gate of each run; a gate is 1 when it was passed."""
    rows = []
    for one in _counted(runs):
        where = [one.run.variant, one.run.prompt, one.run.seed, one.run.repeat]
        rows += [[*where, "metric", name, value] for name, value in one.metrics.items()]
        rows += [[*where, "gate", name, int(passed)] for name, passed in one.gates.items()]
    return _csv(["variant", "prompt", "seed", "repeat", "kind", "name", "value"], rows)


def _counted(runs: Iterable[RunResult]) -> list[RunResult]:
    return [one for one in runs if not one.run.warmup]


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([list(map(_cell, row)) for row in rows])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """No text is a formula when a spreadsheet opens it."""
    if not isinstance(value, str):
        return value
    value = value.replace("\0", "")
    return "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

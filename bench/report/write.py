"""A result folder -> report.json, report.html, runs.csv and metrics.csv in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_wan.bench.ab.results import read_experiment, read_runs
from mlx_wan.bench.metrics import Metric
from mlx_wan.files import complete_or_absent

from .build import build_report
from .media import EMBEDDED_BYTES, sources, videos_of
from .page import page
from .tables import metrics_csv, runs_csv
from .votes import read_votes

HTML, JSON, RUNS_CSV, METRICS_CSV = "report.html", "report.json", "runs.csv", "metrics.csv"


def write_report(
    directory: Path,
    *,
    metrics: Mapping[str, Metric] | None = None,
    embedded_bytes: int = EMBEDDED_BYTES,
) -> dict[str, Any]:
    """Write the report of a result folder anew, with the votes so far; returns report.json.

    Each file is replaced whole. Raises UsageError when the folder holds no comparison and
    BadFileError when a part of it is damaged.
    """
    directory = Path(directory)
    experiment = read_experiment(directory)
    runs = read_runs(experiment)
    votes, unreadable = read_votes(directory)
    if metrics is None:
        from mlx_wan.bench.metrics import METRICS

        metrics = METRICS
    report = build_report(experiment, runs, votes, metrics, unreadable_votes=unreadable)
    report["path"] = str((directory / JSON).absolute())
    videos = videos_of(experiment, runs)
    html = page(report, videos, sources(videos, directory, embedded_bytes), metrics)
    files = {
        RUNS_CSV: runs_csv(runs),
        METRICS_CSV: metrics_csv(runs),
        HTML: html,
        JSON: json.dumps(report, indent=1, ensure_ascii=True, allow_nan=False) + "\n",
    }
    for name, content in files.items():
        with complete_or_absent(directory / name) as partial:
            partial.write_text(content, encoding="utf-8", errors="replace", newline="")
    return report

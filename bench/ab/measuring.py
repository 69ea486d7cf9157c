"""Fills in the quality of every finished run: a pass of its own, which may be repeated.

It is no part of the runs, so that neither its time nor its memory is in theirs.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError
from mlx_wan.presets import PRESETS

from .folder import update_run
from .results import RunResult, StoredExperiment, read_runs

REFERENCE = "a"  # PSNR, SSIM and the like of the others are against this variant's video


def measure_runs(
    experiment: StoredExperiment,
    *,
    again: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Measure runs without metrics (all of them with `again`); returns how many were.

    For the one that holds the folder's lock. A video that cannot be read fails its gates.
    """
    from mlx_wan.bench.metrics import gates, measure

    runs = read_runs(experiment)
    texts = {prompt.id: prompt.text for prompt in experiment.prompts}
    todo = [run for run in runs if run.done and (again or not run.gates)]
    for count, result in enumerate(todo, 1):
        assert result.video is not None
        video, text = result.video, texts[result.run.prompt]
        loops = _loops(experiment.variants[result.run.variant])
        reference = _reference(result, runs)
        try:
            metrics = measure(video, prompt=text, reference=reference, loops=loops)
            changes: dict[str, Any] = {"metrics": metrics, "gates": gates(video, loops=loops)}
        except MlxWanError as error:
            changes = {"metrics": {}, "gates": {"readable": False}, "metrics_error": str(error)}
        update_run(result, changes)
        report(count, len(todo))
    return len(todo)


def _loops(about: dict[str, Any]) -> bool:
    """Whether the variant's model promises loops of the length that was made."""
    preset = PRESETS.get(about["model"])
    length = about["settings"].get("num_frames")
    return preset is not None and preset.loops and length == preset.num_frames


def _reference(result: RunResult, runs: Sequence[RunResult]) -> Path | None:
    """The first variant's video of the same prompt, seed and repeat; none for itself."""
    own = result.run
    for other in runs:
        run = other.run
        same = (run.prompt, run.seed, run.repeat) == (own.prompt, own.seed, own.repeat)
        if same and run.variant == REFERENCE != own.variant:
            return other.video
    return None

"""Fills in the quality of every finished run: a pass of its own, which may be repeated.

It is no part of the runs, so that neither its time nor its memory is in theirs.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mlx_wan.errors import BadFileError
from mlx_wan.presets import PRESETS

from .folder import update_run
from .results import RunResult, StoredExperiment, read_runs
from .schedule import Run

REFERENCE = "a"  # PSNR, SSIM and the like of the others are against this variant's video


def measure_runs(
    experiment: StoredExperiment,
    *,
    again: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Measure runs without metrics (all of them with `again`); returns how many were.

    For the one that holds the folder's lock. A video that is damaged fails its gates. A run
    whose reference is another one by now, as when that had failed and was made again, is measured
    again.
    """
    from mlx_wan.bench.metrics import measure_and_gate

    runs = read_runs(experiment)
    texts = {prompt.id: prompt.text for prompt in experiment.prompts}
    references = _references(runs)
    todo = [
        run
        for run in runs
        if run.done
        and (again or not run.gates or run.reference != _hash(references.get(run.run.name)))
    ]
    for count, result in enumerate(todo, 1):
        assert result.video is not None
        other = references.get(result.run.name)
        loops = _loops(experiment.variants[result.run.variant])
        try:
            metrics, gates = measure_and_gate(
                result.video,
                prompt=texts[result.run.prompt],
                reference=other.video if other else None,
                loops=loops,
            )
            changes: dict[str, Any] = {"metrics": metrics, "gates": gates}
        except BadFileError as error:
            changes = {"metrics": {}, "gates": {"readable": False}, "metrics_error": str(error)}
        update_run(result, changes | {"reference": _hash(other)})
        report(count, len(todo))
    return len(todo)


def _loops(about: dict[str, Any]) -> bool:
    """Whether the variant's model promises loops of the length that was made."""
    preset = PRESETS.get(about["model"])
    length = about["settings"].get("num_frames")
    return preset is not None and preset.loops and length == preset.num_frames


def _hash(reference: RunResult | None) -> str | None:
    return reference.hashes.get("video") if reference else None


def _references(runs: Sequence[RunResult]) -> dict[str, RunResult]:
    """By a run's name the first variant's finished run of the same prompt, seed and repeat.

    None for those of the first variant itself.
    """
    first = {_question(one.run): one for one in runs if one.done and one.run.variant == REFERENCE}
    return {
        one.run.name: first[_question(one.run)]
        for one in runs
        if one.run.variant != REFERENCE and _question(one.run) in first
    }


def _question(run: Run) -> tuple[str, int, int]:
    return run.prompt, run.seed, run.repeat

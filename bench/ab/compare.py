"""`compare`: a result folder is made, or gone on with where it was left."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.files import write_json

from .experiment import Experiment, Plans, describe, difference
from .folder import UNFINISHED, locked
from .results import (
    EXPERIMENT,
    StoredExperiment,
    read_experiment,
    read_runs,
)
from .runner import CHILD, TIMEOUT, Progress, run_missing


def compare(
    experiment: Experiment,
    folder: Path,
    *,
    timeout: float = TIMEOUT,
    retry_failed: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    child: Sequence[str] = CHILD,
    plans: Plans | None = None,
) -> StoredExperiment:
    """Make every run of the experiment that `folder` lacks.

    Raises UsageError when the folder holds another experiment, naming the difference, or other
    things; MlxWanError when another process is at work there.
    """
    plans = plans or Plans(experiment)
    here = json.loads(json.dumps(describe(experiment, plans)))  # as it will be read again
    _check_place(folder)
    with locked(folder):
        begin(folder, here)
        stored = read_experiment(folder)
        failed = [run for run in read_runs(stored, warmups=True) if not run.done]
        run_missing(
            folder,
            experiment.runs,
            plans,
            timeout=timeout,
            retry={r.run.name: (*r.earlier_errors, str(r.error)) for r in failed if retry_failed},
            report=report,
            child=child,
        )
        return stored


def begin(folder: Path, here: dict[str, Any]) -> None:
    """Write the experiment, or check that it is the one that is there."""
    if not (folder / EXPERIMENT).exists():
        write_json(folder / EXPERIMENT, here)
        return
    there = read_experiment(folder).data
    if found := difference(there, here):
        raise UsageError(
            f"{folder} holds another comparison: {found}",
            "give another --report folder, or the settings it was begun with",
        )


def _check_place(folder: Path) -> None:
    """Refuse a folder of other things, before anything is written there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", "give a folder: --report DIR")
    if folder.is_dir() and not (folder / EXPERIMENT).exists():
        ours = {folder / ".lock", *folder.glob(UNFINISHED)}  # of one that was killed early
        others = [path.name for path in folder.iterdir() if path not in ours]
        if others:
            raise UsageError(
                f"{folder} holds other things, as {min(others)}", "give a new folder: --report DIR"
            )

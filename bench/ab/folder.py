"""Changes to a result folder: by one process at a time, each whole or not at all."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_wan import files
from mlx_wan.errors import MlxWanError
from mlx_wan.files import make_folder, write_json

from .checks import read_object
from .results import RUN, RUNS, RunResult
from .schedule import Run

UNFINISHED = ".*.partial"
_OLD = ".old.partial"  # a failed run while its better one takes its place


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone at work in a result folder. Raises MlxWanError when another process is."""
    hint = "give another --report folder"
    busy = MlxWanError(
        f"another process is at work in {folder}", "wait for it, or give another --report"
    )
    make_folder(folder, hint)
    with files.locked(folder / ".lock", busy=busy, hint=hint):
        yield


def work_folder(folder: Path, run: Run) -> Path:
    """A new hidden folder for a run to be made in."""
    path = folder / RUNS / f".{run.name}.{os.getpid()}.partial"
    path.mkdir(parents=True)
    return path


def keep_run(work: Path, run: Run, data: Mapping[str, Any]) -> Path:
    """Give a run that was made in `work`, or failed there, its place; returns it.

    A failed run that has it already goes.
    """
    write_json(work / RUN, data)
    final = work.with_name(run.name)
    if final.exists():
        old = work.with_name(f".{run.name}.{os.getpid()}{_OLD}")
        final.rename(old)
        work.rename(final)
        shutil.rmtree(old)
        return final
    return work.rename(final)


def remove_unfinished(folder: Path) -> None:
    """Remove what dead processes left behind; for the one that holds the lock.

    A failed run that was about to be replaced takes its place again: it is never forgotten.
    """
    for old in folder.glob(f"{RUNS}/.*{_OLD}"):
        final = old.with_name(old.name.removesuffix(_OLD)[1:].rpartition(".")[0])
        if old.is_dir() and not old.is_symlink() and not os.path.lexists(final):
            old.rename(final)
    for pattern in (UNFINISHED, f"{RUNS}/{UNFINISHED}", f"{RUNS}/*/{UNFINISHED}"):
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                # a child may just be noticing that its parent died
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def present(folder: Path) -> set[str]:
    """Names of the runs that are there."""
    root = folder / RUNS
    return {path.name for path in root.iterdir() if path.name[0] != "."} if root.is_dir() else set()


def update_run(result: RunResult, changes: Mapping[str, Any]) -> None:
    """Replace some values of a run.json, as when its metrics are measured."""
    file = result.folder / RUN
    write_json(file, read_object(file) | dict(changes))

"""Runs what a result folder still lacks, one child process each, and counts what fails."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError
from mlx_wan.plan import Plan

from .experiment import Plans
from .facts import commit
from .folder import keep_run, present, remove_unfinished, work_folder
from .results import LATENTS, VIDEO
from .schedule import Run

CHILD = (sys.executable, "-m", "mlx_wan.bench.ab.child")
TIMEOUT = 6 * 3600.0  # seconds of one run
_DISK_FULL = 64_000_000  # bytes left below which a failure is the disk's, not the model's


@dataclass(frozen=True)
class Progress:
    """One run is over: the `number`-th of `total`, `left` of them still to come."""

    run: Run
    number: int
    total: int
    left: int
    state: str
    seconds: float
    error: str | None


def run_missing(
    folder: Path,
    runs: Sequence[Run],
    plans: Plans,
    *,
    timeout: float = TIMEOUT,
    retry: Mapping[str, Sequence[str]] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    child: Sequence[str] = CHILD,
) -> int:
    """Make all runs that are not in `folder` yet, in order; returns how many.

    Those of `retry`, failed ones by name with what went wrong, are made again; that they failed
    before stays in their run.json. For the one that holds the folder's lock. A run that crashes,
    takes longer than `timeout` seconds or runs out of memory is kept as a failed run. Raises
    MlxWanError when the disk is full; after that, an interrupt or a kill, the same call goes on
    with the run that was not finished.
    """
    remove_unfinished(folder)
    retry = retry or {}
    there = present(folder) - retry.keys()
    missing = [run for run in runs if run.name not in there]
    at = commit()
    for count, run in enumerate(missing, 1):
        start = time.perf_counter()
        about = {"commit": at, "earlier_errors": list(retry.get(run.name, ()))}
        try:
            data = _make(folder, run, plans, timeout, child, about)
        except OSError as failure:
            raise MlxWanError(
                f"no run can be made in {folder}: {failure.strerror or failure}",
                "check space and permissions; the same command goes on",
            ) from None
        number = len(runs) - len(missing) + count
        seconds = time.perf_counter() - start
        left = len(missing) - count
        state, error = data["state"], data["error"]
        report(Progress(run, number, len(runs), left, state, seconds, error))
    return len(missing)


def _make(
    folder: Path,
    run: Run,
    plans: Plans,
    timeout: float,
    child: Sequence[str],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """One run from start to its place in the folder; returns its run.json."""
    work = work_folder(folder, run)
    data: dict[str, Any] = {
        "variant": run.variant,
        "prompt": run.prompt,
        "seed": run.seed,
        "repeat": run.repeat,
        "warmup": run.warmup,
        "started": _now(),
        **about,
    }
    try:
        told = run_plan(plans[run], work, timeout, child)
        error = told["error"]
        if error is not None and _disk_is_full(work):
            raise MlxWanError(
                f"the disk of {folder} is full: {error}", "make room; the same command goes on"
            )
        state = "done" if error is None else "failed"
        data |= {"state": state, "finished": _now(), "metrics": {}, "gates": {}} | told
        keep_run(work, run, data)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return data


def run_plan(
    plan: Plan, work: Path, timeout: float, child: Sequence[str] = CHILD
) -> dict[str, Any]:
    """A plan's video and latents in the empty folder `work`, made by a child process.

    Returns what the child measured, with "error" None; else what went wrong, and no video is left.
    """
    job, result, log = work / "job.json", work / "result.json", work / "child.log"
    job.write_text(json.dumps(plan.to_dict()))
    problem = _run_child([*child, str(work)], log, timeout)
    told = _read_told(result)
    if problem is None and "video" not in told:
        problem = "it ended without a result"
    job.unlink()
    result.unlink(missing_ok=True)
    if problem is None:
        log.unlink()
        return told | {"error": None}
    for name in (VIDEO, LATENTS):
        (work / name).unlink(missing_ok=True)
    return {"error": str(told.get("error", problem))[:2000], "video": None, "latents": None}


def _run_child(command: Sequence[str], log: Path, timeout: float) -> str | None:
    """Run a command to its end; what went wrong, or None. It dies with us and when interrupted."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"it took longer than {timeout:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdin
            process.stdin.close()
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"exit code {code}: {_last_line(log)}" if code else None


def _read_told(result: Path) -> dict[str, Any]:
    try:
        told = json.loads(result.read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "nothing was printed"


def _disk_is_full(work: Path) -> bool:
    system = os.statvfs(work)
    return system.f_bavail * system.f_frsize < _DISK_FULL


def _now() -> str:
    """UTC with milliseconds: runs sort by it."""
    seconds = time.time()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03}Z"

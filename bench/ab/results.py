"""The result folder: written whole or not at all, and read as if a stranger had written it.

    DIR/experiment.json            what is compared, and on which machine
    DIR/runs/NAME/run.json         one run: times, memory, hashes, metrics; NAME is `Run.name`
    DIR/runs/NAME/video.mp4        the model's own frames
    DIR/runs/NAME/latents.npy      float32 (1, T, H, W, C), before decoding

A run is made in a hidden folder and renamed when it is whole: it exists or it does not.
"""

import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.files import complete_or_absent, read_small
from mlx_wan.record import dumped
from mlx_wan.settings import shown
from mlx_wan.tensorfile import strict_json

from .experiment import FORMAT, MAX_REPEATS, MAX_RUNS, VERSION, check_seeds
from .prompts import Prompt, check_prompts
from .schedule import NAME, Run
from .variants import IDS

EXPERIMENT, RUNS, RUN, VIDEO, LATENTS = (
    *("experiment.json", "runs", "run.json", "video.mp4", "latents.npy"),
)
UNFINISHED = ".*.partial"
STAGES = ("encode", "denoise", "decode", "save")
MAX_BYTES = 16_000_000
_MOST_SECONDS = 1e8
_MOST_BYTES = 2**53
_HINT = "it was changed; remove the run's folder, and `bench ab` makes it again"


@dataclass(frozen=True)
class RunResult:
    """A finished or failed run. Seconds and peak bytes are by stage, empty when it failed.

    `video` and `latents` are whole paths, None when it failed. `metrics` and `gates` are empty
    until they were measured; a metric that cannot be told is None, a gate is True when passed.
    `seconds_per_step` leaves out each expert's first step, and is None where there is no other.
    """

    run: Run
    folder: Path
    state: str  # "done" or "failed"
    error: str | None
    video: Path | None
    latents: Path | None
    seconds: dict[str, float]
    seconds_per_step: float | None
    step_seconds: tuple[float, ...]
    peak_memory: dict[str, int]
    peak_rss: int | None
    bytes_on_disk: int | None
    work: dict[str, float]
    hashes: dict[str, str]
    health: str | None
    metrics: dict[str, float | None]
    gates: dict[str, bool]
    commit: str | None
    started: str
    finished: str
    earlier_errors: tuple[str, ...] = ()  # of tries before this one

    @property
    def done(self) -> bool:
        return self.state == "done"

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class StoredExperiment:
    """`experiment.json`, checked; `data` is all of it."""

    folder: Path
    variants: dict[str, dict[str, Any]]
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    repeats: int
    data: dict[str, Any]


def read_experiment(folder: Path) -> StoredExperiment:
    """What a result folder compares.

    Raises UsageError when it is none, BadFileError when it is damaged.
    """
    file = folder / EXPERIMENT
    if not file.exists():
        raise UsageError(
            f"{folder} holds no A/B comparison: it has no {EXPERIMENT}",
            "give the --report folder of a `mlx-wan bench ab`",
        )
    data = _read_json(file)
    if data.get("format") != FORMAT or type(version := data.get("version")) is not int:
        raise BadFileError(f"{file} was not written by `mlx-wan bench ab`", "give another folder")
    if version != VERSION:
        raise BadFileError(
            f"{file} has version {shown(version)}; this mlx-wan reads {VERSION}",
            "it was made by a newer one: pip install -U mlx-wan",
        )
    variants, repeats, seeds = data.get("variants"), data.get("repeats"), data.get("seeds")
    if not isinstance(variants, dict) or list(variants) != list(IDS[: len(variants)]):
        raise BadFileError(f"{file} has no variants a, b, ...", "it was changed")
    for id, about in variants.items():
        if (
            not isinstance(about, dict)
            or not all(isinstance(about.get(k), str) for k in ("label", "model", "fingerprint"))
            or not isinstance(about.get("settings"), dict)
            or not isinstance(about.get("asked", {}), dict)
        ):
            raise BadFileError(f"{file} has no sound variant {id}", "it was changed")
    if len(variants) < 2 or type(repeats) is not int or not 1 <= repeats <= MAX_REPEATS:
        raise BadFileError(f"{file} has no sound variants or repeats", "it was changed")
    try:
        prompts = check_prompts(data.get("prompts"), str(file))
        check_seeds(seeds if isinstance(seeds, list) else ())
    except UsageError as error:
        raise BadFileError(error.message, "it was changed") from None
    return StoredExperiment(folder, variants, prompts, tuple(data["seeds"]), repeats, data)


def both_are_models(experiment: StoredExperiment) -> bool:
    """Whether a and b are two models as they are: evidence for which one should be active."""
    a, b = (experiment.variants[id] for id in "ab")
    as_they_are = all((one.get("asked") or {}).keys() <= {"quant"} for one in (a, b))
    return as_they_are and a["fingerprint"] != b["fingerprint"]


def read_runs(experiment: StoredExperiment, *, warmups: bool = False) -> list[RunResult]:
    """All runs that are there, failed ones too, in the order they were made.

    Raises BadFileError naming the file when one was changed into nonsense, lies elsewhere (a
    symbolic link) or belongs to another comparison.
    """
    root = experiment.folder / RUNS
    if not os.path.lexists(root):
        return []
    _check_kind(root, stat.S_ISDIR, "a folder")
    results = []
    for count, entry in enumerate(sorted(os.scandir(root), key=lambda one: one.name)):
        if count > MAX_RUNS:
            raise BadFileError(f"{root} holds more than {MAX_RUNS:,} runs", "it was changed")
        if entry.name.startswith("."):
            continue  # one that is being made, or was when its process died
        if not NAME.fullmatch(entry.name):
            raise BadFileError(f"{entry.path} is no run", "move it out of this folder")
        results.append(read_run(Path(entry.path), experiment))
    results.sort(key=lambda result: (result.started, result.run.name))
    return [result for result in results if warmups or not result.run.warmup]


def read_run(folder: Path, experiment: StoredExperiment) -> RunResult:
    """One run's folder, checked value by value."""
    _check_kind(folder, stat.S_ISDIR, "a folder")
    file = folder / RUN
    data = _read_json(file)
    check = _Checker(file, data)
    run = Run(
        check.text("variant"), check.text("prompt"), check.count("seed", 2**63), _repeat(check)
    )
    known = (
        run.variant in experiment.variants
        and run.prompt in {prompt.id for prompt in experiment.prompts}
        and run.seed in experiment.seeds
        and run.repeat <= experiment.repeats
        and run.name == folder.name
    )
    if not known:
        raise BadFileError(f"{file} is of another run than its folder or experiment says", _HINT)
    state = check.text("state")
    if state not in ("done", "failed"):
        raise BadFileError(f"{file} has the state {shown(state)}", _HINT)
    done = state == "done"
    seconds = check.numbers("seconds", _MOST_SECONDS) if done else {}
    if done and not set(STAGES) <= seconds.keys():
        raise BadFileError(f"{file} lacks the seconds of a stage", _HINT)
    return RunResult(
        run=run,
        folder=folder,
        state=state,
        error=None if done else check.text("error"),
        video=check.file("video", VIDEO) if done else None,
        latents=check.file("latents", LATENTS) if done and data.get("latents") else None,
        seconds={stage: seconds[stage] for stage in STAGES} if done else {},
        seconds_per_step=check.optional_number("seconds_per_step", _MOST_SECONDS),
        step_seconds=check.number_list("step_seconds", _MOST_SECONDS),
        peak_memory={k: int(v) for k, v in check.numbers("peak_memory", _MOST_BYTES).items()},
        peak_rss=check.optional_count("peak_rss"),
        bytes_on_disk=check.optional_count("bytes_on_disk"),
        work=check.numbers("work", 1e30),
        hashes=check.texts("hashes"),
        health=check.optional_text("health"),
        metrics=check.metrics("metrics"),
        gates=check.gates("gates"),
        earlier_errors=check.text_list("earlier_errors"),
        commit=check.optional_text("commit"),
        started=check.text("started"),
        finished=check.text("finished"),
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone at work in a result folder. Raises MlxWanError when another process is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        number = os.open(folder / ".lock", flags, 0o644)
    except OSError as error:
        raise MlxWanError(
            f"{folder} cannot be worked in: {error.strerror}", "give another --report folder"
        ) from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MlxWanError(
                f"another process is at work in {folder}", "wait for it, or give another --report"
            ) from None
        yield
    finally:
        os.close(number)


def write_experiment(folder: Path, data: Mapping[str, Any]) -> None:
    write_json(folder / EXPERIMENT, data)


def write_json(file: Path, data: Mapping[str, Any]) -> None:
    with complete_or_absent(file) as partial:
        partial.write_bytes(dumped(dict(data)))


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
        old = work.with_name(f".{run.name}.{os.getpid()}.old.partial")
        final.rename(old)
        work.rename(final)
        shutil.rmtree(old)
        return final
    return work.rename(final)


def remove_unfinished(folder: Path) -> None:
    """Remove what dead processes left behind; for the one that holds the lock."""
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
    write_json(file, _read_json(file) | dict(changes))


def _repeat(check: "_Checker") -> int:
    repeat = check.count("repeat", MAX_REPEATS)
    warmup = check.data.get("warmup")
    if type(warmup) is not bool or warmup != (repeat == 0):
        raise BadFileError(f"{check.owner} has repeat {repeat} and warmup {shown(warmup)}", _HINT)
    return repeat


def _read_json(file: Path) -> dict[str, Any]:
    """An object from a small regular file, not through a link."""
    try:
        _check_kind(file, stat.S_ISREG, "a file")
        data = strict_json(read_small(file, MAX_BYTES, hint=_HINT))
    except OSError as error:
        raise BadFileError(f"{file} cannot be read: {error.strerror}", _HINT) from None
    except ValueError as error:
        raise BadFileError(f"{file} is not valid JSON: {error}", _HINT) from None
    if not isinstance(data, dict):
        raise BadFileError(f"{file} holds a {type(data).__name__}, not an object", _HINT)
    return data


def _check_kind(path: Path, is_kind: Any, what: str) -> None:
    if not is_kind(path.lstat().st_mode):
        raise BadFileError(f"{path} is not {what} of its own", "a link or pipe is not followed")


@dataclass(frozen=True)
class _Checker:
    """Values of a JSON object from outside, each of its type and in bounds."""

    owner: Path
    data: dict[str, Any]

    def text(self, name: str) -> str:
        value = self.data.get(name)
        if not isinstance(value, str) or len(value) > 10_000:
            self._refuse(name)
        return value  # type: ignore[return-value]

    def optional_text(self, name: str) -> str | None:
        return None if self.data.get(name) is None else self.text(name)

    def count(self, name: str, most: int) -> int:
        value = self.data.get(name)
        if type(value) is not int or not 0 <= value <= most:
            self._refuse(name)
        return value  # type: ignore[return-value]

    def optional_count(self, name: str) -> int | None:
        return None if self.data.get(name) is None else self.count(name, _MOST_BYTES)

    def number(self, name: str, most: float) -> float:
        value = self.data.get(name)
        if not _is_number(value) or not 0 <= value <= most:  # type: ignore[operator]
            self._refuse(name)
        return float(value)  # type: ignore[arg-type]

    def optional_number(self, name: str, most: float) -> float | None:
        return None if self.data.get(name) is None else self.number(name, most)

    def numbers(self, name: str, most: float) -> dict[str, float]:
        table = self._table(name)
        if not all(_is_number(value) and 0 <= value <= most for value in table.values()):
            self._refuse(name)
        return table

    def number_list(self, name: str, most: float) -> tuple[float, ...]:
        values = self.data.get(name, [])
        if not isinstance(values, list) or len(values) > 10_000:
            self._refuse(name)
        if not all(_is_number(value) and 0 <= value <= most for value in values):
            self._refuse(name)
        return tuple(values)

    def texts(self, name: str) -> dict[str, str]:
        table = self._table(name)
        if not all(isinstance(value, str) and len(value) <= 200 for value in table.values()):
            self._refuse(name)
        return table

    def text_list(self, name: str) -> tuple[str, ...]:
        values = self.data.get(name, [])
        if not isinstance(values, list) or len(values) > 1000:
            self._refuse(name)
        if not all(isinstance(value, str) and len(value) <= 10_000 for value in values):
            self._refuse(name)
        return tuple(values)

    def metrics(self, name: str) -> dict[str, float | None]:
        table = self._table(name)
        if not all(value is None or _is_number(value) for value in table.values()):
            self._refuse(name)
        return table

    def gates(self, name: str) -> dict[str, bool]:
        table = self._table(name)
        if not all(type(value) is bool for value in table.values()):
            self._refuse(name)
        return table

    def file(self, name: str, wanted: str) -> Path:
        """A file that lies right beside: no path of the JSON is ever followed."""
        if self.data.get(name) != wanted:
            self._refuse(name)
        path = self.owner.with_name(wanted)
        try:
            _check_kind(path, stat.S_ISREG, "a file")
        except OSError as error:
            raise BadFileError(f"{path} cannot be read: {error.strerror}", _HINT) from None
        return path

    def _table(self, name: str) -> dict[str, Any]:
        table = self.data.get(name, {})
        if not isinstance(table, dict) or len(table) > 200 or any(len(key) > 80 for key in table):
            self._refuse(name)
        return table

    def _refuse(self, name: str) -> None:
        raise BadFileError(f"{self.owner} has {name} {shown(self.data.get(name))}", _HINT)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max

"""The result folder: written whole or not at all, and read as if a stranger had written it.

    DIR/experiment.json            what is compared, and on which machine
    DIR/runs/NAME/run.json         one run: times, memory, hashes, metrics; NAME is `Run.name`
    DIR/runs/NAME/video.mp4        the model's own frames
    DIR/runs/NAME/latents.npy      float32 (1, T, H, W, C), before decoding

A run is made in a hidden folder and renamed when it is whole: it exists or it does not.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.settings import shown

from .checks import ACCESS, HINT, MOST_BYTES, Checker, check_kind, read_object
from .experiment import FORMAT, MAX_REPEATS, MAX_RUNS, VERSION, check_seeds
from .prompts import Prompt, check_prompts
from .schedule import NAME, Run
from .variants import IDS

EXPERIMENT, RUNS, RUN, VIDEO, LATENTS = (
    *("experiment.json", "runs", "run.json", "video.mp4", "latents.npy"),
)
STAGES = ("encode", "denoise", "decode", "save")
_MOST_SECONDS = 1e8


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
    reference: str | None = None  # the SHA-256 of the video its metrics compare with

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
    data = read_object(file)
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
            or not isinstance(about.get("label"), str)
            or not _is_model(about.get("model"))
            or not _is_hash(about.get("fingerprint"))
            or not isinstance(about.get("settings"), dict)
            or not isinstance(about.get("asked", {}), dict)
        ):
            raise BadFileError(f"{file} has no sound variant {id}", "it was changed")
    if not all(isinstance(data.get(name), dict) for name in ("machine", "versions")):
        raise BadFileError(f"{file} does not say on what it was run", "it was changed")
    if len(variants) < 2 or type(repeats) is not int or not 1 <= repeats <= MAX_REPEATS:
        raise BadFileError(f"{file} has no sound variants or repeats", "it was changed")
    try:
        check_seeds(seeds if isinstance(seeds, list) else ())
    except UsageError as error:
        raise BadFileError(f"{file}: {error.message}", "it was changed") from None
    try:
        prompts = check_prompts(data.get("prompts"), str(file))
    except UsageError as error:
        raise BadFileError(error.message, "it was changed") from None
    return StoredExperiment(folder, variants, prompts, tuple(data["seeds"]), repeats, data)


def _is_model(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable()


def _is_hash(text: Any) -> bool:
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def both_are_models(experiment: StoredExperiment) -> bool:
    """Whether a and b are two models as they are: evidence for which one should be active.

    Not with steps, a solver and the like of somebody's choice, for one of them or for both: a model
    for few steps always wins at few.
    """
    a, b = (experiment.variants[id] for id in "ab")
    common = experiment.data.get("common")
    shared = {name.partition(".")[0] for name in common} if isinstance(common, dict) else set()
    as_they_are = all((one.get("asked") or {}).keys() <= {"quant"} for one in (a, b))
    is_default = not shared & {"steps", "solver", "shift", "guidance_scale"}
    return as_they_are and is_default and a["fingerprint"] != b["fingerprint"]


def read_runs(experiment: StoredExperiment, *, warmups: bool = False) -> list[RunResult]:
    """All runs that are there, failed ones too, in the order they were made.

    Raises BadFileError naming the file when one was changed into nonsense, lies elsewhere (a
    symbolic link) or belongs to another comparison.
    """
    root = experiment.folder / RUNS
    if not os.path.lexists(root):
        return []
    check_kind(root, stat.S_ISDIR, "a folder")
    results = []
    try:
        entries = sorted(os.scandir(root), key=lambda one: one.name)
    except OSError as error:
        raise MlxWanError(f"{root} cannot be read: {error.strerror}", ACCESS) from None
    for count, entry in enumerate(entries):
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
    check_kind(folder, stat.S_ISDIR, "a folder")
    file = folder / RUN
    data = read_object(file)
    check = Checker(file, data)
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
        raise BadFileError(f"{file} is of another run than its folder or experiment says", HINT)
    state = check.text("state")
    if state not in ("done", "failed"):
        raise BadFileError(f"{file} has the state {shown(state)}", HINT)
    done = state == "done"
    seconds = check.numbers("seconds", _MOST_SECONDS) if done else {}
    if done and not set(STAGES) <= seconds.keys():
        raise BadFileError(f"{file} lacks the seconds of a stage", HINT)
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
        peak_memory={k: int(v) for k, v in check.numbers("peak_memory", MOST_BYTES).items()},
        peak_rss=check.optional_count("peak_rss"),
        bytes_on_disk=check.optional_count("bytes_on_disk"),
        work=check.numbers("work", 1e30),
        hashes=check.texts("hashes"),
        health=check.optional_text("health"),
        metrics=check.metrics("metrics"),
        gates=check.gates("gates"),
        reference=check.optional_text("reference"),
        earlier_errors=check.text_list("earlier_errors"),
        commit=check.optional_text("commit"),
        started=check.text("started"),
        finished=check.text("finished"),
    )


def _repeat(check: Checker) -> int:
    repeat = check.count("repeat", MAX_REPEATS)
    warmup = check.data.get("warmup")
    if type(warmup) is not bool or warmup != (repeat == 0):
        raise BadFileError(f"{check.owner} has repeat {repeat} and warmup {shown(warmup)}", HINT)
    return repeat

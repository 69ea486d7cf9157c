"""The videos of a report: inside the page while they are small, beside it when they are not."""

import base64
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from mlx_wan.bench.ab.results import RunResult, StoredExperiment

EMBEDDED_BYTES = 24_000_000  # of all videos together
MAX_VIDEO_BYTES = 2_000_000_000

Videos = dict[tuple[str, int], dict[str, RunResult]]  # (prompt, seed) -> variant -> run


def videos_of(experiment: StoredExperiment, runs: Sequence[RunResult]) -> Videos:
    """The first finished repeat of each, in the order of prompts, seeds and variants."""
    found: dict[tuple[str, int, str], RunResult] = {}
    for result in sorted(runs, key=lambda one: one.run.repeat):
        run = result.run
        if not run.warmup and result.done and result.video is not None and is_mp4(result.video):
            found.setdefault((run.prompt, run.seed, run.variant), result)
    table: Videos = {}
    for prompt in experiment.prompts:
        for seed in experiment.seeds:
            for variant in experiment.variants:
                if run_result := found.get((prompt.id, seed, variant)):
                    table.setdefault((prompt.id, seed), {})[variant] = run_result
    return table


def sources(videos: Videos, folder: Path, limit: int = EMBEDDED_BYTES) -> Mapping[str, str]:
    """A `data:` or relative URL for each run's name: all embedded, or none, so a page is either."""
    files = {r.run.name: r.video for sides in videos.values() for r in sides.values() if r.video}
    if sum(path.stat().st_size for path in files.values()) > limit:
        return {name: quote(path.relative_to(folder).as_posix()) for name, path in files.items()}
    return {
        name: "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
        for name, path in files.items()
    }


def is_mp4(path: Path) -> bool:
    """A regular file of a sane size that begins as an MP4 does."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(number, "rb") as file:
        told = os.fstat(number)
        if not stat.S_ISREG(told.st_mode) or told.st_size > MAX_VIDEO_BYTES:
            return False
        return file.read(8)[4:] == b"ftyp"

"""What is being done to a video, on disk before it is done: a process may die at any point, and
the next one reads here how to finish or undo it.

A journal is one small JSON file per video, `.library/moves/ID.json`, and not a row of the index,
so that a lost or damaged index loses no move.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError
from mlx_wan.record import ID_PATTERN
from mlx_wan.settings import is_inside

from .places import OWN_FOLDER, STAGES, SUFFIXES, write_whole

FOLDER = "moves"
# kind -> whether it has a source, whether it has a target
KINDS = {
    "move": (True, True),
    "import": (False, True),
    "delete": (True, False),
    "tag": (True, False),
}
# copying: the source counts, hidden copies are removed. placing: the copies are whole and count.
PHASES = ("copying", "placing")
_TOO_MUCH = (RecursionError, OverflowError)
_MTIME_SLACK = 2_000_000_000  # ns; what coarse file systems round by


@dataclass(frozen=True)
class Spot:
    """Where a video lies or will lie: `path` below the library root or below the archive root."""

    archived: bool
    path: str


@dataclass(frozen=True)
class Journal:
    """`files` tells each source file by its size and time, so that another one that has taken its
    name since is never removed in its place."""

    id: str
    kind: str
    phase: str
    source: Spot | None
    target: Spot | None
    files: dict[str, tuple[int, int]]  # suffix -> bytes, mtime in ns

    def spots(self) -> tuple[Spot, ...]:
        return tuple(spot for spot in (self.source, self.target) if spot is not None)

    def to(self, **changes: Any) -> "Journal":
        return replace(self, **changes)


def files_of(video: Path) -> dict[str, tuple[int, int]]:
    """The files of a video that are there, told by size and time."""
    return {
        suffix: told
        for suffix in SUFFIXES
        if (told := _told(video.with_suffix(suffix))) is not None
    }


def is_same(path: Path, told: tuple[int, int]) -> bool:
    """Whether `path` is still the file told about."""
    now = _told(path)
    return now is not None and now[0] == told[0] and abs(now[1] - told[1]) <= _MTIME_SLACK


def write_journal(journal: Journal, root: Path) -> None:
    path = _folder(root) / f"{journal.id}.json"
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps(asdict(journal)).encode())


def remove_journal(journal: Journal, root: Path) -> None:
    (_folder(root) / f"{journal.id}.json").unlink(missing_ok=True)


def has_journal(root: Path, id: str) -> bool:
    return (_folder(root) / f"{id}.json").exists()


def has_journals(root: Path) -> bool:
    return any(_folder(root).glob("*.json"))


def read_journals(root: Path) -> Iterator[Journal]:
    """All unfinished work. Raises MlxWanError for a journal that is none of ours."""
    for path in sorted(_folder(root).glob("*.json")):
        try:
            if not path.is_file():  # a pipe may never end
                raise ValueError
            journal = _parse(json.loads(path.read_bytes()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, *_TOO_MUCH):
            raise MlxWanError(
                f"{path} is damaged: it says what was being done to a video",
                "move it elsewhere, then `mlx-wan library verify` shows what is left to do",
            ) from None
        yield journal


def _parse(data: dict[str, Any]) -> Journal:
    journal = Journal(
        id=data["id"],
        kind=data["kind"],
        phase=data["phase"],
        source=Spot(**data["source"]) if data["source"] else None,
        target=Spot(**data["target"]) if data["target"] else None,
        files={suffix: (int(size), int(time)) for suffix, (size, time) in data["files"].items()},
    )
    fine = (
        ID_PATTERN.fullmatch(journal.id)
        and KINDS.get(journal.kind) == (journal.source is not None, journal.target is not None)
        and journal.phase in PHASES
        and set(journal.files) <= set(SUFFIXES)
        and all(_is_ours(spot.path) for spot in journal.spots())
    )
    if not fine:
        raise ValueError
    return journal


def _is_ours(path: str) -> bool:
    return (
        is_inside(path)
        and "\0" not in path
        and path.split("/")[0] in STAGES
        and path.endswith(".mp4")
    )


def _folder(root: Path) -> Path:
    return root / OWN_FOLDER / FOLDER


def _told(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.lstat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns

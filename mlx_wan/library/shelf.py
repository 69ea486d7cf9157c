"""An open library: its two roots, its index and its lock."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from mlx_wan.errors import MlxWanError, UsageError

from .entry import Entry
from .index import Filters, Index
from .places import OWN_FOLDER, archive_is_configured, locked, write_whole

_ARCHIVE_MARK = "archive"  # this file in the archive's hidden folder tells it from an empty mount


@dataclass
class Library:
    """`notes` are lines a person should read: what was mended, what could not be reached."""

    root: Path
    archive: Path
    index: Index
    readonly: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def own(self) -> Path:
        return self.root / OWN_FOLDER

    def locked(self) -> AbstractContextManager[int]:
        if self.readonly:
            raise MlxWanError(
                f"the library {self.root} cannot be written", "check its volume and permissions"
            )
        return locked(self.own)


def need_archive(library: Library) -> None:
    """Raise MlxWanError unless the archive is there, and the one its videos were put in.

    A first time the one beside the library is made, and any is marked as ours.
    """
    mark = library.archive / OWN_FOLDER / _ARCHIVE_MARK
    if mark.exists():
        return
    hint = "mount its volume, or set MLX_WAN_ARCHIVE (or `archive` in config.toml)"
    if library.index.count(Filters(archived=True)):
        raise MlxWanError(f"the archive {library.archive} is not there", hint)
    if archive_is_configured() and not library.archive.is_dir():
        raise MlxWanError(
            f"the archive {library.archive} is not there", f"make the folder once, or {hint}"
        )
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_whole(mark, b"videos that mlx-wan moved out of the library\n")
    except OSError as error:
        raise MlxWanError(
            f"the archive {library.archive} cannot be written: {error.strerror}", hint
        ) from None


def has_archive(library: Library) -> bool:
    """Whether there is an archive to read; makes nothing."""
    if (library.archive / OWN_FOLDER / _ARCHIVE_MARK).exists():
        return True
    return library.archive.is_dir() and not library.index.count(Filters(archived=True))


def relative(path: Path, root: Path) -> str | None:
    """`path` below `root` with forward slashes, or None when it is elsewhere."""
    try:
        return Path(os.path.realpath(path)).relative_to(os.path.realpath(root)).as_posix()
    except ValueError:
        return None


def chosen(library: Library, name: str) -> Entry:
    """The entry of an id, the unique beginning of one, or a file's name.

    Raises MlxWanError naming what was found instead.
    """
    wanted = name.strip().lower()
    found = library.index.beginning(wanted) if wanted else []
    found = [entry for entry in found if entry.id == wanted] or found
    if not found and wanted:
        found = library.index.named(Path(name).name)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"the library has no video {name!r}", "`mlx-wan library list` shows their ids"
        )
    some = ", ".join(f"{entry.id} ({entry.video.name})" for entry in found[:5])
    raise UsageError(f"{name!r} could be {some}", "give more of the id")

"""An open library: its two roots, its index and its lock."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlx_wan.errors import MlxWanError

from .entry import Entry
from .index import DamagedIndex, Index
from .places import OWN_FOLDER, archive_root, library_root, locked


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

    def locked(self) -> AbstractContextManager[None]:
        return locked(self.own)


@contextmanager
def open_library() -> Iterator[Library]:
    """The library of `library_root()` and `archive_root()`, made when there is none."""
    root, archive = library_root(), archive_root()
    own = root / OWN_FOLDER
    try:
        own.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MlxWanError(
            f"the library {root} cannot be written: {error.strerror}",
            "check that its volume is there, or set MLX_WAN_LIBRARY",
        ) from None
    try:
        index = Index(own / "index.db", root, archive)
    except DamagedIndex as error:
        raise MlxWanError(f"the library's index is damaged: {error}") from None
    try:
        yield Library(root, archive, index)
    finally:
        index.close()


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
    found = found or library.index.named(Path(name).name) if wanted else found
    if len(found) == 1:
        return found[0]
    if not found:
        raise MlxWanError(
            f"the library has no video {name!r}", "`mlx-wan library list` shows their ids"
        )
    some = ", ".join(f"{entry.id} ({entry.video.name})" for entry in found[:5])
    raise MlxWanError(f"{name!r} could be {some}", "give more of the id")

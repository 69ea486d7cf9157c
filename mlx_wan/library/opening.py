"""Opening the library: its index is there and whole afterwards, what was left undone is done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_wan.errors import MlxWanError, UsageError

from .index import DamagedIndex, Index
from .journal import has_journals
from .moves import recover
from .places import (
    OWN_FOLDER,
    STAGES,
    BusyLibraryError,
    archive_root,
    library_root,
    locked,
)
from .rebuild import rebuild
from .shelf import Library, relative


@contextmanager
def open_library(*, create: bool = False) -> Iterator[Library]:
    """The library of `library_root()` and `archive_root()`; where there is none, an empty one that
    cannot be written, or with `create` a new one.

    What killed processes left is finished first, and a missing or damaged index made again from
    the records. One that cannot be written is opened for reading.
    """
    root, archive = library_root(), archive_root()
    _check_roots(root, archive)
    library, is_new = _open(root, archive, create)
    try:
        if is_new:
            rebuild(library, is_locked=True)
        if not library.readonly:
            _recover_unless_busy(library)
        yield library
    except DamagedIndex as error:
        library.index.close()
        aside = _set_aside(library.own) if not library.readonly else library.own
        raise MlxWanError(
            f"the library's index was damaged ({error}) and is now {aside}",
            "run the command again: the index is made anew from the records",
        ) from None
    finally:
        library.index.close()


def _check_roots(root: Path, archive: Path) -> None:
    for one, other in ((root, archive), (archive, root)):
        inside = relative(one, other)
        if inside is not None and inside.split("/")[0] in ("", ".", *STAGES):
            raise UsageError(
                f"the library is {root} and the archive {archive}: one is inside the other",
                "set MLX_WAN_LIBRARY and MLX_WAN_ARCHIVE to separate folders",
            )


def _open(root: Path, archive: Path, create: bool) -> tuple[Library, bool]:
    """The library, and whether its index has to be filled from the records."""
    if not create and not root.is_dir():
        notes = [f"there is no library at {root} yet"]
        return Library(root, archive, Index(None, root, archive), True, notes), False
    own = root / OWN_FOLDER
    file = own / "index.db"
    try:
        own.mkdir(parents=True, exist_ok=True)
        writable = os.access(own, os.W_OK) and (not file.exists() or os.access(file, os.W_OK))
    except OSError as error:
        if not root.is_dir():
            raise MlxWanError(
                f"the library {root} is not there: {error.strerror}",
                "mount its volume, or set MLX_WAN_LIBRARY (or `library` in config.toml)",
            ) from None
        writable = False
    if not writable:
        return _open_readonly(root, archive, file)
    notes = []
    if not _is_filled(file):
        _make_index(root, archive, file, notes)
    try:
        index = Index(file, root, archive)
    except DamagedIndex as error:
        aside = _set_aside(own)
        notes.append(f"the index was damaged ({error}); it is now {aside}, and made anew")
        _make_index(root, archive, file, notes)
        index = Index(file, root, archive)
    return Library(root, archive, index, notes=notes), False


def _open_readonly(root: Path, archive: Path, file: Path) -> tuple[Library, bool]:
    unwritten = file.with_name(f"{file.name}-wal")
    with suppress(DamagedIndex, MlxWanError, OSError):
        if not (unwritten.exists() and unwritten.stat().st_size):
            return Library(root, archive, Index(file, root, archive, readonly=True), True), False
    return Library(root, archive, Index(None, root, archive), True), True


def _make_index(root: Path, archive: Path, file: Path, notes: list[str]) -> None:
    """A whole index from the records; nobody sees it half made."""
    with locked(file.parent):
        if _is_filled(file):
            return  # another process was first
        _set_aside(file.parent)  # a log without its database
        new = file.with_name("index.db.new")
        for suffix in ("", "-wal", "-shm"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)
        index = Index(new, root, archive)
        try:
            rebuild(Library(root, archive, index, notes=notes), is_locked=True)
        finally:
            index.close()
        new.rename(file)


def _is_filled(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _set_aside(own: Path) -> Path:
    """Rename the index and its logs to a free name, which is returned."""
    number = 1
    while (aside := own / f"index.damaged-{number}.db").exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (own / f"index.db{suffix}").rename(f"{aside}{suffix}")
    return aside


def _recover_unless_busy(library: Library) -> None:
    """Finish what was left, unless another process is at it: then it is not left at all."""
    if not has_journals(library.root):
        return
    with suppress(BusyLibraryError), locked(library.own, seconds=0):
        recover(library)

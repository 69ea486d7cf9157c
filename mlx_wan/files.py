"""Files that are whole or not there at all."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from .errors import BadFileError, MlxWanError, UsageError

T = TypeVar("T")


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path`; rename it on success, remove it on any failure.

    Raises MlxWanError when the place cannot be written. An OSError of what is read meanwhile comes
    out as it is where it is read through `from_source`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # a link somebody put there would be written through
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(path)
    except _SourceError as error:
        raise error.error from None
    except OSError as error:
        raise MlxWanError(
            f"{path} cannot be written: {error.strerror or error}", "check space and permissions"
        ) from None
    finally:
        with suppress(OSError):  # the disk itself may have failed
            partial.unlink(missing_ok=True)


def from_source(items: Iterable[T]) -> Iterator[T]:
    """The same items; an OSError in making them is not taken for one of writing them."""
    try:
        yield from items
    except OSError as error:
        raise _SourceError(error) from None


class _SourceError(Exception):
    def __init__(self, error: OSError):
        super().__init__(str(error))
        self.error = error


class MissingFileError(UsageError):
    """A file that was to be read does not exist."""


def read_small(
    path: Path, max_bytes: int, *, what: str | None = None, hint: str | None = None
) -> bytes:
    """The bytes of a file from outside; never more than `max_bytes`, never waiting for a pipe.

    `what` is what the file is called in a message, by default its path. Raises UsageError when it
    cannot be read (MissingFileError when there is none), BadFileError when it is too large.
    """
    what = str(path) if what is None else what
    try:
        with open(path, "rb", opener=_without_waiting) as file:  # Path.open has no opener
            data = file.read(max_bytes + 1)
    except _NotAFile:
        raise UsageError(f"{what} is not a file", hint) from None
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"{what} does not exist", hint) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{what} cannot be read: {reason}", hint) from None
    if len(data) > max_bytes:
        raise BadFileError(f"{what} is too large; accepted: up to {_size(max_bytes)}", hint)
    return data


class _NotAFile(Exception):
    """A folder, a pipe, a device: it may never end."""


def _without_waiting(path: str, flags: int) -> int:
    number = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise _NotAFile
    return number


def _size(count: int) -> str:
    for unit, name in ((2**20, "MB"), (2**10, "KB")):
        if count >= unit:
            return f"{count // unit} {name}"
    return f"{count} bytes"


def free_name(path: str | Path, *beside: str) -> Path:
    """`path`, or the first of `name_2`, `name_3`, ... that does not exist yet.

    Nor may the same name with one of the suffixes `beside`.
    """
    path = Path(path)
    candidate, number = path, 1
    while any(map(os.path.lexists, (candidate, *map(candidate.with_suffix, beside)))):
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def check_writable(path: Path, longest_name: str) -> None:
    """Raise UsageError when `path` cannot be made; `longest_name` is what will lie beside it.

    Said before the work, not after it. The disk may still become full.
    """
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    try:
        with suppress(FileNotFoundError):
            os.lstat(path)  # a folder still to be made may have an impossible name
        probe = folder / longest_name
        try:
            probe.open("xb").close()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", "give another --output"
        ) from None


def file_sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

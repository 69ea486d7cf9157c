"""Files that are whole or not there at all, read with limits, changed by one process at a time."""

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

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


def write_json(path: Path, data: Mapping[str, Any]) -> Path:
    """Put `data` at `path` as JSON, whole or not at all; returns `path`."""
    with complete_or_absent(path) as partial:
        partial.write_bytes(json_bytes(data))
    return path


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """As JSON in UTF-8. Half a character, as paths may hold, becomes an escape."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(data, indent=2).encode()


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


@contextmanager
def locked(
    path: Path,
    *,
    busy: MlxWanError | None = None,
    seconds: float = 0,
    hint: str = "check space and permissions",
) -> Iterator[int]:
    """Alone among the processes that lock `path`, a folder that is there or a file made for it.

    Yields its descriptor. Raises `busy` when another process still has the lock after `seconds`;
    without `busy` waits as long as that takes. The system lets go of a lock when a process dies,
    however it dies. No link is followed. Raises MlxWanError where nothing can be locked.
    """
    deadline = time.monotonic() + seconds
    try:
        while True:
            number = _open_lock(path)
            try:
                _wait_for_lock(number, busy, deadline)
                if _is_at(number, path):
                    break
            except BaseException:
                os.close(number)
                raise
            os.close(number)  # who had it has removed or renamed it: this locks nothing any more
    except OSError as error:
        raise MlxWanError(f"{path} cannot be locked: {error.strerror or error}", hint) from None
    try:
        yield number
    finally:
        os.close(number)


def _open_lock(path: Path) -> int:
    access = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    number = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        os.close(number)
        raise OSError(None, "it is not a file")
    return number


def _wait_for_lock(number: int, busy: MlxWanError | None, deadline: float) -> None:
    if busy is None:
        fcntl.flock(number, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise busy from None
        time.sleep(0.05)


def _is_at(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), os.lstat(path))
    except FileNotFoundError:
        return False


def make_folder(path: Path, hint: str = "check space and permissions") -> None:
    """Make a folder and those it lies in, unless they are there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MlxWanError(f"{path} cannot be made: {error.strerror}", hint) from None


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

"""Files that are whole or not there at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import MlxWanError, UsageError


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path`; rename it on success, remove it on any failure.

    Raises MlxWanError when the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise MlxWanError(
            f"{path} cannot be written: {error.strerror or error}", "check space and permissions"
        ) from None
    finally:
        if partial.exists():
            partial.unlink()


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


def move_to_free_name(file: Path, path: Path, *beside: str) -> Path:
    """Rename `file` to `path`, or to a free name if another run took that meanwhile."""
    while True:
        candidate = free_name(path, *beside)
        try:
            os.link(file, candidate)  # unlike a rename, this never overwrites
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            return file.rename(candidate)
        file.unlink()
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

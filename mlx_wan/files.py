"""Files that are whole or not there at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import MlxWanError


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path`; rename it on success, remove it on any failure.

    Raises MlxWanError when the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
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


def free_name(path: str | Path) -> Path:
    """`path`, or the first of `name_2`, `name_3`, ... that does not exist yet."""
    path = Path(path)
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate

"""The folder a video is made in: kept while it is unfinished, so that nothing is rendered twice."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_wan.errors import GenerationError, MlxWanError
from mlx_wan.files import locked, make_folder
from mlx_wan.home import home

_LOCK = "lock"
_REJECTED = "rejected"  # its seed is not tried again unasked
_OLD = 30 * 24 * 3600  # seconds; nobody came back for it


def work_folder(key: str, seed: int) -> Path:
    """Where the clips of a video go while it is made; `key` says all but the seed."""
    return home() / "work" / f"{key}-{seed}"


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Alone in `folder`, which goes when all went well, and stays for the next try when not."""
    make_folder(folder)
    busy = MlxWanError(
        "the same video is being made by another process", "wait for it, or give another --seed"
    )
    with locked(folder / _LOCK, busy=busy):
        _remove_old(folder.parent, keep=folder)
        try:
            yield
        except GenerationError:
            (folder / _REJECTED).touch()
            raise
        shutil.rmtree(folder, ignore_errors=True)


def unfinished_seed(key: str) -> int | None:
    """The seed of the newest video of this kind that was begun and nobody works on."""
    found = []
    for folder in (home() / "work").glob(f"{key}-*"):
        seed = folder.name[len(key) + 1 :]
        with suppress(OSError):  # another process is done with it and has removed it
            if seed.isdecimal() and not (folder / _REJECTED).exists() and _is_free(folder):
                found.append((folder.stat().st_mtime, int(seed)))
    return max(found)[1] if found else None


def _is_free(folder: Path) -> bool:
    """Whether work was begun there and nobody is at it."""
    lock = folder / _LOCK
    if not lock.is_file():
        return False
    try:
        with locked(lock, busy=MlxWanError("it is being made")):
            return True
    except MlxWanError:
        return False


def _remove_old(root: Path, keep: Path) -> None:
    for folder in root.iterdir():
        with suppress(OSError):
            if folder != keep and folder.stat().st_mtime < time.time() - _OLD and _is_free(folder):
                shutil.rmtree(folder)

"""Where finished videos live: a library root with three stages, an archive root, one lock.

Below either root a video is at `STAGE/NAME.mp4`, its record and poster beside it as `.json` and
`.png`. What is ours alone (index, lock, unfinished moves) is in the hidden folder `.library`.
"""

import fcntl
import os
import tomllib
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from mlx_wan import files
from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.files import MissingFileError, read_small
from mlx_wan.home import expanded, home
from mlx_wan.settings import shown

STAGES = ("raw", "processed", "published")
OWN_FOLDER = ".library"
SUFFIXES = (".mp4", ".png", ".json")  # of one video; only the poster may be missing
LOCK_SECONDS = 600.0
_MAX_CONFIG_BYTES = 2**20


class BusyLibraryError(MlxWanError):
    """Another process is changing the library."""


def library_root() -> Path:
    """`MLX_WAN_LIBRARY`, or `library` in config.toml, or `~/mlx-wan/videos`. Not created here."""
    return _configured("MLX_WAN_LIBRARY", "library") or expanded("~/mlx-wan/videos")


def archive_root() -> Path:
    """`MLX_WAN_ARCHIVE`, or `archive` in config.toml, or `archive` beside the library root."""
    return _configured("MLX_WAN_ARCHIVE", "archive") or library_root().parent / "archive"


def archive_is_configured() -> bool:
    """Whether a person named the archive root. Such a folder is theirs to make: when it is
    missing, a volume is not mounted, and a folder made in its place would fill the wrong disk."""
    return _configured("MLX_WAN_ARCHIVE", "archive") is not None


def stage_folder(stage: str) -> Path:
    """The folder of a stage in the library. Not created here."""
    if stage not in STAGES:
        raise UsageError(f"stage is {stage!r}", f"stages are {', '.join(STAGES)}")
    return library_root() / stage


def locked(folder: Path, *, seconds: float | None = None) -> AbstractContextManager[int]:
    """Alone among processes that change files of the library whose `.library` is `folder`.

    Raises BusyLibraryError after waiting `seconds`, by default long enough for a large video on a
    slow disk.
    """
    busy = BusyLibraryError(
        f"another mlx-wan is changing the library {folder.parent}",
        "wait for it to finish and try again",
    )
    return files.locked(
        folder / "lock", busy=busy, seconds=LOCK_SECONDS if seconds is None else seconds
    )


def sync_file(number: int) -> None:
    """fsync that reaches the platter: on macOS plain fsync stops at the drive's cache."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):  # network volumes do not know it
            fcntl.fcntl(number, full)
            return
    os.fsync(number)


def sync_folder(folder: Path) -> None:
    """Names made or removed in `folder` survive a power cut from here on."""
    number = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network volumes refuse it for folders
            sync_file(number)
    finally:
        os.close(number)


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path`: on the platter before it has its name, replacing what was there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # left by a kill, or a link that would be written through
        with open(partial, "wb", opener=_not_through_links) as file:
            file.write(data)
            file.flush()
            sync_file(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def _not_through_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _configured(variable: str, key: str) -> Path | None:
    value = os.environ.get(variable)
    where = variable
    if not value:
        where = f"{key} in {home() / 'config.toml'}"
        value = _config().get(key)
        if value is None:
            return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError(f"{where} is {shown(value)}, not a folder", f'as in {key} = "~/videos"')
    path = expanded(value)
    if not path.is_absolute():
        raise UsageError(f"{where} is {value!r}", "give the whole path, beginning with / or ~")
    return Path(os.path.normpath(path))


def _config() -> dict[str, Any]:
    path = home() / "config.toml"
    try:
        raw = read_small(path, _MAX_CONFIG_BYTES, hint="mend it or remove it")
        return tomllib.loads(raw.decode("utf-8"))
    except MissingFileError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}", "mend it or remove it") from None

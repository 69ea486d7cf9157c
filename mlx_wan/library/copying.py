"""One file, copied and proved."""

import hashlib
import os
from pathlib import Path

from mlx_wan.errors import MlxWanError
from mlx_wan.files import file_sha256

from .places import sync_file

_CHUNK = 4 << 20  # bytes


class ChangedFileError(MlxWanError):
    """A file is not what its record says it is; it was left alone."""


def copy_file(source: Path, copy: Path, sha256: str, *, link: bool, check: bool) -> None:
    """Make `copy` hold what `source` holds, whole and on the platter, with its time.

    `sha256` is what the record says, "" when it says nothing. A copy within one file system may be
    a hard `link`, which is read only to `check` it. Raises ChangedFileError.
    """
    copy.unlink(missing_ok=True)
    if link and _link(source, copy):
        found = file_sha256(source) if check else sha256
    else:
        found = _copy_bytes(source, copy)
        if found != _read_back(copy):
            raise MlxWanError(
                f"the copy of {source.name} reads back differently", f"check the disk of {copy}"
            )
    if sha256 and found != sha256:
        raise ChangedFileError(
            f"{source} is not what its record says: SHA-256 {found[:12]}..., not {sha256[:12]}...",
            "it was left where it is; restore the file from a backup, or delete it",
        )


def _link(source: Path, copy: Path) -> bool:
    try:
        os.link(source, copy)
    except OSError:  # another file system, or one without hard links
        return False
    return True


def _copy_bytes(source: Path, copy: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as original, copy.open("xb") as file:
        while chunk := original.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        stat = os.fstat(original.fileno())
        os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        sync_file(file.fileno())
    return digest.hexdigest()


def _read_back(copy: Path) -> str:
    """The hash of what the disk holds, as far as the system lets us past its cache."""
    with copy.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()

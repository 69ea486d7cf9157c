"""The hub's cache on disk, in its own layout, so that other programs find the files too.

models--OWNER--NAME/blobs/HASH                    the contents
models--OWNER--NAME/snapshots/COMMIT/PATH         a link to them
models--OWNER--NAME/refs/BRANCH                   the commit a branch was last seen at
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from mlx_wan.errors import MlxWanError, ModelError
from mlx_wan.files import complete_or_absent

from .listing import Listing, RemoteFile

_SPARE = 64_000_000  # bytes that are left free


def cache_root() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser().absolute()


def repo_folder(repo: str) -> Path:
    return cache_root() / f"models--{repo.replace('/', '--')}"


def snapshot_folder(repo: str, commit: str) -> Path:
    return repo_folder(repo) / "snapshots" / commit


def blob(listing: Listing, file: RemoteFile) -> Path:
    return repo_folder(listing.repo) / "blobs" / file.etag


def partial(listing: Listing, file: RemoteFile) -> Path:
    """What came so far; under a name of ours, as two programs must not write one file."""
    return blob(listing, file).with_name(f"{file.etag}.mlx-wan.incomplete")


def place(listing: Listing, file: RemoteFile) -> Path:
    """Where the file is used from."""
    return snapshot_folder(listing.repo, listing.commit) / file.path


def put(listing: Listing, file: RemoteFile) -> None:
    """Make the snapshot's link to a blob that was checked."""
    target, link = blob(listing, file), place(listing, file)
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists() and link.samefile(target):
        return
    fresh = link.with_name(f".{file.etag}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        fresh.symlink_to(os.path.relpath(target, link.parent))
    except OSError:  # a file system without links
        shutil.copyfile(target, fresh)
    fresh.replace(link)


def note_branch(listing: Listing) -> None:
    """Remember which commit the branch was at, as the hub's client does."""
    if listing.revision is None:
        return
    ref = repo_folder(listing.repo) / "refs" / listing.revision
    with suppress(MlxWanError), complete_or_absent(ref) as partial:
        partial.write_text(listing.commit)  # what was downloaded is used by its commit


def free_bytes() -> tuple[Path, int]:
    """The nearest existing folder of the cache, and what is free there."""
    root = cache_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    return existing, shutil.disk_usage(existing).free


def check_space(what: str, needed: int) -> None:
    """Raise ModelError when `needed` bytes do not fit beside the cache."""
    existing, free = free_bytes()
    if needed and needed + _SPARE > free:
        short = needed + _SPARE - free
        raise ModelError(
            f"{what} needs {needed / 1e9:.2f} GB more; {existing} has {free / 1e9:.2f} GB free, "
            f"{short / 1e9:.2f} too few",
            "free some space, or set HF_HOME to a folder on a larger disk",
        )


def forget(listing: Listing) -> int:
    """Delete the files of a listing from the cache. Returns bytes.

    Other files of that commit stay, and contents that another commit has too.
    """
    if not listing.files:
        return 0
    folder = snapshot_folder(listing.repo, listing.commit)
    ours = {place(listing, file) for file in listing.files}
    if {path for path in folder.rglob("*") if not path.is_dir()} <= ours:
        return _forget_commit(listing.repo, listing.commit)
    freed = 0
    for file in listing.files:
        path = place(listing, file)
        contents = path.resolve()
        path.unlink(missing_ok=True)
        used = (other.resolve() for other in folder.parent.rglob("*") if not other.is_dir())
        if contents not in used and contents.is_file():
            freed += contents.stat().st_size
            contents.unlink()
    return freed


def _forget_commit(repo: str, commit: str) -> int:
    from huggingface_hub import scan_cache_dir

    strategy = scan_cache_dir(cache_root()).delete_revisions(commit)
    freed = strategy.expected_freed_size
    strategy.execute()
    return freed


def state(listing: Listing, file: RemoteFile) -> str:
    """How far a file is, by its size alone: "here", "begun" or ""."""
    for path, word in ((blob(listing, file), "here"), (partial(listing, file), "begun")):
        if path.is_file() and (word == "begun" or path.stat().st_size == file.size):
            return word
    return ""

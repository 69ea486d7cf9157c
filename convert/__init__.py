"""Foreign checkpoints into our folder format: see `convert`.

This package is alone in knowing other projects' files; it imports the engine, never the reverse.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_wan import __version__
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.events import Report, ignore
from mlx_wan.files import locked
from mlx_wan.home import expanded
from mlx_wan.loading import FORMAT_VERSION
from mlx_wan.presets import PRESETS
from mlx_wan.registry import record_installed

from .choose import Model, choose
from .config import folder_config, write_small_files
from .discover import discover
from .hub import find_source
from .prepare import DTYPES, check_options, plan_jobs
from .verify import verify
from .work import write_shards
from .write import Journal, Shard, plan_shards, sync_folder, write_atomically

__all__ = ["convert", "verify"]

_SPARE_BYTES = 64_000_000  # what is left free on the disk


def convert(
    source: str | Path,
    dest: str | Path,
    *,
    model: str | None = None,
    dtype: str = "bf16",
    quantize: int | None = None,
    group_size: int = 64,
    origin: dict[str, str] | None = None,
    progress: Report | None = None,
) -> Path:
    """Convert a published checkpoint, a folder or a hub id, into the new folder `dest`.

    `dtype` is "bf16", "fp16" or "fp32"; `quantize` 8, 6 or 4 bits for attention and feed-forward.
    `model` names a preset where the checkpoint alone does not settle it; `origin` is recorded as
    where it comes from, when that is not `source`. Work goes on in
    `dest`.partial and is taken up there if it was interrupted; `dest` appears when it is complete.

    Raises UsageError, ModelError or BadFileError; nothing is then left under the name `dest`.
    """
    quantization = check_options(dtype, quantize, group_size)
    if model is not None and model not in PRESETS:
        raise UsageError(f"there is no model {model!r}", f"use one of {', '.join(PRESETS)}")
    dest = expanded(dest)
    _check_destination(dest)
    report = progress or ignore
    with _disk_errors(dest):
        root, found_origin = find_source(source, model, report)
        _check_apart(root, dest)
        found = choose(discover(root), model)
        shards = {
            name: plan_shards(name, plan_jobs(part, DTYPES[dtype], quantization))
            for name, part in found.parts.items()
        }
        fingerprint = _fingerprint(found, shards)
        partial = dest.with_name(dest.name + ".partial")
        _check_space(partial, shards)
        with _locked(partial):
            journal = Journal(partial, fingerprint)
            every_shard = [shard for component in shards.values() for shard in component]
            write_shards(partial, every_shard, found.files, journal, report)
            if _fingerprint(found, shards) != fingerprint:
                raise ModelError(f"{source} changed while it was converted", "convert it again")
            files = write_small_files(partial, found, shards, journal)
            config = folder_config(
                found, shards, files, journal, DTYPES[dtype], origin or found_origin
            )
            write_atomically(partial / "config.json", json.dumps(config, indent=1).encode())
            _publish(partial, dest, journal)
        record_installed(dest, found.preset.id)
    return dest


def _publish(partial: Path, dest: Path, journal: Journal) -> None:
    """From here on it is a model: the folder is complete and gets its name in one step."""
    _check_destination(dest)
    sync_folder(partial)
    partial.rename(dest)
    (dest / journal.path.name).unlink()
    sync_folder(dest.parent)


def _check_destination(dest: Path) -> None:
    if os.path.lexists(dest):
        raise UsageError(
            f"{dest} exists already; nothing is overwritten",
            "choose another destination, or move it away",
        )


def _check_apart(root: Path, dest: Path) -> None:
    if root.is_dir() and root.resolve() in dest.absolute().resolve().parents:
        raise UsageError(f"{dest} would lie inside the source", "choose a folder beside it")


def _fingerprint(found: Model, shards: dict[str, list[Shard]]) -> str:
    """Stands for the sources as they are on disk and for everything that is to be written."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {__version__} {found.preset.id}".encode())
    for file in found.files:
        status = file.stat()
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    for component in shards.values():
        for shard in component:
            digest.update(shard.path.encode() + shard.header)
    return digest.hexdigest()


def _check_space(partial: Path, shards: dict[str, list[Shard]]) -> None:
    existing = next(folder for folder in partial.absolute().parents if folder.exists())
    needed = _SPARE_BYTES
    for component in shards.values():
        for shard in component:
            written = partial / shard.path
            needed += shard.nbytes - (written.stat().st_size if written.is_file() else 0)
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ModelError(
            f"{existing} has {free / 1e9:.2f} GB free; the model needs {needed / 1e9:.2f}",
            "free some space, choose another disk, or use --quantize",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make an unfinished folder, or take it up, and keep a second conversion out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = ModelError(f"another conversion is writing {folder}", "wait for it, or stop it")
    with locked(folder, busy=busy):
        yield


@contextmanager
def _disk_errors(dest: Path) -> Iterator[None]:
    """Errors of the disk in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                f"the disk of {dest} is full",
                "free some space and give the same command again: it goes on where it stopped",
            ) from None
        where = error.filename or dest
        raise ModelError(f"{where}: {error.strerror or error}") from None

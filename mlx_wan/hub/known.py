"""From a model of the catalogue to the files of it that are fetched, and to what was fetched."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_wan.errors import ModelError, UsageError

from .cache import snapshot_folder
from .listing import Listing, Pin, RemoteFile, choose, list_files

if TYPE_CHECKING:
    from mlx_wan.registry.catalogue import KnownModel


def wanted(
    model: "KnownModel", revision: str | None = None, include: Sequence[str] = ()
) -> Listing:
    """What to fetch of a known model: at the commit that is pinned, unless another is asked for.

    The sizes and hashes that are known beforehand hold for the pinned commit only.
    """
    source = model.source
    listing = list_files(source.repo, revision or source.revision)
    exact = listing.commit == source.revision
    pins = [
        Pin(file.path, file.size if exact else None, file.sha256 if exact else None)
        for file in source.files
    ]
    return choose(listing, include, pins)


def pinned(model: "KnownModel", revision: str | None = None) -> Listing:
    """The same without asking the hub; raises ModelError when too little is known for that."""
    source = model.source
    commit = revision or source.revision
    files = []
    for file in source.files:
        if file.size is None or file.sha256 is None:
            break
        files.append(RemoteFile(file.path, file.size, file.sha256, file.sha256))
    if commit is None or commit != source.revision or not files or len(files) < len(source.files):
        raise ModelError(
            f"nothing was downloaded of {model.id} yet",
            f"go online: `mlx-wan models download {model.id}`",
        )
    return Listing(source.repo, commit, tuple(files))


def folder_of(listing: Listing) -> Path:
    return snapshot_folder(listing.repo, listing.commit)


def check_obtainable(model: "KnownModel", embedded: str) -> None:
    """Raise UsageError for a model that is not fetched from the hub."""
    if model.id == embedded or not model.source.repo:
        raise UsageError(
            f"{model.id} comes with mlx-wan; there is nothing to download",
            "`mlx-wan models download` takes the others: see `mlx-wan models list`",
        )

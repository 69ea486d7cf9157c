"""From a model of the catalogue to the files of it that are fetched, and to what was fetched."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_wan.errors import ModelError

from .cache import snapshot_folder
from .download import Download
from .listing import Listing, Pin, RemoteFile, choose, list_files

if TYPE_CHECKING:
    from mlx_wan.registry.catalogue import KnownModel


def wanted(
    model: "KnownModel", revision: str | None = None, include: Sequence[str] = ()
) -> Listing:
    """What to fetch of a known model: at the commit that is pinned, unless another is asked for.

    The sizes and hashes that are known beforehand do not hold for a revision of one's own choice.
    """
    source = model.source
    listing = list_files(source.repo, revision or source.revision)
    exact = revision is None or listing.commit == source.revision
    pins = [
        Pin(file.path, file.size if exact else None, file.sha256 if exact else None)
        for file in source.files
    ]
    return choose(listing, include, pins)


def pinned(model: "KnownModel") -> Download:
    """Where the pinned commit would lie, without asking the hub.

    Raises ModelError when the catalogue knows too little for that.
    """
    source = model.source
    files = []
    for file in source.files:
        if file.size is None or file.sha256 is None:
            break
        files.append(RemoteFile(file.path, file.size, file.sha256, file.sha256))
    if source.revision is None or not files or len(files) < len(source.files):
        raise ModelError(
            f"nothing was downloaded of {model.id} yet",
            f"go online: `mlx-wan models download {model.id}`",
        )
    listing = Listing(source.repo, source.revision, tuple(files))
    return Download(listing, folder_of(listing), 0)


def folder_of(listing: Listing) -> Path:
    return snapshot_folder(listing.repo, listing.commit)

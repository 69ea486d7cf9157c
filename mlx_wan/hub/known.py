"""From a model of the catalogue to the files of it that are fetched, and to what was fetched."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_wan.errors import ModelError
from mlx_wan.settings import shown

from .cache import snapshot_folder
from .download import Snapshot
from .listing import Listing, Pin, RemoteFile, choose, list_files, matching

if TYPE_CHECKING:
    from mlx_wan.registry.catalogue import KnownModel


def wanted(
    model: "KnownModel", revision: str | None = None, include: Sequence[str] = ()
) -> list[Listing]:
    """What to fetch of a known model, repository by repository, at the commits that are pinned.

    `revision` is another commit of the first one, of the model itself. The sizes and hashes that
    are known beforehand do not hold for a revision of one's own choice. With `include` those files
    are taken that match, wherever they are.
    """
    found = []
    for source in model.sources:
        own = revision if source is model.source else None
        listing = list_files(source.repo, own or source.revision)
        if len(model.sources) > 1 and include and not matching(listing, include):
            continue
        known = own is None or listing.commit == source.revision
        pins = [
            Pin(file.path, file.size if known else None, file.sha256 if known else None)
            for file in source.files
        ]
        found.append(choose(listing, include, pins))
    if not found:
        raise ModelError(
            f"no file of {model.id} matches {', '.join(map(shown, include))}",
            f"they are in {' and '.join(source.repo for source in model.sources)}",
        )
    return found


def pinned(model: "KnownModel") -> list[Snapshot]:
    """Where the pinned commits would lie, without asking the hub.

    Raises ModelError when the catalogue knows too little for that.
    """
    snapshots = []
    for source in model.sources:
        files = [
            RemoteFile(file.path, file.size, file.sha256, file.sha256)
            for file in source.files
            if file.size is not None and file.sha256 is not None
        ]
        if source.revision is None or not files or len(files) < len(source.files):
            raise ModelError(
                f"nothing was downloaded of {model.id} yet",
                f"go online: `mlx-wan models download {model.id}`",
            )
        listing = Listing(source.repo, source.revision, tuple(files))
        snapshots.append(Snapshot(listing, folder_of(listing)))
    return snapshots


def folder_of(listing: Listing) -> Path:
    return snapshot_folder(listing.repo, listing.commit)

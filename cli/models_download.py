"""`mlx-wan models download`: a known model from the hub, checked, and converted."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_wan.errors import ModelError, UsageError

from .library_tables import plain, size_text
from .models_offer import ask_for_consent, files_text, show_offer
from .models_verify import Id, check_snapshots, converted_folder, recorded
from .options import Json
from .transfer import transfer_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlx_wan.hub import Snapshot
    from mlx_wan.registry.catalogue import KnownModel


def download(
    id: Id,
    revision: Annotated[
        str | None,
        typer.Option(
            help="A commit, tag or branch of the model's own repository instead of the commit "
            "that is known."
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only files like this (*.json); may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files, sizes and licences, and stop.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing; check what is here already.")
    ] = False,
    convert: Annotated[
        bool, typer.Option("--convert", help="Convert it into the models folder as well.")
    ] = False,
    quantize: Annotated[
        int | None, typer.Option(help="With --convert: weights in 8, 6 or 4 bits.")
    ] = None,
    delete_source: Annotated[
        bool,
        typer.Option("--delete-source", help="After converting, delete what was downloaded."),
    ] = False,
    accept_license: Annotated[
        bool,
        typer.Option(
            "--accept-license",
            "--yes",
            "-y",
            help="Do not ask about a licence with restrictions. Only a terminal is asked; in a "
            "script the licences are shown and the download goes on, as with `hf download`.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Download a model from the hub, one commit of each of its repositories, and check every file.

    Into the cache of huggingface_hub (HF_HOME). Given again, it goes on where it
    was stopped. Licences, sizes and gates of all repositories are shown before
    the first byte is fetched.
    """
    from mlx_wan.hub import Snapshot, check_access, missing_bytes
    from mlx_wan.hub.cache import check_space
    from mlx_wan.hub.download import repos_text
    from mlx_wan.hub.known import folder_of, pinned, wanted
    from mlx_wan.hub.transport import is_offline

    offline = offline or is_offline()
    if not convert and (delete_source or quantize is not None):
        raise UsageError("--quantize and --delete-source belong to --convert", "add --convert")
    if offline and (revision or include):
        raise UsageError("--offline checks what was downloaded", "leave --revision and --include")
    model = _known(id)
    if convert:
        _check_conversion(model, bool(include))
    if offline:
        snapshots = recorded(id) or pinned(model)
        to_come = 0
    else:
        listings = wanted(model, revision, include or [])
        snapshots = [Snapshot(listing, folder_of(listing)) for listing in listings]
        to_come = missing_bytes(*listings)
    show_offer(model, snapshots, to_come, offline)
    if dry_run:
        if not offline:
            check_space(repos_text(listings), to_come)
        if as_json:
            print(json.dumps(_told(model, snapshots, to_come) | {"dry_run": True}))
        return
    if offline:
        _check(model, snapshots)
    else:
        for listing in listings:
            check_access(listing)
        ask_for_consent(model, accept_license)
        if convert:
            _check_space_for_both(model, to_come, quantize)
        snapshots = _fetch(model, snapshots, partly=bool(include))
    made = _convert(model, snapshots, quantize, delete_source) if convert else None
    if as_json:
        fetched = sum(snapshot.fetched for snapshot in snapshots)
        told = _told(model, snapshots, fetched)
        print(json.dumps(told | {"converted": str(made) if made else None}))
    else:
        print(made or "\n".join(str(snapshot.folder) for snapshot in snapshots))


def _known(id: str) -> "KnownModel":
    """A model that can be downloaded."""
    from mlx_wan.presets import EMBEDDED
    from mlx_wan.registry.recording import find_known

    model = find_known(id)
    if id == EMBEDDED:
        raise UsageError(f"{id} comes with mlx-wan; there is nothing to download", "just use it")
    if not model.source.repo:
        raise UsageError(
            f"{id} has no repository of the hub to download it from",
            "add it again with OWNER/NAME as its source",
        )
    return model


def _check_conversion(model: "KnownModel", partly: bool) -> None:
    """Raise UsageError when --convert cannot work, before anything is fetched for it."""
    if model.preset is None:
        raise UsageError(
            f"{model.name} cannot be converted yet: its network is not part of this version",
            "without --convert it is only downloaded",
        )
    if partly:
        raise UsageError("--include fetches a part of a model, which cannot be converted")
    made = converted_folder(model.id)
    if os.path.lexists(made):
        raise UsageError(
            f"{made} exists already; nothing is overwritten",
            "it is used as it is; move it away to convert again",
        )


def _check_space_for_both(model: "KnownModel", to_come: int, quantize: int | None) -> None:
    """Raise ModelError when the converted model will not fit beside the download.

    Counts the denoisers' weights alone, so it refuses nothing that would fit.
    """
    from mlx_wan.home import models_folder
    from mlx_wan.hub.cache import check_space, free_bytes

    weights = int((model.parameters or 0) * ((quantize or 15.5) + 0.5) / 8)
    folders = (models_folder(), *models_folder().parents)
    existing = next(folder for folder in folders if folder.exists())
    if existing.stat().st_dev == free_bytes()[0].stat().st_dev:
        check_space(f"{model.id}, downloaded and converted,", to_come + weights)


def _check(model: "KnownModel", snapshots: "Sequence[Snapshot]") -> None:
    """Raise ModelError unless all of it is here as it was downloaded."""
    with transfer_progress() as report:
        problems = check_snapshots(snapshots, report)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ModelError(
            f"{model.id} is not whole here: {problems[0]}{more}",
            "without --offline what is missing is fetched",
        )


def _fetch(model: "KnownModel", snapshots: "Sequence[Snapshot]", partly: bool) -> "list[Snapshot]":
    """Fetch what is missing and check everything; a whole model is noted in the registry."""
    from mlx_wan.hub import download_all
    from mlx_wan.registry import record_downloads

    try:
        with transfer_progress() as report:
            done = download_all([snapshot.listing for snapshot in snapshots], report)
    except KeyboardInterrupt:
        print("note: what came is kept; the same command goes on there", file=sys.stderr)
        raise
    for snapshot in done:
        for path in snapshot.mended:
            told = f"{plain(path)} of {snapshot.listing.repo} was damaged here"
            print(f"note: {told} and was fetched again", file=sys.stderr)
    if not partly:
        record_downloads(model.id, done)
    came = size_text(sum(snapshot.fetched for snapshot in done))
    print(f"{came} fetched; {files_text(done)} checked by size and hash", file=sys.stderr)
    return done


def _convert(
    model: "KnownModel",
    snapshots: "Sequence[Snapshot]",
    quantize: int | None,
    delete_source: bool,
) -> Path:
    """Convert what was downloaded into the models folder; delete the source if asked."""
    from mlx_wan.convert import convert
    from mlx_wan.home import home
    from mlx_wan.hub.staging import staged

    made = converted_folder(model.id)
    try:
        with (
            staged(snapshots, home() / "sources" / model.id) as folder,
            transfer_progress() as report,
        ):
            convert(
                folder,
                made,
                model=model.preset,
                quantize=quantize,
                origin=_origin(snapshots),
                progress=report,
            )
    except KeyboardInterrupt:
        print("note: the same command goes on where it stopped", file=sys.stderr)
        raise
    if delete_source:
        _delete(model, snapshots)
    return made


def _origin(snapshots: "Sequence[Snapshot]") -> dict[str, str]:
    """What a converted model notes of where it comes from: its own repository, and the others."""
    main, *others = (snapshot.listing for snapshot in snapshots)
    origin = {"path": main.repo, "revision": main.commit}
    if others:
        origin["besides"] = " ".join(f"{other.repo}@{other.commit}" for other in others)
    return origin


def _delete(model: "KnownModel", snapshots: "Sequence[Snapshot]") -> None:
    """Delete the source from the cache, but what other downloaded models are made of, too."""
    from mlx_wan.hub.cache import forget
    from mlx_wan.registry import read_registry, record_downloads

    others = {
        (snapshot.listing.repo, snapshot.listing.commit, file.path)
        for id in read_registry().models
        if id != model.id
        for snapshot in recorded(id)
        for file in snapshot.listing.files
    }
    freed = kept = 0
    for snapshot in snapshots:
        listing = snapshot.listing
        own = [f for f in listing.files if (listing.repo, listing.commit, f.path) not in others]
        kept += len(listing.files) - len(own)
        freed += forget(replace(listing, files=tuple(own)))
    record_downloads(model.id, [])
    print(f"deleted the source from the cache: {size_text(freed)}", file=sys.stderr)
    if kept:
        print(f"note: {kept} files stay, other models need them", file=sys.stderr)


def _told(model: "KnownModel", snapshots: "Sequence[Snapshot]", fetched: int) -> dict[str, Any]:
    """What a script wants to know of a download; `fetched` is what came, or is to come."""
    return {
        "ok": True,
        "id": model.id,
        "size": sum(snapshot.listing.size for snapshot in snapshots),
        "fetched": fetched,
        "licenses": [licence.name for licence in model.licenses],
        "sources": [
            {
                "repo": snapshot.listing.repo,
                "revision": snapshot.listing.commit,
                "gated": snapshot.listing.gated,
                "folder": str(snapshot.folder),
                "files": [
                    {"path": file.path, "size": file.size, "sha256": file.sha256}
                    for file in snapshot.listing.files
                ],
            }
            for snapshot in snapshots
        ],
    }

"""`mlx-wan models verify`, and what is known of earlier downloads."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlx_wan.errors import BadFileError, ModelError, UsageError

from .library_tables import plain
from .options import Json
from .transfer import transfer_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlx_wan.events import Report
    from mlx_wan.hub import Snapshot

Id = Annotated[str, typer.Argument(metavar="ID", help="A model of `mlx-wan models list`.")]


def verify(id: Id, as_json: Json = False) -> None:
    """Check what was downloaded and converted of a model, byte for byte."""
    from mlx_wan.convert import verify as verify_converted
    from mlx_wan.registry.content import is_name
    from mlx_wan.registry.recording import find_known

    if not is_name(id):
        raise UsageError(f"{id[:80]!r} is no name of a model", "`mlx-wan models list` shows them")
    snapshots, made = recorded(id), converted_folder(id)
    if not any(snapshot.folder.is_dir() for snapshot in snapshots):
        snapshots = []  # deleted once they were converted
    folders, problems = [snapshot.folder for snapshot in snapshots], []
    with transfer_progress() as report:
        problems += check_snapshots(snapshots, report)
        if (made / "config.json").is_file():
            folders.append(made)
            problems += [f"{made}: {text}" for text in verify_converted(made, report)]
    if not folders:
        find_known(id)  # or it is misuse
        raise ModelError(f"nothing of {id} is here", f"`mlx-wan models download {id}` fetches it")
    if problems:
        if not as_json:
            print("\n".join(map(plain, problems)))
        raise BadFileError(
            f"{id} is damaged: {len(problems)} of its files are wrong",
            f"`mlx-wan models download {id}` fetches downloaded ones again; converted ones are "
            "made again with `mlx-wan convert`",
        )
    if as_json:
        print(json.dumps({"ok": True, "id": id, "folders": [str(folder) for folder in folders]}))
    else:
        print("\n".join(plain(f"{folder} is whole") for folder in folders))


def recorded(id: str) -> "list[Snapshot]":
    """What was downloaded of a model, with every file's sha256; empty when nothing was."""
    from mlx_wan.hub import Listing, RemoteFile, Snapshot
    from mlx_wan.registry import downloaded

    snapshots = []
    for record in downloaded(id):
        files = tuple(
            RemoteFile(file.path, file.size, file.sha256, file.sha256)
            for file in record.files
            if file.size is not None and file.sha256 is not None
        )
        listing = Listing(record.repo, record.revision, files)
        snapshots.append(Snapshot(listing, Path(record.folder)))
    return snapshots


def check_snapshots(snapshots: "Sequence[Snapshot]", report: "Report") -> list[str]:
    """What is wrong with the files of some repositories, a line each."""
    from mlx_wan.hub import check_files

    progress = _counted(report, sum(snapshot.listing.size for snapshot in snapshots))
    return [
        f"{snapshot.folder}: {problem} ({snapshot.listing.repo})"
        for snapshot in snapshots
        for problem in check_files(snapshot.folder, snapshot.listing.files, progress)
    ]


def converted_folder(id: str) -> Path:
    from mlx_wan.home import models_folder
    from mlx_wan.loading import embedded_model
    from mlx_wan.presets import EMBEDDED

    return embedded_model() if id == EMBEDDED else models_folder() / id


def _counted(report: "Report", total: int) -> "Callable[[int], None]":
    """Progress in bytes read, as events of the whole."""
    from mlx_wan.events import Event

    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        report(Event("check", done, total))

    return progress

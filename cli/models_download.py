"""`mlx-wan models download` and `verify`: a known model from the hub, checked, and converted."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_wan.errors import BadFileError, ModelError, UsageError

from .library_tables import plain, size_text
from .options import Json
from .transfer import transfer_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx_wan.events import Report
    from mlx_wan.hub import Download, Listing
    from mlx_wan.registry.catalogue import KnownModel

_PERMISSIVE = ("apache", "mit", "bsd")
Id = Annotated[str, typer.Argument(metavar="ID", help="A model of `mlx-wan models list`.")]


def download(
    id: Id,
    revision: Annotated[
        str | None,
        typer.Option(help="A commit, tag or branch instead of the commit that is known."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only files like this (*.json); may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files, sizes and licence, and stop.")
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
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="The licence's restrictions are accepted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Download a model from the hub, one commit of it, and check every file.

    Into the cache of huggingface_hub (HF_HOME). Given again, it goes on where it was stopped.
    """
    from mlx_wan.hub import Download, missing_bytes
    from mlx_wan.hub.cache import check_space
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
        source = _recorded(id) or pinned(model)
    else:
        listing = wanted(model, revision, include or [])
        source = Download(listing, folder_of(listing), missing_bytes(listing))
    _show(model, source, offline)
    if dry_run:
        check_space(source.listing.repo, source.fetched)
        if as_json:
            print(json.dumps(_told(model, source) | {"dry_run": True}))
        return
    if offline:
        _check(model, source)
    else:
        _ask_for_consent(model, yes)
        if convert:
            _check_space_for_both(model, source, quantize)
        source = _fetch(model, source.listing, partly=bool(include))
    made = _convert(model, source, quantize, delete_source) if convert else None
    if as_json:
        print(json.dumps(_told(model, source) | {"converted": str(made) if made else None}))
    else:
        print(made or source.folder)


def verify(id: Id, as_json: Json = False) -> None:
    """Check what was downloaded and converted of a model, byte for byte."""
    from mlx_wan.convert import verify as verify_converted
    from mlx_wan.hub import check_files
    from mlx_wan.registry.content import is_name
    from mlx_wan.registry.recording import find_known

    if not is_name(id):
        raise UsageError(f"{id[:80]!r} is no name of a model", "`mlx-wan models list` shows them")
    source, made = _recorded(id), _converted_folder(id)
    folders, problems = [], []
    with transfer_progress() as report:
        if source is not None and source.folder.is_dir():  # else it was deleted once converted
            folders.append(source.folder)
            files, progress = source.listing.files, _counted(report, source.listing)
            problems += [
                f"{source.folder}: {text}" for text in check_files(source.folder, files, progress)
            ]
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


def _recorded(id: str) -> "Download | None":
    """What was downloaded of a model, with every file's sha256; None when nothing was."""
    from mlx_wan.hub import Download, Listing, RemoteFile
    from mlx_wan.registry import downloaded

    record = downloaded(id)
    if record is None:
        return None
    files = tuple(
        RemoteFile(file.path, file.size, file.sha256, file.sha256)
        for file in record.files
        if file.size is not None and file.sha256 is not None
    )
    return Download(Listing(record.repo, record.revision, files), Path(record.folder), 0)


def _check_conversion(model: "KnownModel", partly: bool) -> None:
    """Raise UsageError when --convert cannot work, before anything is fetched for it."""
    if model.preset is None:
        raise UsageError(
            f"{model.name} cannot be converted yet: its network is not part of this version",
            "without --convert it is only downloaded",
        )
    if partly:
        raise UsageError("--include fetches a part of a model, which cannot be converted")
    made = _converted_folder(model.id)
    if os.path.lexists(made):
        raise UsageError(
            f"{made} exists already; nothing is overwritten",
            "it is used as it is; move it away to convert again",
        )


def _check_space_for_both(model: "KnownModel", source: "Download", quantize: int | None) -> None:
    """Raise ModelError when the converted model will not fit beside the download.

    Counts the denoisers' weights alone, so it refuses nothing that would fit.
    """
    from mlx_wan.home import models_folder
    from mlx_wan.hub.cache import check_space, free_bytes

    weights = int((model.parameters or 0) * ((quantize or 15.5) + 0.5) / 8)
    folders = (models_folder(), *models_folder().parents)
    existing = next(folder for folder in folders if folder.exists())
    if existing.stat().st_dev == free_bytes()[0].stat().st_dev:
        check_space(f"{model.id}, downloaded and converted,", source.fetched + weights)


def _ask_for_consent(model: "KnownModel", yes: bool) -> None:
    """Licences with restrictions are accepted by the person, not by a script in passing."""
    licence = model.license
    if yes or licence.name.lower().startswith(_PERMISSIVE):
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{model.name} is not under a free licence: {licence.name}. {licence.restrictions}",
            f"read it ({licence.url or 'ask its authors'}); --yes says that you may use the model",
        )
    if not typer.confirm("May you use it under this licence?", err=True):
        raise ModelError("the licence was not accepted; nothing was downloaded")


def _show(model: "KnownModel", source: "Download", offline: bool) -> None:
    """What is about to be fetched, or only checked, on stderr."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from mlx_wan.hub.cache import free_bytes, state

    listing = source.listing
    console = Console(stderr=True, highlight=False)
    at = f" ({listing.revision}, as it is now)" if listing.revision else ""
    console.print(Text(model.name, "bold"))
    console.print(Text(f"from {listing.repo} at commit {listing.commit}{at}"), soft_wrap=True)
    files = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    files.add_column(overflow="fold")
    files.add_column(justify="right", no_wrap=True)
    files.add_column(no_wrap=True)
    for file in listing.files:
        files.add_row(
            Text(plain(file.path)), size_text(file.size), "" if offline else state(listing, file)
        )
    console.print(files)
    total = f"{_files(listing)}, {size_text(listing.size)}"
    if not offline:
        folder, free = free_bytes()
        total += f"; {size_text(source.fetched)} to come; {size_text(free)} free in {folder}"
    console.print(Text(total))
    licence = model.license
    console.print(Text(f"licence: {licence.name}, {licence.url}"), soft_wrap=True)
    if licence.restrictions:
        console.print(Padding(Text(licence.restrictions), (0, 0, 0, 2)))
    for repo in model.source.needs_besides:
        console.print(Text(f"it needs files of {repo} besides, which are not fetched"))
    if model.preset is None:
        console.print(Text("its network is not part of this version: it cannot be converted yet"))


def _check(model: "KnownModel", source: "Download") -> None:
    """Raise ModelError unless all of it is here as it was downloaded."""
    from mlx_wan.hub import check_files

    with transfer_progress() as report:
        files, progress = source.listing.files, _counted(report, source.listing)
        problems = check_files(source.folder, files, progress)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ModelError(
            f"{model.id} is not whole here: {problems[0]}{more}",
            "without --offline what is missing is fetched",
        )


def _fetch(model: "KnownModel", listing: "Listing", partly: bool) -> "Download":
    """Fetch what is missing and check everything; a whole model is noted in the registry."""
    from mlx_wan.hub import download
    from mlx_wan.registry import record_download

    try:
        with transfer_progress() as report:
            done = download(listing, report)
    except KeyboardInterrupt:
        print("note: what came is kept; the same command goes on there", file=sys.stderr)
        raise
    for path in done.mended:
        print(f"note: {plain(path)} was damaged here and was fetched again", file=sys.stderr)
    if not partly:
        record_download(model.id, done.folder, listing.commit, done.listing.files)
    came = size_text(done.fetched)
    print(f"{came} fetched; {_files(listing)} checked by size and hash", file=sys.stderr)
    return done


def _convert(
    model: "KnownModel", source: "Download", quantize: int | None, delete_source: bool
) -> Path:
    """Convert what was downloaded into the models folder; delete the source if asked."""
    from mlx_wan.convert import convert
    from mlx_wan.hub.cache import forget

    listing = source.listing
    made = _converted_folder(model.id)
    origin = {"path": listing.repo, "revision": listing.commit}
    try:
        with transfer_progress() as report:
            convert(
                source.folder,
                made,
                model=model.preset,
                quantize=quantize,
                origin=origin,
                progress=report,
            )
    except KeyboardInterrupt:
        print("note: the same command goes on where it stopped", file=sys.stderr)
        raise
    if delete_source:
        freed = forget(listing.repo, listing.commit)
        print(f"deleted the source from the cache: {size_text(freed)}", file=sys.stderr)
    return made


def _converted_folder(id: str) -> Path:
    from mlx_wan.home import models_folder
    from mlx_wan.loading import embedded_model
    from mlx_wan.presets import EMBEDDED

    return embedded_model() if id == EMBEDDED else models_folder() / id


def _files(listing: "Listing") -> str:
    count = len(listing.files)
    return "1 file" if count == 1 else f"{count} files"


def _counted(report: "Report", listing: "Listing") -> "Callable[[int], None]":
    """Progress in bytes read, as events of the whole."""
    from mlx_wan.events import Event

    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        report(Event("check", done, listing.size))

    return progress


def _told(model: "KnownModel", source: "Download") -> dict[str, Any]:
    """What a script wants to know of a download; `fetched` is what came, or is to come."""
    listing = source.listing
    return {
        "ok": True,
        "id": model.id,
        "repo": listing.repo,
        "revision": listing.commit,
        "folder": str(source.folder),
        "size": listing.size,
        "fetched": source.fetched,
        "license": model.license.name,
        "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in listing.files],
    }

"""What is about to be downloaded, before its first byte: files, sizes, gates and licences."""

import sys
from typing import TYPE_CHECKING

import typer

from mlx_wan.errors import ModelError

from .library_tables import plain, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from mlx_wan.hub import Listing, Snapshot
    from mlx_wan.registry.catalogue import KnownModel


def show_offer(
    model: "KnownModel", snapshots: "Sequence[Snapshot]", to_come: int, offline: bool
) -> None:
    """All of it on stderr, repository by repository."""
    from rich.console import Console
    from rich.text import Text

    from mlx_wan.hub.cache import free_bytes

    console = Console(stderr=True, highlight=False)
    console.print(Text(model.name, "bold"))
    for snapshot in snapshots:
        _show_files(console, snapshot.listing, offline)
        if not offline:
            _show_gate(console, model, snapshot.listing)
    total = files_text(snapshots)
    if not offline:
        folder, free = free_bytes()
        total += f"; {size_text(to_come)} to come; {size_text(free)} free in {folder}"
    console.print(Text(total))
    _show_licenses(console, model)
    if model.preset is None:
        console.print(Text("its network is not part of this version: it cannot be converted yet"))


def ask_for_consent(model: "KnownModel", accepted: bool) -> None:
    """Ask about restrictions where somebody is there to answer. A script was told, and goes on."""
    restricted = [licence for licence in model.licenses if licence.restrictions]
    if accepted or not restricted or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if not typer.confirm("May you use it under these restrictions?", err=True):
        raise ModelError("the licence was not accepted; nothing was downloaded")


def files_text(snapshots: "Sequence[Snapshot]") -> str:
    """ "13 files of 3 repositories, 55.1 GB"."""
    count = sum(len(snapshot.listing.files) for snapshot in snapshots)
    text = "1 file" if count == 1 else f"{count} files"
    if len(snapshots) > 1:
        text += f" of {len(snapshots)} repositories"
    return f"{text}, {size_text(sum(snapshot.listing.size for snapshot in snapshots))}"


def _show_files(console: "Console", listing: "Listing", offline: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from mlx_wan.hub.cache import state

    at = f" ({listing.revision}, as it is now)" if listing.revision else ""
    console.print(Text(f"from {listing.repo} at commit {listing.commit}{at}"), soft_wrap=True)
    files = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    files.add_column(overflow="fold")
    files.add_column(justify="right", no_wrap=True)
    files.add_column(no_wrap=True)
    for file in listing.files:
        how_far = "" if offline else state(listing, file)
        files.add_row(Text(plain(file.path)), size_text(file.size), how_far)
    console.print(files)


def _show_gate(console: "Console", model: "KnownModel", listing: "Listing") -> None:
    from rich.text import Text

    from mlx_wan.hub.access import way_in

    gated = listing.gated or any(s.gated for s in model.sources if s.repo == listing.repo)
    if gated:
        told = f"{listing.repo} is gated: {way_in(listing.repo)}"
        console.print(Text(told, "yellow"), soft_wrap=True)


def _show_licenses(console: "Console", model: "KnownModel") -> None:
    from rich.padding import Padding
    from rich.text import Text

    several = len(model.licenses) > 1
    for licence, repos in model.licenses.items():
        of = f" of {', '.join(repos)}" if several and repos else ""
        told = f"licence{of}: {licence.name}, {licence.url}"
        console.print(Text(plain(told)), soft_wrap=True)
        if licence.restrictions:
            console.print(Padding(Text(plain(licence.restrictions)), (0, 0, 0, 2)))

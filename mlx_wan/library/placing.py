"""Copies under names nobody else uses, and how they get their final ones."""

import os
from pathlib import Path
from typing import Any

from mlx_wan.files import free_name, json_bytes
from mlx_wan.record import read_json

from .journal import Journal, Spot, write_journal
from .places import sync_folder, write_whole
from .shelf import Library


class LostCopyError(Exception):
    """A copy that was to be placed is gone: somebody removed it."""


def place(library: Library, journal: Journal) -> Journal:
    """Give the copies their final names; the journal with the name they got."""
    assert journal.target is not None
    while True:
        final = root_of(library, journal.target) / journal.target.path
        _name_record(library, journal)
        try:
            for suffix in journal.files:
                _place_one(hidden(library, journal, suffix), final.with_suffix(suffix))
            sync_folder(final.parent)
            return journal
        except FileExistsError:  # another program has just taken the name
            for suffix in journal.files:
                copy = hidden(library, journal, suffix)
                if not os.path.lexists(copy):
                    final.with_suffix(suffix).rename(copy)
            journal = journal.to(target=free_spot(library, journal.target))
            assert journal.target is not None
            write_journal(journal, library.root)


def _place_one(copy: Path, final: Path) -> None:
    """Rename `copy` to `final`, never replacing another file. Fine when done before."""
    if not os.path.lexists(copy):
        if os.path.lexists(final):
            return
        raise LostCopyError
    try:
        os.link(copy, final)
    except FileExistsError:
        if not copy.samefile(final):
            raise
    except OSError:  # a file system without hard links
        if os.path.lexists(final):
            raise FileExistsError from None
        copy.rename(final)
        return
    copy.unlink()


def _name_record(library: Library, journal: Journal) -> None:
    """A record tells its video's name, which may have changed since it was copied."""
    copy = hidden(library, journal, ".json")
    if journal.target is not None and os.path.lexists(copy):
        record = read_json(copy)
        if record.get("video") != Path(journal.target.path).name:
            write_named_record(library, journal, record)


def write_named_record(library: Library, journal: Journal, record: dict[str, Any]) -> None:
    assert journal.target is not None
    record = record | {"video": Path(journal.target.path).name}
    write_whole(hidden(library, journal, ".json"), json_bytes(record))


def hidden(library: Library, journal: Journal, suffix: str) -> Path:
    """Where a copy lies until it is placed: a name nobody else uses."""
    assert journal.target is not None
    folder = (root_of(library, journal.target) / journal.target.path).parent
    return folder / f".{journal.id}.moving{suffix}"


def free_spot(library: Library, spot: Spot) -> Spot:
    video = root_of(library, spot) / spot.path
    name = free_name(video, ".json", ".png").name
    return Spot(spot.archived, Path(spot.path).with_name(name).as_posix())


def root_of(library: Library, spot: Spot) -> Path:
    return library.archive if spot.archived else library.root

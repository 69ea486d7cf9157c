"""Moving a video with its record and poster so that a kill at any point loses nothing.

One mechanism for archive, restore, promote and import, each step on disk before the next:

1. the journal says "copying": the source counts
2. copies under hidden names in the target folder, hashed on both sides
3. the journal says "placing": the copies count
4. the copies get their final names, never replacing anything
5. the index says where the video is now
6. the source files go, then the journal

Within one file system a copy is a hard link, made at once. `recover` undoes step 1 and 2 and
finishes from step 3 on. Everything here runs with the library locked.
"""

import errno
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.files import json_bytes
from mlx_wan.record import read_json

from .copying import copy_file
from .entry import Entry, entry_of
from .journal import (
    Journal,
    Spot,
    files_of,
    has_journal,
    is_same,
    read_journals,
    remove_journal,
    write_journal,
)
from .places import sync_folder, write_whole
from .placing import LostCopyError, free_spot, hidden, place, root_of, write_named_record
from .shelf import Library, need_archive

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MissingFileError(MlxWanError):
    """A file the index knows of is not there."""


def move(library: Library, entry: Entry, *, archived: bool, stage: str, check: bool) -> Entry:
    """Move the entry's files to a stage of the library or archive; the entry as it is then.

    The name stays, or gets `_2` where it is taken. `check` compares the hashes with the record's
    even where nothing has to be copied. Raises MlxWanError with everything as it was.
    """
    with library.locked():
        recover(library)
        entry = current(library, entry)
        if (entry.archived, entry.stage) == (archived, stage):
            return entry  # another process was first
        target = Spot(archived, f"{stage}/{entry.path.partition('/')[2]}")
        files = _files_to_move(entry.video)
        journal = Journal(
            entry.id, "move", "copying", Spot(entry.archived, entry.path), target, files
        )
        record = _record_of(entry)
        hashes = {".mp4": entry.sha256, ".png": entry.poster_sha256}
        moved = _run(library, journal, entry.video, record, hashes, check=check)
        assert moved is not None
        return moved


def import_video(library: Library, video: Path, record: dict[str, Any], stage: str) -> Entry:
    """Copy a video from elsewhere, with the poster beside it and this record, into a stage."""
    with library.locked():
        recover(library)
        _refuse_unfinished(library, record["id"])
        files = {suffix: told for suffix, told in files_of(video).items() if suffix != ".json"}
        target = Spot(False, f"{stage}/{video.stem}.mp4")
        journal = Journal(
            record["id"], "import", "copying", None, target, files | {".json": (0, 0)}
        )
        hashes = {".mp4": record["sha256"]["video"], ".png": record["sha256"].get("poster", "")}
        imported = _run(library, journal, video, record, hashes, check=True)
        assert imported is not None
        return imported


def delete(library: Library, entry: Entry) -> None:
    """Remove the entry's files and the entry."""
    with library.locked():
        recover(library)
        entry = current(library, entry)
        spot, files = Spot(entry.archived, entry.path), files_of(entry.video)
        journal = Journal(entry.id, "delete", "placing", spot, None, files)
        with _disk_errors(library.root, entry.video.name, "deleted"):
            try:
                write_journal(journal, library.root)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                entry.video.unlink(missing_ok=True)  # makes room for the journal
                write_journal(journal, library.root)
            _finish(library, journal)


def change_record(
    library: Library, entry: Entry, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Entry:
    """Replace the entry's record by what `change` makes of it, and tell the index."""
    with library.locked():
        recover(library)
        entry = current(library, entry)
        spot = Spot(entry.archived, entry.path)
        journal = Journal(entry.id, "tag", "placing", spot, None, {})
        record = change(_record_of(entry))
        with _disk_errors(entry.root, entry.video.name, "changed"):
            write_journal(journal, library.root)
            try:
                write_whole(entry.record_path, json_bytes(record))
            finally:
                _finish(library, journal)
    return current(library, entry)


def current(library: Library, entry: Entry) -> Entry:
    """The entry as it is now. Raises MlxWanError when it is gone, or waits for the archive."""
    _refuse_unfinished(library, entry.id)
    now = library.index.get(entry.id)
    if now is None:
        raise MlxWanError(f"another mlx-wan deleted {entry.id} just now")
    return now


def recover(library: Library) -> None:
    """Finish or undo what killed processes left; notes what has to wait for the archive."""
    for journal in read_journals(library.root):
        try:
            if any(spot.archived for spot in journal.spots()):
                need_archive(library)
            with _disk_errors(library.root, journal.id, "finished"):
                if journal.phase == "copying":
                    _undo(library, journal)
                else:
                    _finish(library, journal)
        except MlxWanError as error:
            library.notes.append(f"what was begun with {journal.id} has to wait: {error.message}")


def _refuse_unfinished(library: Library, id: str) -> None:
    if has_journal(library.root, id):
        raise MlxWanError(
            next((note for note in library.notes if id in note), f"{id} is being moved"),
            "run it again when that is mended",
        )


def _run(
    library: Library,
    journal: Journal,
    video: Path,
    record: dict[str, Any],
    hashes: dict[str, str],
    *,
    check: bool,
) -> Entry | None:
    assert journal.target is not None
    root = root_of(library, journal.target)
    with _disk_errors(root, video.name, "moved" if journal.source else "copied"):
        folder = (root / journal.target.path).parent
        folder.mkdir(parents=True, exist_ok=True)
        journal = journal.to(target=free_spot(library, journal.target))
        write_journal(journal, library.root)
        try:
            for suffix in journal.files.keys() - {".json"}:
                copy = hidden(library, journal, suffix)
                copy_file(
                    video.with_suffix(suffix),
                    copy,
                    hashes[suffix],
                    link=journal.kind == "move",
                    check=check,
                )
            write_named_record(library, journal, record)
            sync_folder(folder)
            for suffix, told in journal.files.items():
                if told != (0, 0) and not is_same(video.with_suffix(suffix), told):
                    raise MlxWanError(f"{video.with_suffix(suffix)} changed just now", "try again")
            journal = journal.to(phase="placing")
            write_journal(journal, library.root)
        except BaseException:
            with suppress(OSError):
                _undo(library, journal)
            raise
        return _finish(library, journal)


def _finish(library: Library, journal: Journal) -> Entry | None:
    """Step 4 to 6, from wherever they were left."""
    entry = None
    if journal.kind == "delete":
        library.index.remove(journal.id)
    elif journal.kind == "tag":
        assert journal.source is not None
        record = (root_of(library, journal.source) / journal.source.path).with_suffix(".json")
        record.with_name(f".{record.name}.partial").unlink(missing_ok=True)
        with suppress(FileNotFoundError, UsageError):  # gone since: `verify` reports it
            library.index.put(_read_entry(library, journal.source, journal.id))
    else:
        try:
            journal = place(library, journal)
        except LostCopyError:
            library.notes.append(f"the copy of {journal.id} is gone; it stays where it was")
            _undo(library, journal)
            return None
        assert journal.target is not None
        entry = _read_entry(library, journal.target, journal.id)
        library.index.put(entry)
    if journal.source is not None and journal.kind != "tag":
        video = root_of(library, journal.source) / journal.source.path
        # the record last: while it is there nothing else takes the name
        for suffix in sorted(journal.files, key=".json".__eq__):
            if is_same(video.with_suffix(suffix), journal.files[suffix]):
                video.with_suffix(suffix).unlink()
        if video.parent.is_dir():
            sync_folder(video.parent)
    remove_journal(journal, library.root)
    return entry


def _undo(library: Library, journal: Journal) -> None:
    for suffix in journal.files:
        hidden(library, journal, suffix).unlink(missing_ok=True)
    partial = hidden(library, journal, ".json")
    partial.with_name(f".{partial.name}.partial").unlink(missing_ok=True)
    remove_journal(journal, library.root)


def _read_entry(library: Library, spot: Spot, id: str) -> Entry:
    root = root_of(library, spot)
    record = read_json((root / spot.path).with_suffix(".json")) | {"id": id}
    return entry_of(record, root, spot.path, archived=spot.archived)


def _record_of(entry: Entry) -> dict[str, Any]:
    record = read_json(entry.record_path)
    if record.get("id") != entry.id:
        raise MlxWanError(
            f"{entry.record_path} has the id {str(record.get('id'))[:40]!r}, not {entry.id}",
            "`mlx-wan library rebuild` reads all records again",
        )
    return record


def _files_to_move(video: Path) -> dict[str, tuple[int, int]]:
    files = files_of(video)
    for suffix in (".mp4", ".json"):
        if suffix not in files:
            raise MissingFileError(
                f"{video.with_suffix(suffix)} is missing", "`mlx-wan library verify` looks for it"
            )
    for suffix in files:
        if not stat.S_ISREG(video.with_suffix(suffix).lstat().st_mode):
            raise MlxWanError(
                f"{video.with_suffix(suffix)} is a link, not a file", "put the file in its place"
            )
    return files


@contextmanager
def _disk_errors(root: Path, name: str, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MlxWanError(
                f"{name} was not {done}: no space left below {root}",
                "free some space and run it again",
            ) from None
        raise MlxWanError(
            f"{name} was not {done}: {error.strerror or error} below {root}",
            "check that the volume is there and can be written",
        ) from None

"""What a person does with finished videos: add, tag, promote, archive, restore, delete."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.files import file_sha256, json_bytes
from mlx_wan.record import RECORD_FORMAT, RECORD_VERSION, new_id, read_json

from . import moves
from .copying import ChangedFileError
from .entry import Entry, check_name, clean_tags, entry_of, record_id
from .index import Filters
from .places import STAGES, stage_folder, write_whole
from .shelf import Library, need_archive, relative

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


@dataclass(frozen=True)
class Failure:
    """A video that one of several could not be done with, and why."""

    entry: Entry
    error: MlxWanError


def add(library: Library, video: Path, record_path: Path | None, stage: str) -> Entry:
    """Index a video. One that lies in a stage's folder stays there and keeps that stage; one from
    elsewhere is copied into `stage`. What its record lacks (an id, hashes) is added to it.
    """
    folder = stage_folder(stage)
    if video.suffix.lower() != ".mp4" or not video.is_file():
        raise UsageError(f"{video} is not a video of ours", "give an .mp4 file that exists")
    check_name(video.name)
    given = record_path if record_path is not None else video.with_suffix(".json")
    record = _record_beside(video, given, must_exist=record_path is not None)
    path = relative(video, library.root)
    if path is None or path.split("/")[0] not in STAGES or video.suffix != ".mp4":
        path = relative(video, folder)  # a stage may be a link to another volume
        path = f"{stage}/{path}" if path is not None and video.suffix == ".mp4" else None
    _refuse_known(library, record, path)
    if path is None:
        return moves.import_video(library, video.resolve(), record, stage)
    with library.locked():
        beside = (library.root / path).with_suffix(".json")
        if not beside.exists() or read_json(beside) != record:
            write_whole(beside, json_bytes(record))
        entry = entry_of(record, library.root, path, archived=False)
        library.index.put(entry)
    return entry


def tag(library: Library, entry: Entry, tags: list[str], *, remove: bool = False) -> Entry:
    """Give or take tags; they are kept in the record beside the video as well."""
    wanted = clean_tags(tags)
    if not wanted:
        raise UsageError("no tag was given", "a tag is a word or a few, as in 'launch'")
    if entry.archived:
        need_archive(library)

    def change(record: dict[str, Any]) -> dict[str, Any]:
        had = record.get("tags")
        had = clean_tags(had) if isinstance(had, list) else ()
        now = sorted({*had} - {*wanted} if remove else {*had, *wanted})
        return record | {"tags": now}

    return moves.change_record(library, entry, change)


def check_promotion(entry: Entry, stage: str | None) -> str:
    """The stage a promotion leads to. Raises UsageError when it leads nowhere."""
    if entry.archived:
        raise UsageError(
            f"{entry.id} is in the archive", f"first `mlx-wan library restore {entry.id}`"
        )
    if stage is not None:
        stage_folder(stage)
    elif entry.stage == STAGES[-1]:
        raise UsageError(f"{entry.id} is {entry.stage} already", "there is no stage after it")
    return stage or STAGES[STAGES.index(entry.stage) + 1]


def promote(library: Library, entry: Entry, stage: str | None = None) -> Entry:
    """Move to the next stage, or to a given one."""
    stage = check_promotion(entry, stage)
    return moves.move(library, entry, archived=False, stage=stage, check=False)


def archive(library: Library, entry: Entry) -> Entry:
    """Move to the archive, hashes verified. Raises MlxWanError with everything as it was."""
    need_archive(library)
    return moves.move(library, entry, archived=True, stage=entry.stage, check=True)


def restore(library: Library, entry: Entry) -> Entry:
    """Move back from the archive, hashes verified. Raises MlxWanError with everything as it was."""
    if not entry.archived:
        return entry
    need_archive(library)
    return moves.move(library, entry, archived=False, stage=entry.stage, check=True)


def each(
    library: Library, entries: list[Entry], action: Callable[[Library, Entry], Entry]
) -> Iterator[Entry | Failure]:
    """The action on one entry after the other. A changed or missing video does not stop the rest;
    what would stop them all (a full disk, a missing archive) is raised."""
    for entry in entries:
        try:
            yield action(library, entry)
        except (ChangedFileError, moves.MissingFileError) as error:
            yield Failure(entry, error)


def old_entries(library: Library, age: str, stage: str | None = None) -> list[Entry]:
    """Entries outside the archive made longer than `age` ago, oldest first."""
    filters = Filters(until=before(age), stage=stage, archived=False)
    return library.index.select(filters)[::-1]


def delete(library: Library, entry: Entry) -> Entry:
    """Remove the video, its record and its poster for good; returns what it was."""
    if entry.archived:
        need_archive(library)
    moves.delete(library, entry)
    return entry


def before(age: str) -> str:
    """The UTC time in ISO 8601 that was `age` ago (90d, 12w, 36h, 1y), or a date as it is."""
    text = age.strip().lower()
    if found := re.fullmatch(r"(\d{1,6})([hdwy])", text):
        seconds = int(found[1]) * _UNITS[found[2]]
        with suppress(ValueError, OverflowError, OSError):
            moment = time.gmtime(time.time() - seconds)
            if moment.tm_year >= 1:
                return time.strftime("%Y-%m-%dT%H:%M:%SZ", moment).rjust(20, "0")
    elif re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        with suppress(ValueError):
            time.strptime(text, "%Y-%m-%d")
            return text
    raise UsageError(f"{age!r} is no time", "give an age as in 90d, 12w, 1y, or a date, 2026-11-30")


def _record_beside(video: Path, path: Path, *, must_exist: bool) -> dict[str, Any]:
    """The video's record with an id and hashes; a small new one when there is none."""
    if must_exist or path.exists():
        record = read_json(path)
        if record.get("format") != RECORD_FORMAT:
            raise UsageError(
                f"{path} is no record of mlx-wan", "give the .json made with the video"
            )
    else:
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(video.stat().st_mtime))
        record = {"format": RECORD_FORMAT, "version": RECORD_VERSION, "created": made}
    hashes = record.get("sha256")
    hashes = dict(hashes) if isinstance(hashes, dict) else {}
    if not isinstance(hashes.get("video"), str):
        hashes["video"] = file_sha256(video)
    poster = video.with_suffix(".png")
    if poster.is_file() and not isinstance(hashes.get("poster"), str):
        hashes["poster"] = file_sha256(poster)
    return record | {
        "id": record_id(record) or new_id(),
        "video": video.name,
        "sha256": hashes,
    }


def _refuse_known(library: Library, record: dict[str, Any], path: str | None) -> None:
    known = library.index.get(record["id"])
    if known is not None and (known.archived or known.path != path) and known.video.exists():
        raise UsageError(f"{record['id']} is in the library already: {known.video}")

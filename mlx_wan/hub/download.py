"""From a listing to a folder of checked files."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_wan.events import Event, Report, ignore

from .cache import blob, check_space, note_branch, partial, put, snapshot_folder
from .fetch import fetch
from .listing import Listing, RemoteFile
from .several import StoppedError, several
from .transport import Patience
from .verify import Progress, examine

CONNECTIONS = 4  # at a time: one alone seldom fills a fast line


@dataclass(frozen=True)
class Download:
    """A finished one: every file of `listing` is in `folder`, was checked, and has its sha256 now.

    `fetched` is what came over the network, in bytes; `mended` names files that were damaged here.
    """

    listing: Listing
    folder: Path
    fetched: int
    mended: tuple[str, ...] = ()


def missing_bytes(listing: Listing) -> int:
    """What is still to come, by sizes alone: whole files and the rest of begun ones."""
    missing = 0
    for file in {file.etag: file for file in listing.files}.values():
        if _size(blob(listing, file)) != file.size:
            missing += file.size - min(_size(partial(listing, file)), file.size)
    return missing


def download(
    listing: Listing,
    report: Report = ignore,
    *,
    patience: Patience | None = None,
    connections: int = CONNECTIONS,
) -> Download:
    """Fetch what is missing and check everything, what is here already too.

    Events: "check" and "download", in bytes of the whole. Raises ModelError when the disk is too
    small, before it begins; ModelError and BadFileError as `fetch` does.
    """
    check_space(listing.repo, missing_bytes(listing))
    tally = _Tally(listing.size, report)
    lanes: dict[str, list[RemoteFile]] = {}
    for file in listing.files:  # files of the same contents are one blob, fetched once
        lanes.setdefault(file.etag, []).append(file)

    def bring(files: list[RemoteFile]) -> list[_Brought]:
        return [_bring(listing, file, tally, patience) for file in files]

    brought = {}
    for lane in several(bring, lanes.values(), connections, tally.stop):
        brought.update({one.file.path: one for one in lane})
    note_branch(listing)
    in_order = [brought[file.path] for file in listing.files]
    return Download(
        listing=replace(listing, files=tuple(one.file for one in in_order)),
        folder=snapshot_folder(listing.repo, listing.commit),
        fetched=sum(one.fetched for one in in_order),
        mended=tuple(one.file.path for one in in_order if one.mended),
    )


@dataclass(frozen=True)
class _Brought:
    """A file in its place, with its sha256; `mended` when a damaged one was here before."""

    file: RemoteFile
    fetched: int
    mended: bool


def _bring(
    listing: Listing, file: RemoteFile, tally: "_Tally", patience: Patience | None
) -> _Brought:
    """Check the file that is here, or fetch it; then give it its name."""
    problem, sha256 = examine(blob(listing, file), file, tally.of("check", file))
    fetched = 0
    if problem:
        tally.set(file, 0)
        if problem != "is missing":
            blob(listing, file).unlink()
        already = min(_size(partial(listing, file)), file.size)
        sha256 = fetch(listing, file, tally.of("download", file), patience)
        fetched = file.size - already
    put(listing, file)
    tally.set(file, file.size)
    return _Brought(replace(file, sha256=sha256), fetched, problem not in (None, "is missing"))


class _Tally:
    """How far all files are together; a thread that reports after `stop` is ended by that."""

    def __init__(self, total: int, report: Report):
        self.total, self.report = total, report
        self.done: dict[str, int] = {}
        self.stop = threading.Event()
        self.lock = threading.Lock()

    def of(self, stage: str, file: RemoteFile) -> Progress:
        def progress(count: int) -> None:
            if self.stop.is_set():
                raise StoppedError
            with self.lock:
                self.done[file.path] = self.done.get(file.path, 0) + count
                self.report(Event(stage, sum(self.done.values()), self.total, file.path))

        return progress

    def set(self, file: RemoteFile, done: int) -> None:
        with self.lock:
            self.done[file.path] = done


def _size(path: Path) -> int:
    """Size of a file; 0 when there is none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0

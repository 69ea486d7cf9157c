"""From listings to folders of checked files."""

import threading
from collections.abc import Sequence
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
class Snapshot:
    """Files of one commit of a repository, and the folder they are in or will be.

    After a download each was checked and has its sha256; `fetched` is then what came over the
    network, in bytes, and `mended` names files that were damaged here.
    """

    listing: Listing
    folder: Path
    fetched: int = 0
    mended: tuple[str, ...] = ()


def missing_bytes(*listings: Listing) -> int:
    """What is still to come, by sizes alone: whole files and the rest of begun ones."""
    missing = 0
    for listing in listings:
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
) -> Snapshot:
    """`download_all` of one repository."""
    return download_all([listing], report, patience=patience, connections=connections)[0]


def download_all(
    listings: Sequence[Listing],
    report: Report = ignore,
    *,
    patience: Patience | None = None,
    connections: int = CONNECTIONS,
) -> list[Snapshot]:
    """Fetch what is missing of some repositories and check everything, what is here already too.

    Events: "check" and "download", in bytes of the whole. Raises ModelError when the disk is too
    small for all, before it begins; ModelError and BadFileError as `fetch` does.
    """
    check_space(repos_text(listings), missing_bytes(*listings))
    tally = _Tally(sum(listing.size for listing in listings), report)
    # files of the same contents are one blob of a repository, fetched once
    lanes: dict[tuple[str, str], list[tuple[Listing, RemoteFile]]] = {}
    for listing in listings:
        for file in listing.files:
            lanes.setdefault((listing.repo, file.etag), []).append((listing, file))

    def bring(lane: list[tuple[Listing, RemoteFile]]) -> list[_Brought]:
        return [_bring(listing, file, tally, patience) for listing, file in lane]

    brought = {}
    for lane in several(bring, lanes.values(), connections, tally.stop):
        brought.update({(one.repo, one.file.path): one for one in lane})
    return [
        _snapshot(listing, [brought[listing.repo, file.path] for file in listing.files])
        for listing in listings
    ]


def repos_text(listings: Sequence[Listing]) -> str:
    return " and ".join(dict.fromkeys(listing.repo for listing in listings))


def _snapshot(listing: Listing, brought: "list[_Brought]") -> Snapshot:
    note_branch(listing)
    return Snapshot(
        listing=replace(listing, files=tuple(one.file for one in brought)),
        folder=snapshot_folder(listing.repo, listing.commit),
        fetched=sum(one.fetched for one in brought),
        mended=tuple(one.file.path for one in brought if one.mended),
    )


@dataclass(frozen=True)
class _Brought:
    """A file in its place, with its sha256; `mended` when a damaged one was here before."""

    repo: str
    file: RemoteFile
    fetched: int
    mended: bool


def _bring(
    listing: Listing, file: RemoteFile, tally: "_Tally", patience: Patience | None
) -> _Brought:
    """Check the file that is here, or fetch it; then give it its name."""
    problem, sha256 = examine(blob(listing, file), file, tally.of("check", listing, file))
    fetched = 0
    if problem:
        tally.set(listing, file, 0)
        if problem != "is missing":
            blob(listing, file).unlink()
        already = min(_size(partial(listing, file)), file.size)
        sha256 = fetch(listing, file, tally.of("download", listing, file), patience)
        fetched = file.size - already
    put(listing, file)
    tally.set(listing, file, file.size)
    mended = problem not in (None, "is missing")
    return _Brought(listing.repo, replace(file, sha256=sha256), fetched, mended)


class _Tally:
    """How far all files are together; a thread that reports after `stop` is ended by that."""

    def __init__(self, total: int, report: Report):
        self.total, self.report = total, report
        self.done: dict[tuple[str, str], int] = {}
        self.stop = threading.Event()
        self.lock = threading.Lock()

    def of(self, stage: str, listing: Listing, file: RemoteFile) -> Progress:
        place = (listing.repo, file.path)

        def progress(count: int) -> None:
            if self.stop.is_set():
                raise StoppedError
            with self.lock:
                self.done[place] = self.done.get(place, 0) + count
                self.report(Event(stage, sum(self.done.values()), self.total, file.path))

        return progress

    def set(self, listing: Listing, file: RemoteFile, done: int) -> None:
        with self.lock:
            self.done[listing.repo, file.path] = done


def _size(path: Path) -> int:
    """Size of a file; 0 when there is none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0

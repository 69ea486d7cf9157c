"""From a listing to a folder of checked files."""

from dataclasses import dataclass, replace
from pathlib import Path

from mlx_wan.errors import BadFileError
from mlx_wan.events import Event, Report, ignore

from .cache import blob, check_space, note_branch, partial, place, put, snapshot_folder
from .fetch import fetch
from .listing import Listing
from .transport import Patience
from .verify import examine


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
    listing: Listing, report: Report = ignore, *, patience: Patience | None = None
) -> Download:
    """Fetch what is missing and check everything, what is here already too.

    Events: "check" and "download", in bytes of the whole. Raises ModelError when the disk is too
    small, before it begins; ModelError and BadFileError as `fetch` does.
    """
    check_space(listing.repo, missing_bytes(listing))
    done = fetched = 0
    checked, mended = [], []
    for file in listing.files:
        before, stage = done, "check"

        def progress(count: int, name: str = file.path) -> None:
            nonlocal done
            done += count
            report(Event(stage, done, listing.size, name))  # noqa: B023  # called in this round

        problem, sha256 = examine(blob(listing, file), file, progress)
        if problem:
            done, stage = before, "download"
            if problem != "is missing":
                mended.append(file.path)
                blob(listing, file).unlink()
            already = min(_size(partial(listing, file)), file.size)
            sha256 = fetch(listing, file, progress, patience)
            fetched += file.size - already
        put(listing, file)
        checked.append(replace(file, sha256=sha256))
        done = before + file.size
        report(Event(stage, done, listing.size, file.path))
    for file in checked:  # the names lead to what was checked, not to somebody else's link
        here = place(listing, file)
        if not here.is_file() or here.stat().st_size != file.size:
            raise BadFileError(f"{here} is not the file that was downloaded", "delete it")
    note_branch(listing)
    finished = replace(listing, files=tuple(checked))
    folder = snapshot_folder(listing.repo, listing.commit)
    return Download(finished, folder, fetched, tuple(mended))


def _size(path: Path) -> int:
    """Size of a file; 0 when there is none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0

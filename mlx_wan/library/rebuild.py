"""The index from the records alone, in the library and in the archive."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.record import RECORD_FORMAT, read_json

from .entry import Entry, entry_of, record_id
from .index import Filters
from .places import STAGES
from .shelf import Library, has_archive

_MAX_NOTES = 10


def rebuild(library: Library, *, is_locked: bool = False) -> int:
    """Read every record again and fill the index with what they say; how many there are.

    Archived videos are kept as they were while the archive is not there. What has to be known
    about records that cannot be used goes to the library's notes.
    """
    from .moves import recover

    with nullcontext() if is_locked else library.locked():
        if not library.readonly:
            recover(library)
        problems: list[str] = []
        with library.index.transaction():
            reads_archive = has_archive(library)
            library.index.clear(archived=None if reads_archive else False)
            if not reads_archive and (kept := library.index.count(Filters())):
                library.notes.append(
                    f"the archive {library.archive} is not there: what it holds ({kept}) is "
                    "kept as it was"
                )
            for entry in _entries(library, problems, reads_archive):
                known = library.index.get(entry.id)
                if known is None:
                    library.index.put(entry)
                else:
                    problems.append(f"{entry.video} has the same id as {known.video}: left out")
            count = library.index.count(Filters())
    library.notes += problems[:_MAX_NOTES]
    if len(problems) > _MAX_NOTES:
        library.notes.append(f"and {len(problems) - _MAX_NOTES} more; see `library verify`")
    return count


def stage_files(root: Path) -> Iterator[tuple[str, Path]]:
    """(path below `root`, file) of all that is not hidden in the stages, in order."""
    for stage in STAGES:
        for folder, folders, names in os.walk(root / stage):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    file = Path(folder, name)
                    yield file.relative_to(root).as_posix(), file


def is_rejected(path: str | Path) -> bool:
    """Broken output is kept beside the good for a look, and is no video of the library."""
    return Path(path).stem.endswith(".rejected")


def _entries(library: Library, problems: list[str], reads_archive: bool) -> Iterator[Entry]:
    roots = [(library.root, False), (library.archive, True)]
    for root, archived in roots if reads_archive else roots[:1]:
        copies = []
        for path, file in stage_files(root):
            if not path.endswith(".json") or is_rejected(path):
                continue
            try:
                record = read_json(file)
                if record.get("format") != RECORD_FORMAT:
                    continue
                entry = _entry(library, record, root, path, archived)
            except MlxWanError as error:
                problems.append(error.message)
                continue
            except FileNotFoundError:
                problems.append(f"{file} has no video beside it")
                continue
            except OSError as error:  # a link to itself, a folder nobody may enter
                problems.append(f"the video beside {file} cannot be read: {error.strerror}")
                continue
            if record.get("video") == entry.video.name:
                yield entry
            else:
                copies.append(entry)  # renamed or copied by hand: the original comes first
        yield from copies


def _entry(
    library: Library, record: dict[str, Any], root: Path, path: str, archived: bool
) -> Entry:
    if record_id(record) is None:
        raise UsageError(f"{root / path} has no id: `mlx-wan library add` gives it one")
    return entry_of(record, root, path.removesuffix(".json") + ".mp4", archived=archived)

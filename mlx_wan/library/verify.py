"""Every file of the library read again and compared with its record."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError
from mlx_wan.files import file_sha256
from mlx_wan.record import read_json

from .entry import Entry, entry_of, record_id
from .index import Filters
from .rebuild import is_rejected, stage_files
from .shelf import Library, has_archive


@dataclass(frozen=True)
class Problem:
    """`kind` is missing, changed or unknown."""

    kind: str
    path: str
    what: str
    id: str | None = None


@dataclass
class Findings:
    """`rejected` are files of broken videos kept for a look; they are no problem."""

    checked: int = 0
    problems: list[Problem] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        kinds = {kind: self._of(kind) for kind in ("missing", "changed", "unknown")}
        return {"checked": self.checked, **kinds, "rejected": self.rejected}

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [asdict(problem) for problem in self.problems if problem.kind == kind]


def verify(library: Library, report: Callable[[int, int], None] = lambda *_: None) -> Findings:
    """Re-hash every video and poster, read every record, look for files that belong to none.

    Takes as long as reading it all; `report` gets (bytes done, bytes in all). Other processes may
    change the library meanwhile: what they move is not reported.
    """
    findings = Findings()
    library.index.check(write=not library.readonly)
    entries = library.index.select(Filters())
    total = sum(entry.size for entry in entries)
    reads_archive = has_archive(library)
    done = 0
    for entry in entries:
        found = _problems(entry, reads_archive)
        if not found or library.index.get(entry.id) == entry:
            findings.problems += found
        findings.checked += 1
        done += entry.size
        report(done, total)
    known = {path for entry in library.index.select(Filters()) for path in _files(entry)}
    for root in (library.root, library.archive) if reads_archive else (library.root,):
        for path, file in stage_files(root):
            if is_rejected(path):
                findings.rejected.append(str(file))
            elif file not in known and file.exists():
                findings.problems.append(Problem("unknown", str(file), _unknown(file)))
    return findings


def _problems(entry: Entry, reads_archive: bool) -> list[Problem]:
    if entry.archived and not reads_archive:
        return [Problem("missing", str(entry.video), "the archive is not there", entry.id)]
    found = []
    for file, sha256 in ((entry.video, entry.sha256), (entry.poster, entry.poster_sha256)):
        if sha256 or file == entry.video:
            if not file.is_file():
                found.append(Problem("missing", str(file), "the file is gone", entry.id))
            elif sha256 and (what := _fault(file, sha256)):
                found.append(Problem("changed", str(file), what, entry.id))
    return found + _record_problems(entry)


def _fault(file: Path, sha256: str) -> str | None:
    try:
        return None if file_sha256(file) == sha256 else "not the bytes its record tells of"
    except OSError as error:  # a failing disk is what this is for: the others are read as well
        return f"it cannot be read: {error.strerror}"


def _record_problems(entry: Entry) -> list[Problem]:
    path = entry.record_path
    if not path.exists():
        return [Problem("missing", str(path), "the record is gone", entry.id)]
    try:
        record = read_json(path)
        if record_id(record) != entry.id:
            return [Problem("changed", str(path), "the record has another id", entry.id)]
        if entry.video.exists():
            said = entry_of(record, entry.root, entry.path, archived=entry.archived)
            if replace(said, size=entry.size) != entry:
                what = "the record says something else than the index: rebuild it"
                return [Problem("changed", str(path), what, entry.id)]
    except (MlxWanError, OSError) as error:
        return [Problem("changed", str(path), str(error), entry.id)]
    return []


def _files(entry: Entry) -> tuple[Path, ...]:
    return entry.video, entry.record_path, entry.poster


def _unknown(file: Path) -> str:
    if file.suffix == ".mp4":
        return "not in the index: `mlx-wan library add` it"
    return "belongs to no video of the index"

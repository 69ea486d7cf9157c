"""Every finished video, found again: stages, search, archive.

The JSON record beside a video is the truth; the index is made from the records.
"""

from pathlib import Path

from mlx_wan.errors import UsageError
from mlx_wan.files import file_sha256
from mlx_wan.record import new_id, read_json, write_record

from .entry import Entry, entry_of, record_id
from .places import STAGES, archive_root, library_root, stage_folder
from .shelf import chosen, open_library, relative

__all__ = ["STAGES", "Entry", "add", "archive_root", "find", "library_root", "stage_folder"]


def add(video: str | Path, record_path: str | Path | None = None, stage: str = "raw") -> str:
    """Index a finished video that lies in `stage_folder(stage)` with its record; returns its id.

    What the record lacks (id, hash of the video or of a poster beside it) is written into it.
    """
    video = Path(video)
    record_path = Path(record_path) if record_path is not None else video.with_suffix(".json")
    stage_folder(stage)
    with open_library() as library:
        path = relative(video, library.root / stage)
        if path is None or record_path != video.with_suffix(".json"):
            raise UsageError(f"{video} is not in {library.root / stage}")
        with library.locked():
            record = read_json(record_path)
            complete = completed(record, video)
            if complete != record:
                write_record(complete, record_path)
            entry = entry_of(complete, library.root, f"{stage}/{path}", archived=False)
            library.index.put(entry)
    return entry.id


def completed(record: dict, video: Path) -> dict:
    """The record with an id and the hashes of the video and of the poster beside it."""
    hashes = record.get("sha256")
    hashes = dict(hashes) if isinstance(hashes, dict) else {}
    hashes.setdefault("video", file_sha256(video))
    if (poster := video.with_suffix(".png")).exists():
        hashes.setdefault("poster", file_sha256(poster))
    return record | {"id": record_id(record) or new_id(), "sha256": hashes}


def find(name: str) -> Entry:
    """The entry of an id, the unique beginning of one, or a file's name.

    Raises MlxWanError when there is none or more than one.
    """
    with open_library() as library:
        return chosen(library, name)

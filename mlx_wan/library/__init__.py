"""Every finished video, found again: stages, search, archive.

The JSON record beside a video is the truth; the index is made from the records.
"""

from pathlib import Path

from . import actions
from .entry import Entry
from .index import Filters
from .opening import open_library
from .places import STAGES, archive_root, library_root, stage_folder
from .shelf import Library, chosen

__all__ = [
    "STAGES",
    "Entry",
    "Filters",
    "Library",
    "add",
    "archive_root",
    "find",
    "library_root",
    "open_library",
    "stage_folder",
]


def add(video: str | Path, record_path: str | Path | None = None, stage: str = "raw") -> str:
    """Index a finished video and return its id; `record_path` is by default the .json beside it.

    A video in a stage's folder stays there; one from elsewhere is copied into `stage`. What its
    record lacks (an id, the hashes of the video and of a poster beside it) is written into it.
    """
    with open_library(create=True) as library:
        return actions.add(
            library, Path(video), Path(record_path) if record_path else None, stage
        ).id


def find(name: str) -> Entry:
    """The entry of an id, the unique beginning of one, or a file's name, archived or not.

    Raises UsageError when there is none or more than one.
    """
    with open_library() as library:
        return chosen(library, name)

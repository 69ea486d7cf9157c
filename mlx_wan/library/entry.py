"""One video of the library, as its record tells it. Records are files and may say anything:
every value is checked and cut to a sane length, nothing of them is trusted."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.record import ID_PATTERN

_MAX_TEXT = 20_000  # characters of each searchable column
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Entry:
    """`path` is below the library root, or below the archive root when `archived`; `root` is
    that root. `created` is UTC in ISO 8601. Sizes are in pixels and bytes, `duration` in seconds;
    0 where the record does not tell."""

    id: str
    root: Path
    path: str
    archived: bool
    created: str
    title: str
    prompts: str
    texts: str
    model: str
    tags: tuple[str, ...]
    width: int
    height: int
    fps: float
    duration: float
    size: int
    sha256: str
    poster_sha256: str

    @property
    def stage(self) -> str:
        return self.path.partition("/")[0]

    @property
    def video(self) -> Path:
        return self.root / self.path

    @property
    def record_path(self) -> Path:
        return self.video.with_suffix(".json")

    @property
    def poster(self) -> Path:
        """Where the poster lies if the video has one."""
        return self.video.with_suffix(".png")

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "video": str(self.video),
            "record": str(self.record_path),
            "poster": str(self.poster) if self.poster_sha256 else None,
            "stage": self.stage,
            "archived": self.archived,
            "created": self.created,
            "title": self.title,
            "model": self.model,
            "tags": list(self.tags),
            "width": self.width,
            "height": self.height,
            "fps": self.fps,
            "duration": self.duration,
            "size": self.size,
            "sha256": self.sha256,
        }


def entry_of(record: dict[str, Any], root: Path, path: str, *, archived: bool) -> Entry:
    """The entry for a record whose video is at `root / path`; the record has an id.

    Raises OSError when the video is not there, UsageError for a name the index cannot hold.
    """
    check_name(path)
    stat = (root / path).stat()
    storyboard = _dict(record.get("storyboard"))
    plans = [_dict(plan) for plan in (record.get("plan"), *_list(record.get("plans")))]
    plan = next((plan for plan in plans if plan), {})
    shots = [_dict(shot) for shot in _list(storyboard.get("shots"))]
    prompts = _joined(
        *(plan.get("prompt") for plan in plans), *(shot.get("prompt") for shot in shots)
    )
    texts = _joined(*(_dict(block).get("text") for block in _list(storyboard.get("texts"))))
    title = _joined(record.get("title")) or _joined(storyboard.get("title")) or texts or prompts
    fps = _number(record.get("fps")) or _number(plan.get("fps"))
    frames = _number(plan.get("num_frames"))
    created = record.get("created")
    if not (isinstance(created, str) and _CREATED.fullmatch(created)):
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stat.st_mtime))
    hashes = _dict(record.get("sha256"))
    return Entry(
        id=record["id"],
        root=root,
        path=path,
        archived=archived,
        created=created,
        title=" ".join(title.split())[:200] or Path(path).stem,
        prompts=prompts,
        texts=texts,
        model=_joined(record.get("model")) or _joined(plan.get("model")),
        tags=clean_tags(_list(record.get("tags"))),
        width=int(_number(record.get("width")) or _number(plan.get("width"))),
        height=int(_number(record.get("height")) or _number(plan.get("height"))),
        fps=fps,
        duration=_number(record.get("duration"))
        or _number(storyboard.get("duration"))
        or (frames / fps if fps else 0.0),
        size=stat.st_size,
        sha256=_hash(hashes.get("video")),
        poster_sha256=_hash(hashes.get("poster")),
    )


def record_id(record: dict[str, Any]) -> str | None:
    """The record's id, if it is one of ours."""
    found = record.get("id")
    return found if isinstance(found, str) and ID_PATTERN.fullmatch(found) else None


def check_name(path: str) -> None:
    """Raise UsageError for a file name that is no Unicode text: SQLite cannot hold it."""
    if not _is_text(path):
        raise UsageError(f"the name {path!r} is not valid Unicode text", "rename the file")


def clean_tags(values: list[Any]) -> tuple[str, ...]:
    """Tags as they are kept: lower case, sorted, each once; what is no text is left out."""
    tags = {" ".join(value.lower().split())[:50] for value in values if _is_text(value)}
    return tuple(sorted(tags - {""}))[:100]


def _is_text(value: Any) -> bool:
    """Whether it is a str without half characters (lone surrogates)."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _joined(*values: Any) -> str:
    return "\n".join(dict.fromkeys(_strings(values)))[:_MAX_TEXT]


def _strings(values: tuple[Any, ...]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str) and (text := value.replace("\0", " ").strip()):
            yield text.encode("utf-8", "replace").decode()  # SQLite takes no lone surrogates


def _number(value: Any) -> float:
    fine = type(value) in (int, float) and 0 < value < 2**31
    return value if fine else 0


def _hash(value: Any) -> str:
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else ""

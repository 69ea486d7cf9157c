"""Videos for the library's tests: some bytes, a record, a poster."""

import hashlib
import json
from pathlib import Path

from mlx_wan import library
from mlx_wan.record import new_id


def write_video(
    name: str, stage: str = "raw", *, poster: bool = True, folder: Path | None = None, **record
) -> Path:
    """A video in the folder of a stage (or elsewhere), with its record and poster; not indexed."""
    video = (folder or library.stage_folder(stage)) / f"{name}.mp4"
    video.parent.mkdir(parents=True, exist_ok=True)
    video.write_bytes(f"{name} in {stage} ".encode() * 1000)
    record = {
        "format": "mlx-wan-record",
        "version": 1,
        "id": new_id(),
        "video": video.name,
        "created": "2026-11-20T10:00:00Z",
        "sha256": {"video": hashlib.sha256(video.read_bytes()).hexdigest()},
    } | record
    if poster:
        video.with_suffix(".png").write_bytes(f"poster of {name}".encode())
    video.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    return video


def add_video(name: str, stage: str = "raw", **more) -> library.Entry:
    """The entry of a new video."""
    return library.find(library.add(write_video(name, stage, **more), stage=stage))


def record_of(entry: library.Entry) -> dict:
    return json.loads(entry.record_path.read_text(encoding="utf-8"))


def files_below(*roots: Path) -> list[str]:
    """All files but our own hidden folder's, as paths below their root, in order."""
    return sorted(
        path.relative_to(root).as_posix()
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and ".library" not in path.parts
    )

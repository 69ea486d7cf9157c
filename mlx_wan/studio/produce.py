"""A production from its shots to the finished video: clips -> pictures -> words -> MP4 -> library.

Everything is streamed: memory does not grow with the duration.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_wan.errors import MlxWanError
from mlx_wan.events import Event, Report, ignore
from mlx_wan.files import file_sha256
from mlx_wan.memory import format_bytes, run_limits
from mlx_wan.outputs import free_output, into_library, keep, unchecked_file
from mlx_wan.pipeline import Networks
from mlx_wan.record import build_record
from mlx_wan.roofline.predict import Prediction
from mlx_wan.roofline.refine import foretold, learn_from
from mlx_wan.run import Measure, measured_beside

from .background import Background
from .forecast import learn
from .overlay import Overlay
from .poster import BestFrame
from .production import (
    ENGINE_SETTINGS,
    Production,
    describe_production,
    make_production,
    recorded_production,
)
from .provenance import ai_metadata
from .shots import Rendered, clip_keys, render_shots
from .video_io import save_video
from .work import work_folder, working_in

__all__ = [
    "ENGINE_SETTINGS",
    "Finished",
    "Production",
    "describe_production",
    "make_production",
    "output_path",
    "produce",
    "recorded_production",
]

PREVIEW_HEIGHT = 180  # of the pictures the contrast is measured on
_BESIDE = (".json", ".png")


@dataclass(frozen=True)
class Finished:
    """A finished video, its poster and record on disk, and the record's data.

    `id` is the library's, None for a video that was written elsewhere.
    """

    video: Path
    poster: Path
    record_path: Path
    record: dict[str, Any]
    id: str | None


def output_path(production: Production) -> Path:
    """Where the video goes: `output`, which must be free, or a free name in the library."""
    return free_output(production.output, production.stem, "processed", *_BESIDE)


@run_limits()
def produce(
    production: Production,
    report: Report = ignore,
    *,
    networks: Networks | None = None,
    clips: Path | None = None,
) -> Finished:
    """Make the video with poster and record; nothing is under its final name before it is whole.

    Killed or interrupted, the same call goes on where it stopped. `networks` is shared between
    productions to leave a model loaded, `clips` is a folder to keep rendered clips in for others.
    Raises what rendering raises, and MlxWanError when there is no room on the disk.
    """
    video = output_path(production)
    work = work_folder(production.key, production.seed)
    _check_disk(production, video, work)
    measure = Measure()
    with working_in(work):
        rendered = render_shots(
            production.storyboard,
            production.shots,
            clips or work,
            report,
            networks or Networks(),
        )
        return _deliver(production, rendered, video, measure, report)


def _deliver(
    production: Production, rendered: Rendered, video: Path, measure: Measure, report: Report
) -> Finished:
    board = production.storyboard
    background = Background(
        board,
        rendered.clips,
        stretch=production.stretch,
        interpolate=production.interpolate,
        seed=production.seed,
    )
    overlay = Overlay(board, production.brand, production.debug_safe_zones)
    with measure.stage("contrast"):
        previews = background.previews(PREVIEW_HEIGHT)
        overlay.measure(_told(previews, "contrast", board.num_frames, report))
    unchecked = unchecked_file(video)
    picture = unchecked.with_suffix(".png")
    frame_hash, best = hashlib.sha256(), BestFrame(board.format.fps)
    try:
        with measure.stage("video"):
            frames = best.watch(_drawn(background, overlay, frame_hash, board.format.fps))
            save_video(
                (frame[None] for frame in _told(frames, "video", board.num_frames, report)),
                unchecked,
                fps=board.format.fps,
                crf=production.profile.crf,
                preset=production.profile.preset,
                metadata=ai_metadata(
                    board.title or board.shots[0].prompt,
                    production.plans[0].model,
                    production.seed,
                ),
            )
        with measure.stage("poster"):
            best.save(picture)
        hashes = {"video": file_sha256(unchecked), "poster": file_sha256(picture)}
        hashes["frames"] = frame_hash.hexdigest()
        drawn = {"overlay": overlay.report()}
        told = foretold(production.plans)
        final, record = keep(
            [unchecked, picture],
            video,
            lambda path: _record(production, rendered, path, hashes, measure, told) | drawn,
        )
    finally:
        unchecked.unlink(missing_ok=True)
        picture.unlink(missing_ok=True)
    record_path = final.with_suffix(".json")
    is_ours = production.output is None
    id = into_library(final, record_path, "processed") if is_ours else None
    learn(production, record["seconds"])
    learn_from(production.plans, told, record["seconds"])
    return Finished(final, final.with_suffix(".png"), record_path, record, id)


def _drawn(
    background: Background, overlay: Overlay, frame_hash: Any, fps: int
) -> Iterator[np.ndarray]:
    """The finished pictures; one of each second goes into the hash."""
    for index, frame in enumerate(background.frames()):
        overlay.draw(frame, index)
        if index % fps == 0:
            frame_hash.update(frame.tobytes())
        yield frame


def _told(
    frames: Iterator[np.ndarray], stage: str, total: int, report: Report
) -> Iterator[np.ndarray]:
    report(Event(stage, 0, total))
    for count, frame in enumerate(frames, 1):
        yield frame
        report(Event(stage, count, total))


def _record(
    production: Production,
    rendered: Rendered,
    video: Path,
    hashes: dict[str, str],
    measure: Measure,
    told: Prediction | None,
) -> dict[str, Any]:
    """Storyboard, plans and settings, from which the same video can be made, and what was found."""
    board, facts = production.storyboard, rendered.facts
    keys = [key for names in clip_keys(production.shots) for key in names]
    seconds = {
        stage: sum(facts[key]["seconds"].get(stage, 0.0) for key in keys)
        for stage in ("encode", "denoise", "decode")
    } | measure.seconds
    peaks = {
        stage: max(facts[key]["peak_memory"].get(stage, 0) for key in keys)
        for stage in ("encode", "denoise", "decode")
    }
    record = build_record(
        production.plans[0],
        video=video,
        hashes=hashes,
        seconds=seconds,
        peak_memory=peaks,
        health=None,
    )
    del record["plan"]
    totals = Measure(seconds, peaks, measure.meter)
    return (
        record
        | measured_beside(totals, told)
        | {
            "title": board.title or board.shots[0].prompt,
            "model": production.plans[0].model,
            "width": board.format.width,
            "height": board.format.height,
            "fps": board.format.fps,
            "duration": board.duration,
            "tags": list(production.tags),
            **production.recorded(),
            "clips": [
                {name: facts[key]["sha256"][name] for name in ("latents", "frames")} for key in keys
            ],
        }
    )


def _check_disk(production: Production, video: Path, work: Path) -> None:
    """Room for the clips (about half of their raw size) and for the video (16 Mbit/s at most)."""
    clips = sum(1.5 * p.width * p.height * p.num_frames for p in production.plans)
    for where, needed in ((work, clips), (video, 2e6 * production.storyboard.duration + 8e6)):
        folder = next(parent for parent in where.absolute().parents if parent.exists())
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise MlxWanError(
                f"{folder} has {format_bytes(free)} free; about {format_bytes(int(needed))} "
                "are needed",
                "make room, or set MLX_WAN_HOME (work) or --output (video) to another disk",
            )

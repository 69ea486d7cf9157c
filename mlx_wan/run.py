"""A plan from start to finish: every stage timed and measured, the video and its record saved."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from .conditioning import encode_image, encode_prompt
from .errors import GenerationError, ModelError, UsageError
from .events import Event, Report, ignore
from .files import check_writable, file_sha256, free_name, move_to_free_name
from .health import FrameHealth, check_step
from .home import expanded
from .loading import ModelFolder, open_model
from .memory import run_limits
from .pipeline import Experts, decode, denoise, start_noise
from .plan import Plan
from .planning import check_images
from .record import build_record, write_record
from .studio.video_io import save_video


@dataclass(frozen=True)
class Result:
    """A finished video, its record on disk, and the record's data."""

    video: Path
    record_path: Path
    record: dict[str, Any]


@run_limits()
def generate(plan: Plan, report: Report = ignore) -> Result:
    """Make the plan's video and record. Nothing appears under the final name before it is whole.

    Raises ModelError or UsageError when the model or an image is not the one planned with,
    GenerationError for broken output (black or frozen frames are kept as `NAME.rejected.mp4`), and
    what the stages raise.
    """
    folder = open_model(plan.model_path)
    if folder.fingerprint != plan.model_fingerprint:
        raise ModelError(
            f"{folder.path} is not the model this was planned with",
            "plan again, or restore the weights named in the record",
        )
    check_images(plan)
    video = output_path(plan)
    measure = Measure()
    with measure.stage("encode"):
        report(Event("encode", 0, 1, "reading the prompt"))
        embeds = encode_prompt(plan, folder)
        condition = encode_image(plan, folder)
        mx.clear_cache()
        cut = f"the prompt's last {embeds.cut_tokens} tokens did not fit"
        report(Event("encode", 1, 1, cut if embeds.cut_tokens else ""))
    with measure.stage("denoise"):
        report(Event("denoise", 0, plan.steps))
        latents = start_noise(plan)
        experts = Experts(plan, folder, embeds)
        for step in denoise(plan, experts, latents, condition):
            check_step(step, experts.at(step.index), plan, condition)
            latents = step.latents
            report(Event("denoise", step.index + 1, plan.steps, step.expert))
        experts.release()
        del experts, step
    with measure.stage("decode"):
        health, frame_hash = FrameHealth(), hashlib.sha256()
        frames = health.watch(_decoded(plan, folder, latents, frame_hash, report))
        unchecked = video.with_name(_unchecked_name(video))
        try:
            save_video(frames, unchecked, fps=plan.fps, metadata=_metadata(plan))
            verdict = health.verdict()
            wanted = video.with_stem(video.stem + ".rejected") if verdict else video
            final = move_to_free_name(unchecked, wanted, ".json")
        finally:
            unchecked.unlink(missing_ok=True)
    record = build_record(
        plan,
        video=final,
        hashes={
            "latents": hashlib.sha256(np.array(latents).tobytes()).hexdigest(),
            "frames": frame_hash.hexdigest(),
            "video": file_sha256(final),
        },
        seconds=measure.seconds,
        peak_memory=measure.peak_memory,
        health=verdict,
    )
    record_path = write_record(record, final.with_suffix(".json"))
    if verdict:
        raise GenerationError(
            f"the video came out {verdict}; kept as {final}",
            "try another seed; if it stays so, check the model with `mlx-wan convert --verify`",
        )
    return Result(final, record_path, record)


def output_path(plan: Plan) -> Path:
    """Where the video goes: `output`, which must be free, or a free name made from the prompt."""
    if plan.output is None:
        words = re.sub(r"[^a-z0-9]+", "_", plan.prompt.lower()).strip("_")[:60].strip("_")
        path = free_name(Path(f"{words or 'video'}.mp4"), ".json")
        check_writable(path, f".{_unchecked_name(path)}.1234567.partial")
        return path
    path = expanded(plan.output)
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"output is {plan.output!r}", "videos are written as .mp4")
    for taken in (path, path.with_suffix(".json")):
        if os.path.lexists(taken):
            raise UsageError(f"{taken} exists already", "nothing is overwritten; give another name")
    check_writable(path, f".{_unchecked_name(path)}.1234567.partial")
    return path


def _unchecked_name(video: Path) -> str:
    """Of this process alone: another run may be making a video of the same name."""
    return f".{video.stem}.{os.getpid()}.unchecked.mp4"


@dataclass
class Measure:
    """Seconds and peak bytes of MLX memory of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        mx.reset_peak_memory()
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.peak_memory[name] = mx.get_peak_memory()


def _decoded(
    plan: Plan, folder: ModelFolder, latents: mx.array, frame_hash: Any, report: Report
) -> Iterator[np.ndarray]:
    done = 0
    report(Event("decode", done, plan.num_frames))
    for chunk in decode(plan, folder, latents):
        frame_hash.update(chunk.tobytes())
        done += len(chunk)
        report(Event("decode", done, plan.num_frames))
        yield chunk


def _metadata(plan: Plan) -> dict[str, str]:
    return {
        "title": plan.prompt[:200],
        "comment": f"AI-generated with mlx-wan, {plan.model}, seed {plan.seed}",
    }

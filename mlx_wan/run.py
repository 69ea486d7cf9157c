"""A plan from start to finish: every stage timed and measured, the video and its record saved."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from .conditioning import ImageCondition, PromptEmbeds, encode_image, encode_prompt
from .cost.energy import EnergyMeter, energy_of
from .errors import GenerationError, ModelError
from .events import Event, Report, ignore
from .files import file_sha256
from .health import FrameHealth, check_encoded, check_step
from .loading import open_model
from .memory import run_limits
from .outputs import free_output, into_library, keep, unchecked_file
from .pipeline import Experts, Networks, continue_latents, decode, denoise, start_noise
from .plan import Plan
from .planning import check_images
from .record import build_record
from .roofline.predict import Prediction
from .roofline.refine import beside, foretold, learn_from
from .studio.names import file_stem
from .studio.provenance import ai_metadata
from .studio.video_io import save_video


@dataclass(frozen=True)
class Result:
    """A finished video, its record on disk, and the record's data."""

    video: Path
    record_path: Path
    record: dict[str, Any]


@run_limits()
def generate(plan: Plan, report: Report = ignore, *, tags: Sequence[str] = ()) -> Result:
    """Make the plan's video and record. Nothing appears under the final name before it is whole.

    `tags` are words to find it by in the library.

    Raises ModelError or UsageError when the model or an image is not the one planned with,
    GenerationError for broken output (black or frozen frames are kept as `NAME.rejected.mp4`), and
    what the stages raise.
    """
    video = output_path(plan)
    rendering = Rendering(plan, report)
    unchecked = unchecked_file(video)
    try:
        save_video(
            rendering.frames(),
            unchecked,
            fps=plan.fps,
            metadata=ai_metadata(plan.prompt, plan.model, plan.seed),
        )
        verdict = rendering.verdict
        wanted = video.with_stem(video.stem + ".rejected") if verdict else video
        hashes = rendering.hashes | {"video": file_sha256(unchecked)}
        told = foretold([plan])
        final, record = keep(
            [unchecked],
            wanted,
            lambda path: (
                build_record(
                    plan,
                    video=path,
                    hashes=hashes,
                    seconds=rendering.measure.seconds,
                    peak_memory=rendering.measure.peak_memory,
                    health=verdict,
                )
                | measured_beside(rendering.measure, told)
                | ({"tags": list(tags)} if tags else {})
            ),
        )
        learn_from([plan], told, rendering.measure.seconds)
    finally:
        unchecked.unlink(missing_ok=True)
    if verdict:
        raise GenerationError(
            f"the video came out {verdict}; kept as {final}",
            "try another seed; if it stays so, check the model with `mlx-wan convert --verify`",
        )
    record_path = final.with_suffix(".json")
    if plan.output is None:
        into_library(final, record_path, "raw")
    return Result(final, record_path, record)


class Rendering:
    """A plan's latents, made at once, and its frames, decoded and checked as they are taken.

    `hashes` and `verdict` ("black", "frozen" or None) hold for the frames taken so far. Raises
    what `generate` raises for the stages. `networks` may leave weights loaded for the next plan.
    """

    def __init__(
        self,
        plan: Plan,
        report: Report = ignore,
        networks: Networks | None = None,
        measure: "Measure | None" = None,
    ):
        self.plan, self.report = plan, report
        self.folder = open_model(plan.model_path)
        if self.folder.fingerprint != plan.model_fingerprint:
            raise ModelError(
                f"{self.folder.path} is not the model this was planned with",
                "plan again, or restore the weights named in the record",
            )
        check_images(plan)
        self.measure = measure or Measure()
        self._health, self._frame_hash = FrameHealth(), hashlib.sha256()
        self.small: mx.array | None = None  # the latents this plan makes larger
        if plan.before is not None:
            self.small = Rendering(plan.before, report, networks, self.measure).latents
            mx.clear_cache()
        self.networks = networks
        if networks is not None:
            networks.begin(plan, self.folder)
        embeds, condition = self._encode()
        self.latents: mx.array = self._denoise(embeds, condition)

    def frames(self) -> Iterator[np.ndarray]:
        """Chunks of frames, uint8 `(t, H, W, 3)`; to be taken once."""
        with self.measure.stage("decode"):
            done = 0
            self.report(Event("decode", done, self.plan.num_frames))
            chunks = decode(self.plan, self.folder, self.latents, self.networks)
            for chunk in self._health.watch(chunks):
                self._frame_hash.update(chunk.tobytes())
                done += len(chunk)
                self.report(Event("decode", done, self.plan.num_frames))
                yield chunk

    @property
    def verdict(self) -> str | None:
        return self._health.verdict()

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the latents and of the frames."""
        small = {} if self.small is None else {"small_latents": _sha256(self.small)}
        return small | {"latents": _sha256(self.latents), "frames": self._frame_hash.hexdigest()}

    def _encode(self) -> tuple[PromptEmbeds, ImageCondition]:
        with self.measure.stage("encode"):
            self.report(Event("encode", 0, 1, "reading the prompt"))
            embeds = encode_prompt(self.plan, self.folder)
            condition = encode_image(self.plan, self.folder)
            check_encoded(embeds, condition)
            if self.small is not None:
                condition = continue_latents(self.plan, self.folder, self.small, condition)
            mx.clear_cache()
            self.report(Event("encode", 1, 1, "; ".join(embeds.cut)))
        return embeds, condition

    def _denoise(self, embeds: PromptEmbeds, condition: ImageCondition) -> mx.array:
        plan = self.plan
        with self.measure.stage("denoise"):
            self.report(Event("denoise", 0, plan.steps))
            latents = start_noise(plan)
            experts = Experts(plan, self.folder, embeds, self.networks)
            for step in denoise(plan, experts, latents, condition):
                check_step(step, experts.at(step.index), plan, condition)
                latents = step.latents
                self.report(Event("denoise", step.index + 1, plan.steps, step.expert))
            experts.release()
        return latents


def _sha256(latents: mx.array) -> str:
    return hashlib.sha256(np.array(latents).tobytes()).hexdigest()


def output_path(plan: Plan) -> Path:
    """Where the video goes: `output`, which must be free, or a free name in the library."""
    return free_output(plan.output, file_stem(plan.prompt), "raw", ".json")


def measured_beside(measure: "Measure", told: Prediction | None) -> dict[str, Any]:
    """For the record: prediction beside measurement, and the energy it took."""
    return {
        "prediction": beside(told, measure.seconds, measure.peak_memory),
        "energy": energy_of(measure.joules()),
    }


@dataclass
class Measure:
    """Seconds and peak bytes of MLX memory of each stage, and the energy since it was made.

    A stage that comes again, as of a plan that continues another, is added.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: dict[str, int] = field(default_factory=dict)
    meter: EnergyMeter = field(default_factory=EnergyMeter)

    def joules(self) -> float | None:
        """None where the platform does not measure it."""
        return self.meter.joules()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        mx.reset_peak_memory()
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - start
        self.peak_memory[name] = max(self.peak_memory.get(name, 0), mx.get_peak_memory())

"""All figures of one video and its gates, from one pass over its frames."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_wan.errors import BadFileError

from . import clip_score, health, legibility, loop, motion, picture, reference, temporal
from . import vbench_scores as vbench
from .frames import Frame, read_frames
from .metric import Metric, Values, Watcher

if TYPE_CHECKING:
    from mlx_wan.studio.formats import Box

_FAMILIES = (*(temporal, motion, picture, loop, legibility, reference, clip_score, vbench, health),)
METRICS: dict[str, Metric] = {m.name: m for family in _FAMILIES for m in family.METRICS}


def measure_and_gate(
    video: Path,
    *,
    prompt: str,
    reference: Path | None = None,
    text_boxes: Sequence["Box"] | None = None,
    loops: bool = False,
) -> tuple[Values, dict[str, bool]]:
    """A value for every metric that is not a gate, and whether each gate that applies is passed.

    A value is None where the metric says nothing or was not run. `reference` is the video of
    another run to compare with, which is not done when it cannot be read; latents are compared
    when there is a latents.npy beside both. `text_boxes` are in pixels of the video. `loops` says
    that the model promises videos that lead back to their beginning. Raises BadFileError for what
    is no video.
    """
    moving, seam = motion.Motion(), loop.Loop() if loops else None
    gating = health.Health(moving, seam)
    watchers: list[Watcher] = [temporal.Changes(), moving, picture.Pictures()]
    watchers.append(clip_score.ClipScore(prompt))
    if seam:
        watchers.append(seam)
    against = _Against(reference)
    for frame in read_frames(video):
        for watcher in watchers:
            watcher.see(frame)
        gating.see(frame)
        against.see(frame)
    values: Values = {name: None for name, m in METRICS.items() if m.kind != "gate"}
    for watcher in watchers:
        values |= watcher.figures()
    values |= against.figures(video)
    if text_boxes:
        values |= legibility.legibility(video, text_boxes)
    return values | vbench.stored(video), gating.passed()


def measure(
    video: Path,
    *,
    prompt: str,
    reference: Path | None = None,
    text_boxes: Sequence["Box"] | None = None,
    loops: bool = False,
) -> Values:
    """The values of `measure_and_gate` alone."""
    return measure_and_gate(
        video, prompt=prompt, reference=reference, text_boxes=text_boxes, loops=loops
    )[0]


def gates(video: Path, *, loops: bool = False) -> dict[str, bool]:
    """Whether it passes each gate that applies to it; raises BadFileError for what is no video."""
    moving, seam = motion.Motion(), loop.Loop() if loops else None
    gating = health.Health(moving, seam)
    for frame in read_frames(video):
        moving.see(frame)
        gating.see(frame)
        if seam:
            seam.see(frame)
    return gating.passed()


def not_run() -> dict[str, str]:
    """Metrics that need more than is installed here, with the reason."""
    reasons = {metric.name: vbench.NOT_RUN for metric in vbench.METRICS}
    if why := clip_score.why_not_run():
        reasons["clip_score"] = why
    return reasons


class _Against:
    """The reference's frames beside ours, one at a time, as far as it can be read."""

    def __init__(self, video: Path | None) -> None:
        self._video = video
        self._frames: Iterator[Frame] = read_frames(video) if video else iter(())
        self._figures = reference.Against()

    def see(self, frame: Frame) -> None:
        if self._video and self._figures.fits:
            self._figures.see(frame, self._next())

    def figures(self, video: Path) -> Values:
        if self._video is None:
            return {}
        if self._figures.fits and self._next() is not None:
            self._figures.fits = False
        cosine = None
        with suppress(BadFileError):
            cosine = reference.latent_cosine(video, self._video)
        return self._figures.figures() | {"latent_cosine": cosine}

    def _next(self) -> Frame | None:
        try:
            return next(self._frames, None)
        except BadFileError:  # its own gates say so
            self._figures.fits = False
            return None

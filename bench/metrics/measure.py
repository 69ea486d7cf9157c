"""All figures of one video, and its gates, each read through frame by frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import clip_score, health, legibility, loop, motion, picture, reference, temporal, vbench
from .frames import Frame, read_frames
from .metric import Metric, Values, Watcher

if TYPE_CHECKING:
    from mlx_wan.studio.formats import Box

_FAMILIES = (*(temporal, motion, picture, loop, legibility, reference, clip_score, vbench, health),)
METRICS: dict[str, Metric] = {m.name: m for family in _FAMILIES for m in family.METRICS}


def measure(
    video: Path,
    *,
    prompt: str,
    reference: Path | None = None,
    text_boxes: Sequence["Box"] | None = None,
    loops: bool = False,
) -> Values:
    """A value for every metric that is not a gate; None where it says nothing or was not run.

    `reference` is the video of another run to compare with; latents are compared when there is a
    latents.npy beside both. `text_boxes` are in pixels of the video. `loops` says that the model
    promises videos that lead back to their beginning. Raises BadFileError for what is no video.
    """
    watchers: list[Watcher] = [temporal.Changes(), motion.Motion(), picture.Pictures()]
    if loops:
        watchers.append(loop.Loop())
    against = _Against(reference)
    for frame in read_frames(video):
        for watcher in watchers:
            watcher.see(frame)
        against.see(frame)
    values: Values = {name: None for name, m in METRICS.items() if m.kind != "gate"}
    for watcher in watchers:
        values |= watcher.figures()
    values |= against.figures(video)
    if text_boxes:
        values |= legibility.legibility(video, text_boxes)
    values["clip_score"] = clip_score.clip_score(video, prompt)
    return values | vbench.stored(video)


def gates(video: Path, *, loops: bool = False) -> dict[str, bool]:
    """Whether it passes each gate that applies to it; raises BadFileError for what is no video."""
    watcher = health.Health(loops=loops)
    for frame in read_frames(video):
        watcher.see(frame)
    return watcher.passed()


def not_run() -> dict[str, str]:
    """Metrics that need more than is installed here, with the reason."""
    reasons = {metric.name: vbench.NOT_RUN for metric in vbench.METRICS}
    if why := clip_score.why_not_run():
        reasons["clip_score"] = why
    return reasons


class _Against:
    """The reference's frames beside ours, one at a time."""

    def __init__(self, video: Path | None) -> None:
        self._video = video
        self._frames: Iterator[Frame] | None = read_frames(video) if video else None
        self._figures = reference.Against()

    def see(self, frame: Frame) -> None:
        if self._frames:
            self._figures.see(frame, next(self._frames, None))

    def figures(self, video: Path) -> Values:
        if self._frames is None or self._video is None:
            return {}
        if next(self._frames, None) is not None:
            self._figures.fits = False
        cosine = reference.latent_cosine(video, self._video)
        return self._figures.figures() | {"latent_cosine": cosine}

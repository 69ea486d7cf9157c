"""The moving picture behind the text: the shots' clips, joined, in the delivered size and rate."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from mlx_wan.errors import GenerationError, UsageError

from . import retime
from .ahead import ahead
from .clips import Clip, read_clip
from .joins import Tint, chained, fade, match, mix
from .resize import Resizer
from .storyboard import Storyboard

CROSSFADE = 0.5  # seconds
_TINTED = 2.0  # seconds a shot keeps something of the colours of the shot it was faded from
_TINT = 0.5  # how much of them at most: it is another picture


class Background:
    """A storyboard's pictures from the clips of each shot, in order, streamed.

    `stretch` is how much slower than its own rate a clip is played. `frames` and `previews` can
    be called again and give the same again. Raises UsageError when the clips are too few, of
    different sizes, or of a shape that would lose more than MAX_CROP.
    """

    def __init__(
        self,
        storyboard: Storyboard,
        clips: Sequence[Sequence[Clip]],
        *,
        stretch: float = 1.0,
        interpolate: str = "motion",
        seed: int = 0,
    ):
        self.storyboard, self.clips = storyboard, clips
        self.stretch = Fraction(stretch).limit_denominator(1000)
        self.interpolate = interpolate
        self.num_frames = storyboard.num_frames
        self.target = (storyboard.format.width, storyboard.format.height)
        self._check()
        self.size = clips[0][0].size
        self.resizer = Resizer(self.size, self.target, seed=seed)

    def frames(self) -> Iterator[np.ndarray]:
        """`num_frames` pictures of the format's size, uint8 `(H, W, 3)`, made a little ahead.

        Raises GenerationError when a shot's clips are too short for it.
        """
        return ahead(self.resizer(picture) for picture in self._pictures(self.interpolate))

    def previews(self, height: int) -> Iterator[np.ndarray]:
        """The same pictures `height` high, cheaply: motion is not interpolated."""
        width = round(self.target[0] * height / self.target[1])
        small = Resizer(self.size, (width, height), soft=self.resizer.soft)
        loops = all(clip.loops for shot in self.clips for clip in shot)
        for picture in self._pictures(self.interpolate if loops else "off"):
            yield small(picture)

    def _check(self) -> None:
        shots = self.storyboard.shots
        if self.interpolate not in retime.INTERPOLATIONS:
            raise UsageError(
                f"interpolate is {self.interpolate!r}",
                f"accepted: {', '.join(retime.INTERPOLATIONS)}",
            )
        if self.stretch <= 0:
            raise UsageError(f"stretch is {self.stretch}", "1 plays a clip at its own speed")
        if len(self.clips) != len(shots) or not all(self.clips):
            raise UsageError(f"there are clips for {len(self.clips)} of {len(shots)} shots")
        sizes = sorted({clip.size for shot in self.clips for clip in shot})
        if len(sizes) > 1:
            told = ", ".join(f"{width}x{height}" for width, height in sizes)
            raise UsageError(f"the clips are {told}", "all clips of a video have one size")

    def _pictures(self, interpolate: str) -> Iterator[np.ndarray]:
        """`num_frames` pictures of the clips' size, float32 `(H, W, 3)`."""
        spans = shot_spans(self.storyboard)
        fps = self.storyboard.format.fps
        current, tint = self._shot(0, interpolate), None
        for number, (first, last) in enumerate(spans):
            ending = spans[number - 1][1] if number else first
            before = current
            if number:
                current, tint_before, tint = self._shot(number, interpolate), tint, None
            for index in range(first, spans[number + 1][0] if number + 1 < len(spans) else last):
                picture = self._next(current, number)
                if index < ending:
                    old = self._tinted(
                        self._next(before, number - 1),
                        tint_before,
                        index - spans[number - 1][0],
                        fps,
                    )
                    if index == first:
                        tint = match([old], [picture])
                    picture = self._tinted(picture, tint, index - first, fps)
                    picture = mix(old, picture, fade(index - first, ending - first))
                else:
                    picture = self._tinted(picture, tint, index - first, fps)
                yield picture

    @staticmethod
    def _tinted(picture: np.ndarray, tint: Tint | None, age: int, fps: int) -> np.ndarray:
        if tint is None:
            return picture
        return tint.apply(picture, _TINT * (1 - age / (_TINTED * fps)))

    @staticmethod
    def _next(pictures: Iterator[np.ndarray], number: int) -> np.ndarray:
        picture = next(pictures, None)
        if picture is None:
            raise GenerationError(
                f"the clips of shot {number + 1} are too short for it", "render it again"
            )
        return picture

    def _shot(self, number: int, interpolate: str) -> Iterator[np.ndarray]:
        clips, fps = self.clips[number], self.storyboard.format.fps
        rate = clips[0].fps / self.stretch  # frames a second as it is played
        if clips[0].loops:
            frames = np.stack(list(read_clip(clips[0])))
            return retime.loop(frames, float(rate / fps), interpolate)
        parts = [(partial(read_clip, clip), clip.num_frames, clip.continues) for clip in clips]
        joined = chained(parts, round(CROSSFADE * rate))
        return retime.once(joined, rate, fps, interpolate)


def shot_spans(storyboard: Storyboard) -> list[tuple[int, int]]:
    """The first frame each shot is seen in and the one after its last; faded shots overlap."""
    fps, shots = storyboard.format.fps, storyboard.shots
    elapsed, starts = 0.0, []
    for shot in shots:
        starts.append(round(elapsed * fps))
        elapsed += shot.duration
    fades = [round(CROSSFADE * fps / 2) * (shot.transition == "crossfade") for shot in shots]
    ends = [*starts[1:], storyboard.num_frames]
    fades[0] = 0
    return [
        (start - before, end + after)
        for start, end, before, after in zip(starts, ends, fades, [*fades[1:], 0], strict=True)
    ]


def shot_seconds(storyboard: Storyboard) -> list[float]:
    """How long each shot is to be seen, with its parts of the crossfades."""
    shots = storyboard.shots
    fades = [CROSSFADE / 2 * (shot.transition == "crossfade") for shot in shots[1:]]
    before, after = [0.0, *fades], [*fades, 0.0]
    return [a + shot.duration + b for a, shot, b in zip(before, shots, after, strict=True)]

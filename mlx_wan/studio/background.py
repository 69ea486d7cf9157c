"""The moving picture behind the text: the shots' clips, joined, in the delivered size and rate."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from mlx_wan.errors import UsageError

from . import retime
from .clips import Clip, read_clip
from .resize import Resizer
from .storyboard import Storyboard

CROSSFADE = 0.5  # seconds


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
        self.storyboard, self.clips, self.stretch = storyboard, clips, stretch
        self.interpolate, self.seed = interpolate, seed
        sizes = {clip.size for shot in clips for clip in shot}
        if len(clips) != len(storyboard.shots) or not all(clips) or len(sizes) != 1:
            raise UsageError("every shot of a storyboard needs clips, all of one size")
        self.size = sizes.pop()
        self.num_frames = storyboard.num_frames
        self.target = (storyboard.format.width, storyboard.format.height)
        self.resizer = Resizer(self.size, self.target)

    def frames(self) -> Iterator[np.ndarray]:
        """`num_frames` pictures of the format's size, uint8 `(H, W, 3)`."""
        for picture in self._pictures(self.interpolate):
            yield self.resizer(picture)

    def previews(self, height: int) -> Iterator[np.ndarray]:
        """The same pictures `height` high, cheaply: motion is not interpolated."""
        width = round(self.target[0] * height / self.target[1])
        small = Resizer(self.size, (width, height))
        for picture in self._pictures("off"):
            yield small(picture)

    def _pictures(self, interpolate: str) -> Iterator[np.ndarray]:
        """`num_frames` pictures of the clips' size, float32 `(H, W, 3)`."""
        fps = self.storyboard.format.fps
        half = round(CROSSFADE * fps / 2)
        starts = shot_starts(self.storyboard)
        shots = [self._shot(index, interpolate) for index in range(len(starts))]
        for index in range(self.num_frames):
            number = max(
                i for i, start in enumerate(starts) if start - self._lead(i, half) <= index
            )
            picture = next(shots[number])
            position = index - starts[number] + half
            if number and self._lead(number, half) and position < 2 * half:
                part = np.float32((position + 0.5) / (2 * half))
                picture = next(shots[number - 1]) * (1 - part) + picture * part
            yield picture

    def _lead(self, number: int, half: int) -> int:
        """Frames a shot begins to appear before its start."""
        return half if number and self.storyboard.shots[number].transition == "crossfade" else 0

    def _shot(self, number: int, interpolate: str) -> Iterator[np.ndarray]:
        clips = self.clips[number]
        rate = clips[0].fps / self.stretch / self.storyboard.format.fps
        if clips[0].loops:
            return retime.loop(np.stack(list(read_clip(clips[0]))), rate, interpolate)
        frames = chain.from_iterable(map(read_clip, clips))
        return retime.once(frames, rate, interpolate)


def shot_starts(storyboard: Storyboard) -> list[int]:
    """The frame each shot starts at."""
    elapsed, starts = 0.0, []
    for shot in storyboard.shots:
        starts.append(round(elapsed * storyboard.format.fps))
        elapsed += shot.duration
    return starts


def shot_seconds(storyboard: Storyboard) -> list[float]:
    """How long each shot is to be seen, with its parts of the crossfades."""
    shots = storyboard.shots
    fades = [CROSSFADE / 2 * (shot.transition == "crossfade") for shot in shots[1:]]
    before, after = [0.0, *fades], [*fades, 0.0]
    return [a + shot.duration + b for a, shot, b in zip(before, shots, after, strict=True)]

"""The picture beside the video: its best frame, chosen while the frames pass by."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mlx_wan.errors import GenerationError
from mlx_wan.files import complete_or_absent

_CLEARLY = 1.02  # how much better a later frame has to be


class BestFrame:
    """Remembers the best of the frames that go through `watch`, looking at one of `every`."""

    def __init__(self, every: int):
        self.every = every
        self.index = -1
        self.score = 0.0
        self.frame: np.ndarray | None = None

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass frames, uint8 `(H, W, 3)`, through unchanged."""
        for index, frame in enumerate(frames):
            if index % self.every == 0:
                self._look(index, frame)
            yield frame

    def save(self, path: Path) -> Path:
        """Write it as PNG. Raises GenerationError when no frame has passed."""
        from PIL import Image

        if self.frame is None:
            raise GenerationError("there were no frames to take a poster from")
        with complete_or_absent(path) as partial:
            Image.fromarray(self.frame).save(partial, format="PNG")
        return path

    def _look(self, index: int, frame: np.ndarray) -> None:
        score = poster_score(frame)
        if self.frame is None or score > _CLEARLY * self.score:
            self.index, self.score, self.frame = index, score, frame.copy()


def poster_score(frame: np.ndarray) -> float:
    """How much is to be seen: edges, which text and sharp pictures have most of, and light.

    What is half faded has half the edges, so words count when they are fully there. Frames that
    are nearly black or white count less.
    """
    grey = frame[::2, ::2, 1].astype(np.int16)
    edges = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
    usable = ((grey > 12) & (grey < 244)).mean()
    return float(edges * (0.3 + 0.7 * usable))

"""Whether a video that should loop does."""

import numpy as np

from .frames import Frame
from .metric import Metric, Values

METRICS = (
    Metric(
        "loop_closure",
        "usual steps",
        "lower",
        "quality",
        "mean |last frame - first frame| / mean |frame(t+1) - frame(t)|, of the small luma. 0: the "
        "last frame is the first again; 1: the seam is a step like any other; more is a jump. Only "
        "for models that promise loops; None when nothing moves.",
        "ours",
    ),
)
_STILL = 0.02  # grey levels a frame: less is no step to hold the seam against


class Loop:
    def __init__(self) -> None:
        self._first: np.ndarray | None = None
        self._last: np.ndarray | None = None
        self._steps: list[float] = []

    def see(self, frame: Frame) -> None:
        if self._first is None or self._last is None:
            self._first = frame.small
        else:
            self._steps.append(float(np.abs(frame.small - self._last).mean()))
        self._last = frame.small

    def figures(self) -> Values:
        if self._first is None or self._last is None or np.mean(self._steps or [0]) <= _STILL:
            return {"loop_closure": None}
        seam = float(np.abs(self._last - self._first).mean())
        return {"loop_closure": seam / float(np.mean(self._steps))}

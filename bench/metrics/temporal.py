"""Changes from frame to frame: VBench's flickering, and how much of the change alternates."""

import numpy as np

from .frames import Frame
from .metric import Metric, Values

STILL = 0.25  # grey levels: what moves less is within the rounding of 8 bits and of the encoder

METRICS = (
    Metric(
        "temporal_flickering",
        "",
        "higher",
        "information",
        "(255 - mean |frame(t+1) - frame(t)|) / 255 over all samples and frames. Motion lowers it "
        "like flicker does: VBench takes it of still scenes only, so it does not decide here.",
        "VBench, Huang et al., CVPR 2024, arXiv:2311.17982, 'Temporal Flickering'; "
        "vbench/temporal_flickering.py of Vchitect/VBench",
    ),
    Metric(
        "flicker_share",
        "",
        "lower",
        "quality",
        "sum (y(t+1) - 2 y(t) + y(t-1))^2 / (4 sum (y(t+1) - y(t))^2) over the luma y of the small "
        "copy. Of a sine of frequency f (in cycles a frame) it is sin^2(pi f): 0 for slow change, "
        "1 for what alternates at every frame, 3/4 for noise. None when nothing moves.",
        "ours: the energy-weighted temporal frequency, the two differences being filters with "
        "|H|^2 = 16 sin^4(pi f) and 4 sin^2(pi f)",
    ),
)


class Changes:
    """Both figures of this file."""

    def __init__(self) -> None:
        self._rgb: np.ndarray | None = None
        self._last: list[np.ndarray] = []
        self._change, self._pairs = 0.0, 0
        self._first, self._second, self._moved = 0.0, 0.0, 0.0

    def see(self, frame: Frame) -> None:
        if self._rgb is not None:
            now, before = frame.rgb, self._rgb
            change = np.maximum(now, before) - np.minimum(now, before)
            self._change += float(change.mean(dtype=np.float64))
            self._pairs += 1
        self._rgb = frame.rgb
        last = [*self._last, frame.small][-3:]
        if len(last) > 1:
            difference = last[-1] - last[-2]
            self._first += float(np.square(difference).mean())
            self._moved += float(np.abs(difference).mean())
        if len(last) == 3:
            self._second += float(np.square(last[2] - 2 * last[1] + last[0]).mean())
        self._last = last

    def figures(self) -> Values:
        if self._pairs < 2:
            return {"temporal_flickering": None, "flicker_share": None}
        first, second = self._first / self._pairs, self._second / (self._pairs - 1)
        moves = self._moved / self._pairs >= STILL
        return {
            "temporal_flickering": 1 - self._change / self._pairs / 255,
            "flicker_share": second / (4 * first) if moves else None,
        }

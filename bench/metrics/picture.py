"""Measures of single pictures, averaged over up to `frames.SAMPLES` frames at full size."""

import numpy as np

from .frames import Frame, Plane, shrunk
from .metric import Metric, Values

_RUN = 5  # pixels on either side of a band's edge that are flat
_STEPS = 1.5, 16.0  # grey levels: what the rounding leaves is less, an edge of the picture is more

METRICS = (
    Metric(
        "sharpness",
        "grey levels per pixel",
        "higher",
        "quality",
        "99th percentile of the gradient's length in the luma, smoothed by 1 2 1 both ways so that "
        "noise adds little; central differences.",
        "Tenengrad's gradient (Krotkov, Focusing, IJCV 1987; compared in Pertuz et al., Pattern "
        "Recognition 2013), a high percentile so that plain areas do not count",
    ),
    Metric(
        "colourfulness",
        "",
        "none",
        "information",
        "sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), rg = R - G, "
        "yb = (R + G) / 2 - B. The prompt says how colourful it should be.",
        "Hasler and Suesstrunk, Measuring colourfulness in natural images, SPIE 2003",
    ),
    Metric(
        "noise",
        "grey levels",
        "lower",
        "information",
        "sqrt(pi / 2) / 6 mean |luma * N|, N = [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]. Fine texture "
        "counts as noise, so it does not decide.",
        "Immerkaer, Fast noise variance estimation, CVIU 1996",
    ),
    Metric(
        "banding",
        "squared grey levels per 100 pixels",
        "lower",
        "information",
        f"sum of squared luma steps of {_STEPS[0]:g} to {_STEPS[1]:g} levels between runs of "
        f"{_RUN} pixels that are flat within 1 level, along rows and columns, over the pixels. "
        "How much is smooth enough for bands is the content's, so it does not decide.",
        "ours; the kind of place is CAMBI's (Tandon et al., Netflix, PCS 2021): small steps "
        "between flat areas",
    ),
    Metric(
        "clipped",
        "%",
        "lower",
        "information",
        "share of samples (of any channel) at 2 or less, or at 253 or more. Black and white "
        "backgrounds are clipped by right, so it does not decide.",
        "ours",
    ),
)


class Pictures:
    """The mean of each figure over the sampled frames."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {metric.name: [] for metric in METRICS}

    def see(self, frame: Frame) -> None:
        if not frame.sampled or min(frame.luma.shape) < 4:
            return
        found = {
            "sharpness": sharpness(frame.luma),
            "colourfulness": colourfulness(frame.rgb),
            "noise": noise(frame.luma),
            "banding": banding(frame.luma),
            "clipped": 100 * float(((frame.rgb <= 2) | (frame.rgb >= 253)).mean()),
        }
        for name, value in found.items():
            self._found[name].append(value)

    def figures(self) -> Values:
        return {n: float(np.mean(values)) if values else None for n, values in self._found.items()}


def sharpness(luma: Plane) -> float:
    p = luma[:-2] + 2 * luma[1:-1] + luma[2:]
    p = (p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]) / 16
    dy, dx = (p[2:, 1:-1] - p[:-2, 1:-1]) / 2, (p[1:-1, 2:] - p[1:-1, :-2]) / 2
    return float(np.percentile(np.hypot(dy, dx), 99))


def colourfulness(rgb: np.ndarray) -> float:
    """On a copy of at most 256 pixels: single pixels hardly matter to means and variances."""
    red, green, blue = (shrunk(rgb[..., i].astype(np.float32), 256) for i in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def noise(luma: Plane) -> float:
    p = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    p = p[:, :-2] - 2 * p[:, 1:-1] + p[:, 2:]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(p).mean())


def banding(luma: Plane) -> float:
    if min(luma.shape) < 2 * _RUN:
        return 0.0
    return 100 * (_steps(luma) + _steps(luma.T)) / luma.size


def _steps(luma: Plane) -> float:
    """The sum of the squared steps between flat runs, along the second axis."""
    width = luma.shape[1] - _RUN + 1
    runs = [luma[:, i : i + width] for i in range(_RUN)]
    high = low = total = runs[0]
    for run in runs[1:]:
        high, low, total = np.maximum(high, run), np.minimum(low, run), total + run
    flat, level = high - low <= 1, total / _RUN
    step = np.abs(level[:, _RUN:] - level[:, :-_RUN])
    bands = flat[:, _RUN:] & flat[:, :-_RUN] & (step >= _STEPS[0]) & (step < _STEPS[1])
    return float(np.square(step[bands]).sum(dtype=np.float64))

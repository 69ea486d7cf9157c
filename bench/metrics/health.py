"""Gates: what no video may be, however well it measures otherwise. Passing is 1, failing 0.

Every threshold is far from both sides: soft moving pictures, drawn or generated, and what broken
runs give (white noise, noise through the VAE's decoder, one colour, one frame repeated).
"""

import numpy as np

from .frames import Frame, Plane
from .loop import Loop
from .metric import Metric
from .motion import BLOCK, Motion

BLACK = 8  # no sample above this: the frame is black to any eye
BLANK = 1.0  # grey levels of deviation: less is one plain colour
FROZEN = 2.0  # grey levels a block's mean changes by; encoding at crf 23 alone makes up to 1.7
WHITE = 0.5  # flatness of the whole spectrum
FLAT, UNEXPLAINED, ONE_COLOUR = 0.25, 0.2, 0.9  # see `not_noise`
SEEN = 4.0  # grey levels of deviation: what varies less is an encoder's noise on a plain picture
JUMP = 2.0  # usual steps

METRICS = (
    Metric(
        "not_black",
        "",
        "higher",
        "gate",
        f"some sample of some frame is above {BLACK} of 255.",
        "FFmpeg's blackdetect has the same idea, with its threshold a tenth of the range",
    ),
    Metric(
        "not_blank",
        "",
        "higher",
        "gate",
        f"the small luma of some frame has a standard deviation above {BLANK:g} grey level.",
        "ours",
    ),
    Metric(
        "not_frozen",
        "",
        "higher",
        "gate",
        f"the mean of some {BLOCK} x {BLOCK} block of the small luma comes to differ from the "
        f"first frame's by more than {FROZEN:g} grey levels; means over blocks, so that an "
        "encoder's rounding is not taken for motion.",
        "ours; FFmpeg's freezedetect compares whole frames, and so misses small things moving",
    ),
    Metric(
        "not_noise",
        "",
        "higher",
        "gate",
        "fails when motion does not explain the change (motion_smoothness below "
        f"{UNEXPLAINED:g}, or nothing moves) and the spatial spectrum is flat (geometric over "
        f"arithmetic mean of the power by frequency, above {WHITE:g}): white noise. Also when "
        f"motion does not explain it, the low quarter of the spectrum is flat (above {FLAT:g}) and "
        "the colours vary on their own (the largest principal component of RGB has less than "
        f"{ONE_COLOUR:g} of the variance): latent noise through a decoder has no fine detail.",
        "spectral flatness: Gray and Markel, IEEE ASSP 1974. Measured, in this order: white noise "
        "0.12, 0.98, 0.95, 0.33; decoded latent noise -0.1, 0.00, 0.4, 0.76 to 0.82; drawn clips "
        "from 0.37, up to 0.14, up to 0.66, from 0.83",
    ),
    Metric(
        "loops",
        "",
        "higher",
        "gate",
        f"loop_closure is at most {JUMP:g}: more is a jump at the seam larger than what a dropped "
        "frame makes. Only for models that promise loops.",
        "ours",
    ),
)


class Health:
    """All gates of one video.

    Whoever shows it a frame shows it to `motion` too, and to `loop`, which is there when the video
    promised to loop: their figures are asked at the end.
    """

    def __init__(self, motion: Motion, loop: Loop | None = None) -> None:
        self._brightest, self._deviation, self._moved = 0, 0.0, 0.0
        self._first: Plane | None = None
        self._count = 0
        self._flat: list[tuple[float, float]] = []
        self._colours: list[float] = []
        self._motion, self._loop = motion, loop

    def see(self, frame: Frame) -> None:
        self._count += 1
        self._brightest = max(self._brightest, int(frame.rgb.max()))
        self._deviation = max(self._deviation, float(frame.small.std()))
        blocks = _block_means(frame.small)
        if self._first is None:
            self._first = blocks
        self._moved = max(self._moved, float(np.abs(blocks - self._first).max()))
        if frame.sampled:
            self._flat.append(flatness(frame.small))
            self._colours.append(largest_colour(frame.rgb))

    def passed(self) -> dict[str, bool]:
        """By gate; frozen, noise and loops are for videos of more than one frame."""
        blank = self._deviation <= BLANK
        told = {"not_black": self._brightest > BLACK, "not_blank": not blank}
        if self._count > 1:
            told["not_frozen"] = self._moved > FROZEN
            told["not_noise"] = blank or not self._is_noise()
        if self._loop and self._count > 1:
            closure = self._loop.figures()["loop_closure"]
            told["loops"] = closure is None or closure <= JUMP
        return told

    def _is_noise(self) -> bool:
        explained = self._motion.figures()["motion_smoothness"]
        if (explained is not None and explained >= UNEXPLAINED) or self._deviation < SEEN:
            return False
        whole, low = np.mean(self._flat, axis=0)
        one_colour = np.mean(self._colours) >= ONE_COLOUR
        return bool(whole > WHITE or (low > FLAT and explained is not None and not one_colour))


def flatness(plane: Plane) -> tuple[float, float]:
    """Of the spectrum by frequency, 0 to 1: the whole, and its low quarter.

    The picture is faded out to its borders (Hann), or their jump would look like detail.
    """
    height, width = plane.shape
    side = min(height, width)
    if side < 24:
        return 0.0, 0.0
    window = np.hanning(height)[:, None] * np.hanning(width)
    power = np.square(np.abs(np.fft.rfft2((plane - plane.mean()) * window)))
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) * side
    ring = waves.round().astype(int).ravel()
    mean = np.bincount(ring, power.ravel()) / np.maximum(np.bincount(ring), 1)
    mean = mean[2 : side // 2] + 1e-6
    return _flat(mean), _flat(mean[: len(mean) // 4])


def largest_colour(rgb: np.ndarray) -> float:
    """The share of the variance of a picture's colours along its main colour, 1/3 to 1."""
    every = max(1, rgb.shape[0] * rgb.shape[1] // 20_000)
    colours = rgb.reshape(-1, 3)[::every].astype(np.float64)
    values = np.linalg.eigvalsh(np.cov(colours.T))
    return float(values[-1] / values.sum()) if values.sum() > 0 else 1.0


def _flat(power: np.ndarray) -> float:
    return float(np.exp(np.log(power).mean()) / power.mean())


def _block_means(plane: Plane) -> Plane:
    side = min(BLOCK, *plane.shape)
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    whole = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return whole.mean((1, 3), dtype=np.float32)

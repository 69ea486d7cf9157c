"""Whether words can be read on the pictures under them, and how much help they need.

Contrast is the ratio of the Web Content Accessibility Guidelines (WCAG 2.2, 1.4.3), measured where
the letters are, on every frame in which they are seen. What counts is the ratio that 95 % of these
pixels reach on the frame where it is lowest: a bright moment in a long video is seen as well.
"""

from dataclasses import dataclass

import numpy as np

READABLE = 4.5
AIM = 5.2  # a margin for dither, for what the encoder does, and for the pixels beside the letters
SHARE = 0.05  # of the pixels may have less
_SAMPLES = 60_000  # of a block, over all its frames
_LEAST = 100  # of a frame
_HALVINGS = 9

Colour = tuple[int, int, int]


def _linear() -> np.ndarray:
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


_LINEAR = _linear().astype(np.float32)
_PARTS = [_LINEAR * np.float32(weight) for weight in (0.2126, 0.7152, 0.0722)]


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance, 0 to 1, of uint8 (3, ...)."""
    red, green, blue = (part[values] for part, values in zip(_PARTS, colours, strict=True))
    return red + green + blue


def ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Contrast, 1 to 21, of luminances."""
    return (np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05)


def colour_ratio(one: Colour, other: Colour) -> float:
    return float(ratio(*luminance(np.array([one, other], np.uint8).T)))


def worst(ratios: np.ndarray) -> float:
    """What all but SHARE of the pixels reach on each frame; ratios (frames, pixels)."""
    index = int(SHARE * (ratios.shape[1] - 1))
    return float(np.partition(ratios, index, axis=1)[:, index].min())


@dataclass(frozen=True)
class Need:
    """The least strength of the scrim, 0 to 1, and the contrast without and with it."""

    strength: float
    before: float
    after: float


class Samples:
    """The pictures' colours under the letters of one block, collected frame by frame.

    `rows` and `columns` are the pixels of a preview that letters cover, `scrim` (n,) how much of a
    scrim's strength is there.
    """

    def __init__(
        self, rows: np.ndarray, columns: np.ndarray, scrim: np.ndarray, num_frames: int
    ) -> None:
        self.rows, self.columns = rows, columns
        self.scrim = scrim
        self._per_frame = min(len(rows), max(_LEAST, _SAMPLES // max(num_frames, 1)))
        self._random = np.random.default_rng(0)
        self._colours: list[np.ndarray] = []
        self._chosen: list[np.ndarray] = []

    def add(self, preview: np.ndarray) -> None:
        """Take the pixels of one more preview, uint8 (h, w, 3)."""
        chosen = np.arange(len(self.rows))
        if self._per_frame < len(chosen):
            chosen = self._random.integers(0, len(chosen), self._per_frame)
        self._colours.append(preview[self.rows[chosen], self.columns[chosen]])
        self._chosen.append(chosen.astype(np.int32))

    @property
    def has_any(self) -> bool:
        return bool(self._colours)

    def need(self, text: Colour, scrim: Colour, opacity: float = 1.0) -> Need:
        """How strong a scrim must be for words of `text` at `opacity` to reach AIM."""
        colours = np.concatenate(self._colours).T.astype(np.float32)  # (3, n)
        weight = self.scrim[np.concatenate(self._chosen)].astype(np.float32)
        towards = np.array(scrim, np.float32)[:, None] - colours
        words = np.array(text, np.float32)[:, None]
        frames = len(self._colours)

        def contrast(strength: float) -> float:
            under = colours + towards * (strength * weight)
            over = under + (words - under) * opacity
            lights = [luminance(np.rint(part).astype(np.uint8)) for part in (over, under)]
            return worst(ratio(*lights).reshape(frames, -1))

        before = contrast(0.0)
        if before >= AIM:
            return Need(0.0, before, before)
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if contrast(middle) >= AIM else (middle, high)
        return Need(high, before, contrast(high))

"""A block of text as layers of pixels, and laying them over a frame in whole numbers.

A layer is added to the dimmed frame: `(frame * (256 - alpha) + colour) >> 8`.
"""

import math
from dataclasses import dataclass

import numpy as np

from .blocks import CAP_HEIGHT, Placed, unit_of
from .contrast import Colour
from .formats import Box, Format
from .typeset import draw_line

_MARGIN = 2  # pixels around the ink, for its soft edge
_BLUR = 0.5  # ems; how softly a scrim ends
_LEAST_BLUR = 24  # pixels at a short side of 1080, so that small words get no hard spot
REDUCED = 8  # a scrim is blurred at an eighth of the size
_BAND = 16  # rows laid over at a time: they stay in the cache


@dataclass(frozen=True)
class Look:
    """The colours of one block and how strong its scrim is, 0 to 1."""

    text: Colour
    accent: Colour
    scrim: Colour
    strength: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Layer:
    """`box` of the frame; `alpha` (h, w) 0 to 256; `colour` (h, 3w) premultiplied, uint16."""

    box: Box
    alpha: np.ndarray
    colour: np.ndarray


def ink(placed: Placed, form: Format) -> tuple[Box, np.ndarray, np.ndarray]:
    """Where letters and emoji are: the region, coverage (h, w) and emoji (h, w, 4), uint8."""
    box = _grown(placed.box, _MARGIN, form)
    coverage = np.zeros((box.height, box.width), np.uint8)
    emoji = np.zeros((box.height, box.width, 4), np.uint8)
    for line, (x, baseline) in zip(placed.lines, placed.origins, strict=True):
        draw_line(line, placed.size, x - box.left, baseline - box.top, coverage, emoji)
    return box, coverage, emoji


def soft_shape(placed: Placed, form: Format) -> tuple[Box, np.ndarray]:
    """A soft shape behind the lines: its region and, for each REDUCED pixels, its strength.

    float32, about 1 under letters and 0 at the edge.
    """
    blur = max(_BLUR * placed.size, _LEAST_BLUR * unit_of(form))
    box = _grown(placed.box, math.ceil(4.5 * blur), form)
    x = box.left + (np.arange(-(-box.width // REDUCED)) + 0.5) * REDUCED
    y = box.top + (np.arange(-(-box.height // REDUCED)) + 0.5) * REDUCED
    shape = np.zeros((len(y), len(x)), np.float32)
    for left, top, right, bottom in _line_boxes(placed):
        corners = (left - 2 * blur, top - 2 * blur, right + 2 * blur, bottom + 2 * blur, 2 * blur)
        part = rounded(x / REDUCED, y / REDUCED, *(one / REDUCED for one in corners))
        np.maximum(shape, part, out=shape)
    return box, (_gaussian(y, blur) @ shape @ _gaussian(x, blur)).clip(0, 1)


def _scrim(placed: Placed, form: Format) -> tuple[Box, np.ndarray]:
    """The soft shape at full size, float32 (h, w)."""
    from PIL import Image

    box, soft = soft_shape(placed, form)
    size = (soft.shape[1] * REDUCED, soft.shape[0] * REDUCED)
    full = np.asarray(Image.fromarray(soft).resize(size, Image.Resampling.BICUBIC))
    return box, full[: box.height, : box.width].clip(0, 1)


def _gaussian(at: np.ndarray, sigma: float) -> np.ndarray:
    """(n, n): multiplying by it blurs along that side; outside is nothing."""
    distance = (at[:, None] - at[None]) / sigma
    step = at[1] - at[0] if len(at) > 1 else 1.0
    return (np.exp(-(distance**2) / 2) * (step / sigma / math.sqrt(2 * math.pi))).astype(np.float32)


def scrim_layer(placed: Placed, look: Look, form: Format) -> Layer:
    """What lies behind the words; drawn before the words of any block."""
    box, soft = _scrim(placed, form)
    canvas = _Canvas(box)
    canvas.over(box, soft * look.strength, look.scrim)
    return canvas.layer()


def word_layer(placed: Placed, look: Look, form: Format, logo: np.ndarray | None = None) -> Layer:
    """Pill, marks, logo (h, w, 4) premultiplied, and words."""
    region, coverage, emoji = ink(placed, form)
    canvas = _Canvas(region)
    if placed.pill:
        canvas.over(placed.box, _filled(placed.box, _radius(placed)), look.accent)
    if placed.mark:
        radius = min(placed.mark.width, placed.mark.height) / 2
        canvas.over(placed.mark, _filled(placed.mark, radius) * look.opacity, look.accent)
    if placed.logo and logo is not None:
        canvas.over_picture(placed.logo, logo, look.opacity)
    canvas.over(region, coverage / np.float32(255) * look.opacity, look.text)
    if emoji.any():
        canvas.over_picture(region, emoji, look.opacity)
    return canvas.layer()


class _Canvas:
    """A transparent picture of `box`: alpha (h, w, 1), premultiplied colour (h, w, 3); 0 to 1."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.alpha = np.zeros((box.height, box.width, 1), np.float32)
        self.colour = np.zeros((box.height, box.width, 3), np.float32)

    def over(self, at: Box, opaque: np.ndarray, colour: Colour) -> None:
        part = opaque[:, :, None]
        self._over(at, part, part * (np.array(colour, np.float32) / 255))

    def over_picture(self, at: Box, picture: np.ndarray, opacity: float) -> None:
        part = picture * np.float32(opacity / 255)
        self._over(at, part[:, :, 3:], part[:, :, :3])

    def _over(self, at: Box, alpha: np.ndarray, colour: np.ndarray) -> None:
        rows = slice(at.top - self.box.top, at.bottom - self.box.top)
        columns = slice(at.left - self.box.left, at.right - self.box.left)
        for below, above in ((self.colour, colour), (self.alpha, alpha)):
            below[rows, columns] *= 1 - alpha
            below[rows, columns] += above

    def layer(self) -> Layer:
        alpha = np.rint(self.alpha * 256)
        colour = np.minimum(np.rint(self.colour * (255 * 256)), alpha * 255)  # sums below 2 ** 16
        flat = colour.reshape(self.box.height, -1)
        return Layer(self.box, alpha[:, :, 0].astype(np.uint16), flat.astype(np.uint16))


def _radius(placed: Placed) -> float:
    """A pill of one line is round; of two, as round as one line's."""
    lines = placed.origins[-1][1] - placed.origins[0][1]
    return (placed.box.height - lines) / 2


def rounded(
    x: np.ndarray,
    y: np.ndarray,
    left: float,
    top: float,
    right: float,
    bottom: float,
    radius: float,
) -> np.ndarray:
    """A filled rectangle with round corners, float32 (len(y), len(x)), smooth at its edge.

    x and y are the centres of the pixels.
    """
    across = np.abs(x - (left + right) / 2) - ((right - left) / 2 - radius)
    along = np.abs(y - (top + bottom) / 2) - ((bottom - top) / 2 - radius)
    corner = np.hypot(np.maximum(across, 0)[None], np.maximum(along, 0)[:, None])
    inside = np.minimum(np.maximum(across[None], along[:, None]), 0)
    return (radius - corner - inside + 0.5).clip(0, 1).astype(np.float32)


def _filled(box: Box, radius: float) -> np.ndarray:
    """The box itself with round corners, float32 (h, w)."""
    x, y = np.arange(box.width) + 0.5, np.arange(box.height) + 0.5
    return rounded(x, y, 0, 0, box.width, box.height, radius)


class Painter:
    """Lays one layer over frames. The noise in place of rounding keeps soft scrims from banding."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        noise = np.random.default_rng(0).integers(0, 256, layer.colour.shape, np.uint16)
        self._noise = noise
        self._keep = 256 - np.repeat(layer.alpha, 3, axis=1)
        self._add = layer.colour + noise
        self._scratch = np.empty((_BAND, layer.colour.shape[1]), np.uint16)

    def draw(self, frame: np.ndarray, visible: float = 1.0, down: float = 0.0) -> None:
        """Onto uint8 (H, W, 3), faded to `visible` and moved `down` by pixels or parts of them."""
        whole = math.floor(down)
        below = round(visible * (down - whole) * 256)
        here = round(visible * 256) - below
        rows = frame.reshape(frame.shape[0], -1)
        box = self.layer.box
        # from the bottom up: a row is looked at for the one below it before it is drawn on
        for top in range(box.height // _BAND * _BAND, -1, -_BAND):
            first = box.top + whole + top
            last = min(first + _BAND, box.bottom + whole + (below > 0), frame.shape[0])
            if first >= last:
                continue
            part = rows[first:last, box.left * 3 : box.right * 3]
            if here == 256:
                part[:] = self._over(part, top)
                continue
            mixed = part * np.uint16(256 - here - below)
            mixed += self._over(part, top) * np.uint16(here)
            if below:
                mixed += self._over(part, top - 1) * np.uint16(below)
            part[:] = (mixed + np.uint16(128)) >> 8

    def _over(self, part: np.ndarray, top: int) -> np.ndarray:
        """Rows of the frame with the layer's rows from `top` on laid over; a copy, uint16."""
        scratch = self._scratch[: part.shape[0]]
        start, end = max(top, 0), min(top + part.shape[0], self.layer.box.height)
        inside = slice(start - top, max(end - top, 0))
        if inside.start > 0 or inside.stop < part.shape[0]:
            scratch[:] = part
        some = scratch[inside]
        np.multiply(part[inside], self._keep[start:end], out=some, dtype=np.uint16)
        np.add(some, self._add[start:end], out=some)
        np.right_shift(some, 8, out=some)
        return scratch


def _line_boxes(placed: Placed) -> list[tuple[float, float, float, float]]:
    boxes = [
        (
            x + line.left * placed.size,
            baseline - max(line.top, CAP_HEIGHT) * placed.size,
            x + line.right * placed.size,
            baseline - min(line.bottom, 0) * placed.size,
        )
        for line, (x, baseline) in zip(placed.lines, placed.origins, strict=True)
    ]
    for one in (placed.mark, placed.logo):
        if one is not None:
            boxes.append((one.left, one.top, one.right, one.bottom))
    return boxes


def _grown(box: Box, by: int, form: Format) -> Box:
    return Box(
        max(0, box.left - by),
        max(0, box.top - by),
        min(form.width, box.right + by),
        min(form.height, box.bottom + by),
    )

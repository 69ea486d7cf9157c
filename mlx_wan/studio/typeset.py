"""Lines of text as placed glyphs, and placed glyphs as pixels. HarfBuzz shapes and draws.

Glyphs are placed in ems, so a line is shaped once and drawn at any size: nothing is hinted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import regex

from mlx_wan.errors import UsageError

from . import bidi
from .fonts import EM, Face, describe, face_for
from .text import graphemes


@dataclass(frozen=True)
class Style:
    """`font` is "Inter" or a font file, `weight` 100 to 900."""

    font: str = "Inter"
    weight: int = 700


@dataclass(frozen=True)
class Glyph:
    """A glyph of `face`; x and y are its origin in ems, x to the right, y upwards."""

    face: Face
    number: int
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """A shaped line in ems: `left` to `right` and `top` (above the baseline) to `bottom` is ink."""

    glyphs: tuple[Glyph, ...]
    advance: float
    left: float
    right: float
    top: float
    bottom: float
    style: Style


@lru_cache(maxsize=4096)
def shape(text: str, style: Style, right_to_left: bool = False) -> Line:
    """One line of clean text, in the order in which it is seen.

    Raises UsageError for a character no font has.
    """
    glyphs: list[Glyph] = []
    x = 0.0
    levels = bidi.levels(text, right_to_left)
    language = _language(text)
    faces = _face_of_each(text, style.font)
    for start, end, level in bidi.visual_runs(levels):
        runs = _runs(faces, start, end)
        for face, first, last in runs[::-1] if level % 2 else runs:
            x = _shape_run(text[first:last], face, style, level % 2 == 1, language, x, glyphs)
    return Line(tuple(glyphs), x, *_ink(glyphs, style), style)


def _face_of_each(text: str, own: str) -> list[Face]:
    faces: list[Face] = []
    before = None
    for cluster in graphemes(text):
        before = face_for(cluster, own, before)
        faces += [before] * len(cluster)
    return faces


def _runs(faces: Sequence[Face], start: int, end: int) -> list[tuple[Face, int, int]]:
    runs: list[tuple[Face, int, int]] = []
    for position in range(start, end):
        if runs and runs[-1][0] is faces[position]:
            runs[-1] = (faces[position], runs[-1][1], position + 1)
        else:
            runs.append((faces[position], position, position + 1))
    return runs


def _shape_run(
    text: str,
    face: Face,
    style: Style,
    right_to_left: bool,
    language: str,
    x: float,
    glyphs: list[Glyph],
) -> float:
    """Append the glyphs of one font and direction; returns where the next run begins."""
    import uharfbuzz

    for part in _scripts(text)[:: -1 if right_to_left else 1]:
        buffer = uharfbuzz.Buffer()
        buffer.add_str(part)
        buffer.flags = uharfbuzz.BufferFlags.REMOVE_DEFAULT_IGNORABLES
        buffer.guess_segment_properties()
        buffer.direction = "rtl" if right_to_left else "ltr"
        buffer.language = language
        uharfbuzz.shape(face.font(style.weight), buffer)
        for info, place in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            if info.codepoint == 0:
                raise UsageError(
                    f"no font has {describe(part, style.font)} in this combination", "leave it out"
                )
            glyphs.append(Glyph(face, info.codepoint, x + place.x_offset / EM, place.y_offset / EM))
            x += place.x_advance / EM
    return x


def _scripts(text: str) -> list[str]:
    """HarfBuzz takes one script at a time: cut where a letter of another script begins."""
    parts: list[str] = []
    current = ""
    script = None
    for character in text:
        own = _script(character)
        if own and script and own != script:
            parts.append(current)
            current = ""
        current += character
        script = own or script
    return [*parts, current]


_SCRIPTS = """
    Latin Greek Cyrillic Arabic Hebrew Devanagari Bengali Tamil Telugu Thai Gujarati Gurmukhi
    Kannada Malayalam Oriya Sinhala Khmer Lao Myanmar Georgian Armenian Ethiopic Han Hiragana
    Katakana Hangul
"""


@lru_cache(maxsize=8192)
def _script(character: str) -> str | None:
    for name in _SCRIPTS.split():
        if regex.match(rf"\p{{Script={name}}}", character):
            return name
    return None


def _language(text: str) -> str:
    """Which forms of shared Chinese characters: what the other letters on the line say."""
    if regex.search(r"[\p{Hiragana}\p{Katakana}]", text):
        return "ja"
    if regex.search(r"\p{Hangul}", text):
        return "ko"
    return "zh-Hans" if regex.search(r"\p{Han}", text) else "en"


def _ink(glyphs: Iterable[Glyph], style: Style) -> tuple[float, float, float, float]:
    """(left, right, top, bottom) in ems; all 0 for a line of spaces."""
    left, right, top, bottom = [], [], [], []
    for glyph in glyphs:
        extents = glyph.face.font(style.weight).get_glyph_extents(glyph.number)
        if extents is None or not extents.width:
            continue
        x = glyph.x + extents.x_bearing / EM
        y = glyph.y + extents.y_bearing / EM
        left.append(x)
        right.append(x + extents.width / EM)
        top.append(y)
        bottom.append(y + extents.height / EM)  # the height is negative
    if not left:
        return 0.0, 0.0, 0.0, 0.0
    return min(left), max(right), max(top), min(bottom)


def draw_line(
    line: Line, size: float, x: float, baseline: float, ink: np.ndarray, colours: np.ndarray
) -> None:
    """Draw with the origin at (x, baseline), in pixels from the top left of the arrays.

    `ink` (h, w) is the coverage of letters; `colours` (h, w, 4) the premultiplied red, green, blue
    and alpha of emoji. Both uint8; what is there already stays where nothing is drawn.
    """
    import uharfbuzz

    height, width = ink.shape
    scale = EM / size
    raster = uharfbuzz.RasterDraw()
    raster.scale_factor = (scale, scale)
    raster.extents = uharfbuzz.RasterExtents(0, 0, width, height, 0)
    plain = [glyph for glyph in line.glyphs if not glyph.face.coloured]
    for glyph in plain:
        raster.transform = _transform(glyph, size, x, height - baseline)
        raster.draw_glyph(glyph.face.font(line.style.weight), glyph.number)
    if plain:
        np.maximum(ink, _pixels(raster.render(), 1)[:, :, 0], out=ink)
    for glyph in line.glyphs:
        if glyph.face.coloured:
            _paint(glyph, size, x, height - baseline, colours)


def _transform(glyph: Glyph, size: float, x: float, y: float) -> tuple[float, ...]:
    """In EM units, from a corner at the bottom left."""
    return (1, 0, 0, 1, glyph.x * EM + x * EM / size, glyph.y * EM + y * EM / size)


def _paint(glyph: Glyph, size: float, x: float, y: float, colours: np.ndarray) -> None:
    import uharfbuzz

    height, width = colours.shape[:2]
    font = glyph.face.font(400)
    extents = font.get_glyph_extents(glyph.number)
    if extents is None or not extents.width:
        return
    left = int(x + (glyph.x + extents.x_bearing / EM) * size) - 1
    bottom = int(y + (glyph.y + (extents.y_bearing + extents.height) / EM) * size) - 1
    right = min(width, left + int(extents.width / EM * size) + 4)
    top = min(height, bottom + int(-extents.height / EM * size) + 4)
    left, bottom = max(left, 0), max(bottom, 0)
    paint = uharfbuzz.RasterPaint()
    scale = EM / size
    paint.scale_factor = (scale, scale)
    paint.extents = uharfbuzz.RasterExtents(left, bottom, right - left, top - bottom, 0)
    paint.transform = _transform(glyph, size, x, y)
    paint.paint_glyph(font, glyph.number)
    new = _pixels(paint.render(), 4)[:, :, [2, 1, 0, 3]]
    part = colours[height - top : height - bottom, left:right]
    kept = part.astype(np.uint16) * (255 - new[:, :, 3:].astype(np.uint16))
    part[:] = np.minimum(new + (kept + 127) // 255, 255)


def _pixels(image: Any, channels: int) -> np.ndarray:
    """(h, w, channels) from the top down."""
    extents = image.extents
    rows = np.frombuffer(image.buffer, np.uint8).reshape(extents.height, extents.stride)
    rows = rows[::-1, : extents.width * channels]
    return rows.reshape(extents.height, extents.width, channels)

"""Words into a given width: the largest size, balanced lines, and no character cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from . import bidi
from .text import graphemes, pieces
from .typeset import Line, Style, shape

_STEP = 0.96  # from one size to the next smaller one
_FOR_A_FULL_LINE = 0.8  # how much smaller words may get so that no short word stands alone
_AIR = 0.06  # ems between the ink of two lines, at least


@dataclass(frozen=True)
class Role:
    """How large words of a role may be, in pixels where the short side has 1080."""

    largest: float
    smallest: float
    max_lines: int
    weight: int
    pitch: float = 1.28  # ems from one line to the next


@dataclass(frozen=True)
class Paragraph:
    """Fitted lines: `baselines` in pixels below the top of the ink, `size` pixels per em."""

    lines: tuple[Line, ...]
    baselines: tuple[float, ...]
    size: float
    right_to_left: bool

    @property
    def width(self) -> float:
        return max(line.right - line.left for line in self.lines) * self.size

    @property
    def height(self) -> float:
        return self.baselines[-1] - self.lines[-1].bottom * self.size


@dataclass(frozen=True)
class _Piece:
    text: str
    width: float  # ems
    space: bool  # whether one follows


def fit(
    text: str, style: Style, role: Role, width: float, height: float, scale: float = 1.0
) -> Paragraph | None:
    """The (clean) text at the largest size of its role; None when it does not fit at the smallest.

    `scale` multiplies the role's sizes. A word that is wider than a line even at the smallest size
    is broken between characters.
    """
    rtl = bidi.is_right_to_left(text)
    paragraphs = [_pieces(line, style) for line in text.split("\n")]
    size, smallest = role.largest * scale, role.smallest * scale
    best: Paragraph | None = None
    while True:
        size = max(size, smallest)
        if size == smallest:
            paragraphs = [_without_long(line, style, width / size) for line in paragraphs]
        found = _at_size(paragraphs, style, role, size, width, height, rtl)
        if found and (best is None or len(found.lines) < len(best.lines)):
            best = found
        if best and (not _ends_alone(best) or size <= best.size * _FOR_A_FULL_LINE):
            return best
        if size == smallest:
            return best
        size *= _STEP


def _ends_alone(paragraph: Paragraph) -> bool:
    """Whether the last line is a lone short word."""
    widths = [line.advance for line in paragraph.lines]
    return len(widths) > 1 and widths[-1] < 0.45 * max(widths)


def _pieces(line: str, style: Style) -> list[_Piece]:
    return [_Piece(part, shape(part, style).advance, space) for part, space in pieces(line)]


def _without_long(line: Sequence[_Piece], style: Style, limit: float) -> list[_Piece]:
    out: list[_Piece] = []
    for piece in line:
        if piece.width <= limit:
            out.append(piece)
            continue
        parts = graphemes(piece.text)
        for number, part in enumerate(parts):
            space = piece.space and number == len(parts) - 1
            out.append(_Piece(part, shape(part, style).advance, space))
    return out


def _at_size(
    paragraphs: Sequence[Sequence[_Piece]],
    style: Style,
    role: Role,
    size: float,
    width: float,
    height: float,
    rtl: bool,
) -> Paragraph | None:
    space = shape(" ", style).advance
    wrapped = [_wrap(line, width / size, space) for line in paragraphs]
    if any(lines is None for lines in wrapped):
        return None
    if sum(len(lines or ()) for lines in wrapped) > role.max_lines:
        return None
    texts = [line for paragraph in paragraphs for line in _balanced(paragraph, width / size, space)]
    lines = tuple(shape(line, style, rtl) for line in texts)
    found = Paragraph(lines, _baselines(lines, size, role.pitch), size, rtl)
    return found if found.width <= width and found.height <= height else None


def _wrap(line: Sequence[_Piece], limit: float, space: float) -> list[str] | None:
    """Greedy; None when a piece alone is too wide."""
    lines: list[str] = []
    current, used, gap = "", 0.0, False
    for piece in line:
        if piece.width > limit:
            return None
        if current and used + gap * space + piece.width > limit:
            lines.append(current)
            current, used, gap = "", 0.0, False
        current += " " * gap + piece.text
        used += gap * space + piece.width
        gap = piece.space
    return [*lines, current]


def _balanced(line: Sequence[_Piece], limit: float, space: float) -> list[str]:
    """As many lines as greedy ones need, with the longest as short as can be."""
    best = _wrap(line, limit, space)
    assert best is not None
    low, high = max(piece.width for piece in line), limit
    for _ in range(12):
        middle = (low + high) / 2
        lines = _wrap(line, middle, space)
        if lines is not None and len(lines) <= len(best):
            best, high = lines, middle
        else:
            low = middle
    return best


def _baselines(lines: Sequence[Line], size: float, pitch: float) -> tuple[float, ...]:
    """Even steps, wider where tall letters would touch."""
    at = [lines[0].top * size]
    for above, below in pairwise(lines):
        at.append(at[-1] + max(pitch, below.top - above.bottom + _AIR) * size)
    return tuple(at)

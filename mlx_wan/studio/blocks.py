"""What a laid out block is, and the sizes of each role."""

from collections.abc import Callable
from dataclasses import dataclass

from mlx_wan.errors import UsageError

from .fitting import Paragraph, Role
from .formats import Box, Format
from .text import fitting_prefix, graphemes
from .typeset import Line, Style, shape

ROLE_STYLES = {
    "title": Role(largest=116, smallest=46, max_lines=3, weight=800, pitch=1.12),
    "hook": Role(largest=124, smallest=46, max_lines=4, weight=800, pitch=1.12),
    "content": Role(largest=60, smallest=34, max_lines=5, weight=500),
    # words of their own, with no title or hook beside them
    "content alone": Role(largest=92, smallest=34, max_lines=6, weight=700, pitch=1.18),
    "cta": Role(largest=44, smallest=28, max_lines=2, weight=700),
    "cta alone": Role(largest=60, smallest=28, max_lines=2, weight=700),
    "signature": Role(largest=32, smallest=18, max_lines=1, weight=600),
}
CAP_HEIGHT = 0.73  # ems; capitals of Inter


@dataclass(frozen=True)
class Placed:
    """One block as it stands in the frame from frame `start` to frame `end` (outside).

    `box` is everything of it, `origins` are each line's (x, baseline) in pixels of the frame.
    """

    name: str
    role: str
    text: str
    box: Box
    lines: tuple[Line, ...]
    origins: tuple[tuple[float, float], ...]
    size: float
    start: int
    end: int
    pill: bool = False
    mark: Box | None = None
    logo: Box | None = None


def unit_of(form: Format) -> float:
    """Pixels for each of a picture whose short side has 1080: what lengths are given in."""
    return min(form.width, form.height) / 1080


def check_glyphs(text: str, font: str, name: str) -> None:
    try:
        for line in text.split("\n"):
            shape(line, Style(font))
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", error.hint) from None


def refuse(name: str, text: str, attempt: Callable[[str], Paragraph | None]) -> Paragraph:
    """Raise UsageError with the length for which `attempt` fits."""
    fits = fitting_prefix(text, lambda part: attempt(part.strip() or "i") is not None)
    raise UsageError(
        f"{name} has {len(graphemes(text))} characters; about {fits} fit into this format",
        f"shorten it to {fits} characters, or split it into several texts",
    )

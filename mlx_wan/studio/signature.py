"""The signature: the brand's name with an accent bar or its logo, in a corner of the safe area."""

import math
from dataclasses import replace

from .blocks import CAP_HEIGHT, ROLE_STYLES, Placed, check_glyphs, refuse, unit_of
from .brand import Brand
from .fitting import Paragraph, fit
from .formats import Box, Format
from .text import clean
from .typeset import Style

_BAR = (5, 15)  # the accent beside the signature: width, distance
_LOGO_HEIGHT, _LOGO_WIDTH, _LOGO_GAP = 60, 220, 16


def place_signature(
    form: Format,
    brand: Brand,
    num_frames: int,
    logo_size: tuple[int, int] | None = None,
    lift: int = 0,
) -> Placed:
    """The name with an accent bar, or the logo with the name, in the brand's corner.

    `logo_size` is the logo's, in pixels; `lift` raises the words' baseline above the lower edge.
    """
    unit, safe = unit_of(form), form.safe
    logo_width, logo_height = _logo_box(logo_size, unit)
    before = round(_LOGO_GAP * unit) + logo_width if logo_width else round(sum(_BAR) * unit)
    paragraph = _name(form, brand, safe.width - before) if brand.name.strip() else None
    if paragraph is None:
        above, below, width, cap = logo_height, 0, logo_width, logo_height
    else:
        line = paragraph.lines[0]
        cap = round(CAP_HEIGHT * paragraph.size)
        beyond = max(math.ceil((logo_height - cap) / 2), 0)  # the logo above and below capitals
        above = max(math.ceil(line.top * paragraph.size), cap + beyond)
        below = max(math.ceil(-line.bottom * paragraph.size), beyond)
        width = before + math.ceil(paragraph.width)
    right, bottom = brand.position.endswith("right"), brand.position.startswith("bottom")
    left = safe.right - width if right else safe.left
    baseline = safe.bottom - max(below, lift) if bottom else safe.top + above
    placed = Placed(
        name="signature",
        role="signature",
        text=brand.name.strip(),
        box=Box(left, baseline - above, left + width, baseline + below),
        lines=(),
        origins=(),
        size=0.0,
        start=0,
        end=num_frames,
    )
    if logo_width:
        top = baseline - cap // 2 - logo_height // 2 if paragraph else baseline - logo_height
        placed = replace(placed, logo=Box(left, top, left + logo_width, top + logo_height))
    if paragraph is None:
        return placed
    if not logo_width:
        thick = max(round(_BAR[0] * unit), 2)
        placed = replace(placed, mark=Box(left, baseline - cap, left + thick, baseline))
    origin = (left + before - line.left * paragraph.size, float(baseline))
    return replace(placed, lines=paragraph.lines, origins=(origin,), size=paragraph.size)


def _name(form: Format, brand: Brand, width: int) -> Paragraph:
    """The brand's name on one line, as large as it can be."""
    what, role = "the brand's name", ROLE_STYLES["signature"]
    text = clean(brand.name, what).replace("\n", " ")
    check_glyphs(text, brand.font, what)

    def attempt(text: str) -> Paragraph | None:
        style = Style(brand.font, role.weight)
        return fit(text, style, role, width, form.safe.height / 4, unit_of(form))

    return attempt(text) or refuse(what, text, attempt)


def _logo_box(size: tuple[int, int] | None, unit: float) -> tuple[int, int]:
    if size is None:
        return 0, 0
    scale = min(_LOGO_HEIGHT * unit / size[1], _LOGO_WIDTH * unit / size[0])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

"""Where words and signature stand: inside the safe area, and never on one another.

Title, hook and content form a column, aligned at the side they are read from; the call to action
is a pill below it; the signature has its corner. Blocks seen at the same time are placed together.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mlx_wan.errors import UsageError

from .blocks import CAP_HEIGHT, ROLE_STYLES, Placed, check_glyphs, refuse, unit_of
from .brand import Brand
from .fitting import Paragraph, fit
from .formats import Box, Format
from .signature import place_signature
from .storyboard import ROLES, Storyboard
from .text import check_readable, clean
from .typeset import Style

_COLUMN_SCALE = {"shorts": 1.08}  # held in the hand, but further from the eye than it seems
_COLUMN_WIDTH = {"wide": 0.8}  # of the safe width: long lines are hard to read
_GAP = 56  # between blocks; all lengths are for a short side of 1080 pixels
_MARK = (72, 8, 36)  # the accent above title and hook: width, height, distance
_PILL_SIDE, _PILL_ABOVE = 0.95, 0.62  # ems around the words of a pill
_OPTICAL_CENTRE = 0.44  # of the free height lies above the column


@dataclass(frozen=True)
class _Text:
    """A checked block: clean text, frames from `start` to `end` (outside); `style` of its role."""

    name: str
    role: str
    text: str
    start: int
    end: int
    style: str = ""


@dataclass(frozen=True)
class _Fitted:
    given: _Text
    paragraph: Paragraph


def lay_out(
    storyboard: Storyboard, brand: Brand | None, logo_size: tuple[int, int] | None = None
) -> list[Placed]:
    """Every block of the storyboard and the signature (named so).

    `logo_size` is the brand's logo in pixels. Raises UsageError for text that cannot be read in
    its time, has no glyphs or does not fit, with the length that does.
    """
    form = storyboard.format
    font = brand.font if brand else "Inter"
    signature = None
    if brand is not None:
        with_pill = any(block.role == "cta" for block in storyboard.texts)
        lift = _PILL_ABOVE * ROLE_STYLES["cta"].largest * unit_of(form) if with_pill else 0
        signature = place_signature(form, brand, storyboard.num_frames, logo_size, round(lift))
    texts = [_checked(storyboard, number, font) for number in range(len(storyboard.texts))]
    placed = [
        block
        for scene in _scenes(texts)
        for block in _place(scene, form, font, signature, _strip_side(brand))
    ]
    return [*placed, signature] if signature else placed


def _strip_side(brand: Brand | None) -> str:
    return brand.position if brand else "bottom-right"


def _checked(storyboard: Storyboard, number: int, font: str) -> _Text:
    block = storyboard.texts[number]
    same = [one for one in storyboard.texts if one.role == block.role]
    count = sum(one.role == block.role for one in storyboard.texts[: number + 1])
    name = block.role if len(same) == 1 else f"{block.role} {count}"
    text = clean(block.text, name)
    check_glyphs(text, font, name)
    check_readable(text, block.end - block.start, name)
    fps = storyboard.format.fps
    start = min(round(block.start * fps), storyboard.num_frames - 1)
    end = max(min(round(block.end * fps), storyboard.num_frames), start + 1)
    return _Text(name, block.role, text, start, end)


def _scenes(texts: Sequence[_Text]) -> Iterable[list[_Text]]:
    """Texts that are seen together, directly or through others, in order of time."""
    scene: list[_Text] = []
    last = -1
    for one in sorted(texts, key=lambda text: text.start):
        if scene and one.start >= last:
            yield scene
            scene = []
        scene.append(one)
        last = max(last, one.end)
    if scene:
        yield scene


def _place(
    scene: Sequence[_Text],
    form: Format,
    font: str,
    signature: Placed | None,
    position: str,
) -> list[Placed]:
    unit = unit_of(form)
    scene = _styled(scene)
    area = _above_signature(form.safe, signature, position, unit)
    others = [one for one in scene if one.role != "cta"]
    pills = [_fit_pill(one, form, font, area) for one in scene if one.role == "cta"]
    slots = _slots(pills)
    sizes = [[_pill_box(one) for one in slot] for slot in slots]
    heights = [max(height for _, height in some) for some in sizes]
    gap = round(_GAP * unit)
    bottom = area.bottom
    if not others:  # the end of the video is theirs
        total = sum(heights) + gap * (len(heights) - 1)
        bottom -= round((area.height - total) * (1 - _OPTICAL_CENTRE))
    placed: list[Placed] = []
    for slot, some, height in list(zip(slots, sizes, heights, strict=True))[::-1]:
        top = None
        if others and not placed and signature is not None:
            top = _beside(signature, form.safe, slot, some, position, unit)
        if top is None:
            top = bottom - height
        bottom = min(bottom, top - gap)
        for one, (width, own) in zip(slot, some, strict=True):
            placed.append(_pill(one, form.safe, top + height - own, width, own))
    return placed + _column(others, form, font, replace(area, bottom=bottom))


def _styled(scene: Sequence[_Text]) -> list[_Text]:
    """Content without a headline is one, and so is a call to action alone."""
    roles = {one.role for one in scene}
    alone = {"content"} if not roles & {"title", "hook"} else set()
    alone |= roles if roles == {"cta"} else set()
    return [
        replace(one, style=f"{one.role} alone" if one.role in alone else one.role) for one in scene
    ]


def _above_signature(safe: Box, signature: Placed | None, position: str, unit: float) -> Box:
    if signature is None:
        return safe
    gap = round(_GAP * 0.75 * unit)
    if position.startswith("bottom"):
        return replace(safe, bottom=signature.box.top - gap)
    return replace(safe, top=signature.box.bottom + gap)


def _beside(
    signature: Placed,
    safe: Box,
    slot: Sequence[_Fitted],
    boxes: Sequence[tuple[int, int]],
    position: str,
    unit: float,
) -> int | None:
    """The top of a pill in the signature's row, when it stands on the other side and fits."""
    side = position.partition("-")[2]
    starts = {"right" if one.paragraph.right_to_left else "left" for one in slot}
    width, height = max(w for w, _ in boxes), max(h for _, h in boxes)
    room = safe.width - signature.box.width - round(_GAP * unit)
    if not position.startswith("bottom") or side in starts or width > room:
        return None
    middle = (signature.box.top + signature.box.bottom) // 2
    return min(middle - height // 2, safe.bottom - height)


def _slots(fitted: Sequence[_Fitted]) -> list[list[_Fitted]]:
    """Blocks of one role that follow one another share a place; others are stacked."""
    slots: list[list[_Fitted]] = []
    for one in sorted(fitted, key=lambda f: (ROLES.index(f.given.role), f.given.start)):
        for slot in slots:
            same = slot[0].given.role == one.given.role
            if same and all(_apart(one.given, other.given) for other in slot):
                slot.append(one)
                break
        else:
            slots.append([one])
    return slots


def _apart(one: _Text, other: _Text) -> bool:
    return one.start >= other.end or other.start >= one.end


def _column(scene: Sequence[_Text], form: Format, font: str, area: Box) -> list[Placed]:
    """Title, hook and content below one another, smaller until all of them fit."""
    if not scene:
        return []
    unit = unit_of(form)
    scale = 1.0
    while True:
        slots = _slots([_fit(one, form, font, area, scale) for one in scene])
        heights = [max(_height(one, unit) for one in slot) for slot in slots]
        total = sum(heights) + round(_GAP * unit) * (len(slots) - 1)
        if total <= area.height:
            break
        if scale < 0.35:
            raise UsageError(
                f"{' and '.join(one.name for one in scene)} are too long to be shown together",
                "shorten them, or show them one after the other",
            )
        scale *= 0.94
    top = area.top + round((area.height - total) * _OPTICAL_CENTRE)
    placed = []
    for slot, height in zip(slots, heights, strict=True):
        placed += [_words(one, area, top, unit) for one in slot]
        top += height + round(_GAP * unit)
    return placed


def _fit(one: _Text, form: Format, font: str, area: Box, scale: float) -> _Fitted:
    role = ROLE_STYLES[one.style]
    role = replace(role, largest=max(role.largest * scale, role.smallest))
    unit = unit_of(form) * _COLUMN_SCALE.get(form.name, 1.0)
    style = Style(font, role.weight)
    height = area.height - _mark_height(one.style, unit_of(form))
    width = area.width * _COLUMN_WIDTH.get(form.name, 1.0)

    def attempt(text: str) -> Paragraph | None:
        return fit(text, style, role, width, height, unit)

    return _Fitted(one, attempt(one.text) or refuse(one.name, one.text, attempt))


def _fit_pill(one: _Text, form: Format, font: str, area: Box) -> _Fitted:
    role, unit = ROLE_STYLES[one.style], unit_of(form)
    width = area.width - 2 * _PILL_SIDE * role.largest * unit

    def attempt(text: str) -> Paragraph | None:
        return fit(text, Style(font, role.weight), role, width, area.height / 3, unit)

    return _Fitted(one, attempt(one.text) or refuse(one.name, one.text, attempt))


def _mark_height(style: str, unit: float) -> int:
    marked = style in ("title", "hook", "content alone")
    return round((_MARK[1] + _MARK[2]) * unit) if marked else 0


def _height(one: _Fitted, unit: float) -> int:
    return math.ceil(one.paragraph.height) + _mark_height(one.given.style, unit)


def _words(one: _Fitted, area: Box, top: int, unit: float) -> Placed:
    """Words of the column: the ink of each line begins exactly at the edge."""
    paragraph, rtl = one.paragraph, one.paragraph.right_to_left
    width = math.ceil(paragraph.width)
    left = area.right - width if rtl else area.left
    mark = None
    mark_height = _mark_height(one.given.style, unit)
    if mark_height:
        mark_width, thick = round(_MARK[0] * unit), round(_MARK[1] * unit)
        at = left + width - mark_width if rtl else left
        mark = Box(at, top, at + mark_width, top + thick)
    origins = tuple(
        (
            (left + width - line.right * paragraph.size)
            if rtl
            else (left - line.left * paragraph.size),
            top + mark_height + baseline,
        )
        for line, baseline in zip(paragraph.lines, paragraph.baselines, strict=True)
    )
    box = Box(left, top, left + width, top + _height(one, unit))
    if mark is not None:
        box = replace(box, left=min(box.left, mark.left), right=max(box.right, mark.right))
    return _placed(one, box, origins, mark=mark)


def _pill_box(one: _Fitted) -> tuple[int, int]:
    """Width and height of the pill."""
    paragraph = one.paragraph
    top, bottom = _reference(paragraph)
    height = paragraph.baselines[-1] - paragraph.baselines[0] + (top - bottom) * paragraph.size
    return (
        math.ceil(paragraph.width + 2 * _PILL_SIDE * paragraph.size),
        math.ceil(height + 2 * _PILL_ABOVE * paragraph.size),
    )


def _reference(paragraph: Paragraph) -> tuple[float, float]:
    """Top of the first and bottom of the last line, in ems: of capitals, unless ink goes beyond.

    So pills are the same height and their words sit on one line, with or without descenders.
    """
    return (
        max(CAP_HEIGHT, paragraph.lines[0].top - 0.2),
        min(0.0, paragraph.lines[-1].bottom + 0.25),
    )


def _pill(one: _Fitted, safe: Box, top: int, width: int, height: int) -> Placed:
    paragraph = one.paragraph
    left = safe.right - width if paragraph.right_to_left else safe.left
    first = top + _PILL_ABOVE * paragraph.size + _reference(paragraph)[0] * paragraph.size
    origins = tuple(
        (
            left
            + (width - (line.right - line.left) * paragraph.size) / 2
            - line.left * paragraph.size,
            first + baseline - paragraph.baselines[0],
        )
        for line, baseline in zip(paragraph.lines, paragraph.baselines, strict=True)
    )
    return _placed(one, Box(left, top, left + width, top + height), origins, pill=True)


def _placed(
    one: _Fitted,
    box: Box,
    origins: tuple[tuple[float, float], ...],
    pill: bool = False,
    mark: Box | None = None,
) -> Placed:
    given = one.given
    return Placed(
        given.name,
        given.role,
        given.text,
        box,
        one.paragraph.lines,
        origins,
        one.paragraph.size,
        given.start,
        given.end,
        pill,
        mark,
    )

"""How long words are seen: enough to read them, the hook short, the call to action at the end."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_wan.errors import UsageError

from .text import graphemes, pieces, reading_length, reading_seconds

SEEN_AT_ONCE = 90  # characters; longer texts are shown in parts
SEEN_AT_ONCE_WIDE = 40  # of Chinese and Japanese, which are twice as wide
HOOK = (2.0, 3.0)  # seconds, unless reading it takes longer
CTA_SHARE = 0.22  # of the video
CTA_MOST = 15.0  # seconds


@dataclass(frozen=True)
class Words:
    """One of the texts of a video: what it is and what it says."""

    role: str
    text: str


def spans(words: Sequence[Words], duration: float) -> list[tuple[float, float]]:
    """Start and end of each text, one after another, in seconds; together all of `duration`.

    Raises UsageError with the duration that works when not all can be read in it.
    """
    total = math.floor(duration * 100 + 1e-6)  # hundredths of a second, so that sums are exact
    floors = [math.ceil(reading_seconds(one.text) * 100 - 1e-6) for one in words]
    if sum(floors) > total:
        *roles, last = dict.fromkeys(one.role for one in words)
        named = f"{', '.join(roles)} and {last}" if roles else last
        needed = math.ceil(sum(floors) / 10) / 10
        raise UsageError(
            f"reading {named} takes {needed:g} s; the video lasts {duration:g} s",
            f"give --duration {needed:g} or more, or say it shorter",
        )
    wished = [
        max(floor, _wish(one, floor, duration)) for one, floor in zip(words, floors, strict=True)
    ]
    lengths = _fitted(floors, wished, [one.role for one in words], total)
    ends = [sum(lengths[: number + 1]) / 100 for number in range(len(lengths))]
    ends[-1] = duration
    return list(zip([0.0, *ends[:-1]], ends, strict=True))


def _wish(one: Words, floor: int, duration: float) -> int:
    if one.role == "hook":
        return round(100 * min(max(floor * 0.014, HOOK[0]), HOOK[1]))
    if one.role == "cta":
        return round(100 * min(CTA_SHARE * duration, CTA_MOST))
    return 2 * floor


def _fitted(floors: list[int], wished: list[int], roles: list[str], total: int) -> list[int]:
    """The wishes made to add up: what is over goes to the content, what lacks is shared."""
    if sum(wished) > total:
        extra = [wish - floor for wish, floor in zip(wished, floors, strict=True)]
        share = (total - sum(floors)) / sum(extra)
        lengths = [floor + int(share * more) for floor, more in zip(floors, extra, strict=True)]
    else:
        lengths = list(wished)
    takers = [i for i, role in enumerate(roles) if role in ("content", "title")]
    takers = takers or list(range(len(roles)))
    weight = sum(lengths[i] for i in takers)
    spare = total - sum(lengths)
    for i in takers[:-1]:
        lengths[i] += spare * lengths[i] // weight
    lengths[takers[-1]] += total - sum(lengths)
    return lengths


def in_parts(text: str) -> list[str]:
    """A text that is too long to be seen at once, cut where sentences end, then clauses, words."""
    ends = (r"(?<=[.!?:;])\s+|(?<=[。！？；])|\n", r"(?<=[,–—])\s+|(?<=[、，])")
    return _cut(text, ends)


def _cut(text: str, ends: Sequence[str]) -> list[str]:
    if not _is_long(text):
        return [text]
    if not ends:
        return _by_words(text)
    parts: list[str] = []
    for clause in filter(None, re.split(ends[0], text)):
        joined = f"{parts[-1]}{_space(parts[-1])}{clause}" if parts else clause
        if parts and not _is_long(joined):
            parts[-1] = joined
        else:
            parts.append(clause)
    return [part for clause in parts for part in _cut(clause, ends[1:])]


def _by_words(text: str) -> list[str]:
    """Parts of about the same length, of whole words where there are any."""
    words = [piece + (" " if spaced else "") for piece, spaced in pieces(text)]
    count = math.ceil(reading_length(text) / SEEN_AT_ONCE)
    while True:
        parts, each = [""], reading_length(text) / count
        for word in words:
            if parts[-1] and reading_length(parts[-1] + word.rstrip()) > each * 1.05:
                parts.append("")
            parts[-1] += word
        if all(part in words for part in parts if _is_long(part)):  # nothing is left to cut
            return [part.strip() for part in parts]
        count += 1


def _is_long(text: str) -> bool:
    length = len(graphemes(text.strip()))
    wide = reading_length(text) > 1.5 * length
    return length > (SEEN_AT_ONCE_WIDE if wide else SEEN_AT_ONCE)


def _space(text: str) -> str:
    return "" if text[-1] in "。！？；、，" else " "

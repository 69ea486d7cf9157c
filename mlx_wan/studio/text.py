"""Words as data: what is accepted, whole characters, reading time, where a line may break."""

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import regex

from mlx_wan.errors import UsageError

CHARACTERS_PER_SECOND = 15.0
MAX_CHARACTERS = 2000
MAX_MARKS = 4  # on one letter; Vietnamese, Hebrew and polytonic Greek need 3
# zero-width space is a place to break; the others say nothing to a font
_DROPPED = regex.compile("[\u00ad\u2060\ufeff\u2066-\u2069\u180e]")
_CONTROL = regex.compile(r"[\p{Cc}\u202a-\u202e\ufff9-\ufffb\U000e0001]")
_MARKS = regex.compile(rf"\p{{M}}{{{MAX_MARKS + 1},}}")
_IDEOGRAPHS = r"[\p{Han}\p{Hiragana}\p{Katakana}\u3000-\u303f\uff01-\uff60ー々〆]"
_NO_SPACES = regex.compile(rf"{_IDEOGRAPHS}+|\p{{Thai}}+")
# a hyphen between words of some length, a dash or slash anywhere inside
_AFTER = regex.compile(r"(?<=\p{L}{3}-)(?=\p{L}{3})|(?<=[–—/|…])(?=\w)")
_NOT_FIRST = frozenset(
    "、。，．・：；？！）］｝〉》」』】〕〗〙ー々〻ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ,.:;?!)]}%…‥"
)
_NOT_LAST = frozenset("（［｛〈《「『【〔〖〘([{“‘")
_LONGEST_PHRASE = 6  # characters of Chinese or Japanese that stay together
_SLOW = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")  # a word rather than a letter


def clean(text: str, what: str = "text") -> str:
    """The text as it is drawn: composed, spaces single, lines of its own kept as line breaks.

    Invisible characters that say nothing are left out. Raises UsageError for what cannot be drawn.
    """
    if not isinstance(text, str):  # files and callers may give anything
        raise UsageError(f"{what} is {type(text).__name__}; accepted: text")
    if len(text) > MAX_CHARACTERS:
        raise UsageError(
            f"{what} has {len(text)} characters; accepted: up to {MAX_CHARACTERS}", "shorten it"
        )
    if lone := regex.search(r"\p{Cs}", text):
        raise UsageError(
            f"{what} is not valid Unicode: half a character (U+{ord(lone[0]):04X}) at position "
            f"{lone.start() + 1}",
            "type it again",
        )
    text = unicodedata.normalize("NFC", text)
    text = regex.sub(r"\r\n?|[\u2028\u2029\v\f\x85]", "\n", text).replace("\t", " ")
    text = _DROPPED.sub("", text)
    _refuse(_CONTROL.search(text.replace("\n", " ")), what, "a control character")
    _refuse(regex.search(r"\p{Co}", text), what, "a private character, which no font agrees on")
    _refuse(regex.search("[\ufffc\ufffd]", text), what, "which stands for something that was lost")
    _refuse(regex.search(r"\p{Noncharacter_Code_Point}", text), what, "not a character")
    if pile := _MARKS.search(text):
        raise UsageError(
            f"{what} has {len(pile[0])} marks on one letter; accepted: up to {MAX_MARKS}",
            "leave some out",
        )
    lines = [regex.sub(r"[^\S\u00a0\u202f]+", " ", line).strip() for line in text.split("\n")]
    text = "\n".join(line for line in lines if line)
    if not regex.search(r"[^\s\p{Default_Ignorable_Code_Point}]", text):
        raise UsageError(f"{what} is empty", "write something, or leave it out")
    return text


def _refuse(match: regex.Match[str] | None, what: str, why: str) -> None:
    if match:
        raise UsageError(
            f"{what} has U+{ord(match[0]):04X} at position {match.start() + 1}, {why}",
            "take it out",
        )


def graphemes(text: str) -> list[str]:
    """Whole characters as people see them: an emoji family or a letter with accents is one."""
    return regex.findall(r"\X", text)


def reading_length(text: str) -> float:
    """Characters a reader has to take in; one of Chinese or Japanese counts as two."""
    return sum(2.0 if _SLOW.match(one) else 1.0 for one in graphemes(text))


def reading_seconds(text: str) -> float:
    """How long the text must be seen to be read, at CHARACTERS_PER_SECOND."""
    return reading_length(clean(text)) / CHARACTERS_PER_SECOND


def check_readable(text: str, seconds: float, what: str) -> None:
    """Raise UsageError when `seconds` are too short to read the (clean) text."""
    length = reading_length(text)
    if length > seconds * CHARACTERS_PER_SECOND + 1e-6:
        fits = fitting_prefix(
            text, lambda part: reading_length(part) <= seconds * CHARACTERS_PER_SECOND
        )
        raise UsageError(
            f"{what} has {len(graphemes(text))} characters and is shown for {seconds:g} s; reading "
            f"it takes {length / CHARACTERS_PER_SECOND:.1f} s",
            f"shorten it to {fits} characters, or show it for "
            f"{-(-length * 10 // CHARACTERS_PER_SECOND) / 10:g} s",
        )


def fitting_prefix(text: str, fits: Callable[[str], bool]) -> int:
    """How many characters of the text's beginning satisfy `fits`, which holds for shorter ones."""
    parts = graphemes(text)
    low, high = 0, len(parts)
    while low < high:
        middle = (low + high + 1) // 2
        if fits("".join(parts[:middle])):
            low = middle
        else:
            high = middle - 1
    return low


def pieces(line: str) -> Iterator[tuple[str, bool]]:
    """(piece, whether a space follows): a line may break after every piece."""
    words = regex.split(r"[ \u3000]+", line)
    for number, word in enumerate(words):
        parts = [part for chunk in word.split("\u200b") for part in _parts(chunk)]
        for position, part in enumerate(parts):
            yield part, position == len(parts) - 1 and number < len(words) - 1


def _parts(word: str) -> list[str]:
    """Where a word may break: after hyphens, and between phrases of scripts without spaces."""
    out: list[str] = []
    position = 0
    for match in _NO_SPACES.finditer(word):
        out += _after_hyphens(word[position : match.start()])
        out += _phrases(match[0])
        position = match.end()
    out += _after_hyphens(word[position:])
    return _together(out)


def _after_hyphens(text: str) -> list[str]:
    return [part for part in _AFTER.split(text) if part]


def _phrases(text: str) -> list[str]:
    phrases = _parser(_language(text)).parse(text)
    if regex.match(r"\p{Thai}", text):
        return list(phrases)
    short: list[str] = []
    for phrase in phrases:
        while len(phrase) > _LONGEST_PHRASE:
            cut = max(2, min(_LONGEST_PHRASE, len(phrase) // 2))
            short.append(phrase[:cut])
            phrase = phrase[cut:]
        short.append(phrase)
    return short


def _together(parts: list[str]) -> list[str]:
    """Nothing ends in an opening bracket or begins with what may not begin a line (kinsoku)."""
    out: list[str] = []
    for part in parts:
        if out and (part[0] in _NOT_FIRST or out[-1][-1] in _NOT_LAST or _is_mark(part[0])):
            out[-1] += part
        else:
            out.append(part)
    return out


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or character in "\u200d\ufe0f\ufe0e"


def _language(text: str) -> str:
    if regex.search(r"\p{Thai}", text):
        return "thai"
    return "japanese" if regex.search(r"[\p{Hiragana}\p{Katakana}]", text) else "simplified_chinese"


@cache
def _parser(language: str) -> Any:
    import budoux

    return getattr(budoux, f"load_default_{language}_parser")()

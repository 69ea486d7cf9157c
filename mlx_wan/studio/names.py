"""File names of finished videos, as people know them: linkedin_2026_ai_workforce_10s."""

import re
import unicodedata

_MAX_BYTES = 120
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


def linkedin_name(topic: str, duration: float) -> str:
    """`linkedin_2026_ai_workforce_transformation_10s`: a year in the topic goes first."""
    words = slug(topic)
    year = _YEAR.search(words)
    if year:
        words = slug(f"{year.group()} {words[: year.start()]} {words[year.end() :]}")
    return "_".join(part for part in ("linkedin", words, _seconds(duration)) if part)


def youtube_name(duration: float) -> str:
    """`youtube_short_30s`."""
    return f"youtube_short_{_seconds(duration)}"


def file_stem(text: str) -> str:
    """The beginning of a file name for what a video shows; "video" where it has no words."""
    return slug(text) or "video"


def slug(text: str) -> str:
    """Letters and digits of any script in lower case, joined by `_`; Latin ones lose accents."""
    plain = []
    for character in unicodedata.normalize("NFKC", text).casefold():
        parts = unicodedata.normalize("NFD", character)
        character = parts[0] if parts[0].isascii() else character
        is_word = character.isalnum() or unicodedata.category(character)[0] == "M"
        plain.append(character if is_word else "_")
    name = re.sub("_+", "_", "".join(plain)).strip("_")
    whole = name.encode()[:_MAX_BYTES].decode(errors="ignore")
    if whole != name and "_" in whole:
        whole = whole[: whole.rindex("_")]
    return whole


def _seconds(duration: float) -> str:
    return f"{duration:g}s".replace(".", "_")

"""The models somebody may have meant by a name that is none."""

import difflib

from . import PRESETS

_MOST = 3


def near_models(name: str) -> list[str]:
    """Up to three ids like `name`, the likeliest first: those that begin with it, else the one
    spelt like it, else those it begins with. "owner/name" counts as its name."""
    asked = _letters(name.rsplit("/", 1)[-1])
    if len(asked) < 3:
        return []
    ids = {_letters(id): id for id in PRESETS}
    found = [id for letters, id in ids.items() if letters.startswith(asked)]
    found = found or _spelt_like(asked, ids, 0.9)
    found = found or [id for letters, id in ids.items() if asked.startswith(letters)]
    found = found or _spelt_like(asked, ids, 0.7)
    return found[:_MOST]


def meant(name: str) -> str:
    """The question that begins a hint, "did you mean mochi-1? "; empty when nothing is near."""
    near = near_models(name)
    return f"did you mean {' or '.join(near)}? " if near else ""


def _spelt_like(asked: str, ids: dict[str, str], likeness: float) -> list[str]:
    return [ids[match] for match in difflib.get_close_matches(asked, ids, 1, likeness)]


def _letters(name: str) -> str:
    return "".join(letter for letter in name[:100].lower() if letter.isalnum())

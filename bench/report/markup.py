"""HTML that escapes whatever is not HTML already: text of a person cannot become a part of it."""

import html
import json
import unicodedata
from typing import Any


class Markup(str):
    """A piece of finished HTML."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Escaped, without control characters; Markup stays what it is."""
    if isinstance(value, Markup):
        return value
    kept = "".join(
        letter
        for letter in str(value)
        if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cs")
    )
    return Markup(html.escape(kept))


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element. `class_` is class, `_` in names is `-`; True gives a bare name, None none."""
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{text(value)}"')
    opened = Markup(f"<{' '.join(words)}>")
    if name in ("meta", "link", "input", "br", "rect", "line", "circle") and not children:
        return opened if name in ("meta", "link", "input", "br") else Markup(f"{opened}</{name}>")
    return Markup(f"{opened}{join(*children)}</{name}>")


def join(*children: Any) -> Markup:
    return Markup("".join(text(child) for child in children if child is not None))


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    told = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return told.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def chip(id: str) -> Markup:
    return tag("span", id.upper(), class_=f"chip {id if id in 'abcd' else 'more'}")


def person_text(value: Any) -> Markup:
    """Text of a person: its direction of writing stays inside it."""
    return tag("bdi", value)

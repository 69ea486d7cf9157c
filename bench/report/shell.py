"""What the report and the vote page share: a page that loads and runs nothing but its own.

A Content-Security-Policy with the hashes of the page's script and style lets nothing else run,
whatever stands in a prompt.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .markup import Markup, join, script_json, tag

SPEEDS = ("0.25", "0.5", "1", "2")


def document(
    title: str, body: Markup, scripts: Sequence[str], data: Any, *, connect: str = "'none'"
) -> str:
    """A page with our style, scripts of this folder as one, and `data` for them as JSON."""
    style, code = _file("page.css"), "".join(map(_file, scripts))
    policy = (
        f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; "
        f"media-src 'self' blob: data: file:; img-src data:; connect-src {connect}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        Markup(f"<style>{style}</style>"),
    )
    code_and_data = Markup(
        f'<script type="application/json" id="data">{script_json(data)}</script>'
        f"<script>{code}</script>"
    )
    whole = tag("html", tag("head", head), tag("body", body, code_and_data), lang="en")
    return f"<!doctype html>\n{whole}\n"


def controls() -> Markup:
    """Play, scrub, time and speed of all players together."""
    speeds = [
        tag("option", f"{speed}\N{MULTIPLICATION SIGN}", value=speed, selected=speed == "1")
        for speed in SPEEDS
    ]
    scrub = {"min": "0", "max": "1", "step": "any", "value": "0"}
    return tag(
        "div",
        tag("button", "Play", id="play", type="button", class_="main"),
        tag("input", type="range", id="scrub", aria_label="Time", **scrub),
        tag("output", "0.00 s", id="clock"),
        tag("select", *speeds, id="speed", aria_label="Speed"),
        class_="controls",
    )


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"

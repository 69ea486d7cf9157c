"""Every text of text_corpus.json is drawn right or refused in words a person understands."""

import json
from pathlib import Path

import numpy as np
import pytest
import regex

from mlx_wan.errors import UsageError
from mlx_wan.studio.brand import Brand
from mlx_wan.studio.fonts import is_invisible
from mlx_wan.studio.formats import Box
from mlx_wan.studio.overlay import Overlay
from mlx_wan.studio.storyboard import Shot, Storyboard, TextBlock

CORPUS = json.loads((Path(__file__).parent / "text_corpus.json").read_text(encoding="utf-8"))
SECONDS = 150.0
FORMATS = ("wide", "shorts", "square")
_black: dict[str, np.ndarray] = {}


def overlay_of(text: str, format_name: str, role: str) -> Overlay:
    texts = (
        TextBlock(role, text, 0.0, SECONDS),
        TextBlock("cta", "Follow for more", 0.0, SECONDS),
    )
    shot = Shot("soft colours", SECONDS)
    return Overlay(Storyboard(format_name, SECONDS, (shot,), texts), Brand())


def ink_in(frame: np.ndarray, box: Box) -> int:
    return int(np.count_nonzero(frame[box.top : box.bottom, box.left : box.right].any(axis=2)))


def check(overlay: Overlay) -> None:
    safe, boxes = overlay.format.safe, list(overlay.boxes.values())
    assert len(boxes) == 3
    for box in boxes:
        assert safe.contains(box), (box, safe)
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            across = min(one.right, other.right) - max(one.left, other.left)
            down = min(one.bottom, other.bottom) - max(one.top, other.top)
            assert across <= 0 or down <= 0, (one, other)
    for block in overlay.placed:
        for line in block.lines:
            assert line.glyphs
            assert all(glyph.number for glyph in line.glyphs), "a .notdef box"
    form = overlay.format
    frame = _black.setdefault(form.name, np.zeros((form.height, form.width, 3), np.uint8))
    overlay.draw(frame, overlay.storyboard.num_frames // 2)
    inks = [ink_in(frame, box) for box in boxes]
    for box in boxes:
        frame[box.top - 1 : box.bottom + 1, box.left - 1 : box.right + 1] = 0
    outside = frame.any()
    if outside:
        del _black[form.name]
    assert not outside, "ink outside of every box"
    assert min(inks) > 40, "no ink"


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [(n, text, expected) for n, (_, text, expected) in enumerate(CORPUS)],
    ids=[name for name, _, _ in CORPUS],
)
def test_corpus(number, text, expected):
    role = "hook" if len(text) < 60 else "content"
    try:
        overlay = overlay_of(text, FORMATS[number % 3], role)
    except UsageError as error:
        assert expected == "refused", str(error)
        assert error.message
        assert error.hint
        assert error.message.isprintable() or not error.message.isascii()
    else:
        assert expected == "drawn"
        check(overlay)


def test_the_corpus_is_as_wide_as_promised():
    texts = [text for _, text, _ in CORPUS]
    assert len(texts) >= 150
    scripts = """
        Latin Greek Cyrillic Arabic Hebrew Devanagari Bengali Tamil Telugu Kannada Malayalam
        Gujarati Thai Lao Khmer Myanmar Georgian Armenian Ethiopic Han Hiragana Katakana Hangul
    """
    kept = " ".join(text for _, text, expected in CORPUS if expected == "drawn")
    for script in scripts.split():
        assert regex.search(rf"\p{{Script={script}}}", kept), script
    assert sum(len(text) >= 300 for text in texts) >= 5
    assert sum(not text.strip() for text in texts) >= 4


def test_every_visible_character_of_a_drawn_text_is_in_the_font_that_draws_it():
    from mlx_wan.studio.text import clean
    from mlx_wan.studio.typeset import _face_of_each

    for _, text, expected in CORPUS:
        if expected == "drawn":
            flat = clean(text).replace("\n", " ")
            for character, face in zip(flat, _face_of_each(flat, "Inter"), strict=True):
                assert is_invisible(character) or ord(character) in face.characters, character

"""Words: cleaning, reading time, line breaking, bidi, fonts, fitting."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from mlx_wan.errors import UsageError
from mlx_wan.studio import bidi
from mlx_wan.studio.fitting import Role, fit
from mlx_wan.studio.fonts import emoji_faces, face_for
from mlx_wan.studio.text import (
    check_readable,
    clean,
    fitting_prefix,
    graphemes,
    pieces,
    reading_seconds,
)
from mlx_wan.studio.typeset import Style, draw_line, shape

TESTS = Path(__file__).parent
BOLD = Style(weight=800)
ROLE = Role(largest=100, smallest=40, max_lines=3, weight=800)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  a \t b  ", "a b"),
        ("a\r\n\n b\u2028c", "a\nb\nc"),
        ("e\u0301", "é"),
        ("so\u00adft\ufeff", "soft"),
        ("\u2068x\u2069", "x"),
        ("10\u00a0000", "10\u00a0000"),
    ],
)
def test_clean_text(given, kept):
    assert clean(given) == kept


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("", "empty"),
        ("\u200d\ufe0f", "empty"),
        ("a\x1b[31m", "U+001B at position 2"),
        ("a\u202eb", "U+202E"),
        ("\ue000", "private"),
        ("a\ud83d", "half a character"),
        ("e" + "\u0323\u0301" * 9, "marks on one letter"),
        ("x" * 2001, "2001 characters"),
        ("\ufffd", "lost"),
        (7, "int"),
    ],
)
def test_refuse_text_that_cannot_be_drawn(given, named):
    with pytest.raises(UsageError) as refused:
        clean(given, "hook")
    assert named in refused.value.message
    assert "hook" in refused.value.message


def test_whole_characters():
    assert graphemes("👨‍👩‍👧‍👦🇩🇪👍🏽e\u0301") == ["👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "e\u0301"]


def test_reading_takes_its_time():
    assert reading_seconds("a" * 30) == 2
    assert reading_seconds("👨‍👩‍👧‍👦" * 15) == 1  # seven code points each, one character
    assert reading_seconds("世" * 15) == 2  # more is in each
    check_readable("a" * 30, 2.0, "hook")
    with pytest.raises(UsageError, match=r"2\.1 s") as refused:
        check_readable("a" * 31, 2.0, "hook")
    assert "shorten it to 30 characters" in refused.value.hint
    assert "2.1 s" in refused.value.hint


def test_fitting_prefix_never_cuts_a_character():
    assert fitting_prefix("👍🏽" * 10, lambda part: len(part) <= 7) == 3


def broken(line: str) -> list[str]:
    return [part for part, _ in pieces(line)]


def test_places_to_break():
    assert broken("AI-skilled workers") == ["AI-skilled", "workers"]
    assert broken("state-of-art, never-before") == ["state-of-art,", "never-", "before"]
    assert broken("ab\u200bcd") == ["ab", "cd"]
    assert broken("10 000") == ["10", "000"]
    assert broken("10\u00a0000") == ["10\u00a0000"]


@pytest.mark.parametrize(
    "line",
    [
        "「はじめまして」、と言った。（本当です）",
        "2026年、AIスキルで給料が56%アップ！",
        "人工智能正在改变世界，掌握它的人收入更高。",
        "ปัญญาประดิษฐ์กำลังเปลี่ยนโลก",
        "ที่นี่ผู้ใหญ่",
        "AI、API。人工知能を使う「AI」、",
    ],
)
def test_scripts_without_spaces_break_between_phrases(line):
    parts = broken(line)
    assert "".join(parts) == line
    assert len(parts) >= 2
    for part in parts:
        assert part[0] not in "、。」）！，％ー\u0e31\u0e34\u0e35\u0e48\u0e49"
        assert part[-1] not in "「（"


def test_bidi_follows_the_standard():
    lines = (TESTS / "recorded" / "bidi.txt").read_text(encoding="utf-8").splitlines()
    cases = [line.split(";") for line in lines if not line.startswith("#")]
    assert len(cases) == 300
    for points, direction, found, levels, order in cases:
        text = "".join(chr(int(point, 16)) for point in points.split())
        rtl = bidi.is_right_to_left(text)
        if direction == "2":
            assert rtl == (found == "1")
        else:
            rtl = direction == "1"
        out = bidi.levels(text, rtl)
        assert out == [int(level) for level in levels.split()], points
        seen = [
            position
            for start, end, level in bidi.visual_runs(out)
            for position in (range(end - 1, start - 1, -1) if level % 2 else range(start, end))
        ]
        assert seen == [int(position) for position in order.split()], points


def test_right_to_left_words_stand_right_to_left():
    line = shape("שלום 2026", BOLD, True)
    digits = [glyph.x for glyph in line.glyphs if "Inter" in glyph.face.name]
    letters = [glyph.x for glyph in line.glyphs if "Hebrew" in glyph.face.name]
    assert max(digits) < min(letters)
    assert digits == sorted(digits)


def test_fonts_change_places_in_right_to_left_words():
    line = shape("שלום مرحبا", BOLD, True)
    first = [glyph.x for glyph in line.glyphs if "Hebrew" in glyph.face.name]
    second = [glyph.x for glyph in line.glyphs if "Arabic" in glyph.face.name]
    assert first
    assert second
    assert max(second) < min(first)


def test_arabic_letters_are_joined():
    joined, alone = shape("ببب", BOLD, True), shape("ب", BOLD, True)
    assert len({glyph.number for glyph in joined.glyphs} | {alone.glyphs[0].number}) >= 3


@pytest.mark.parametrize("emoji", ["👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "1️⃣", "🧑🏿‍🚀", "🏳️‍🌈"])
def test_an_emoji_sequence_is_one_coloured_glyph(emoji):
    line = shape(emoji, BOLD)
    assert len(line.glyphs) == 1
    assert line.glyphs[0].face.coloured
    ink, colours = np.zeros((120, 120), np.uint8), np.zeros((120, 120, 4), np.uint8)
    draw_line(line, 80, 5, 95, ink, colours)
    assert not ink.any()
    assert len(np.unique(colours[colours[:, :, 3] == 255][:, :3], axis=0)) > 3


def test_a_heart_is_text_unless_it_is_asked_to_be_an_emoji():
    assert not shape("❤", BOLD).glyphs[0].face.coloured
    assert not shape("⌚\ufe0e", BOLD).glyphs[0].face.coloured
    assert shape("⌚", BOLD).glyphs[0].face.coloured
    assert shape("❤\ufe0f", BOLD).glyphs[0].face.coloured


def test_a_character_nobody_has_is_named():
    with pytest.raises(UsageError, match=r"U\+13000 EGYPTIAN HIEROGLYPH A001"):
        shape("a 𓀀", BOLD)
    with pytest.raises(UsageError) as refused:
        shape("𝗕", BOLD)
    assert refused.value.hint == "write it as B"


def test_chinese_and_japanese_have_their_own_forms():
    chinese, japanese = shape("直", BOLD), shape("直は", BOLD)
    assert chinese.glyphs[0].number != japanese.glyphs[0].number


def test_punctuation_keeps_the_font_of_its_word():
    face = face_for("世")
    assert face_for("、", before=face) is face
    assert face_for("2", before=face) is not face


def test_weights_differ():
    def covered(weight: int) -> int:
        ink, colours = np.zeros((60, 300), np.uint8), np.zeros((60, 300, 4), np.uint8)
        draw_line(shape("Weight", Style(weight=weight)), 48, 5, 45, ink, colours)
        return int(ink.sum())

    assert covered(800) > 1.2 * covered(400)


def test_short_words_are_as_large_as_the_role_allows():
    found = fit("Hello", BOLD, ROLE, 900, 500)
    assert found.size == 100
    assert len(found.lines) == 1


def test_longer_words_get_smaller_and_stay_inside():
    long = "Artificial intelligence changes how all of us work, learn and live together"
    found = fit(long, BOLD, ROLE, 900, 500)
    assert 40 <= found.size < 100
    assert len(found.lines) <= 3
    assert found.width <= 900
    assert found.height <= 500
    assert fit(long * 4, BOLD, ROLE, 900, 500) is None
    low = fit(long, BOLD, ROLE, 1500, 120)
    assert low.height <= 120
    assert low.size < fit(long, BOLD, ROLE, 1500, 500).size
    assert fit(long, BOLD, ROLE, 900, 60) is None


def test_lines_are_balanced():
    role = Role(largest=60, smallest=60, max_lines=3, weight=800)
    words = "One two three four five six seven eight nine ten"
    found = fit(words, BOLD, role, 900, 500)
    widths = [line.advance for line in found.lines]
    assert len(widths) == 2
    assert min(widths) > 0.8 * max(widths)


def test_a_short_word_does_not_stand_alone():
    found = fit("AI Workforce Transformation 2026", BOLD, ROLE, 900, 500)
    assert found.lines[-1].advance > 0.45 * max(line.advance for line in found.lines)


def test_a_very_long_word_shrinks_then_breaks_between_characters():
    shrunk = fit("Donaudampfschifffahrtsgesellschaft", BOLD, ROLE, 900, 500)
    assert len(shrunk.lines) == 1
    assert shrunk.size < 100
    broken = fit("👨‍👩‍👧‍👦" * 40, BOLD, ROLE, 900, 500)
    assert sum(len(line.glyphs) for line in broken.lines) == 40  # no family was cut
    assert fit("W" * 300, BOLD, ROLE, 900, 500) is None


def test_tall_scripts_do_not_touch():
    found = fit("ที่นี่ผู้ใหญ่ป่วยน้ำเปื่อย ที่นี่ผู้ใหญ่ป่วยน้ำเปื่อย", Style(weight=500), ROLE, 620, 900)
    assert len(found.lines) >= 2
    for number in range(len(found.lines) - 1):
        gap = found.baselines[number + 1] - found.baselines[number]
        above, below = found.lines[number], found.lines[number + 1]
        assert gap > (below.top - above.bottom) * found.size


def test_the_emoji_font_is_installed_with_its_licence():
    root = TESTS.parent
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["mlx_wan"]
    shipped = {path.name for one in patterns for path in (root / "mlx_wan").glob(one)}
    assert {"NotoColorEmoji.ttc", "OFL.txt"} <= shipped
    assert len(emoji_faces()) == 11


def test_the_corpus_file_is_plain_json():
    text = (TESTS / "text_corpus.json").read_text(encoding="utf-8")
    assert all(len(entry) == 3 for entry in json.loads(text))

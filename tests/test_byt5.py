"""Glyph-ByT5's encoder against transformers' recorded output, and what it is told of a prompt."""

from pathlib import Path

import numpy as np
import pytest
import tiny_hunyuan_text as tiny
from mlx.utils import tree_flatten

from mlx_wan.errors import BadFileError, UsageError
from mlx_wan.models.byt5 import ByT5Config, ByT5Encoder, encode, glyph_text, token_ids

RECORDED = np.load(Path(__file__).parent / "recorded" / "hunyuan_text.npz")


@pytest.mark.parametrize("release", [False, True])
def test_agrees_with_transformers(release):
    """Beyond the largest distance the biases tell apart."""
    (rows,) = encode(tiny.byt5(), RECORDED["byt5_ids"].tolist(), release=release)
    expected = RECORDED["byt5"]
    assert np.abs(np.array(rows) - expected).max() < 5e-6 * np.abs(expected).max()


def test_published_size():
    encoder = ByT5Encoder(ByT5Config())
    flat = dict(tree_flatten(encoder.parameters()))
    assert sum(value.size for value in flat.values()) == 219_314_944
    assert flat["token_embedding.weight"].shape == (1510, 1472)
    assert flat["pos_embedding.weight"].shape == (32, 6)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a cat", None),
        ("", None),
        ('a sign "OPEN"', 'Text "OPEN". '),
        ("a sign “OPEN” at night", 'Text "OPEN". '),
        ('"A" and “B” and "A"', 'Text "A". Text "B". '),
        ('"B" then "A"', 'Text "B". Text "A". '),
        ('nothing in ""', 'Text "". '),
        ('"" and "" and "x"', 'Text "". Text "x". '),
        ('it is 5" tall', None),
        ('5" and 6" tall', 'Text " and 6". '),
        ('"over\ntwo lines"', None),
        ('“a "b" c”', 'Text "a "b" c". '),
        ("‘single’ and 'single'", None),
    ],
)
def test_texts_in_quotation_marks(prompt, told):
    assert glyph_text(prompt) == told


def test_ids_are_bytes():
    assert token_ids("Aé", 256) == [3 + 0x41, 3 + 0xC3, 3 + 0xA9, 1]
    assert token_ids("", 256) == [1]
    assert token_ids("</s><pad>", 256) == [*(3 + byte for byte in b"</s><pad>"), 1]


def test_long_texts_end_with_the_end():
    assert token_ids("x" * 255, 256) == 255 * [3 + ord("x")] + [1]
    assert token_ids("x" * 300, 256) == token_ids("x" * 255, 256)
    with pytest.raises(UsageError, match="not text"):
        token_ids("\udcff", 256)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(BadFileError, match="does not split"):
        tiny.byt5(num_heads=5)

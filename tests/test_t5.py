"""The T5 encoder against transformers' recorded output (record_mochi.py)."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import tiny_mochi
from mlx.utils import tree_flatten

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.models.t5 import T5Config, T5Encoder, encode

RECORDED = np.load(Path(__file__).parent / "recorded" / "mochi_t5.npz")


def error(ours: mx.array, expected: np.ndarray) -> float:
    return float(np.abs(np.array(ours) - expected).max() / np.abs(expected).max())


def test_agrees_with_transformers():
    """Masked, and beyond the largest distance the biases tell apart."""
    encoder = tiny_mochi.t5()
    mask = RECORDED["mask"]
    out = np.array(encoder(mx.array(RECORDED["ids"]), mx.array(mask)))
    assert error(out[mask], RECORDED["out"][mask]) < 5e-6


@pytest.mark.parametrize("release", [False, True])
def test_unpadded_prompts_have_the_rows_of_padded_ones(release):
    encoder = tiny_mochi.t5()
    lengths = RECORDED["mask"].sum(axis=1)
    prompts = [ids[:n].tolist() for ids, n in zip(RECORDED["ids"], lengths, strict=True)]
    rows = encode(encoder, prompts, release=release)
    for row, expected, n in zip(rows, RECORDED["out"], lengths, strict=True):
        assert row.shape == (1, n, encoder.config.dim)
        assert error(row[0], expected[:n]) < 5e-6


def test_one_table_of_biases_moves_every_layer():
    encoder = tiny_mochi.t5()
    names = [name for name, _ in tree_flatten(encoder.parameters()) if "pos_embedding" in name]
    assert names == ["pos_embedding.weight"]
    first, *others = encoder.position_biases(9)
    assert len(others) == 2 and all(mx.array_equal(first, other) for other in others)


def test_a_tokenizer_of_another_model_is_noticed():
    with pytest.raises(ModelError, match="knows 60 tokens"):
        tiny_mochi.t5()(mx.array([[3, 60]]))


def test_published_size():
    encoder = T5Encoder(T5Config(32128, 4096, 4096, 10240, 64, 24))
    flat = dict(tree_flatten(encoder.parameters()))
    assert len(flat) == 219 and sum(value.size for value in flat.values()) == 4_762_310_656
    assert flat["pos_embedding.weight"].shape == (32, 64)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(BadFileError, match="does not split"):
        tiny_mochi.our_t5(tiny_mochi.T5 | {"num_heads": 5})

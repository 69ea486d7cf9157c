"""SigLIP's vision tower against transformers' recorded rows (record_hunyuan_text.py)."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan_text as tiny
from mlx.utils import tree_flatten, tree_map

from mlx_wan.errors import BadFileError
from mlx_wan.models.siglip import (
    SiglipConfig,
    SiglipEncoder,
    encode,
    encode_memory,
    encode_work,
    shown,
)
from mlx_wan.roofline import work

RECORDED = np.load(Path(__file__).parent / "recorded" / "hunyuan_text.npz")
PICTURES = mx.array(RECORDED["siglip_pictures"].astype(np.float32))


def error(ours: mx.array, expected: mx.array | np.ndarray) -> float:
    a, b = np.array(ours), np.array(expected)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


def test_agrees_with_transformers():
    rows = encode(tiny.siglip(), PICTURES)
    assert rows.dtype == mx.float32 and rows.shape == (2, 9, 12)
    assert error(rows, RECORDED["siglip"]) < 5e-6


def test_layers_are_let_go_as_it_goes():
    encoder = tiny.siglip()
    expected, released = encode(encoder, PICTURES), encode(encoder, PICTURES, release=True)
    assert np.array_equal(np.array(expected), np.array(released))
    assert not any("layers" in name for name, _ in tree_flatten(encoder.parameters()))


def test_16_bit_weights_compute_in_float32():
    encoder, rounded = tiny.siglip(), tiny.siglip()
    encoder.update(tree_map(lambda a: a.astype(mx.float16), encoder.parameters()))
    rounded.update(tree_map(lambda a: a.astype(mx.float32), encoder.parameters()))
    rows = encode(encoder, PICTURES)
    assert rows.dtype == mx.float32 and error(rows, encode(rounded, PICTURES)) < 1e-6


def test_a_picture_is_shown_as_the_image_processor_does():
    made = shown(RECORDED["image"], 45)
    assert made.shape == (1, 45, 45, 3) and made.dtype == mx.float32
    assert np.abs(np.array(made) - RECORDED["shown"]).max() < 1e-6
    grey = shown(np.full((4, 9, 3), 255, np.uint8), 45)
    assert np.array_equal(np.array(grey), np.ones((1, 45, 45, 3)))


def test_published_size():
    encoder = SiglipEncoder(SiglipConfig())
    flat = dict(tree_flatten(encoder.parameters()))
    assert len(flat) == 3 + 27 * 16 + 2 and encoder.config.tokens == 729
    assert sum(value.size for value in flat.values()) == 412_987_248
    assert flat["patch_embedding.weight"].shape == (1152, 14, 14, 3)


def test_costs_at_the_published_size():
    config = SiglipConfig()
    layers = 27 * (2 * 729 * (4 * 1152**2 + 2 * 1152 * 4304) + 4 * 729**2 * 1152)
    patches = 2 * 729 * 3 * 14 * 14 * 1152
    assert work.flops(encode_work(config, widened=False)) == pytest.approx(layers + patches)
    assert encode_memory(config, 825_000_000, False) < 400e6


@pytest.mark.parametrize("wrong", [{"num_heads": 5}, {"image_size": 13}, {"num_layers": 0}])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadFileError):
        SiglipConfig(**tiny.SIGLIP | wrong)

"""Qwen2.5-VL's language model against transformers' recorded states (record_hunyuan_text.py)."""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import tiny_hunyuan_text as tiny
from mlx.utils import tree_flatten, tree_map
from peak_memory import peak

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.models.qwen25vl import (
    Positions,
    QwenConfig,
    QwenEncoder,
    encode,
    encode_memory,
    encode_work,
)
from mlx_wan.roofline import work

RECORDED = np.load(Path(__file__).parent / "recorded" / "hunyuan_text.npz")
IDS = RECORDED["qwen_ids"][0].tolist()


def error(ours: mx.array, expected: mx.array | np.ndarray) -> float:
    a, b = np.array(ours), np.array(expected)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("name", ["qwen", "qwen_one"])
def test_agrees_with_the_third_last_states_of_transformers(name):
    ids = RECORDED[f"{name}_ids"][0].tolist()
    (states,) = encode(tiny.qwen(), [ids])
    assert states.dtype == mx.float32
    assert error(states, RECORDED[name]) < 5e-6


def test_no_token_sees_a_later_one():
    whole, start = encode(tiny.qwen(), [IDS, IDS[:40]])
    assert error(start, whole[:, :40]) < 2e-6
    (other,) = encode(tiny.qwen(), [[*IDS[:40], 7, 7, 7]])
    assert error(other[:, :40], start) < 2e-6


def test_every_token_sees_all_before_it():
    (states,) = encode(tiny.qwen(), [IDS])
    (changed,) = encode(tiny.qwen(), [[(IDS[0] + 1) % 100, *IDS[1:]]])
    assert (np.abs(np.array(states - changed)).max(axis=-1) > 1e-5).all()


def test_rotation_pairs_the_halves_of_a_head():
    positions = Positions.of(3, 4, 100.0)
    turned = np.array(positions.turn(mx.array([[[[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]]])))
    np.testing.assert_allclose(turned[0, 0, 1], [np.cos(1), 0, np.sin(1), 0], atol=1e-6)
    np.testing.assert_allclose(turned[0, 0, 2], [0, np.cos(0.2), 0, np.sin(0.2)], atol=1e-6)


def test_encode_can_let_go_of_layers_as_it_goes():
    encoder = tiny.qwen()
    expected = encode(encoder, [IDS, IDS[:9]])
    released = encode(encoder, [IDS, IDS[:9]], release=True)
    for a, b in zip(expected, released, strict=True):
        assert np.array_equal(np.array(a), np.array(b))
    assert not tree_flatten(encoder.parameters())


@pytest.mark.parametrize(
    ("dtype", "vocab_size", "texts"),
    [
        (mx.bfloat16, 100, [130, 120]),
        (mx.bfloat16, 100, [400, 9]),
        (mx.bfloat16, 12_000, [20]),
        (mx.float32, 100, [130, 120]),
    ],
)
def test_the_peak_of_a_lazily_loaded_encoder_is_as_predicted(tmp_path, dtype, vocab_size, texts):
    sizes = {"vocab_size": vocab_size, "dim": 384, "dim_ffn": 1200, "num_layers": 4}
    file = tmp_path / "model.safetensors"
    weights = tree_map(lambda a: a.astype(dtype), tiny.qwen(**sizes).parameters())
    mx.save_safetensors(str(file), dict(tree_flatten(weights)))
    del weights
    encoder = QwenEncoder(QwenConfig(**tiny.QWEN | sizes))
    encoder.load_weights(str(file))
    needed = peak(lambda: encode(encoder, [length * [1] for length in texts], release=True))
    predicted = encode_memory(encoder.config, texts, file.stat().st_size, dtype == mx.float32)
    assert 0.6 * predicted < needed < 1.05 * predicted


def test_16_bit_weights_compute_in_float32():
    encoder, rounded = tiny.qwen(), tiny.qwen()
    encoder.update(tree_map(lambda a: a.astype(mx.bfloat16), encoder.parameters()))
    rounded.update(tree_map(lambda a: a.astype(mx.float32), encoder.parameters()))
    (states,), (expected,) = encode(encoder, [IDS]), encode(rounded, [IDS])
    assert states.dtype == mx.float32 and error(states, expected) < 1e-6


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_matrices_compute_with_what_they_stand_for(bits):
    changes = {"dim": 96, "dim_ffn": 64}
    encoder, plain = tiny.qwen(**changes), tiny.qwen(**changes)
    nn.quantize(encoder, 32, bits)  # the table of tokens too
    for ours, theirs in zip(encoder.modules(), plain.modules(), strict=True):
        if isinstance(ours, nn.QuantizedLinear | nn.QuantizedEmbedding):
            theirs.weight = mx.dequantize(ours.weight, ours.scales, ours.biases, 32, bits)
    (states,), (expected,) = encode(encoder, [IDS]), encode(plain, [IDS])
    assert error(states, expected) < 1e-5


def test_a_tokenizer_of_another_model_is_noticed():
    for wrong in ([3, 340], [-1, 2]):
        with pytest.raises(ModelError, match="knows 340 tokens"):
            encode(tiny.qwen(), [wrong])


def test_published_size():
    encoder = QwenEncoder(QwenConfig())
    flat = dict(tree_flatten(encoder.parameters()))
    assert len(flat) == 1 + 26 * 12
    assert sum(value.size for value in flat.values()) == 6_604_499_968
    assert flat["layers.25.self_attn.k_proj.weight"].shape == (512, 3584)


def test_costs_at_the_published_size():
    config = QwenConfig()
    matrices = 26 * (2 * 3584**2 + 2 * 3584 * 512 + 3 * 3584 * 18944)
    ops = encode_work(config, 200, widened=False)
    assert work.flops(ops) == pytest.approx(2 * 200 * matrices, rel=0.01)
    stored = 2 * 6_604_499_968
    assert 1.0e9 < encode_memory(config, [200, 120], stored, False) < 1.5e9


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_heads": 5},
        {"num_kv_heads": 4},
        {"dim": 30},
        {"num_layers": 0},
        {"dim_ffn": True},
        {"rope_theta": 1.0},
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadFileError):
        QwenConfig(**tiny.QWEN | wrong)

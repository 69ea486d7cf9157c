"""The UMT5 encoder against transformers' recorded outputs (record_umt5.py)."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map
from peak_memory import peak

from mlx_wan.bench.networks_umt5 import random_weights
from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.models.umt5 import UMT5Config, UMT5Encoder, encode, relative_buckets

RECORDED = Path(__file__).parent / "recorded"
SIZES = {"vocab_size": 60, "dim": 64, "dim_attn": 128, "dim_ffn": 64, "num_heads": 4}


def load(name: str) -> tuple[UMT5Encoder, dict[str, np.ndarray]]:
    arrays = dict(np.load(RECORDED / f"umt5_{name}.npz"))
    config = {k.removeprefix("config."): int(v) for k, v in arrays.items() if k[:7] == "config."}
    encoder = UMT5Encoder(UMT5Config(**config))
    weights = [(k[7:], mx.array(v)) for k, v in arrays.items() if k[:7] == "weight."]
    encoder.load_weights(weights, strict=True)
    return encoder, arrays


def random_encoder(dtype: mx.Dtype = mx.float32, **sizes: int) -> UMT5Encoder:
    config: dict[str, Any] = SIZES | {"num_layers": 2} | sizes
    encoder = UMT5Encoder(UMT5Config(**config))
    weights = random_weights(config, seed=1)
    encoder.load_weights([(k, mx.array(v).astype(dtype)) for k, v in weights.items()])
    mx.eval(encoder.parameters())
    return encoder


def error(ours: mx.array, expected: mx.array | np.ndarray) -> float:
    """Largest difference over the largest value."""
    a, b = np.array(ours), np.array(expected)
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("name", ["short", "long", "masked"])
def test_agrees_with_transformers(name):
    encoder, arrays = load(name)
    mask = mx.array(arrays["mask"]) if "mask" in arrays else None
    assert error(encoder(mx.array(arrays["ids"]), mask), arrays["out"]) < 5e-6


def test_every_distance_falls_in_transformers_bucket():
    recorded = np.load(RECORDED / "umt5_buckets.npz")
    for (num_buckets, max_distance), expected in zip(
        recorded["forms"].tolist(), recorded["buckets"], strict=True
    ):
        ours = relative_buckets((len(expected) + 1) // 2, num_buckets, max_distance)
        assert np.array_equal(np.array(ours), expected)


def test_the_unpadded_prompt_has_the_rows_of_the_padded_one():
    encoder, arrays = load("masked")
    lengths = arrays["mask"].sum(axis=1).tolist()
    prompts = [ids[:n].tolist() for ids, n in zip(arrays["ids"], lengths, strict=True)]
    for rows, expected, n in zip(encode(encoder, prompts), arrays["out"], lengths, strict=True):
        assert rows.shape == (1, n, encoder.config.dim)
        assert error(rows[0], expected[:n]) < 5e-6


def test_encode_can_let_go_of_blocks_as_it_goes():
    encoder = random_encoder(num_layers=3)
    prompts = [[5, 9, 2, 1], [7, 1]]
    expected = encode(encoder, prompts)
    released = encode(encoder, prompts, release=True)
    assert all(
        np.array_equal(np.array(a), np.array(b)) for a, b in zip(expected, released, strict=True)
    )
    assert [name for name, _ in tree_flatten(encoder.parameters())] == ["norm.weight"]


def test_a_lazily_loaded_encoder_is_never_whole_in_memory(tmp_path):
    sizes = {"num_layers": 12, "dim": 256, "dim_ffn": 256}
    file = tmp_path / "model.safetensors"
    mx.save_safetensors(
        str(file), dict(tree_flatten(random_encoder(mx.bfloat16, **sizes).parameters()))
    )
    encoder = UMT5Encoder(UMT5Config(**(SIZES | sizes)))
    encoder.load_weights(str(file))
    assert peak(lambda: encode(encoder, [[3, 1], [4, 1]], release=True)) < file.stat().st_size / 3


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_16_bit_weights_compute_in_float32(dtype):
    encoder = random_encoder(dtype)
    rounded = random_encoder()
    rounded.update(tree_map(lambda x: x.astype(mx.float32), encoder.parameters()))
    ids = mx.array([[3, 14, 15, 9, 2, 6, 5, 1]])
    out = encoder(ids)
    assert out.dtype == mx.float32
    assert error(out, rounded(ids)) < 1e-6
    assert encoder.blocks[0].attn.q.weight.dtype == dtype


def test_16_bit_weights_are_widened_one_block_at_a_time():
    # what 12 blocks take more than 2 is less than one block's float32 copy
    def forward_peak(num_layers):
        encoder = random_encoder(mx.float16, num_layers=num_layers, dim=256, dim_ffn=256)
        ids = mx.array([[3, 1]])
        mx.eval(encoder(ids))
        return peak(lambda: mx.eval(encoder(ids)))

    one_block = 4 * (4 * 256 * 128 + 3 * 256 * 256)
    assert forward_peak(12) - forward_peak(2) < one_block / 2


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_linears_compute_with_what_they_stand_for(bits):
    encoder, plain = random_encoder(), random_encoder()
    nn.quantize(encoder, 32, bits, class_predicate=lambda _, m: isinstance(m, nn.Linear))
    for ours, theirs in zip(encoder.modules(), plain.modules(), strict=True):
        if isinstance(ours, nn.QuantizedLinear):
            theirs.weight = mx.dequantize(ours.weight, ours.scales, ours.biases, 32, bits)
    ids = mx.array([[3, 14, 15, 9, 2, 6, 5, 1]])
    assert error(encoder(ids), plain(ids)) < 1e-5


def test_a_tokenizer_of_another_model_is_noticed():
    with pytest.raises(ModelError, match="knows 60 tokens"):
        random_encoder()(mx.array([[3, 60]]))
    with pytest.raises(ModelError, match="reach from -1"):
        encode(random_encoder(), [[-1, 2]])


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim_attn": 126},
        {"num_buckets": 3},
        {"max_distance": 8},
        {"num_heads": 0},
        {"num_layers": -1},
        {"dim": 64.0},
        {"vocab_size": "60"},
        {"dim_ffn": True},
    ],
)
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadFileError):
        UMT5Config(**(SIZES | {"num_layers": 2} | wrong))

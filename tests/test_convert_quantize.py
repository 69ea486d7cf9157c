"""Quantising while converting: the same numbers as MLX's own, for the right tensors."""

import mlx.core as mx
import numpy as np
import pytest
from checkpoints import build

from mlx_wan.convert import convert, verify
from mlx_wan.convert.quantize import is_quantized, quantize_8bit
from mlx_wan.errors import UsageError
from mlx_wan.loading import load_network, open_model


def stored(folder, component):
    """The tensors of a component as MLX loads them."""
    tensors = {}
    for file in open_model(folder)[component].files:
        tensors |= mx.load(str(file))
    return tensors


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_quantised_weights_are_mlxs_of_the_source_and_load(kind, bits, tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b", dtype=kind)["transformer"]
    convert(tmp_path / "source", tmp_path / "plain")
    convert(tmp_path / "source", tmp_path / "small", quantize=bits, group_size=32)
    plain, found = (stored(tmp_path / name, "transformer") for name in ("plain", "small"))
    for name, array in weights.items():
        if not is_quantized("wan_transformer", name):
            assert mx.array_equal(found.pop(name), plain[name]), name
            continue
        values = mx.array(array) if kind == "F32" else mx.array(array).astype(mx.bfloat16)
        stem = name.removesuffix(".weight")
        codes, scales, biases = mx.quantize(values, group_size=32, bits=bits)
        assert mx.array_equal(found.pop(name), codes), name
        for part, meant in (("scales", scales), ("biases", biases)):
            value = found.pop(f"{stem}.{part}")
            assert value.dtype == mx.bfloat16
            assert mx.array_equal(value, meant.astype(mx.bfloat16)), name
    assert not found
    parts = open_model(tmp_path / "small").components
    assert parts["transformer"].quantization == {"bits": bits, "group_size": 32}
    assert parts["text_encoder"].quantization == {"bits": bits, "group_size": 32}
    assert parts["vae"].quantization is None
    assert verify(tmp_path / "small") == []
    for name in ("transformer", "text_encoder"):
        load_network(open_model(tmp_path / "small")[name])


def test_a_quantised_weight_is_close_to_its_source(tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b")["transformer"]
    for bits, error in ((8, 0.012), (6, 0.03), (4, 0.1)):
        convert(tmp_path / "source", tmp_path / str(bits), quantize=bits)
        found = stored(tmp_path / str(bits), "transformer")
        for name in ("blocks.0.self_attn.q", "blocks.1.ffn.fc2"):
            codes, scales, biases = (found[f"{name}.{p}"] for p in ("weight", "scales", "biases"))
            parts = codes, scales.astype(mx.float32), biases.astype(mx.float32)
            again = np.array(mx.dequantize(*parts, group_size=64, bits=bits))
            spread = np.abs(weights[f"{name}.weight"]).max()
            assert np.abs(again - weights[f"{name}.weight"]).max() < error * spread


def test_only_attention_and_feed_forward_are_quantised(tmp_path):
    build(tmp_path / "source", "wan2.1-t2v-1.3b")
    convert(tmp_path / "source", tmp_path / "made", quantize=8)
    scales = {
        n.removesuffix(".scales") for n in stored(tmp_path / "made", "transformer") if ".scal" in n
    }
    linears = [f"{kind}_attn.{name}" for kind in ("self", "cross") for name in "qkvo"]
    assert scales == {f"blocks.{i}.{n}" for i in range(2) for n in (*linears, "ffn.fc1", "ffn.fc2")}
    scales = {
        n.removesuffix(".scales") for n in stored(tmp_path / "made", "text_encoder") if ".scal" in n
    }
    linears = [*(f"attn.{name}" for name in "qkvo"), "ffn.gate", "ffn.fc1", "ffn.fc2"]
    assert scales == {f"blocks.{i}.{name}" for i in range(2) for name in linears}


def test_group_sizes_that_do_not_divide_are_refused_with_those_that_do(tmp_path):
    build(tmp_path / "source", "wan2.1-t2v-1.3b")
    with pytest.raises(UsageError) as error:
        convert(tmp_path / "source", tmp_path / "made", quantize=8, group_size=128)
    assert "128" in error.value.message and "--group-size 32 or 64" in (error.value.hint or "")
    assert list(tmp_path.iterdir()) == [tmp_path / "source"]  # before any work


RNG = np.random.default_rng(0)
VALUES = {
    "weights": RNG.standard_normal((64, 256)) * 0.02,
    "large and small": RNG.standard_normal((64, 256)) * 10.0 ** RNG.uniform(-6, 4, (64, 1)),
    "positive": RNG.uniform(0.1, 1, (8, 256)),
    "negative": -RNG.uniform(0.1, 1, (8, 256)),
    "even": RNG.uniform(-1, 1, (64, 256)),
    "zeros of both signs": np.where(RNG.random((8, 256)) < 0.5, 0.0, -0.0),
    "one value": np.full((2, 256), 3.0),
    "one negative value": np.full((2, 256), -3.0),
    "below the smallest scale": RNG.uniform(-1e-8, 1e-8, (8, 256)),
    "subnormal": RNG.standard_normal((8, 256)) * 1e-40,
    "outliers": np.where(RNG.random((64, 256)) < 0.01, 1e4, 1e-3),
}


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16, mx.float32], ids=str)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("group_size", [32, 64, 128])
def test_the_fast_8_bit_way_is_mlxs_to_the_last_bit(kind, group_size, dtype):
    values = mx.array(VALUES[kind].astype(np.float32)).astype(dtype)
    meant = mx.quantize(values, group_size=group_size, bits=8)
    codes, *more = quantize_8bit(values, group_size)
    np.testing.assert_array_equal(codes, np.array(meant[0].view(mx.uint8)).reshape(-1))
    for ours, theirs in zip(more, meant[1:], strict=True):
        assert mx.array_equal(ours.reshape(-1), theirs.reshape(-1))

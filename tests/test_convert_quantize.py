"""Quantising while converting: the same numbers as MLX's own, for the right tensors."""

from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from checkpoints import TRANSFORMER, build

from mlx_wan.convert import convert, verify
from mlx_wan.convert.quantize import is_quantized, quantize_8bit
from mlx_wan.errors import UsageError
from mlx_wan.loading import load_network, open_model
from mlx_wan.models.wan import WanTransformer


def stored(folder, component):
    """The tensors of a component as MLX loads them."""
    tensors = {}
    for file in open_model(folder)[component].files:
        tensors |= mx.load(str(file))
    return tensors


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_quantised_equals_nn_quantize_of_the_16_bit_model(bits, tmp_path):
    build(tmp_path / "source", "wan2.1-t2v-1.3b")
    convert(tmp_path / "source", tmp_path / "plain")
    convert(tmp_path / "source", tmp_path / "small", quantize=bits, group_size=32)
    plain = stored(tmp_path / "plain", "transformer")
    network = WanTransformer(replace(TRANSFORMER))
    network.load_weights(list(plain.items()))
    nn.quantize(
        network,
        group_size=32,
        bits=bits,
        class_predicate=lambda path, _: is_quantized("wan_transformer", f"{path}.weight"),
    )
    meant = dict(nn.utils.tree_flatten(network.parameters()))
    found = stored(tmp_path / "small", "transformer")
    assert found.keys() == meant.keys()
    for name, values in meant.items():
        assert found[name].dtype == values.dtype, name
        assert mx.array_equal(found[name], values), name
    parts = open_model(tmp_path / "small").components
    assert parts["transformer"].quantization == {"bits": bits, "group_size": 32}
    assert parts["text_encoder"].quantization == {"bits": bits, "group_size": 32}
    assert parts["vae"].quantization is None
    assert verify(tmp_path / "small") == []
    for name in ("transformer", "text_encoder"):
        load_network(open_model(tmp_path / "small")[name])


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
    np.testing.assert_array_equal(codes.reshape(-1), np.array(meant[0].view(mx.uint8)).reshape(-1))
    for ours, theirs in zip(more, meant[1:], strict=True):
        assert mx.array_equal(ours.reshape(-1), theirs.reshape(-1))

"""The key table of HunyuanVideo 1.5's VAE on full-size lists: every tensor there and back.

diffusers' list is recorded from its class (record_hunyuan_vae.py); the original's is written out
here from its module (Tencent-Hunyuan/HunyuanVideo-1.5, hunyuanvideo_15_vae.py).
"""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hunyuan_vae
from mlx.utils import tree_flatten

from mlx_wan.bench.layouts import from_layout, to_layout
from mlx_wan.convert.families import FORMATS, foreign_shapes, from_ours, to_ours
from mlx_wan.models.vae_hunyuan import HunyuanVAE, HunyuanVAEConfig

Shapes = dict[str, tuple[int, ...]]
RECORDED = Path(__file__).parent / "recorded" / "hunyuan_vae_names.json.gz"
NETWORK = "hunyuan_vae"
# widths of the encoder's stages and of what their change of size convolves to
DOWN = [(128, 64), (256, 128), (512, 128), (1024, 128), (1024, None)]
UP = [(1024, 8192), (1024, 4096), (512, 1024), (256, 512), (128, None)]


def conv(name: str, out_dim: int, dim: int, kernel: int = 3) -> Shapes:
    return {f"{name}.weight": (out_dim, dim, *[kernel] * 3), f"{name}.bias": (out_dim,)}


def gamma(name: str, dim: int) -> Shapes:
    return {f"{name}.gamma": (dim, 1, 1, 1)}


def block(name: str, dim: int) -> Shapes:
    shapes: Shapes = {}
    for i in (1, 2):
        shapes |= gamma(f"{name}.norm{i}", dim) | conv(f"{name}.conv{i}.conv", dim, dim)
    return shapes


def original() -> Shapes:
    shapes: Shapes = {}
    for half, side, stages, blocks, first, last in (
        ("encoder", "down", DOWN, 2, 3, 64),
        ("decoder", "up", UP, 3, 32, 3),
    ):
        shapes |= conv(f"{half}.conv_in.conv", stages[0][0], first)
        for i, (dim, change) in enumerate(stages):
            for j in range(blocks):
                shapes |= block(f"{half}.{side}.{i}.block.{j}", dim)
            if change:
                shapes |= conv(f"{half}.{side}.{i}.{side}sample.conv.conv", change, dim)
        shapes |= block(f"{half}.mid.block_1", 1024) | block(f"{half}.mid.block_2", 1024)
        shapes |= gamma(f"{half}.mid.attn_1.norm", 1024)
        for name in ("q", "k", "v", "proj_out"):
            shapes |= conv(f"{half}.mid.attn_1.{name}", 1024, 1024, 1)
        dim = stages[-1][0]
        shapes |= gamma(f"{half}.norm_out", dim) | conv(f"{half}.conv_out.conv", last, dim)
    return shapes


def published(layout: str) -> Shapes:
    if layout == "original":
        return original()
    recorded = json.loads(gzip.decompress(RECORDED.read_bytes()))
    return {name: tuple(shape) for name, shape in recorded.items()}


def full_size() -> Shapes:
    """Ours, without weights."""
    parameters: Any = tree_flatten(HunyuanVAE(HunyuanVAEConfig()).parameters())
    return {name: tuple(value.shape) for name, value in parameters}


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_full_size_lists_are_covered_both_ways(layout):
    theirs, ours = published(layout), full_size()
    assert sum(math.prod(shape) for shape in theirs.values()) == 1_260_634_115
    assert foreign_shapes(NETWORK, layout, ours) == theirs
    there, back = from_ours(NETWORK, layout, ours), to_ours(NETWORK, layout, theirs)
    assert there.keys() == ours.keys() and back.keys() == theirs.keys()
    for name, share in there.items():
        assert share.of == 1 and back[share.name] == [name]
    for name, shape in theirs.items():
        order = FORMATS[NETWORK].reorder(back[name][0], shape, layout, {})
        assert order.shape == ours[back[name][0]]


CONFUSING = """
original  encoder.down.3.resample.conv.weight encoder.down.3.downsample.conv.conv.weight
diffusers decoder.up.0.resample.conv.bias decoder.up_blocks.0.upsamplers.0.conv.conv.bias
original  decoder.up.4.blocks.2.norm2.gamma decoder.up.4.block.2.norm2.gamma
diffusers encoder.middle.1.k.weight encoder.mid_block.attentions.0.to_k.weight
original  encoder.middle.2.conv1.bias encoder.mid.block_2.conv1.conv.bias
diffusers encoder.middle.0.conv1.bias encoder.mid_block.resnets.0.conv1.conv.bias
original  decoder.head.conv.weight decoder.conv_out.conv.weight
"""


@pytest.mark.parametrize("row", CONFUSING.strip().splitlines())
def test_names_that_are_easily_confused(row):
    layout, ours, theirs = row.split()
    assert from_ours(NETWORK, layout, [ours])[ours].name == theirs
    assert to_ours(NETWORK, layout, [theirs]) == {theirs: [ours]}


def test_unknown_names_are_left_out_not_guessed():
    names = ["encoder.down.0.block.0.nin_shortcut.weight", "decoder.up.01.block.0.norm1.gamma"]
    assert to_ours(NETWORK, "original", [*names, "quant_conv.weight"]) == {}
    assert from_ours(NETWORK, "original", ["encoder.up.0.blocks.0.norm1.gamma"]) == {}


def test_no_two_rows_say_the_same():
    for column in range(3):
        names = [row[column] for row in FORMATS[NETWORK].rows(())]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_values_there_and_back(layout):
    weights = dict(tree_flatten(tiny_hunyuan_vae.vae().parameters()))
    weights = {name: np.array(value) for name, value in weights.items()}
    seen = from_layout(NETWORK, layout, to_layout(NETWORK, layout, weights))
    assert seen.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(seen[name], array)


def test_convolutions_become_channels_last():
    weight = np.arange(2 * 3 * 27).reshape(2, 3, 3, 3, 3)  # (O, I, t, h, w)
    order = FORMATS[NETWORK].reorder("encoder.conv_in.weight", weight.shape, "original", {})
    ours = order.apply(weight)
    np.testing.assert_array_equal(ours[1, 0, 2, 1], weight[1, :, 0, 2, 1])

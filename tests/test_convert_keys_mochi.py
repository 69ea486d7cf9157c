"""Mochi's key tables on full-size lists: every tensor there and back, in every layout.

The lists of diffusers and transformers are recorded from their classes (record_mochi.py); the
original's are written out here from its modules (genmoai/mochi, dit/joint_model and vae/models.py).
"""

import gzip
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_mochi
from mlx.utils import tree_flatten

from mlx_wan.bench.layouts import from_layout, to_layout
from mlx_wan.bench.networks_mochi import random_weights
from mlx_wan.convert.families import FORMATS, foreign_shapes, from_ours, to_ours
from mlx_wan.convert.names import Share
from mlx_wan.models.mochi import MochiConfig, MochiTransformer
from mlx_wan.models.t5 import T5Config, T5Encoder
from mlx_wan.models.vae_mochi import MochiVAE, MochiVAEConfig

NETWORKS = ("mochi_transformer", "mochi_vae", "t5")
Shapes = dict[str, tuple[int, ...]]
RECORDED = Path(__file__).parent / "recorded" / "mochi_names.json.gz"

# name, or several as "blocks.{0-47}.x", and shape
ORIGINAL_TRANSFORMER = """
x_embedder.proj.weight 3072 12 2 2
x_embedder.proj.bias 3072
t_embedder.mlp.0.weight 3072 256
t_embedder.mlp.0.bias 3072
t_embedder.mlp.2.weight 3072 3072
t_embedder.mlp.2.bias 3072
t5_y_embedder.to_kv.weight 8192 4096
t5_y_embedder.to_kv.bias 8192
t5_y_embedder.to_q.weight 4096 4096
t5_y_embedder.to_q.bias 4096
t5_y_embedder.to_out.weight 3072 4096
t5_y_embedder.to_out.bias 3072
t5_yproj.weight 1536 4096
t5_yproj.bias 1536
pos_frequencies 3 24 64
blocks.{0-47}.mod_x.weight 12288 3072
blocks.{0-47}.mod_x.bias 12288
blocks.{0-46}.mod_y.weight 6144 3072
blocks.{0-46}.mod_y.bias 6144
blocks.47.mod_y.weight 1536 3072
blocks.47.mod_y.bias 1536
blocks.{0-47}.attn.qkv_x.weight 9216 3072
blocks.{0-47}.attn.qkv_y.weight 9216 1536
blocks.{0-47}.attn.q_norm_x.weight 128
blocks.{0-47}.attn.k_norm_x.weight 128
blocks.{0-47}.attn.q_norm_y.weight 128
blocks.{0-47}.attn.k_norm_y.weight 128
blocks.{0-47}.attn.proj_x.weight 3072 3072
blocks.{0-47}.attn.proj_x.bias 3072
blocks.{0-46}.attn.proj_y.weight 1536 3072
blocks.{0-46}.attn.proj_y.bias 1536
blocks.{0-47}.mlp_x.w1.weight 16384 3072
blocks.{0-47}.mlp_x.w2.weight 3072 8192
blocks.{0-46}.mlp_y.w1.weight 8192 1536
blocks.{0-46}.mlp_y.w2.weight 1536 4096
final_layer.mod.weight 6144 3072
final_layer.mod.bias 6144
final_layer.linear.weight 48 3072
final_layer.linear.bias 48
"""
# RES is a residual block, ATT one with attention; widths follow
ORIGINAL_ENCODER = """
layers.0.weight 64 15
layers.0.bias 64
layers.{1-3} RES 64
layers.4.layers.0.weight 128 64 1 2 2
layers.4.layers.0.bias 128
layers.4.layers.{1-3} ATT 128
layers.5.layers.0.weight 256 128 2 2 2
layers.5.layers.0.bias 256
layers.5.layers.{1-4} ATT 256
layers.6.layers.0.weight 384 256 3 2 2
layers.6.layers.0.bias 384
layers.6.layers.{1-6} ATT 384
layers.{7-9} ATT 384
output_norm.weight 384
output_norm.bias 384
output_proj.weight 24 384
"""
ORIGINAL_DECODER = """
blocks.0.0.weight 768 12 1 1 1
blocks.0.0.bias 768
blocks.0.{1-3} RES 768
blocks.1.blocks.{0-5} RES 768
blocks.1.proj.weight 6144 768
blocks.1.proj.bias 6144
blocks.2.blocks.{0-3} RES 512
blocks.2.proj.weight 2048 512
blocks.2.proj.bias 2048
blocks.3.blocks.{0-2} RES 256
blocks.3.proj.weight 512 256
blocks.3.proj.bias 512
blocks.4.{0-2} RES 128
output_proj.weight 3 128
output_proj.bias 3
"""
RESIDUAL = """
stack.0.weight C
stack.0.bias C
stack.2.weight C C 3 3 3
stack.2.bias C
stack.3.weight C
stack.3.bias C
stack.5.weight C C 3 3 3
stack.5.bias C
"""
ATTENTION = """
attn_block.norm.weight C
attn_block.norm.bias C
attn_block.attn.qkv.weight 3C C
attn_block.attn.out.weight C C
attn_block.attn.out.bias C
"""


def expand(text: str, prefix: str = "") -> Shapes:
    shapes: Shapes = {}
    for line in text.split("\n"):
        if not line:
            continue
        template, *sizes = line.split()
        several = re.search(r"\{(\d+)-(\d+)\}", template)
        numbers = range(int(several[1]), int(several[2]) + 1) if several else [0]
        for number in numbers:
            name = prefix + re.sub(r"\{.*\}", str(number), template)
            if sizes[0] in ("RES", "ATT"):
                c = int(sizes[1])
                block = RESIDUAL + (ATTENTION if sizes[0] == "ATT" else "")
                filled = block.replace("3C", str(3 * c)).replace(" C", f" {c}")
                shapes |= expand(filled, f"{name}.")
            else:
                shapes[name] = tuple(int(size) for size in sizes)
    return shapes


def full_size(network: str) -> Shapes:
    """Ours, without weights."""
    built: Any = {
        "mochi_transformer": lambda: MochiTransformer(MochiConfig()),
        "mochi_vae": lambda: MochiVAE(MochiVAEConfig()),
        "t5": lambda: T5Encoder(T5Config(32128, 4096, 4096, 10240, 64, 24)),
    }[network]()
    parameters: Any = tree_flatten(built.parameters())
    return {name: tuple(value.shape) for name, value in parameters}


def published(network: str, layout: str) -> Shapes:
    if layout == "original" and network == "mochi_transformer":
        return expand(ORIGINAL_TRANSFORMER)
    if layout == "original" and network == "mochi_vae":
        return expand(ORIGINAL_ENCODER, "encoder.") | expand(ORIGINAL_DECODER, "decoder.")
    recorded = json.loads(gzip.decompress(RECORDED.read_bytes()))[network]
    left_out = FORMATS[network].dropped(recorded.keys())
    return {name: tuple(shape) for name, shape in recorded.items() if name not in left_out}


CASES = [(network, layout) for network in NETWORKS for layout in ("original", "diffusers")]


@pytest.mark.parametrize(("network", "layout"), CASES)
def test_full_size_lists_are_covered_both_ways(network, layout):
    theirs, ours = published(network, layout), full_size(network)
    assert foreign_shapes(network, layout, ours) == theirs
    there, back = from_ours(network, layout, ours), to_ours(network, layout, theirs)
    assert there.keys() == ours.keys() and back.keys() == theirs.keys()
    assert sorted(name for names in back.values() for name in names) == sorted(ours)
    for name, share in there.items():  # every share is filled once, in its place
        assert len(back[share.name]) == share.of and back[share.name][share.index] == name


@pytest.mark.parametrize(
    ("network", "layout", "tensors", "parameters"),
    [
        ("mochi_transformer", "diffusers", 1071, 10_027_677_744),
        ("mochi_transformer", "original", None, 10_027_677_744),
        ("mochi_vae", "original", None, 97_222_016 + 362_526_595),
        ("mochi_vae", "diffusers", None, 97_222_016 + 362_526_595),
        ("t5", "diffusers", 219, 4_762_310_656),
    ],
)
def test_sizes_are_those_of_the_published_models(network, layout, tensors, parameters):
    shapes = published(network, layout)
    assert tensors in (None, len(shapes))
    assert sum(math.prod(shape) for shape in shapes.values()) == parameters


CONFUSING = """
mochi_transformer original  final_layer.shift.bias final_layer.mod.bias 0/2
mochi_transformer diffusers final_layer.shift.bias norm_out.linear.bias 1/2
mochi_transformer original  blocks.7.mlp_x.w3.weight blocks.7.mlp_x.w1.weight 1/2
mochi_transformer diffusers blocks.7.mlp_x.w3.weight transformer_blocks.7.ff.net.0.proj.weight 0/2
mochi_transformer diffusers blocks.7.mlp_x.w2.weight transformer_blocks.7.ff.net.2.weight 0/1
mochi_transformer original  blocks.7.attn.v_y.weight blocks.7.attn.qkv_y.weight 2/3
mochi_transformer diffusers blocks.7.attn.v_y.weight transformer_blocks.7.attn1.add_v_proj.weight 0/1
mochi_transformer original  t5_y_embedder.to_v.bias t5_y_embedder.to_kv.bias 1/2
mochi_vae original  encoder.down.1.blocks.2.attn.k.weight encoder.layers.5.layers.3.attn_block.attn.qkv.weight 1/3
mochi_vae original  encoder.block_out.0.norm2.bias encoder.layers.7.stack.3.bias 0/1
mochi_vae diffusers encoder.block_out.0.attn.norm.bias encoder.block_out.norms.0.norm_layer.bias 0/1
mochi_vae original  decoder.up.2.blocks.1.conv2.bias decoder.blocks.3.blocks.1.stack.5.bias 0/1
mochi_vae original  decoder.block_out.1.conv1.weight decoder.blocks.4.1.stack.2.weight 0/1
mochi_vae original  decoder.block_in.0.conv1.weight decoder.blocks.0.1.stack.2.weight 0/1
t5 diffusers pos_embedding.weight encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight 0/1
t5 diffusers blocks.3.ffn.gate.weight encoder.block.3.layer.1.DenseReluDense.wi_0.weight 0/1
"""  # noqa: E501


@pytest.mark.parametrize("row", CONFUSING.strip().splitlines())
def test_names_that_are_easily_confused(row):
    network, layout, ours, theirs, share = row.split()
    index, of = map(int, share.split("/"))
    assert from_ours(network, layout, [ours]) == {ours: Share(theirs, index, of)}
    assert to_ours(network, layout, [theirs])[theirs][index] == ours


def test_the_last_blocks_text_has_another_name_in_diffusers():
    names = ["blocks.0.attn.proj_y.weight", "blocks.0.mod_y.bias", "blocks.1.mod_y.bias"]
    there = from_ours("mochi_transformer", "diffusers", names)
    assert there["blocks.0.mod_y.bias"].name.endswith("blocks.0.norm1_context.linear.bias")
    assert there["blocks.1.mod_y.bias"].name.endswith("blocks.1.norm1_context.linear_1.bias")


def test_unknown_names_are_left_out_not_guessed():
    names = ["blocks.0.attn.qkv_z.weight", "blocks.01.mod_x.weight", "x.pos_frequencies"]
    assert to_ours("mochi_transformer", "original", names) == {}
    assert to_ours("t5", "diffusers", ["encoder.block.1.layer.0.SelfAttention.x.weight"]) == {}


@pytest.mark.parametrize("network", NETWORKS)
def test_no_two_rows_say_the_same(network):
    for column in range(3):
        names = [row[column] for row in FORMATS[network].rows(())]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(("network", "layout"), CASES)
def test_values_there_and_back(network, layout):
    """Joined in their layout, cut apart again by the table: the same numbers."""
    changes = {"num_blocks": (3, 1, 2, 1, 3)} if network == "mochi_vae" else {}
    build = {"mochi_transformer": "our_transformer", "mochi_vae": "our_vae", "t5": "our_t5"}
    sizes = {"mochi_transformer": "TRANSFORMER", "mochi_vae": "VAE", "t5": "T5"}
    config = getattr(tiny_mochi, sizes[network]) | changes
    weights = random_weights(getattr(tiny_mochi, build[network])(config))
    theirs = to_layout(network, layout, weights)
    seen = from_layout(network, layout, theirs)
    assert seen.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(seen[name], array)


def test_a_patch_is_flattened_channels_last():
    weight = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)  # (dim, C, ph, pw)
    form, name = FORMATS["mochi_transformer"], "x_embedder.weight"
    ours = form.reorder(name, weight.shape, "original", {}).apply(weight)
    np.testing.assert_array_equal(ours[0], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    assert form.foreign_shape(name, (2, 12), "original", {}) == (2, 3, 2, 2)


def test_the_originals_two_vae_files_are_told_apart():
    signs = FORMATS["mochi_vae"].halves
    for prefix, text in (("encoder.", ORIGINAL_ENCODER), ("decoder.", ORIGINAL_DECODER)):
        assert [signs[name] for name in signs if name in expand(text)] == [prefix]
        assert not signs.keys() & expand(text, prefix).keys()  # ComfyUI's, both in one

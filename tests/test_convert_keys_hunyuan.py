"""The key table of HunyuanVideo 1.5's transformer on full-size lists: every tensor there and back.

diffusers' list is recorded from its class (record_hunyuan.py); the original's is written out here
from its modules (Tencent-Hunyuan/HunyuanVideo-1.5, hyvideo/models/transformers), ComfyUI's is the
original's with what it fuses.
"""

import gzip
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hunyuan
from mlx.utils import tree_flatten

from mlx_wan.bench.layouts import from_layout, to_layout
from mlx_wan.bench.networks_mochi import random_weights
from mlx_wan.convert.families import FORMATS, foreign_shapes, from_ours, to_ours
from mlx_wan.convert.names import Share
from mlx_wan.models.hunyuan import HunyuanConfig, HunyuanTransformer

Shapes = dict[str, tuple[int, ...]]
RECORDED = Path(__file__).parent / "recorded" / "hunyuan_transformer_names.json.gz"
NETWORK = "hunyuan_transformer"
LAYOUTS = FORMATS[NETWORK].layouts

# the name of a linear or norm with several as "blocks.{0-1}.x", and its weight's shape; a bias has
# the first size
ORIGINAL = """
img_in.proj 2048 65 1 1 1
time_in.mlp.0 2048 256
time_in.mlp.2 2048 2048
txt_in.input_embedder 2048 3584
txt_in.t_embedder.mlp.0 2048 256
txt_in.t_embedder.mlp.2 2048 2048
txt_in.c_embedder.linear_1 2048 3584
txt_in.c_embedder.linear_2 2048 2048
txt_in.individual_token_refiner.blocks.{0-1}.norm1 2048
txt_in.individual_token_refiner.blocks.{0-1}.self_attn_qkv 6144 2048
txt_in.individual_token_refiner.blocks.{0-1}.self_attn_proj 2048 2048
txt_in.individual_token_refiner.blocks.{0-1}.norm2 2048
txt_in.individual_token_refiner.blocks.{0-1}.mlp.fc1 8192 2048
txt_in.individual_token_refiner.blocks.{0-1}.mlp.fc2 2048 8192
txt_in.individual_token_refiner.blocks.{0-1}.adaLN_modulation.1 4096 2048
byt5_in.layernorm 1472
byt5_in.fc1 2048 1472
byt5_in.fc2 2048 2048
byt5_in.fc3 2048 2048
vision_in.proj.0 1152
vision_in.proj.1 1152 1152
vision_in.proj.3 2048 1152
vision_in.proj.4 2048
double_blocks.{0-53}.img_mod.linear 12288 2048
double_blocks.{0-53}.img_attn_q 2048 2048
double_blocks.{0-53}.img_attn_k 2048 2048
double_blocks.{0-53}.img_attn_v 2048 2048
double_blocks.{0-53}.img_attn_proj 2048 2048
double_blocks.{0-53}.img_mlp.fc1 8192 2048
double_blocks.{0-53}.img_mlp.fc2 2048 8192
double_blocks.{0-53}.txt_mod.linear 12288 2048
double_blocks.{0-53}.txt_attn_q 2048 2048
double_blocks.{0-53}.txt_attn_k 2048 2048
double_blocks.{0-53}.txt_attn_v 2048 2048
double_blocks.{0-53}.txt_attn_proj 2048 2048
double_blocks.{0-53}.txt_mlp.fc1 8192 2048
double_blocks.{0-53}.txt_mlp.fc2 2048 8192
final_layer.linear 32 2048
final_layer.adaLN_modulation.1 4096 2048
"""
ORIGINAL_WITHOUT_BIAS = """
cond_type_embedding 3 2048
double_blocks.{0-53}.img_attn_q_norm 128
double_blocks.{0-53}.img_attn_k_norm 128
double_blocks.{0-53}.txt_attn_q_norm 128
double_blocks.{0-53}.txt_attn_k_norm 128
"""
ORIGINAL_MEANFLOW = """
time_r_in.mlp.0 2048 256
time_r_in.mlp.2 2048 2048
"""


def expand(text: str, bias: bool = True) -> Shapes:
    shapes: Shapes = {}
    for line in text.strip().splitlines():
        template, *sizes = line.split()
        shape = tuple(int(size) for size in sizes)
        several = re.search(r"\{(\d+)-(\d+)\}", template)
        numbers = range(int(several[1]), int(several[2]) + 1) if several else [0]
        for number in numbers:
            name = re.sub(r"\{.*\}", str(number), template)
            shapes[f"{name}.weight"] = shape
            if bias:
                shapes[f"{name}.bias"] = shape[:1]
    return shapes


def published(layout: str, meanflow: bool) -> Shapes:
    if layout == "diffusers":
        names = json.loads(gzip.decompress(RECORDED.read_bytes()))
        recorded = names["meanflow" if meanflow else "plain"]
        return {name: tuple(shape) for name, shape in recorded.items()}
    shapes = expand(ORIGINAL) | expand(ORIGINAL_WITHOUT_BIAS, bias=False)
    if meanflow:
        shapes |= expand(ORIGINAL_MEANFLOW)
    if layout == "original":
        return shapes
    fused: Shapes = {}
    for name, (rows, *rest) in shapes.items():
        match = re.fullmatch(r"(double_blocks\.\d+\.(?:img|txt)_attn_)[qkv](\.\w+)", name)
        if match:
            fused[f"{match[1]}qkv{match[2]}"] = (3 * rows, *rest)
        else:
            fused[name] = (rows, *rest)
    return fused


@pytest.mark.parametrize("meanflow", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_full_size_lists_are_covered_both_ways(layout, meanflow):
    theirs = published(layout, meanflow)
    model = HunyuanTransformer(HunyuanConfig(use_meanflow=meanflow))  # lazily: nothing is allocated
    parameters: Any = tree_flatten(model.parameters())
    ours = {name: tuple(value.shape) for name, value in parameters}
    assert foreign_shapes(NETWORK, layout, ours) == theirs
    there, back = from_ours(NETWORK, layout, ours), to_ours(NETWORK, layout, theirs)
    assert there.keys() == ours.keys() and back.keys() == theirs.keys()
    assert sorted(name for names in back.values() for name in names) == sorted(ours)
    for name, share in there.items():  # every share is filled once, in its place
        assert len(back[share.name]) == share.of and back[share.name][share.index] == name
    assert FORMATS[NETWORK].dropped(theirs.keys()) == {}


@pytest.mark.parametrize(
    ("layout", "tensors"), [("original", 1793), ("diffusers", 1801), ("comfyui", 1361)]
)
def test_sizes_are_those_of_the_published_model(layout, tensors):
    shapes = published(layout, meanflow=False)
    assert len(shapes) == tensors
    assert sum(math.prod(shape) for shape in shapes.values()) == 8_326_608_160


CONFUSING = """
original  final_layer.shift.bias final_layer.adaLN_modulation.1.bias 0/2
diffusers final_layer.shift.bias norm_out.linear.bias 1/2
diffusers final_layer.scale.weight norm_out.linear.weight 0/2
original  txt_in.blocks.1.k.bias txt_in.individual_token_refiner.blocks.1.self_attn_qkv.bias 1/3
diffusers txt_in.blocks.1.k.bias context_embedder.token_refiner.refiner_blocks.1.attn.to_k.bias 0/1
comfyui   txt_in.blocks.1.v.weight txt_in.individual_token_refiner.blocks.1.self_attn_qkv.weight 2/3
original  double_blocks.7.img.attn_v.weight double_blocks.7.img_attn_v.weight 0/1
comfyui   double_blocks.7.img.attn_v.weight double_blocks.7.img_attn_qkv.weight 2/3
comfyui   double_blocks.7.txt.attn_q.bias double_blocks.7.txt_attn_qkv.bias 0/3
comfyui   double_blocks.7.txt.attn_q_norm.weight double_blocks.7.txt_attn_q_norm.weight 0/1
diffusers double_blocks.7.txt.attn_k.bias transformer_blocks.7.attn.add_k_proj.bias 0/1
diffusers double_blocks.7.img.mlp.fc1.weight transformer_blocks.7.ff.net.0.proj.weight 0/1
diffusers time_r_in.fc1.bias time_embed.timestep_embedder_r.linear_1.bias 0/1
diffusers txt_in.c_embedder.fc1.bias context_embedder.time_text_embed.text_embedder.linear_1.bias 0/1
"""  # noqa: E501


@pytest.mark.parametrize("row", CONFUSING.strip().splitlines())
def test_names_that_are_easily_confused(row):
    layout, ours, theirs, share = row.split()
    index, of = map(int, share.split("/"))
    assert from_ours(NETWORK, layout, [ours]) == {ours: Share(theirs, index, of)}
    assert to_ours(NETWORK, layout, [theirs])[theirs][index] == ours


def test_unknown_names_are_left_out_not_guessed():
    names = [
        "double_blocks.0.img_attn_qkv.weight",
        "double_blocks.01.img_mod.linear.bias",
        "img_in",
    ]
    assert to_ours(NETWORK, "original", names) == {}
    assert to_ours(NETWORK, "comfyui", ["double_blocks.0.img_attn_q.weight"]) == {}


@pytest.mark.parametrize("column", range(len(LAYOUTS)))
def test_no_two_rows_say_the_same(column):
    names = [row[column] for row in FORMATS[NETWORK].rows(())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_values_there_and_back(layout):
    """Joined in their layout, cut apart again by the table: the same numbers."""
    config = tiny_hunyuan.TRANSFORMER | {"use_meanflow": True}
    weights = random_weights(tiny_hunyuan.our_transformer(config))
    seen = from_layout(NETWORK, layout, to_layout(NETWORK, layout, weights))
    assert seen.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(seen[name], array)

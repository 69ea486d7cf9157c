"""The key tables of HunyuanVideo's encoders on full-size lists: every tensor there and back.

The lists are recorded from transformers' classes, as they save (record_hunyuan_text.py); those of
the original repositories and of diffusers differ from them by what stands before a name.
"""

import gzip
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hunyuan_text as tiny
from mlx.utils import tree_flatten

from mlx_wan.bench.layouts import from_layout, to_layout
from mlx_wan.bench.networks_mochi import random_weights
from mlx_wan.convert.families import FORMATS, foreign_shapes, from_ours, to_ours
from mlx_wan.models.byt5 import ByT5Config, ByT5Encoder
from mlx_wan.models.qwen25vl import QwenConfig, QwenEncoder
from mlx_wan.models.siglip import SiglipConfig, SiglipEncoder

Shapes = dict[str, tuple[int, ...]]
RECORDED = json.loads(
    gzip.decompress(
        (Path(__file__).parent / "recorded" / "hunyuan_text_names.json.gz").read_bytes()
    )
)
BUILT: dict[str, Any] = {
    "qwen25vl": lambda: QwenEncoder(QwenConfig()),
    "byt5": lambda: ByT5Encoder(ByT5Config()),
    "siglip": lambda: SiglipEncoder(SiglipConfig()),
}
TINY: dict[str, Any] = {"qwen25vl": tiny.qwen, "byt5": tiny.byt5, "siglip": tiny.siglip}
NETWORKS = ("qwen25vl", "byt5", "siglip")
LAYOUTS = FORMATS["byt5"].layouts
CASES = [(network, layout) for network in NETWORKS for layout in LAYOUTS[1:]]


def dropped(network: str, names: Iterable[str]) -> dict[str, str]:
    return FORMATS[network].dropped(list(names))


def full_size(network: str) -> Shapes:
    return {name: tuple(value.shape) for name, value in tree_flatten(BUILT[network]().parameters())}


def published(network: str, layout: str) -> Shapes:
    """Every tensor of a release, those left out on purpose too."""
    resaved = {name: tuple(shape) for name, shape in RECORDED[network].items()}
    if layout == "resaved":
        return resaved
    if network == "siglip":
        return {f"vision_model.{name}": shape for name, shape in resaved.items()}
    if network == "byt5" and layout == "original":  # the stack alone, in a larger checkpoint
        stack = {n.removeprefix("encoder."): s for n, s in resaved.items() if n != "shared.weight"}
        named = {f"module.text_tower.encoder.{name}": shape for name, shape in stack.items()}
        return named | {"module.visual_tower.conv1.weight": (768, 3, 14, 14)}
    if network == "byt5":
        return resaved
    if layout == "diffusers":  # the language model alone
        start = "model.language_model."
        return {n.removeprefix(start): s for n, s in resaved.items() if n.startswith(start)}
    return {re.sub(r"^model\.(language_model|visual)\.", _older, n): s for n, s in resaved.items()}


def _older(start: re.Match[str]) -> str:
    return "model." if start[1] == "language_model" else "visual."


@pytest.mark.parametrize(("network", "layout"), CASES)
def test_full_size_lists_are_covered_both_ways(network, layout):
    theirs, ours = published(network, layout), full_size(network)
    left_out = dropped(network, theirs)
    assert all(reason for reason in left_out.values())
    kept = {name: shape for name, shape in theirs.items() if name not in left_out}
    assert foreign_shapes(network, layout, ours) == kept
    there, back = from_ours(network, layout, ours), to_ours(network, layout, kept)
    assert there.keys() == ours.keys() and back.keys() == kept.keys()
    assert sorted(name for names in back.values() for name in names) == sorted(ours)
    assert all(back[share.name] == [name] for name, share in there.items())


def test_sizes_are_those_of_the_published_models():
    sizes = {
        network: sum(math.prod(shape) for shape in RECORDED[network].values())
        for network in NETWORKS
    }
    assert sizes["qwen25vl"] == 8_292_166_656
    assert sizes["siglip"] == 428_225_600


def test_what_is_left_out_and_why():
    names = published("qwen25vl", "original")
    left_out = dropped("qwen25vl", names)
    assert {n.split(".")[2] for n in left_out if n.startswith("model.layers.")} == {"26", "27"}
    assert {"model.norm.weight", "lm_head.weight", "visual.patch_embed.proj.weight"} <= set(
        left_out
    )
    head = dropped("siglip", ["head.probe", "vision_model.head.mlp.fc1.bias", "logit_scale"])
    assert len(head) == 3
    assert dropped("siglip", ["vision_model.post_layernorm.weight"]) == {}


def test_either_copy_of_byt5s_table_is_enough():
    tied, shared = "encoder.embed_tokens.weight", "shared.weight"
    assert dropped("byt5", [tied, shared]) == {tied: "the same table as shared.weight"}
    assert to_ours("byt5", "diffusers", [tied, shared]) == {shared: ["token_embedding.weight"]}
    assert dropped("byt5", [tied]) == {}
    assert to_ours("byt5", "diffusers", [tied]) == {tied: ["token_embedding.weight"]}


CONFUSING = """
qwen25vl original layers.3.mlp.gate_proj.weight model.layers.3.mlp.gate_proj.weight
qwen25vl resaved layers.3.self_attn.k_proj.bias model.language_model.layers.3.self_attn.k_proj.bias
byt5 original token_embedding.weight module.text_tower.encoder.embed_tokens.weight
byt5 original blocks.11.ffn.fc1.weight module.text_tower.encoder.block.11.layer.1.DenseReluDense.wi_1.weight
byt5 diffusers blocks.3.ffn.gate.weight encoder.block.3.layer.1.DenseReluDense.wi_0.weight
byt5 diffusers pos_embedding.weight encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight
siglip original layers.26.layer_norm2.bias vision_model.encoder.layers.26.layer_norm2.bias
siglip resaved patch_embedding.weight embeddings.patch_embedding.weight
"""  # noqa: E501


@pytest.mark.parametrize("row", CONFUSING.strip().splitlines())
def test_names_that_are_easily_confused(row):
    network, layout, ours, theirs = row.split()
    assert from_ours(network, layout, [ours])[ours].name == theirs
    assert to_ours(network, layout, [theirs]) == {theirs: [ours]}


def test_unknown_names_are_left_out_not_guessed():
    names = ["model.layers.01.input_layernorm.weight", "model.layers.1.self_attn.q_norm.weight"]
    assert to_ours("qwen25vl", "original", [*names, "x.model.embed_tokens.weight"]) == {}


@pytest.mark.parametrize("network", NETWORKS)
def test_no_two_rows_say_the_same(network):
    for column in range(4):
        names = [row[column] for row in FORMATS[network].rows(())]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(("network", "layout"), CASES)
def test_values_there_and_back(network, layout):
    weights = random_weights(TINY[network]())
    seen = from_layout(network, layout, to_layout(network, layout, weights))
    assert seen.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(seen[name], array)


def test_a_patch_has_its_channels_last():
    weight = np.arange(2 * 3 * 4).reshape(2, 3, 2, 2)  # (dim, C, rows, columns)
    order = FORMATS["siglip"].reorder("patch_embedding.weight", weight.shape, "original", {})
    ours = order.apply(weight)
    assert ours.shape == (2, 2, 2, 3) and ours[0, 0, 1].tolist() == [1, 5, 9]

"""Tensor names of HunyuanVideo 1.5's transformer and ours.

A row names the same tensor in three columns: ours, the original release, diffusers; marks as in
keys_mochi.py. ComfyUI's files have the original's names, with queries, keys and values of the
blocks fused. Names, and what is fused in which order: Tencent-Hunyuan/HunyuanVideo-1.5
(hyvideo/models/transformers) and convert_hunyuan_video1_5_to_diffusers.py of diffusers.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from .axes import Reorder, Shape
from .keys import _rule
from .keys_mochi import Row, Share

LAYOUTS = ("ours", "original", "diffusers", "comfyui")
NETWORKS = ("hunyuan_transformer",)

_TOP: list[Row] = [
    ("img_in.*", "img_in.proj.*", "x_embedder.proj.*"),
    ("time_in.fc1.*", "time_in.mlp.0.*", "time_embed.timestep_embedder.linear_1.*"),
    ("time_in.fc2.*", "time_in.mlp.2.*", "time_embed.timestep_embedder.linear_2.*"),
    # of networks for mean flow only
    ("time_r_in.fc1.*", "time_r_in.mlp.0.*", "time_embed.timestep_embedder_r.linear_1.*"),
    ("time_r_in.fc2.*", "time_r_in.mlp.2.*", "time_embed.timestep_embedder_r.linear_2.*"),
    ("byt5_in.norm.*", "byt5_in.layernorm.*", "context_embedder_2.norm.*"),
    ("byt5_in.fc1.*", "byt5_in.fc1.*", "context_embedder_2.linear_1.*"),
    ("byt5_in.fc2.*", "byt5_in.fc2.*", "context_embedder_2.linear_2.*"),
    ("byt5_in.fc3.*", "byt5_in.fc3.*", "context_embedder_2.linear_3.*"),
    ("vision_in.norm_in.*", "vision_in.proj.0.*", "image_embedder.norm_in.*"),
    ("vision_in.fc1.*", "vision_in.proj.1.*", "image_embedder.linear_1.*"),
    ("vision_in.fc2.*", "vision_in.proj.3.*", "image_embedder.linear_2.*"),
    ("vision_in.norm_out.*", "vision_in.proj.4.*", "image_embedder.norm_out.*"),
    ("cond_type_embedding.*", "cond_type_embedding.*", "cond_type_embed.*"),
    # diffusers has the halves of this one the other way round
    ("final_layer.shift.*", "final_layer.adaLN_modulation.1.*[0/2]", "norm_out.linear.*[1/2]"),
    ("final_layer.scale.*", "final_layer.adaLN_modulation.1.*[1/2]", "norm_out.linear.*[0/2]"),
    ("final_layer.linear.*", "final_layer.linear.*", "proj_out.*"),
]
# inside txt_in, which diffusers calls context_embedder
_REFINER: list[Row] = [
    ("t_embedder.fc1.*", "t_embedder.mlp.0.*", "time_text_embed.timestep_embedder.linear_1.*"),
    ("t_embedder.fc2.*", "t_embedder.mlp.2.*", "time_text_embed.timestep_embedder.linear_2.*"),
    ("c_embedder.fc1.*", "c_embedder.linear_1.*", "time_text_embed.text_embedder.linear_1.*"),
    ("c_embedder.fc2.*", "c_embedder.linear_2.*", "time_text_embed.text_embedder.linear_2.*"),
    ("input_embedder.*", "input_embedder.*", "proj_in.*"),
]
_REFINER_BLOCK: list[Row] = [
    ("norm1.*", "norm1.*", "norm1.*"),
    ("q.*", "self_attn_qkv.*[0/3]", "attn.to_q.*"),
    ("k.*", "self_attn_qkv.*[1/3]", "attn.to_k.*"),
    ("v.*", "self_attn_qkv.*[2/3]", "attn.to_v.*"),
    ("proj.*", "self_attn_proj.*", "attn.to_out.0.*"),
    ("norm2.*", "norm2.*", "norm2.*"),
    ("fc1.*", "mlp.fc1.*", "ff.net.0.proj.*"),
    ("fc2.*", "mlp.fc2.*", "ff.net.2.*"),
    ("mod.*", "adaLN_modulation.1.*", "norm_out.linear.*"),
]
# inside double_blocks.N, which diffusers calls transformer_blocks.N
_BLOCK: list[Row] = [
    ("img.mod.*", "img_mod.linear.*", "norm1.linear.*"),
    ("img.attn_q.*", "img_attn_q.*", "attn.to_q.*"),
    ("img.attn_k.*", "img_attn_k.*", "attn.to_k.*"),
    ("img.attn_v.*", "img_attn_v.*", "attn.to_v.*"),
    ("img.attn_q_norm.*", "img_attn_q_norm.*", "attn.norm_q.*"),
    ("img.attn_k_norm.*", "img_attn_k_norm.*", "attn.norm_k.*"),
    ("img.attn_proj.*", "img_attn_proj.*", "attn.to_out.0.*"),
    ("img.mlp.fc1.*", "img_mlp.fc1.*", "ff.net.0.proj.*"),
    ("img.mlp.fc2.*", "img_mlp.fc2.*", "ff.net.2.*"),
    ("txt.mod.*", "txt_mod.linear.*", "norm1_context.linear.*"),
    ("txt.attn_q.*", "txt_attn_q.*", "attn.add_q_proj.*"),
    ("txt.attn_k.*", "txt_attn_k.*", "attn.add_k_proj.*"),
    ("txt.attn_v.*", "txt_attn_v.*", "attn.add_v_proj.*"),
    ("txt.attn_q_norm.*", "txt_attn_q_norm.*", "attn.norm_added_q.*"),
    ("txt.attn_k_norm.*", "txt_attn_k_norm.*", "attn.norm_added_k.*"),
    ("txt.attn_proj.*", "txt_attn_proj.*", "attn.to_add_out.*"),
    ("txt.mlp.fc1.*", "txt_mlp.fc1.*", "ff_context.net.0.proj.*"),
    ("txt.mlp.fc2.*", "txt_mlp.fc2.*", "ff_context.net.2.*"),
]
_COMFYUI_FUSES = re.compile(r"(double_blocks\.N\.\w+_attn_)([qkv])\.\*")

# tensors left out on purpose, with the reason
DROPPED: dict[str, dict[str, str]] = {"hunyuan_transformer": {}}


@lru_cache
def table(network: str) -> list[tuple[str, str, str, str]]:
    """All rows of a network, a name for each of LAYOUTS."""
    refiner = "txt_in.individual_token_refiner.blocks.N"
    theirs = "context_embedder.token_refiner.refiner_blocks.N"
    rows = [
        *_TOP,
        *_inside("txt_in", "txt_in", "context_embedder", _REFINER),
        *_inside("txt_in.blocks.N", refiner, theirs, _REFINER_BLOCK),
        *_inside("double_blocks.N", "double_blocks.N", "transformer_blocks.N", _BLOCK),
    ]
    return [(*row, _comfyui(row[1])) for row in rows]


def _inside(ours: str, original: str, theirs: str, rows: list[Row]) -> list[Row]:
    """Rows of a block put at its places."""
    return [(f"{ours}.{a}", f"{original}.{b}", f"{theirs}.{c}") for a, b, c in rows]


def _comfyui(original: str) -> str:
    """The original's name of a row as ComfyUI has it."""
    if match := _COMFYUI_FUSES.fullmatch(original):
        return f"{match[1]}qkv.*[{'qkv'.index(match[2])}/3]"
    return original


def from_ours(network: str, layout: str, names: Iterable[str]) -> dict[str, Share]:
    """Our name -> where that tensor is in this layout."""
    found: dict[str, Share] = {}
    for name in names:
        for pattern, theirs, share in _rules(network, "ours", layout):
            if match := pattern.fullmatch(name):
                found[name] = Share(match.expand(theirs), *share)
                break
    return found


def to_ours(network: str, layout: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Foreign name -> our names in the order of its rows, for those the network has."""
    found: dict[str, list[str]] = {}
    for name in names:
        shares = [
            (share, match.expand(ours))
            for pattern, ours, share in _rules(network, layout, "ours")
            if (match := pattern.fullmatch(name))
        ]
        if shares:
            found[name] = [ours for _, ours in sorted(shares)]
    return found


def foreign_shapes(network: str, layout: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Every tensor of a layout with its shape, from ours."""
    found: dict[str, Shape] = {}
    for name, share in from_ours(network, layout, shapes).items():
        rows, *rest = foreign_shape(network, name, shapes[name])
        found[share.name] = (share.of * rows, *rest)
    return found


def foreign_shape(network: str, name: str, shape: Shape) -> Shape:
    """The shape all releases give to (their share of) our tensor `name` of this shape."""
    return (*shape, 1, 1, 1) if name == "img_in.weight" else shape


def reorder(network: str, name: str, shape: Shape) -> Reorder:
    """How (a share of) a foreign tensor of this shape, named `name` by us, becomes ours."""
    if name == "img_in.weight" and shape[2:] == (1, 1, 1):  # a convolution of one pixel
        return Reorder(shape, None, shape[:2])
    return Reorder(shape, None, shape)


@lru_cache
def _rules(
    network: str, source: str, target: str
) -> list[tuple[re.Pattern[str], str, tuple[int, int]]]:
    """(pattern, what it expands to, (index, of) of the share) of every row."""
    rules = []
    for row in table(network):
        share = (0, 1)
        names = []
        for layout in (source, target):
            name, _, part = row[LAYOUTS.index(layout)].partition("[")
            if part:
                index, of = part.rstrip("]").split("/")
                share = (int(index), int(of))
            names.append(name)
        rules.append((*_rule(*names), share))
    return rules

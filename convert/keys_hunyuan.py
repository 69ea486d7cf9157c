"""Tensor names of HunyuanVideo 1.5's transformer: ours, the original release's, diffusers' and
ComfyUI's, as names.py reads them.

ComfyUI's files have the original's names, with queries, keys and values of the blocks fused. Names,
and what is fused in which order: Tencent-Hunyuan/HunyuanVideo-1.5 (hyvideo/models/transformers) and
convert_hunyuan_video1_5_to_diffusers.py of diffusers.
"""

import re

from .names import Names, Row, Rows, inside

LAYOUTS = ("ours", "original", "diffusers", "comfyui")

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


def transformer(names: Names) -> Rows:
    """Rows of the transformer."""
    refiner = "txt_in.individual_token_refiner.blocks.N"
    theirs = "context_embedder.token_refiner.refiner_blocks.N"
    rows = [
        *_TOP,
        *inside(("txt_in", "txt_in", "context_embedder"), _REFINER),
        *inside(("txt_in.blocks.N", refiner, theirs), _REFINER_BLOCK),
        *inside(("double_blocks.N", "double_blocks.N", "transformer_blocks.N"), _BLOCK),
    ]
    return tuple((*row, _comfyui(row[1])) for row in rows)


def _comfyui(original: str) -> str:
    """The original's name of a row as ComfyUI has it."""
    if match := _COMFYUI_FUSES.fullmatch(original):
        return f"{match[1]}qkv.*[{'qkv'.index(match[2])}/3]"
    return original

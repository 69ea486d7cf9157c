"""Tensor names of Mochi's networks: ours, the original release's, diffusers' or transformers', as
names.py reads them. Both releases fuse some tensors of ours.

ComfyUI files use the original names for transformer and VAE (both halves of the VAE in one file,
with the prefixes the original's two files lack) and the transformers names for T5. Names and the
order of the shares: genmoai/mochi (2024-11) and diffusers' converter of its checkpoints.
"""

import re

from . import t5 as t5_names
from .names import Names, Row, Rows, inside

LAYOUTS = ("ours", "original", "diffusers")

_TRANSFORMER_TOP: list[Row] = [
    ("x_embedder.*", "x_embedder.proj.*", "patch_embed.proj.*"),
    ("t_embedder.fc1.*", "t_embedder.mlp.0.*", "time_embed.timestep_embedder.linear_1.*"),
    ("t_embedder.fc2.*", "t_embedder.mlp.2.*", "time_embed.timestep_embedder.linear_2.*"),
    ("t5_y_embedder.to_q.*", "t5_y_embedder.to_q.*", "time_embed.pooler.to_q.*"),
    ("t5_y_embedder.to_k.*", "t5_y_embedder.to_kv.*[0/2]", "time_embed.pooler.to_kv.*[0/2]"),
    ("t5_y_embedder.to_v.*", "t5_y_embedder.to_kv.*[1/2]", "time_embed.pooler.to_kv.*[1/2]"),
    ("t5_y_embedder.to_out.*", "t5_y_embedder.to_out.*", "time_embed.pooler.to_out.*"),
    ("t5_yproj.*", "t5_yproj.*", "time_embed.caption_proj.*"),
    ("pos_frequencies", "pos_frequencies", "pos_frequencies"),
    # diffusers has the halves of this one the other way round
    ("final_layer.shift.*", "final_layer.mod.*[0/2]", "norm_out.linear.*[1/2]"),
    ("final_layer.scale.*", "final_layer.mod.*[1/2]", "norm_out.linear.*[0/2]"),
    ("final_layer.linear.*", "final_layer.linear.*", "proj_out.*"),
]
# inside blocks.N, which diffusers calls transformer_blocks.N
_TRANSFORMER_BLOCK: list[Row] = [
    ("mod_x.*", "mod_x.*", "norm1.linear.*"),
    ("mod_y.*", "mod_y.*", "norm1_context.linear.*"),
    ("attn.q_x.*", "attn.qkv_x.*[0/3]", "attn1.to_q.*"),
    ("attn.k_x.*", "attn.qkv_x.*[1/3]", "attn1.to_k.*"),
    ("attn.v_x.*", "attn.qkv_x.*[2/3]", "attn1.to_v.*"),
    ("attn.q_y.*", "attn.qkv_y.*[0/3]", "attn1.add_q_proj.*"),
    ("attn.k_y.*", "attn.qkv_y.*[1/3]", "attn1.add_k_proj.*"),
    ("attn.v_y.*", "attn.qkv_y.*[2/3]", "attn1.add_v_proj.*"),
    ("attn.q_norm_x.*", "attn.q_norm_x.*", "attn1.norm_q.*"),
    ("attn.k_norm_x.*", "attn.k_norm_x.*", "attn1.norm_k.*"),
    ("attn.q_norm_y.*", "attn.q_norm_y.*", "attn1.norm_added_q.*"),
    ("attn.k_norm_y.*", "attn.k_norm_y.*", "attn1.norm_added_k.*"),
    ("attn.proj_x.*", "attn.proj_x.*", "attn1.to_out.0.*"),
    ("attn.proj_y.*", "attn.proj_y.*", "attn1.to_add_out.*"),
    # and of these
    ("mlp_x.w1.*", "mlp_x.w1.*[0/2]", "ff.net.0.proj.*[1/2]"),
    ("mlp_x.w3.*", "mlp_x.w1.*[1/2]", "ff.net.0.proj.*[0/2]"),
    ("mlp_x.w2.*", "mlp_x.w2.*", "ff.net.2.*"),
    ("mlp_y.w1.*", "mlp_y.w1.*[0/2]", "ff_context.net.0.proj.*[1/2]"),
    ("mlp_y.w3.*", "mlp_y.w1.*[1/2]", "ff_context.net.0.proj.*[0/2]"),
    ("mlp_y.w2.*", "mlp_y.w2.*", "ff_context.net.2.*"),
]

_T5_TOP: list[tuple[str, str]] = [
    ("pos_embedding.*", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.*"),
    ("norm.*", "encoder.final_layer_norm.*"),
]
# inside blocks.N, which transformers calls encoder.block.N.layer
_T5_BLOCK: list[tuple[str, str]] = [
    ("norm1.*", "0.layer_norm.*"),
    ("attn.q.*", "0.SelfAttention.q.*"),
    ("attn.k.*", "0.SelfAttention.k.*"),
    ("attn.v.*", "0.SelfAttention.v.*"),
    ("attn.o.*", "0.SelfAttention.o.*"),
    ("norm2.*", "1.layer_norm.*"),
    ("ffn.gate.*", "1.DenseReluDense.wi_0.*"),
    ("ffn.fc1.*", "1.DenseReluDense.wi_1.*"),
    ("ffn.fc2.*", "1.DenseReluDense.wo.*"),
]

# inside a residual block, which diffusers calls resnets.M; its attention lies beside it
_VAE_RESIDUAL: list[Row] = [
    ("norm1.*", "stack.0.*", "norm1.norm_layer.*"),
    ("conv1.*", "stack.2.*", "conv1.conv.*"),
    ("norm2.*", "stack.3.*", "norm2.norm_layer.*"),
    ("conv2.*", "stack.5.*", "conv2.conv.*"),
]
_VAE_ATTENTION: list[Row] = [
    ("attn.norm.*", "attn_block.norm.*", "norms.{i}.norm_layer.*"),
    ("attn.q.*", "attn_block.attn.qkv.*[0/3]", "attentions.{i}.to_q.*"),
    ("attn.k.*", "attn_block.attn.qkv.*[1/3]", "attentions.{i}.to_k.*"),
    ("attn.v.*", "attn_block.attn.qkv.*[2/3]", "attentions.{i}.to_v.*"),
    ("attn.out.*", "attn_block.attn.out.*", "attentions.{i}.to_out.0.*"),
]
_ENDS, _STAGES = 3, 3  # blocks before and after, and changes of size: the original counts them
_BLOCK = re.compile(r"(?:transformer_)?blocks\.(\d{1,3})\.")
_MAX_BLOCKS = 8  # residual blocks of a stage; the published VAE has 6


def transformer(names: Names) -> Rows:
    """Rows of the transformer; diffusers has another name for a tensor of the last block."""
    blocks = [int(match[1]) for name in names if (match := _BLOCK.match(name))]
    last = max(blocks, default=0)
    ours, theirs = f"blocks.{last}.mod_y.*", f"transformer_blocks.{last}.norm1_context.linear_1.*"
    rows = inside(("blocks.N", "blocks.N", "transformer_blocks.N"), _TRANSFORMER_BLOCK)
    return ((ours, ours, theirs), *_TRANSFORMER_TOP, *rows)


def t5(names: Names) -> Rows:
    """Rows of the text encoder, which both releases have in transformers' names."""
    blocks = ((f"blocks.N.{a}", f"encoder.block.N.layer.{b}") for a, b in _T5_BLOCK)
    rows = [("token_embedding.*", t5_names.table(names)), *_T5_TOP, *blocks]
    return tuple((ours, theirs, theirs) for ours, theirs in rows)


def vae(names: Names) -> Rows:
    """Rows of the VAE, both halves."""
    rows: list[Row] = [
        ("encoder.proj_in.*", "encoder.layers.0.*", "encoder.proj_in.*"),
        ("encoder.norm_out.*", "encoder.output_norm.*", "encoder.norm_out.norm_layer.*"),
        ("encoder.proj_out.*", "encoder.output_proj.*", "encoder.proj_out.*"),
        ("decoder.conv_in.*", "decoder.blocks.0.0.*", "decoder.conv_in.*"),
        ("decoder.proj_out.*", "decoder.output_proj.*", "decoder.proj_out.*"),
    ]
    for i in range(_ENDS):
        after = 1 + _ENDS + _STAGES + i
        rows += _residual(f"encoder.block_in.{i}", f"encoder.layers.{1 + i}", "encoder.block_in", i)
        rows += _residual(
            f"encoder.block_out.{i}", f"encoder.layers.{after}", "encoder.block_out", i
        )
        rows += _residual(
            f"decoder.block_in.{i}", f"decoder.blocks.0.{1 + i}", "decoder.block_in", i
        )
        rows += _residual(
            f"decoder.block_out.{i}", f"decoder.blocks.{1 + _STAGES}.{i}", "decoder.block_out", i
        )
    for b in range(_STAGES):
        ours, original = f"encoder.down.{b}", f"encoder.layers.{1 + _ENDS + b}.layers"
        theirs = f"encoder.down_blocks.{b}"
        rows.append((f"{ours}.conv.*", f"{original}.0.*", f"{theirs}.conv_in.conv.*"))
        for i in range(_MAX_BLOCKS):
            rows += _residual(f"{ours}.blocks.{i}", f"{original}.{1 + i}", theirs, i)
        ours, original = f"decoder.up.{b}", f"decoder.blocks.{1 + b}"
        theirs = f"decoder.up_blocks.{b}"
        rows.append((f"{ours}.proj.*", f"{original}.proj.*", f"{theirs}.proj.*"))
        for i in range(_MAX_BLOCKS):
            rows += _residual(f"{ours}.blocks.{i}", f"{original}.blocks.{i}", theirs, i)
    return tuple(rows)


def _residual(ours: str, original: str, theirs: str, i: int) -> list[Row]:
    beside = [(a, b, c.format(i=i)) for a, b, c in _VAE_ATTENTION]
    return [
        *inside((ours, original, f"{theirs}.resnets.{i}"), _VAE_RESIDUAL),
        *inside((ours, original, theirs), beside),
    ]

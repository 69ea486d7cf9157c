"""Tensor names of Wan's networks: ours, the original release's, diffusers' or transformers', and
mlx-video's, as names.py reads them.

ComfyUI files use the original names for transformer and VAE, and the transformers names for the
text encoder.
"""

import re

from . import t5
from .names import Names, Row, Rows
from .names import inside as at

LAYOUTS = ("ours", "original", "diffusers", "mlx-video")

_TRANSFORMER_TOP: list[Row] = [
    ("patch_embedding.*", "patch_embedding.*", "patch_embedding.*", "patch_embedding_proj.*"),
    (
        "text_embedding.fc1.*",
        "text_embedding.0.*",
        "condition_embedder.text_embedder.linear_1.*",
        "text_embedding_0.*",
    ),
    (
        "text_embedding.fc2.*",
        "text_embedding.2.*",
        "condition_embedder.text_embedder.linear_2.*",
        "text_embedding_1.*",
    ),
    (
        "time_embedding.fc1.*",
        "time_embedding.0.*",
        "condition_embedder.time_embedder.linear_1.*",
        "time_embedding_0.*",
    ),
    (
        "time_embedding.fc2.*",
        "time_embedding.2.*",
        "condition_embedder.time_embedder.linear_2.*",
        "time_embedding_1.*",
    ),
    (
        "time_projection.*",
        "time_projection.1.*",
        "condition_embedder.time_proj.*",
        "time_projection.*",
    ),
    ("head.modulation", "head.modulation", "scale_shift_table", "head.modulation"),
    ("head.head.*", "head.head.*", "proj_out.*", "head.head.*"),
]
# inside blocks.N; note that what the original calls norm3 is norm2 in diffusers
_TRANSFORMER_BLOCK: list[Row] = [
    ("modulation", "modulation", "scale_shift_table", "modulation"),
    ("self_attn.q.*", "self_attn.q.*", "attn1.to_q.*", "self_attn.q.*"),
    ("self_attn.k.*", "self_attn.k.*", "attn1.to_k.*", "self_attn.k.*"),
    ("self_attn.v.*", "self_attn.v.*", "attn1.to_v.*", "self_attn.v.*"),
    ("self_attn.o.*", "self_attn.o.*", "attn1.to_out.0.*", "self_attn.o.*"),
    ("self_attn.norm_q.*", "self_attn.norm_q.*", "attn1.norm_q.*", "self_attn.norm_q.*"),
    ("self_attn.norm_k.*", "self_attn.norm_k.*", "attn1.norm_k.*", "self_attn.norm_k.*"),
    ("norm3.*", "norm3.*", "norm2.*", "norm3.*"),
    ("cross_attn.q.*", "cross_attn.q.*", "attn2.to_q.*", "cross_attn.q.*"),
    ("cross_attn.k.*", "cross_attn.k.*", "attn2.to_k.*", "cross_attn.k.*"),
    ("cross_attn.v.*", "cross_attn.v.*", "attn2.to_v.*", "cross_attn.v.*"),
    ("cross_attn.o.*", "cross_attn.o.*", "attn2.to_out.0.*", "cross_attn.o.*"),
    ("cross_attn.norm_q.*", "cross_attn.norm_q.*", "attn2.norm_q.*", "cross_attn.norm_q.*"),
    ("cross_attn.norm_k.*", "cross_attn.norm_k.*", "attn2.norm_k.*", "cross_attn.norm_k.*"),
    ("ffn.fc1.*", "ffn.0.*", "ffn.net.0.proj.*", "ffn.fc1.*"),
    ("ffn.fc2.*", "ffn.2.*", "ffn.net.2.*", "ffn.fc2.*"),
]

_UMT5_TOP: list[Row] = [
    ("norm.*", "norm.*", "encoder.final_layer_norm.*", "norm.*"),
]
# inside blocks.N, which transformers calls encoder.block.N.layer
_UMT5_BLOCK: list[Row] = [
    ("norm1.*", "norm1.*", "0.layer_norm.*", "norm1.*"),
    ("attn.q.*", "attn.q.*", "0.SelfAttention.q.*", "attn.q.*"),
    ("attn.k.*", "attn.k.*", "0.SelfAttention.k.*", "attn.k.*"),
    ("attn.v.*", "attn.v.*", "0.SelfAttention.v.*", "attn.v.*"),
    ("attn.o.*", "attn.o.*", "0.SelfAttention.o.*", "attn.o.*"),
    (
        "pos_embedding.*",
        "pos_embedding.embedding.*",
        "0.SelfAttention.relative_attention_bias.*",
        "pos_embedding.embedding.*",
    ),
    ("norm2.*", "norm2.*", "1.layer_norm.*", "norm2.*"),
    ("ffn.gate.*", "ffn.gate.0.*", "1.DenseReluDense.wi_0.*", "ffn.gate_proj.*"),
    ("ffn.fc1.*", "ffn.fc1.*", "1.DenseReluDense.wi_1.*", "ffn.fc1.*"),
    ("ffn.fc2.*", "ffn.fc2.*", "1.DenseReluDense.wo.*", "ffn.fc2.*"),
]

_VAE_RESIDUAL: list[Row] = [
    ("norm1.gamma", "residual.0.gamma", "norm1.gamma", "residual.layer_0.gamma"),
    ("conv1.*", "residual.2.*", "conv1.*", "residual.layer_2.*"),
    ("norm2.gamma", "residual.3.gamma", "norm2.gamma", "residual.layer_3.gamma"),
    ("conv2.*", "residual.6.*", "conv2.*", "residual.layer_6.*"),
    ("shortcut.*", "shortcut.*", "conv_shortcut.*", "shortcut.*"),
]
_VAE_ATTENTION: list[Row] = [
    ("norm.gamma", "norm.gamma", "norm.gamma", "norm.gamma"),
    ("to_qkv.*", "to_qkv.*", "to_qkv.*", "to_qkv_*"),
    ("proj.*", "proj.*", "proj.*", "proj_*"),
]
_VAE_RESAMPLE: list[Row] = [
    ("conv.*", "resample.1.*", "resample.1.*", "resample_*"),
    ("time_conv.*", "time_conv.*", "time_conv.*", "time_conv.*"),
]
_VAE_ENDS: list[Row] = [
    ("conv1.*", "conv1.*", "conv_in.*", "conv1.*"),
    ("head.norm.gamma", "head.0.gamma", "norm_out.gamma", "head.layer_0.gamma"),
    ("head.conv.*", "head.2.*", "conv_out.*", "head.layer_2.*"),
]
_VAE_TOP: list[Row] = [
    ("conv1.*", "conv1.*", "quant_conv.*", "conv1.*"),
    ("conv2.*", "conv2.*", "post_quant_conv.*", "conv2.*"),
]
_MAX_STAGES = 8  # of a VAE; published ones have 4

_IN_DIFFUSERS = re.compile(r"decoder\.up_blocks\.0\.resnets\.(\d{1,3})\.")
_ELSEWHERE = re.compile(
    r"encoder\.downsamples\.(?:0\.downsamples\.)?(\d{1,3})\.(?:conv\.|resample[._])"
)


def transformer(names: Names) -> Rows:
    """Rows of the transformer."""
    return tuple(_TRANSFORMER_TOP + _inside("blocks.N", "blocks.N", _TRANSFORMER_BLOCK))


def umt5(names: Names) -> Rows:
    """Rows of the text encoder."""
    table = ("token_embedding.*", "token_embedding.*", t5.table(names), "token_embedding.*")
    blocks = _inside("blocks.N", "encoder.block.N.layer", _UMT5_BLOCK)
    return (table, *_UMT5_TOP, *blocks)


def vae21(names: Names) -> Rows:
    """Rows of the 2.1 VAE, of which mlx-video keeps the original names."""
    rows = [*_vae(), *_stages21(_res_blocks(names))]
    return tuple((ours, original, theirs, original) for ours, original, theirs, _ in rows)


def vae22(names: Names) -> Rows:
    """Rows of the 2.2 VAE."""
    return (*_vae(), *_stages22(_res_blocks(names)))


def _vae() -> list[Row]:
    rows = list(_VAE_TOP)
    for part in ("encoder", "decoder"):
        middle, mid_block = f"{part}.middle", f"{part}.mid_block"
        rows += _inside(part, part, _VAE_ENDS)
        rows += _inside(f"{middle}.0", f"{mid_block}.resnets.0", _VAE_RESIDUAL)
        rows += _inside(f"{middle}.1", f"{mid_block}.attentions.0", _VAE_ATTENTION)
        rows += _inside(f"{middle}.2", f"{mid_block}.resnets.1", _VAE_RESIDUAL)
    return rows


def _stages21(res_blocks: int) -> list[Row]:
    """2.1 numbers the blocks across stages; of diffusers that is only true in the encoder."""
    rows = _inside("encoder.downsamples.N", "encoder.down_blocks.N", _VAE_RESIDUAL + _VAE_RESAMPLE)
    per_stage = res_blocks + 2  # one more residual block than the encoder, then the upsampling
    for stage in range(_MAX_STAGES):
        theirs = f"decoder.up_blocks.{stage}"
        for block in range(res_blocks + 1):
            ours = f"decoder.upsamples.{stage * per_stage + block}"
            rows += _inside(ours, f"{theirs}.resnets.{block}", _VAE_RESIDUAL)
        ours = f"decoder.upsamples.{stage * per_stage + res_blocks + 1}"
        rows += _inside(ours, f"{theirs}.upsamplers.0", _VAE_RESAMPLE)
    return rows


def _stages22(res_blocks: int) -> list[Row]:
    """2.2 numbers blocks within their stage; the last of a stage is its resampling."""
    down, up = "encoder.downsamples.N.downsamples", "decoder.upsamples.N.upsamples"
    return [
        *_inside(f"{down}.M", "encoder.down_blocks.N.resnets.M", _VAE_RESIDUAL),
        *_inside(f"{down}.{res_blocks}", "encoder.down_blocks.N.downsampler", _VAE_RESAMPLE),
        *_inside(f"{up}.M", "decoder.up_blocks.N.resnets.M", _VAE_RESIDUAL),
        *_inside(f"{up}.{res_blocks + 1}", "decoder.up_blocks.N.upsampler", _VAE_RESAMPLE),
    ]


def _inside(place: str, diffusers_place: str, rows: list[Row]) -> list[Row]:
    """Rows of a block put at its place, which only diffusers calls otherwise."""
    return at((place, place, diffusers_place, place), rows)


def _res_blocks(names: Names) -> int:
    """Residual blocks of an encoder stage: diffusers' numbering depends on it."""
    theirs = [int(match[1]) for name in names if (match := _IN_DIFFUSERS.match(name))]
    if theirs:
        return max(theirs)  # of the decoder, which has one more
    resampling = [int(match[1]) for name in names if (match := _ELSEWHERE.match(name))]
    return min(resampling, default=2)

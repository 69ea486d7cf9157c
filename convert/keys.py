"""Tensor names of other checkpoints and ours, one table per network.

A row names the same tensor in four columns: ours, the original Wan release, diffusers/transformers,
and mlx-video. `N` and `M` stand for numbers, a final `*` for weight, bias or gamma. ComfyUI files
use the original names for transformer and VAE, and the transformers names for the text encoder.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

LAYOUTS = ("ours", "original", "diffusers", "mlx-video")
Row = tuple[str, str, str, str]

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
    ("token_embedding.*", "token_embedding.*", "shared.*", "token_embedding.*"),
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

# tensors left out on purpose, by original or foreign name, with the reason
DROPPED = {
    "wan_transformer": {"freqs": "rotary table, computed when needed"},
    "umt5": {"encoder.embed_tokens.weight": "the same table as shared.weight"},
    "wan_vae21": {},
    "wan_vae22": {},
}


def to_ours(network: str, layout: str, names: Iterable[str]) -> dict[str, str]:
    """Foreign name -> our name, for those of `names` that the network has in this layout."""
    names = list(names)
    res_blocks = _res_blocks(names) if layout == "diffusers" else 2
    return _translate(network, names, layout, "ours", res_blocks)


def from_ours(
    network: str, layout: str, names: Iterable[str], res_blocks: int = 2
) -> dict[str, str]:
    """Our name -> foreign name. `res_blocks` per VAE stage only matters to diffusers' numbering."""
    return _translate(network, list(names), "ours", layout, res_blocks)


def table(network: str, res_blocks: int = 2) -> list[Row]:
    """All rows of a network. `res_blocks` is that of the VAE's encoder stages."""
    if network == "wan_transformer":
        return _TRANSFORMER_TOP + _inside("blocks.N", "blocks.N", _TRANSFORMER_BLOCK)
    if network == "umt5":
        return _UMT5_TOP + _inside("blocks.N", "encoder.block.N.layer", _UMT5_BLOCK)
    rows = list(_VAE_TOP)
    for part in ("encoder", "decoder"):
        middle, mid_block = f"{part}.middle", f"{part}.mid_block"
        rows += _inside(part, part, _VAE_ENDS)
        rows += _inside(f"{middle}.0", f"{mid_block}.resnets.0", _VAE_RESIDUAL)
        rows += _inside(f"{middle}.1", f"{mid_block}.attentions.0", _VAE_ATTENTION)
        rows += _inside(f"{middle}.2", f"{mid_block}.resnets.1", _VAE_RESIDUAL)
    if network == "wan_vae22":
        return rows + _stages22(res_blocks)
    # mlx-video keeps the original names of this VAE
    return [(ours, original, theirs, original) for ours, original, theirs, _ in rows] + [
        (ours, original, theirs, original) for ours, original, theirs, _ in _stages21(res_blocks)
    ]


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
    return [
        (
            f"{place}.{ours}",
            f"{place}.{original}",
            f"{diffusers_place}.{diffusers}",
            f"{place}.{mlx_video}",
        )
        for ours, original, diffusers, mlx_video in rows
    ]


def _res_blocks(names: list[str]) -> int:
    """Residual blocks of an encoder stage, counted in diffusers' names of the decoder."""
    pattern = re.compile(r"decoder\.up_blocks\.0\.resnets\.(\d{1,3})\.")
    numbers = [int(match[1]) for name in names if (match := pattern.match(name))]
    return max(numbers, default=2)


def _translate(
    network: str, names: list[str], source: str, target: str, res_blocks: int
) -> dict[str, str]:
    rules = _rules(network, LAYOUTS.index(source), LAYOUTS.index(target), res_blocks)
    translated = {}
    for name in names:
        for pattern, replacement in rules:
            if match := pattern.fullmatch(name):
                translated[name] = match.expand(replacement)
                break
    return translated


@lru_cache
def _rules(
    network: str, source: int, target: int, res_blocks: int
) -> list[tuple[re.Pattern[str], str]]:
    return [_rule(row[source], row[target]) for row in table(network, res_blocks)]


def _rule(source: str, target: str) -> tuple[re.Pattern[str], str]:
    """("blocks.N.ffn.0.*", "blocks.N.ffn.fc1.*") -> a pattern and what `expand` makes of it."""
    groups = {"N": r"(?P<N>0|[1-9]\d{0,2})", "M": r"(?P<M>0|[1-9]\d{0,2})", "*": r"(?P<leaf>\w+)"}
    pattern = r"\.".join(_last(part, groups, escape=True) for part in source.split("."))
    marks = {"N": r"\g<N>", "M": r"\g<M>", "*": r"\g<leaf>"}
    return re.compile(pattern), ".".join(_last(p, marks, escape=False) for p in target.split("."))


def _last(part: str, marks: dict[str, str], *, escape: bool) -> str:
    """One part of a name with its placeholder filled: "N", "*", or a final star as in "proj_*"."""
    if part in marks:
        return marks[part]
    stem = part.removesuffix("*")
    return (re.escape(stem) if escape else stem) + (marks["*"] if stem != part else "")

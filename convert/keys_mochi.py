"""Tensor names of Mochi checkpoints and ours: transformer, VAE and T5 text encoder.

A row names the same tensor in three columns: ours, the original release, diffusers/transformers;
`N` and `M` stand for numbers, a final `*` for weight or bias, as in keys.py. Both releases fuse
some tensors of ours: `[1/3]` after a name says that ours is the second of three equal shares of
its rows, so every tensor of ours is a contiguous part of one foreign tensor.

ComfyUI files use the original names for transformer and VAE (both halves of the VAE in one file,
with the prefixes the original's two files lack) and the transformers names for T5. Names and the
order of the shares: genmoai/mochi (2024-11) and diffusers' converter of its checkpoints.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from .axes import Reorder, Shape
from .keys import _rule

LAYOUTS = ("ours", "original", "diffusers")
NETWORKS = ("mochi_transformer", "mochi_vae", "t5")
PATCH = (2, 2)  # rows and columns of a patch
Row = tuple[str, str, str]


@dataclass(frozen=True)
class Share:
    """Where a tensor of ours is in a foreign checkpoint: one of `of` equal shares of the rows."""

    name: str
    index: int = 0
    of: int = 1


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
    ("mod_y.*", "mod_y.*", "norm1_context.linear.*"),  # in the last block, linear_1
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
    ("token_embedding.*", "shared.*"),
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
_MAX_BLOCKS = 8  # residual blocks of a stage; the published VAE has 6
# what only a file of that half of the VAE has, and the prefix its names lack
VAE_HALVES = {"layers.0.weight": "encoder.", "blocks.0.0.weight": "decoder."}

# tensors left out on purpose, with the reason
DROPPED: dict[str, dict[str, str]] = {
    "mochi_transformer": {},
    "mochi_vae": {},
    "t5": {"encoder.embed_tokens.weight": "the same table as shared.weight"},
}


@lru_cache
def table(network: str) -> list[Row]:
    """All rows of a network."""
    if network == "mochi_transformer":
        return _TRANSFORMER_TOP + _inside(
            "blocks.N", "blocks.N", "transformer_blocks.N", _TRANSFORMER_BLOCK
        )
    if network == "t5":
        rows = [*_T5_TOP, *((f"blocks.N.{a}", f"encoder.block.N.layer.{b}") for a, b in _T5_BLOCK)]
        return [(ours, theirs, theirs) for ours, theirs in rows]
    return _vae_rows()


def _vae_rows() -> list[Row]:
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
    return rows


def _residual(ours: str, original: str, theirs: str, i: int) -> list[Row]:
    beside = [(a, b, c.format(i=i)) for a, b, c in _VAE_ATTENTION]
    return _inside(ours, original, f"{theirs}.resnets.{i}", _VAE_RESIDUAL) + _inside(
        ours, original, theirs, beside
    )


def _inside(ours: str, original: str, theirs: str, rows: list[Row]) -> list[Row]:
    """Rows of a block put at its places."""
    return [(f"{ours}.{a}", f"{original}.{b}", f"{theirs}.{c}") for a, b, c in rows]


def from_ours(network: str, layout: str, names: Iterable[str]) -> dict[str, Share]:
    """Our name -> where that tensor is in this layout."""
    names = list(names)
    known = set(names)
    found: dict[str, Share] = {}
    for name in names:
        for pattern, theirs, share in _rules(network, "ours", layout):
            if match := pattern.fullmatch(name):
                target = match.expand(theirs)
                if _is_last_mod_y(name, known):
                    target = target.replace("norm1_context.linear.", "norm1_context.linear_1.")
                found[name] = Share(target, *share)
                break
    return found


def to_ours(network: str, layout: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Foreign name -> our names in the order of its rows, for those the network has."""
    found: dict[str, list[str]] = {}
    for name in names:
        plain = name.replace("norm1_context.linear_1.", "norm1_context.linear.")
        shares = [
            (share, match.expand(ours))
            for pattern, ours, share in _rules(network, layout, "ours")
            if (match := pattern.fullmatch(plain))
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
    """The shape both releases give to (their share of) our tensor `name` of this shape."""
    if network == "mochi_transformer" and name == "x_embedder.weight":
        return (shape[0], shape[1] // (PATCH[0] * PATCH[1]), *PATCH)
    if network == "mochi_vae" and name == "decoder.conv_in.weight":
        return (*shape, 1, 1, 1)
    if network == "mochi_vae" and len(shape) == 5:
        return (shape[0], shape[-1], *shape[1:-1])
    return shape


def reorder(network: str, name: str, shape: Shape) -> Reorder:
    """How (a share of) a foreign tensor of this shape, named `name` by us, becomes ours."""
    if network == "mochi_transformer" and name == "x_embedder.weight" and len(shape) == 4:
        out, channels, rows, columns = shape
        return Reorder(shape, (0, 2, 3, 1), (out, rows * columns * channels))
    if network == "mochi_vae" and name == "decoder.conv_in.weight":
        return Reorder(shape, None, shape[:2])
    if network == "mochi_vae" and len(shape) == 5:
        axes = (0, 2, 3, 4, 1)
        return Reorder(shape, axes, tuple(shape[axis] for axis in axes))
    return Reorder(shape, None, shape)


def vae_half(names: Iterable[str]) -> str:
    """The prefix that the names of one of the original's two VAE files lack, or ""."""
    names = set(names)
    return next((prefix for sign, prefix in VAE_HALVES.items() if sign in names), "")


def _is_last_mod_y(name: str, names: set[str]) -> bool:
    """Whether it is of the last block, the one without proj_y."""
    match = re.fullmatch(r"blocks\.(\d+)\.mod_y\.\w+", name)
    return match is not None and f"blocks.{match[1]}.attn.proj_y.weight" not in names


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

"""Mochi's checkpoints: the original release, diffusers and ComfyUI."""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

from . import keys_mochi, t5
from .axes import Reorder, Shape, channels_last, channels_second
from .format import Family, NetworkFormat
from .settings import Settings, Shapes, count

_PATCH = (2, 2)  # rows and columns of a patch
_LAST = "decoder.conv_in.weight"  # the only convolution that is a matrix of ours


def _transformer(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    dim, patch = shapes["x_embedder.weight"]
    dim_y, text_dim = shapes["t5_yproj.weight"]
    values = {
        "dim": dim,
        "dim_y": dim_y,
        "ffn_dim": shapes["blocks.0.mlp_x.w1.weight"][0],
        "ffn_dim_y": shapes["blocks.0.mlp_y.w1.weight"][0],
        "num_heads": shapes["pos_frequencies"][1],
        "num_layers": count(shapes, "blocks"),
        "in_dim": patch // prod(_PATCH),
        "out_dim": shapes["final_layer.linear.weight"][0] // prod(_PATCH),
        "text_dim": text_dim,
        "freq_dim": shapes["t_embedder.fc1.weight"][1],
    }
    settings.agree(("num_attention_heads",), values["num_heads"])
    settings.agree(("num_layers",), values["num_layers"])
    settings.agree(("pooled_projection_dim",), dim_y)
    settings.agree(("in_channels",), values["in_dim"])
    settings.agree(("text_embed_dim",), text_dim)
    return {**values, "text_len": settings.whole(("max_sequence_length",), 256, limit=4096)}


def _transformer_order(
    name: str, shape: Shape, layout: str, settings: Mapping[str, Any]
) -> Reorder:
    if name == "x_embedder.weight" and len(shape) == 4:
        out, channels, rows, columns = shape
        return Reorder(shape, (0, 2, 3, 1), (out, rows * columns * channels))
    return Reorder(shape, None, shape)


def _transformer_shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    if name == "x_embedder.weight":
        return (shape[0], shape[1] // prod(_PATCH), *_PATCH)
    return shape


def _vae(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    stages = range(count(shapes, "encoder.down"))
    down = [shapes[f"encoder.down.{stage}.conv.weight"] for stage in stages]
    up = [shapes[f"decoder.up.{stage}.blocks.0.conv1.weight"][0] for stage in stages]
    z_dim = shapes[_LAST][1]
    mean, std = settings.statistics(z_dim)
    if mean is None and z_dim != 12:
        raise ValueError(
            f"it has {z_dim} latent channels, and only for 12 the mean and deviation are known "
            "without a config.json that has latents_mean and latents_std"
        )
    values: dict[str, Any] = {
        "encoder_dims": (shapes["encoder.proj_in.weight"][0], *(shape[0] for shape in down)),
        "decoder_dims": (shapes["decoder.block_out.0.conv1.weight"][0], *reversed(up)),
        "num_blocks": tuple(
            count(shapes, place)
            for place in (
                "encoder.block_in",
                *(f"encoder.down.{stage}.blocks" for stage in stages),
                "encoder.block_out",
            )
        ),
        "temporal": tuple(shape[1] for shape in down),
        "z_dim": z_dim,
    }
    settings.agree(("latent_channels",), z_dim)
    settings.agree(("encoder_block_out_channels",), list(values["encoder_dims"]))
    settings.agree(("decoder_block_out_channels",), list(values["decoder_dims"]))
    settings.agree(("layers_per_block",), list(values["num_blocks"]))
    settings.agree(("temporal_expansions",), list(values["temporal"]))
    settings.agree(("scaling_factor",), 1)
    return values | ({} if mean is None else {"latents_mean": mean, "latents_std": std})


def _vae_order(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Reorder:
    return Reorder(shape, None, shape[:2]) if name == _LAST else channels_last(shape)


def _vae_shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    return (*shape, 1, 1, 1) if name == _LAST else channels_second(shape)


def _identify(path: str) -> str | None:
    return "fastmochi" if "fastmochi" in path.lower() else None


FAMILY = Family(
    title="Mochi 1",
    identify=_identify,
    formats=(
        NetworkFormat(
            network="mochi_transformer",
            what="Mochi transformer",
            layouts=keys_mochi.LAYOUTS,
            rows=keys_mochi.transformer,
            signatures={
                "original": ("t5_y_embedder.to_kv.weight", "blocks.0.attn.qkv_x.weight"),
                "diffusers": ("time_embed.pooler.to_kv.weight",),
            },
            sizes=_transformer,
            telling=("pooled_projection_dim", "max_sequence_length"),
            reorder=_transformer_order,
            foreign_shape=_transformer_shape,
            quantized=r"blocks\.\d+\.(attn\.([qkv]|proj)_[xy]|mlp_[xy]\.w[123])\.weight",
            exact=r".*_norm_[xy]\.weight|pos_frequencies",
        ),
        NetworkFormat(
            network="mochi_vae",
            what="Mochi VAE",
            layouts=keys_mochi.LAYOUTS,
            rows=keys_mochi.vae,
            signatures={
                "original": ("encoder.layers.0.weight", "decoder.blocks.0.0.weight"),
                "diffusers": ("decoder.block_in.resnets.0.norm1.norm_layer.weight",),
            },
            sizes=_vae,
            telling=("latents_mean", "encoder_block_out_channels"),
            reorder=_vae_order,
            foreign_shape=_vae_shape,
            as_published=True,
            halves={"layers.0.weight": "encoder.", "blocks.0.0.weight": "decoder."},
        ),
        NetworkFormat(
            network="t5",
            what="T5 text encoder",
            layouts=keys_mochi.LAYOUTS,
            rows=keys_mochi.t5,
            signatures={"diffusers": t5.SIGNATURE},
            is_it=t5.is_plain,
            sizes=partial(t5.sizes, "pos_embedding.weight"),
            telling=("d_model",),
            quantized=t5.QUANTIZED,
            dropped=t5.dropped,
            tokenizer_from="google/t5-v1_1-xxl",
        ),
    ),
)

"""Wan's checkpoints: the original release, diffusers, ComfyUI and mlx-video."""

import re
from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

from mlx_wan.errors import BadFileError

from . import keys_wan, t5
from .axes import LAST, Reorder, Shape, channels_last, channels_second, flat
from .format import Family, NetworkFormat
from .names import Names
from .settings import Settings, Shapes, count

_HEAD_DIM = 128  # of every published Wan; only for files without a config.json (ComfyUI)
_TEXT_LEN = 512  # likewise
# transformers of the Wan family that are not built here, by a part of a name only they have
_RELATIVES = {
    "vace_blocks.": "Wan VACE",
    "face_adapter.": "Wan Animate",
    "motion_encoder.": "Wan Animate",
    "casual_audio_encoder.": "Wan S2V (speech to video)",
    "audio_injector.": "Wan S2V (speech to video)",
    "audio_proj.": "MultiTalk or InfiniteTalk on Wan",
    "control_adapter.": "Wan Fun Camera",
    "ref_conv.": "Wan Fun Control",
    ".add_k_proj.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    ".cross_attn.k_img.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    "img_emb.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    "image_embedder.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    ".proj_l.": "TurboWan with sparse-linear attention",
}


# --- sizes -------------------------------------------------------------------------------------


def _transformer(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    dim = shapes["head.modulation"][-1]
    patch = stored["patch_embedding.weight"]
    patch_size = patch[2:] if len(patch) == 5 else _patch_size(settings.values)
    in_dim = patch[1] if len(patch) == 5 else patch[1] // prod(patch_size)
    values = {
        "dim": dim,
        "ffn_dim": shapes["blocks.0.ffn.fc1.weight"][0],
        "num_layers": count(shapes, "blocks"),
        "in_dim": in_dim,
        "out_dim": shapes["head.head.weight"][0] // prod(patch_size),
        "text_dim": shapes["text_embedding.fc1.weight"][1],
        "freq_dim": shapes["time_embedding.fc1.weight"][1],
        "cross_attn_norm": "blocks.0.norm3.weight" in shapes,
    }
    settings.agree(("dim",), dim)
    settings.agree(("ffn_dim",), values["ffn_dim"])
    settings.agree(("num_layers",), values["num_layers"])
    settings.agree(("in_dim", "in_channels"), in_dim)
    settings.agree(("out_dim", "out_channels"), values["out_dim"])
    settings.agree(("text_dim",), values["text_dim"])
    settings.agree(("freq_dim",), values["freq_dim"])
    settings.agree(("patch_size",), list(patch_size))
    heads = settings.whole(("num_heads", "num_attention_heads"), max(1, dim // _HEAD_DIM))
    if dim % heads or dim // heads % 2:
        raise BadFileError(
            f"{settings.where} is {dim} wide, which does not divide into {heads} even heads",
            "put the config.json of the original release beside it; it states the number of heads",
        )
    settings.agree(("attention_head_dim",), dim // heads)
    return {
        **values,
        "num_heads": heads,
        "text_len": settings.whole(("text_len",), _TEXT_LEN, limit=4096),
        "eps": settings.number(("eps",), 1e-6),
        "patch_size": tuple(patch_size),
    }


def _patch_size(settings: Mapping[str, Any]) -> Shape:
    """The patch size a config.json states, or that of every published Wan."""
    value = settings.get("patch_size")
    if isinstance(value, list) and len(value) == 3 and all(type(n) is int and n > 0 for n in value):
        return tuple(value)
    return (1, 2, 2)


def _vae(network: str, shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    """Widths of the encoder's stages, and what is between them, in the order they come."""
    nested = network == "wan_vae22"
    z_dim = shapes["conv2.weight"][0]
    base_dim = shapes["encoder.conv1.weight"][0]
    stages: list[list[int]] = [[]]
    temporal: list[bool] = []
    for place in _encoder_blocks(shapes, nested):
        if f"{place}.conv1.weight" in shapes:
            stages[-1].append(shapes[f"{place}.conv1.weight"][0])
        else:
            temporal.append(f"{place}.time_conv.weight" in shapes)
            stages.append([])
    widths = [stage[-1] for stage in stages]
    if any(width % base_dim for width in widths):
        raise ValueError(f"its widths {widths} are no multiples of {base_dim}")
    mult = tuple(width // base_dim for width in widths)
    values: dict[str, Any] = {
        "base_dim": base_dim,
        "z_dim": z_dim,
        "dim_mult": mult,
        "num_res_blocks": len(stages[0]),
        "temporal_downsample": tuple(temporal),
    }
    if nested:
        values["decoder_base_dim"] = shapes["decoder.head.norm.gamma"][0] // mult[0]
        values["patch_size"] = int((shapes["encoder.conv1.weight"][-1] // 3) ** 0.5)
    settings.agree(("base_dim",), base_dim)
    settings.agree(("z_dim",), z_dim)
    settings.agree(("dim_mult",), list(mult))
    settings.agree(("temperal_downsample",), temporal)
    values |= _latent_statistics(network, z_dim, settings)
    return values


def _latent_statistics(network: str, z_dim: int, settings: Settings) -> dict[str, Any]:
    """Mean and deviation of latents: from the config, else what the authors published."""
    mean, std = settings.statistics(z_dim)
    if mean is not None:
        return {"latents_mean": mean, "latents_std": std}
    published = 48 if network == "wan_vae22" else 16
    if z_dim != published:
        raise ValueError(
            f"it has {z_dim} latent channels, and only for {published} the mean and deviation "
            "are known without a config.json that has latents_mean and latents_std"
        )
    return {}  # the defaults of the config class


def _encoder_blocks(shapes: Shapes, nested: bool) -> list[str]:
    """Names of the encoder's blocks, "encoder.downsamples.0" and so on, in order."""
    pattern = r"encoder\.downsamples\.\d+" + (r"\.downsamples\.\d+" if nested else "")
    found = {match[0] for name in shapes if (match := re.match(pattern, name))}
    return sorted(found, key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])


# --- order of elements -------------------------------------------------------------------------


def _transformer_order(
    name: str, shape: Shape, layout: str, settings: Mapping[str, Any]
) -> Reorder:
    if name != "patch_embedding.weight":
        return Reorder(shape, None, shape)
    if len(shape) == 2:  # mlx-video: the row of a patch is (C, pt, ph, pw)
        patch_size = _patch_size(settings)
        shape = (shape[0], shape[1] // prod(patch_size), *patch_size)
    return Reorder(shape, LAST[5], (shape[0], prod(shape[1:])))


def _transformer_shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    if name != "patch_embedding.weight" or layout == "mlx-video":
        return shape
    patch_size = _patch_size(settings)
    return (shape[0], shape[1] // prod(patch_size), *patch_size)


def _vae_order(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Reorder:
    if name.endswith(".gamma"):  # (C, 1, 1) or (C, 1, 1, 1)
        return flat(shape)
    return Reorder(shape, None, shape) if layout == "mlx-video" else channels_last(shape)


def _vae_shape(
    network: str, name: str, shape: Shape, layout: str, settings: Mapping[str, Any]
) -> Shape:
    if name.endswith(".gamma"):
        if layout == "mlx-video" and network == "wan_vae22":
            return shape
        return (*shape, 1, 1) if ".middle.1." in name else (*shape, 1, 1, 1)
    return shape if layout == "mlx-video" else channels_second(shape)


def _vae_layout(layout: str, shapes: Mapping[str, Shape]) -> str:
    """mlx-video keeps the names of the 2.1 VAE but stores (O, kt, kh, kw, I)."""
    shape = shapes.get("decoder.middle.0.residual.2.weight", ())
    last = len(shape) == 5 and shape[1:4] == (3, 3, 3) and shape[4] == shape[0] != 3
    return "mlx-video" if layout == "original" and last else layout


def _computed(names: Names) -> dict[str, str]:
    return {name: "rotary table, computed when needed" for name in names if name == "freqs"}


# --- formats -----------------------------------------------------------------------------------

_VAE21 = NetworkFormat(
    network="wan_vae21",
    what="Wan 2.1 VAE",
    layouts=keys_wan.LAYOUTS,
    rows=keys_wan.vae21,
    signatures={
        "original": ("decoder.upsamples.0.residual.2.weight",),
        "diffusers": ("decoder.up_blocks.0.upsamplers.0.resample.1.weight",),
    },
    layout=_vae_layout,
    sizes=partial(_vae, "wan_vae21"),
    telling=("latents_mean", "base_dim"),
    reorder=_vae_order,
    foreign_shape=partial(_vae_shape, "wan_vae21"),
    as_published=True,
)
_VAE22 = NetworkFormat(
    network="wan_vae22",
    what="Wan 2.2 VAE",
    layouts=keys_wan.LAYOUTS,
    rows=keys_wan.vae22,
    signatures={
        "original": ("decoder.upsamples.0.upsamples.0.residual.2.weight",),
        "mlx-video": ("decoder.upsamples.0.upsamples.0.residual.layer_2.weight",),
        "diffusers": ("decoder.up_blocks.0.upsampler.resample.1.weight",),
    },
    sizes=partial(_vae, "wan_vae22"),
    telling=("latents_mean", "base_dim"),
    reorder=_vae_order,
    foreign_shape=partial(_vae_shape, "wan_vae22"),
    as_published=True,
)

_VAE21_FILE = "vae/wan_2.1_vae.safetensors"
_TEXT_FILE = "text_encoders/umt5_xxl_fp16.safetensors"  # with its tokenizer inside
_SPLIT_FILES = {
    "wan2.2-t2v-a14b": ("wan2.2_t2v_*_noise_14B_fp16.safetensors", _VAE21_FILE),
    "wan2.2-i2v-a14b": ("wan2.2_i2v_*_noise_14B_fp16.safetensors", _VAE21_FILE),
    "wan2.2-ti2v-5b": ("wan2.2_ti2v_5B_fp16.safetensors", "vae/wan2.2_vae.safetensors"),
    "wan2.1-t2v-1.3b": ("wan2.1_t2v_1.3B_bf16.safetensors", _VAE21_FILE),
}

FAMILY = Family(
    split_files={
        preset: (f"diffusion_models/{transformer}", vae, _TEXT_FILE)
        for preset, (transformer, vae) in _SPLIT_FILES.items()
    },
    title="Wan 2.2 T2V-A14B, I2V-A14B and TI2V-5B, Wan 2.1 T2V-1.3B",
    formats=(
        NetworkFormat(
            network="wan_transformer",
            what="Wan transformer",
            layouts=keys_wan.LAYOUTS,
            rows=keys_wan.transformer,
            signatures={
                "mlx-video": ("patch_embedding_proj.weight",),
                "diffusers": ("condition_embedder.time_proj.weight", "scale_shift_table"),
                "original": ("head.modulation", "blocks.0.modulation"),
            },
            sizes=_transformer,
            telling=("num_heads", "num_attention_heads"),
            reorder=_transformer_order,
            foreign_shape=_transformer_shape,
            quantized=r"blocks\.\d+\.((self|cross)_attn\.[qkvo]|ffn\.fc[12])\.weight",
            exact=r".*modulation|.*\.norm.*",
            dropped=_computed,
            relatives=_RELATIVES,
        ),
        NetworkFormat(
            network="umt5",
            what="UMT5 text encoder",
            layouts=keys_wan.LAYOUTS,
            rows=keys_wan.umt5,
            signatures={
                "mlx-video": ("blocks.0.ffn.gate_proj.weight",),
                "original": ("blocks.0.ffn.gate.0.weight",),
                "diffusers": t5.SIGNATURE,
            },
            is_it=lambda names: not t5.is_plain(names),
            sizes=partial(t5.sizes, "blocks.0.pos_embedding.weight"),
            telling=("d_model",),
            quantized=t5.QUANTIZED,
            dropped=t5.dropped,
            tokenizer_from="google/umt5-xxl",
        ),
        _VAE22,
        _VAE21,
    ),
)

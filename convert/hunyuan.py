"""HunyuanVideo 1.5's checkpoints: the original release, diffusers and ComfyUI.

The original's encoders are repositories of their own beside it: Qwen/Qwen2.5-VL-7B-Instruct,
Glyph-SDXL-v2 for ByT5, and a SigLIP for models that take an image.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlx_wan.errors import ModelError

from . import hunyuan_text, hunyuan_upsampler, keys_hunyuan, keys_hunyuan_vae
from .axes import Reorder, Shape, channels_last, channels_second, flat
from .format import Family, NetworkFormat
from .names import Names
from .settings import Settings, Shapes, count

# of the published networks; only for files without a config.json (ComfyUI)
_ROPE_AXES = {128: (16, 56, 56)}  # by the width of a head
_SCALING = {32: 1.03682}  # by the channels of the latents
_RELATIVES = {
    "single_blocks.": "HunyuanVideo 1.0",
    "single_transformer_blocks.": "HunyuanVideo 1.0",
    "guidance_in.": "HunyuanVideo with its guidance among the inputs",
}


# --- which model ---------------------------------------------------------------------------------

_HEIGHT = re.compile(r"(?<![0-9])(480|720|1080)p(?![a-z0-9])")
_TASK = re.compile(r"(?<![a-z0-9])(t2v|i2v|sr)(?![a-z0-9])")
_OTHERS = {"sparse": "HunyuanVideo 1.5 with block-sparse attention"}


def _identify(path: str) -> str | None:
    """By the nearest of its folders, or its own name, that tells height and task.

    Nothing in its tensors tells a guidance-distilled network from its base.
    """
    for name in _telling_names(path):
        heights, tasks = set(_HEIGHT.findall(name)), set(_TASK.findall(name))
        words = re.split(r"[^a-z0-9]+", name)
        if len(heights) == 1 and tasks == {"sr"}:  # there are only distilled ones
            return f"hunyuanvideo-1.5-{heights.pop()}p-sr"
        if len(heights) == len(tasks) == 1:
            kind = "-step" * ("step" in words) + "-distilled" * ("distilled" in words)
            return f"hunyuanvideo-1.5-{heights.pop()}p-{tasks.pop()}{kind}"
    return None


def _refuse_others(path: str) -> None:
    """Versions with the same tensors that need what is not built here."""
    name = next(_telling_names(path), "")
    for word in re.split(r"[^a-z0-9]+", name):
        if word in _OTHERS:
            raise ModelError(
                f"{path} is {_OTHERS[word]}; that is not supported",
                "take one of 480p_t2v, 480p_i2v, 720p_t2v, 720p_i2v, their distilled versions, or "
                "720p_sr_distilled, 1080p_sr_distilled",
            )


def _telling_names(path: str) -> Iterator[str]:
    """The file's name and those of its folders, nearest first, that have a height."""
    names = reversed(path.lower().replace("\\", "/").split("/"))
    return (name for name in names if _HEIGHT.search(name))


# --- sizes ---------------------------------------------------------------------------------------


def _transformer(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    _refuse_others(settings.where)
    dim, in_dim = shapes["img_in.weight"]
    head_dim = shapes["double_blocks.0.img.attn_q_norm.weight"][0]
    values: dict[str, Any] = {
        "dim": dim,
        "ffn_dim": shapes["double_blocks.0.img.mlp.fc1.weight"][0],
        "num_heads": dim // head_dim,
        "num_layers": count(shapes, "double_blocks"),
        "refiner_layers": count(shapes, "txt_in.blocks"),
        "in_dim": in_dim,
        "out_dim": shapes["final_layer.linear.weight"][0],
        "text_dim": shapes["txt_in.input_embedder.weight"][1],
        "glyph_dim": shapes["byt5_in.fc1.weight"][1],
        "glyph_ffn_dim": shapes["byt5_in.fc1.weight"][0],
        "vision_dim": shapes["vision_in.fc1.weight"][1],
        "freq_dim": shapes["time_in.fc1.weight"][1],
        "use_meanflow": "time_r_in.fc1.weight" in shapes,
        "use_cond_type_embedding": "cond_type_embedding.weight" in shapes,
    }
    settings.agree_all(
        {
            ("hidden_size",): dim,
            ("attention_head_dim",): head_dim,
            ("heads_num", "num_attention_heads"): values["num_heads"],
            ("mm_double_blocks_depth", "num_layers"): values["num_layers"],
            ("mm_single_blocks_depth",): 0,
            ("num_refiner_layers",): values["refiner_layers"],
            ("out_channels",): values["out_dim"],
            ("text_states_dim", "text_embed_dim"): values["text_dim"],
            ("text_embed_2_dim",): values["glyph_dim"],
            ("vision_states_dim", "image_embed_dim"): values["vision_dim"],
            ("use_meanflow",): values["use_meanflow"],
            ("guidance_embed",): False,
        },
    )
    # the original counts neither the channels of image and small video nor where they are
    concatenates = settings.values.get("concat_condition")
    parts = 3 if in_dim == 3 * values["out_dim"] + 2 else 2
    settings.agree(("in_channels",), (in_dim + 1) // parts - 1 if concatenates else in_dim)
    return {
        **values,
        "rope_axes": _rope_axes(head_dim, settings),
        "rope_theta": settings.between(("rope_theta",), 256.0, 1.0),
    }


def _rope_axes(head_dim: int, settings: Settings) -> tuple[int, ...]:
    """Channels of a head that turn with time, row and column."""
    names = ("rope_dim_list", "rope_axes_dim")
    axes = settings.wholes(names, 3, head_dim)
    if axes is not None:
        if sum(axes) != head_dim:
            settings.refuse(names[0], axes, f"whole numbers that add up to {head_dim}")
        return axes
    if head_dim not in _ROPE_AXES:
        raise ValueError(
            f"how its heads of {head_dim} channels turn is not known without a config.json that "
            "has rope_dim_list or rope_axes_dim"
        )
    return _ROPE_AXES[head_dim]


def _vae(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    stages = count(shapes, "encoder.down")
    dims = [shapes[f"encoder.down.{i}.blocks.0.conv1.weight"][0] for i in range(stages)]
    changes = [shapes[f"encoder.down.{i}.resample.conv.weight"][0] for i in range(stages - 1)]
    for dim, change in zip(dims[1:], changes, strict=True):
        if dim not in (4 * change, 8 * change):
            raise ValueError(f"{change} channels become {dim} where its size changes")
    z_dim = shapes["decoder.conv_in.weight"][-1]
    values: dict[str, Any] = {
        "block_out_channels": tuple(dims),
        "num_res_blocks": count(shapes, "encoder.down.0.blocks"),
        "temporal_downsample": tuple(
            dim == 8 * change for dim, change in zip(dims[1:], changes, strict=True)
        ),
        "z_dim": z_dim,
    }
    settings.agree_all(
        {
            ("latent_channels",): z_dim,
            ("block_out_channels",): dims,
            ("layers_per_block",): values["num_res_blocks"],
            ("ffactor_spatial", "spatial_compression_ratio"): 2 ** (stages - 1),
            ("ffactor_temporal", "temporal_compression_ratio"): 2
            ** sum(values["temporal_downsample"]),
        },
    )
    if settings.values.get("shift_factor"):
        settings.refuse("shift_factor", settings.values["shift_factor"], "null")
    if settings.values.get("scaling_factor") is None and z_dim not in _SCALING:
        raise ValueError(
            f"how its {z_dim} latent channels are scaled is not known without a config.json that "
            "has scaling_factor"
        )
    return {
        **values,
        "scaling_factor": settings.between(("scaling_factor",), _SCALING.get(z_dim, 1.0), 1e-6),
    }


# --- order of elements ---------------------------------------------------------------------------


def _transformer_order(
    name: str, shape: Shape, layout: str, settings: Mapping[str, Any]
) -> Reorder:
    if name == "img_in.weight" and shape[2:] == (1, 1, 1):  # a convolution of one pixel
        return Reorder(shape, None, shape[:2])
    return Reorder(shape, None, shape)


def _transformer_shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    return (*shape, 1, 1, 1) if name == "img_in.weight" else shape


def _vae_order(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Reorder:
    return flat(shape) if name.endswith(".gamma") else channels_last(shape)


def _vae_shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    return (*shape, 1, 1, 1) if name.endswith(".gamma") else channels_second(shape)


# --- formats -------------------------------------------------------------------------------------


def _has(part: str, names: Names) -> bool:
    return any(part in name for name in names)


_TRANSFORMER = NetworkFormat(
    network="hunyuan_transformer",
    what="HunyuanVideo 1.5 transformer",
    layouts=keys_hunyuan.LAYOUTS,
    rows=keys_hunyuan.transformer,
    signatures={
        "diffusers": ("context_embedder_2.norm.weight", "cond_type_embed.weight"),
        "original": ("double_blocks.0.img_attn_q.weight", "double_blocks.0.txt_attn_q.weight"),
        "comfyui": ("double_blocks.0.img_attn_qkv.weight", "double_blocks.0.txt_attn_qkv.weight"),
    },
    is_it=lambda names: _has("byt5_in.", names) or _has("context_embedder_2.", names),
    sizes=_transformer,
    telling=("mm_double_blocks_depth", "num_refiner_layers"),
    reorder=_transformer_order,
    foreign_shape=_transformer_shape,
    quantized=r"double_blocks\.\d+\.(img|txt)\.(attn_([qkv]|proj)|mlp\.fc[12])\.weight"
    r"|txt_in\.blocks\.\d+\.([qkv]|proj|fc[12])\.weight",
    exact=r".*norm.*",
    relatives=_RELATIVES,
)
_VAE = NetworkFormat(
    network="hunyuan_vae",
    what="HunyuanVideo 1.5 VAE",
    layouts=keys_hunyuan_vae.LAYOUTS,
    rows=keys_hunyuan_vae.vae,
    signatures={
        "original": ("decoder.mid.attn_1.norm.gamma", "encoder.mid.attn_1.norm.gamma"),
        "diffusers": (
            "decoder.mid_block.attentions.0.proj_out.weight",
            "encoder.mid_block.attentions.0.proj_out.weight",
        ),
    },
    sizes=_vae,
    telling=("scaling_factor", "latent_channels"),
    reorder=_vae_order,
    foreign_shape=_vae_shape,
    as_published=True,
)
FAMILY = Family(
    title="HunyuanVideo 1.5 for 480p and 720p",
    formats=(
        *(_TRANSFORMER, _VAE, hunyuan_upsampler.TO_720, hunyuan_upsampler.TO_1080),
        *(hunyuan_text.QWEN, hunyuan_text.BYT5, hunyuan_text.SIGLIP),
    ),
    identify=_identify,
    only_by_name=True,
)

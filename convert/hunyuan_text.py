"""The encoders HunyuanVideo 1.5 reads prompts and images with, in the repositories of their authors
and as diffusers and ComfyUI have them."""

from collections.abc import Mapping
from functools import partial
from math import isqrt
from typing import Any

from . import keys_hunyuan_text, t5
from .axes import Reorder, Shape, channels_last, channels_second
from .format import NetworkFormat
from .settings import Settings, Shapes, count

# of the published networks; only for files without a config.json (ComfyUI)
_QWEN_HEAD_DIM, _QWEN_DIM, _QWEN_LAYERS = 128, 3584, 28
_SIGLIP = {1152: (16, 384)}  # width -> heads, size of a picture


def _qwen(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    settings = _flat(settings, "text_config", "rope_parameters")
    vocab_size, dim = shapes["embed_tokens.weight"]
    queries = shapes["layers.0.self_attn.q_proj.weight"][0]
    keys = shapes["layers.0.self_attn.k_proj.weight"][0]
    layers = count(shapes, "layers")
    published = layers + keys_hunyuan_text.LAYERS_LEFT_OUT
    if not settings.values and (dim, published) != (_QWEN_DIM, _QWEN_LAYERS):
        raise ValueError(
            f"without a config.json only one of {_QWEN_LAYERS} layers and a width of {_QWEN_DIM} "
            f"is known; it has {published} and {dim}"
        )
    heads = settings.whole(("num_attention_heads",), max(1, queries // _QWEN_HEAD_DIM))
    if queries % heads or keys % (queries // heads):
        raise ValueError(f"{queries} rows of queries and {keys} of keys are no {heads} heads")
    settings.agree_all(
        {
            ("vocab_size",): vocab_size,
            ("hidden_size",): dim,
            ("intermediate_size",): shapes["layers.0.mlp.gate_proj.weight"][0],
            ("num_hidden_layers",): published,
            ("num_key_value_heads",): keys // (queries // heads),
        },
    )
    return {
        "vocab_size": vocab_size,
        "dim": dim,
        "dim_ffn": shapes["layers.0.mlp.gate_proj.weight"][0],
        "num_heads": heads,
        "num_kv_heads": keys // (queries // heads),
        "num_layers": layers,
        "rope_theta": settings.between(("rope_theta",), 1e6, 1.0),
        "eps": settings.number(("rms_norm_eps",), 1e-6),
    }


def _siglip(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    settings = _flat(settings, "vision_config")
    dim, patch_size = shapes["patch_embedding.weight"][:2]
    side = isqrt(shapes["position_embedding.weight"][0])
    if not settings.values and dim not in _SIGLIP:
        raise ValueError(f"for a width of {dim} its config.json is needed")
    heads, size = _SIGLIP.get(dim, (1, side * patch_size))
    size = settings.whole(("image_size",), size, limit=1 << 14)
    if size // patch_size != side:
        raise ValueError(f"pictures of {size} pixels have no {side} patches of {patch_size} a side")
    values: dict[str, Any] = {
        "dim": dim,
        "dim_ffn": shapes["layers.0.mlp.fc1.weight"][0],
        "num_heads": settings.whole(("num_attention_heads",), heads),
        "num_layers": count(shapes, "layers"),
        "image_size": size,
        "patch_size": patch_size,
        "eps": settings.number(("layer_norm_eps",), 1e-6),
    }
    settings.agree_all(
        {
            ("hidden_size",): dim,
            ("intermediate_size",): values["dim_ffn"],
            ("num_hidden_layers",): values["num_layers"],
            ("patch_size",): patch_size,
        },
    )
    return values


def _flat(settings: Settings, *inner: str) -> Settings:
    """Newer files have in tables of their own what older ones have beside each other."""
    values = dict(settings.values)
    for name in inner:
        table = values.get(name)
        values |= table if isinstance(table, dict) else {}
    return Settings(values, settings.where)


def _siglip_order(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Reorder:
    return channels_last(shape)


def _siglip_shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    return channels_second(shape)


QWEN = NetworkFormat(
    network="qwen25vl",
    what="Qwen2.5-VL text encoder",
    layouts=keys_hunyuan_text.LAYOUTS,
    rows=keys_hunyuan_text.qwen,
    signatures={  # Qwen's queries have a bias, those of its relatives have not
        "original": ("model.layers.0.self_attn.q_proj.bias",),
        "diffusers": ("layers.0.self_attn.q_proj.bias",),
        "resaved": ("model.language_model.layers.0.self_attn.q_proj.bias",),
    },
    sizes=_qwen,
    telling=("num_key_value_heads", "text_config"),
    quantized=r"layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.weight",
    dropped=partial(keys_hunyuan_text.dropped, "qwen25vl"),
)
BYT5 = NetworkFormat(
    network="byt5",
    what="Glyph-ByT5 text encoder",
    layouts=keys_hunyuan_text.LAYOUTS,
    rows=keys_hunyuan_text.byt5,
    signatures={
        "original": (f"module.text_tower.{t5.SIGNATURE[0]}",),
        "diffusers": t5.SIGNATURE,
    },
    is_it=lambda names: any("module.text_tower." in name for name in names) or t5.is_plain(names),
    sizes=partial(t5.sizes, "pos_embedding.weight"),
    telling=("d_model",),
    quantized=t5.QUANTIZED,
    dropped=partial(keys_hunyuan_text.dropped, "byt5"),
)
SIGLIP = NetworkFormat(
    network="siglip",
    what="SigLIP image encoder",
    layouts=keys_hunyuan_text.LAYOUTS,
    rows=keys_hunyuan_text.siglip,
    signatures={  # CLIP's patches have no bias
        "original": ("vision_model.embeddings.patch_embedding.bias",),
        "resaved": ("embeddings.patch_embedding.bias",),
    },
    sizes=_siglip,
    telling=("image_size", "vision_config"),
    reorder=_siglip_order,
    foreign_shape=_siglip_shape,
    dropped=partial(keys_hunyuan_text.dropped, "siglip"),
)

"""Tiny checkpoints of HunyuanVideo 1.5 in every layout we read, under their real names.

    weights = build(folder, "480p_i2v", "original")

writes one and returns what of it is converted: {component: {our name: array in our axis order}}.
Each has, as the published ones do, tensors that are left out.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from checkpoints import Weights, random_weights, transformers_config, write_json

from mlx_wan.bench.layouts import to_layout
from mlx_wan.bench.networks_hunyuan_text import byte_bpe
from mlx_wan.bench.synthetic import write_pth, write_safetensors, write_sharded
from mlx_wan.models.byt5 import ByT5Config
from mlx_wan.models.hunyuan import HunyuanConfig
from mlx_wan.models.hunyuan_upsampler import Upsampler720Config, Upsampler1080Config
from mlx_wan.models.qwen25vl import QwenConfig
from mlx_wan.models.siglip import SiglipConfig
from mlx_wan.models.vae_hunyuan import HunyuanVAEConfig

LAYOUTS = ("original", "diffusers", "comfyui")

TRANSFORMER = HunyuanConfig(
    dim=128,  # one head of 128: ComfyUI's files do not tell how others turn
    ffn_dim=128,
    num_heads=1,
    num_layers=2,
    refiner_layers=1,
    text_dim=64,
    glyph_dim=64,
    glyph_ffn_dim=64,
    vision_dim=32,
    freq_dim=64,
)
VAE = HunyuanVAEConfig(block_out_channels=(16, 16, 32, 64, 64), num_res_blocks=1)
QWEN = QwenConfig(vocab_size=340, dim=64, dim_ffn=128, num_heads=2, num_kv_heads=1, num_layers=2)
BYT5 = ByT5Config(vocab_size=270, dim=64, dim_attn=64, dim_ffn=128, num_heads=2, num_layers=2)
SIGLIP = SiglipConfig(dim=32, dim_ffn=64, num_heads=2, num_layers=2, image_size=45, patch_size=14)
UPSAMPLERS: dict[str, tuple[str, Any]] = {
    "720p": ("hunyuan_upsampler_720", Upsampler720Config(dim=16, num_blocks=2)),
    "1080p": ("hunyuan_upsampler_1080", Upsampler1080Config((32, 16), num_res_blocks=1)),
}

# component -> layout -> the column of its names
COLUMNS = {
    "transformer": dict(zip(LAYOUTS, LAYOUTS, strict=True)),
    "vae": {"original": "original", "diffusers": "diffusers", "comfyui": "original"},
    "text_encoder": {"original": "original", "diffusers": "diffusers", "comfyui": "original"},
    "text_encoder_2": {"original": "original", "diffusers": "diffusers", "comfyui": "diffusers"},
    "image_encoder": {"original": "original", "diffusers": "resaved", "comfyui": "original"},
    "upsampler": {"original": "original", "comfyui": "original"},  # diffusers has none
}


def configs(version: str) -> dict[str, tuple[str, Any]]:
    """component -> (network, config) of a tiny model; `version` as the authors call it."""
    transformer = replace(TRANSFORMER, use_meanflow="step_distilled" in version)
    if "_sr_" in version:
        transformer = replace(transformer, in_dim=98)
    found: dict[str, tuple[str, Any]] = {
        "transformer": ("hunyuan_transformer", transformer),
        "text_encoder": ("qwen25vl", QWEN),
        "text_encoder_2": ("byt5", BYT5),
        "vae": ("hunyuan_vae", VAE),
    }
    if "i2v" in version or "_sr_" in version:
        found["image_encoder"] = ("siglip", SIGLIP)
    if "_sr_" in version:
        found["upsampler"] = UPSAMPLERS[version.split("_")[0]]
    return found


def build(
    folder: Path,
    version: str = "480p_t2v",
    layout: str = "original",
    *,
    dtype: str = "F32",
    seed: int = 0,
) -> dict[str, Weights]:
    """Write a whole checkpoint; returns its weights by component, in our names and order."""
    made, weights = _made(version, layout, dtype, seed)
    copytree(made.name, folder, dirs_exist_ok=True)
    return weights


@cache
def _made(
    version: str, layout: str, dtype: str, seed: int
) -> tuple[TemporaryDirectory[str], dict[str, Weights]]:
    """One that is written once, to be copied."""
    weights = {
        component: random_weights(network, config, seed + number)
        for number, (component, (network, config)) in enumerate(configs(version).items())
    }
    foreign = {
        name: _foreign(name, configs(version)[name][0], layout, tensors)
        for name, tensors in weights.items()
    }
    writers: dict[str, Callable[[Path, str, dict[str, Weights], str], None]] = {
        "original": _write_original,
        "diffusers": _write_diffusers,
        "comfyui": _write_comfyui,
    }
    made = TemporaryDirectory()
    writers[layout](Path(made.name), version, foreign, dtype)
    return made, weights


def foreign_of(component: str, layout: str, version: str, seed: int = 0) -> Weights:
    """What `build` writes for a component."""
    number = list(configs(version)).index(component)
    weights = random_weights(*configs(version)[component], seed + number)
    return _foreign(component, configs(version)[component][0], layout, weights)


def _foreign(component: str, network: str, layout: str, weights: Weights) -> Weights:
    """One component as it is published, with what nobody here reads."""
    column = COLUMNS[component][layout]
    tensors = to_layout(network, column, weights)
    if component == "text_encoder":
        prefix = "" if column == "diffusers" else "model."
        last = f"{prefix}layers.{QWEN.num_layers - 1}."
        for i in range(2):
            name = f"{prefix}layers.{QWEN.num_layers + i}."
            copies = {n.replace(last, name): -a for n, a in tensors.items() if n.startswith(last)}
            tensors |= copies
        tensors[f"{prefix}norm.weight"] = np.ones(QWEN.dim, np.float32)
        if prefix:
            tensors["lm_head.weight"] = np.ones((QWEN.vocab_size, QWEN.dim), np.float32)
            tensors["visual.blocks.0.attn.qkv.weight"] = np.ones((6, 4), np.float32)
    if component == "text_encoder_2" and column == "original":
        tensors["module.mapper.weight"] = np.ones((4, 4), np.float32)
    if component == "image_encoder":
        prefix = "vision_model." if column == "original" else ""
        tensors[f"{prefix}head.probe"] = np.ones((1, 1, SIGLIP.dim), np.float32)
    return tensors


def _write_original(folder: Path, version: str, foreign: dict[str, Weights], dtype: str) -> None:
    """The repository of the authors, with the others below it as they say."""
    stem = "diffusion_pytorch_model"
    place = folder / "transformer" / version
    write_safetensors(place / f"{stem}.safetensors", foreign["transformer"], dtype)
    write_json(place / "config.json", original_config(configs(version)["transformer"][1]))
    write_json(folder / "config.json", {"_class_name": "HunyuanVideo_1_5_Pipeline"})
    write_safetensors(folder / "vae" / f"{stem}.safetensors", foreign["vae"])
    write_json(folder / "vae" / "config.json", vae_config("original"))
    texts = folder / "text_encoder"
    write_sharded(texts / "llm", "model", foreign["text_encoder"], 2, dtype)
    write_json(texts / "llm" / "config.json", qwen_config())
    (texts / "llm" / "tokenizer.json").write_text(byte_bpe(), encoding="utf-8")
    write_json(texts / "byt5-small" / "config.json", {"model_type": "t5", "d_model": 1472})
    glyph = texts / "Glyph-SDXL-v2" / "checkpoints" / "byt5_model.pt"
    write_pth(glyph, foreign["text_encoder_2"], dtype, table="state_dict")
    if "image_encoder" in foreign:
        place = folder / "vision_encoder" / "siglip" / "image_encoder"
        write_safetensors(place / "model.safetensors", foreign["image_encoder"], dtype)
        write_json(place / "config.json", siglip_config())
    if "upsampler" in foreign:
        place = folder / "upsampler" / version
        write_safetensors(place / f"{stem}.safetensors", foreign["upsampler"])
        write_json(place / "config.json", upsampler_config(version))


def _write_diffusers(folder: Path, version: str, foreign: dict[str, Weights], dtype: str) -> None:
    """`folder` is one that the community's repository of this version would be in."""
    folder = folder / f"HunyuanVideo-1.5-Diffusers-{version}"
    stem = "diffusion_pytorch_model"
    write_sharded(folder / "transformer", stem, foreign["transformer"], 2, dtype)
    transformer = configs(version)["transformer"][1]
    write_json(folder / "transformer" / "config.json", diffusers_config(transformer))
    write_safetensors(folder / "vae" / f"{stem}.safetensors", foreign["vae"])
    write_json(folder / "vae" / "config.json", vae_config("diffusers"))
    for name, config in (
        ("text_encoder", qwen_config()),
        ("text_encoder_2", transformers_config(BYT5)),
        ("image_encoder", siglip_config()),
    ):
        if name in foreign:
            write_safetensors(folder / name / "model.safetensors", foreign[name], dtype)
            write_json(folder / name / "config.json", config)
    write_vocabulary(folder / "tokenizer")
    write_json(folder / "tokenizer_2" / "tokenizer_config.json", {"added_tokens_decoder": {}})
    write_json(folder / "model_index.json", {"_class_name": "HunyuanVideo15Pipeline"})


def _write_comfyui(folder: Path, version: str, foreign: dict[str, Weights], dtype: str) -> None:
    """As below split_files/, with a tokenizer. Small encoders need their config.json."""
    name = version.replace("v_distilled", "v_cfg_distilled")
    file = folder / "diffusion_models" / f"hunyuanvideo1.5_{name}_fp16.safetensors"
    write_safetensors(file, foreign["transformer"], dtype)
    vae = folder / "vae" / "hunyuanvideo15_vae_fp16.safetensors"
    write_safetensors(vae, foreign["vae"])
    texts = folder / "text_encoders"
    write_safetensors(texts / "qwen_2.5_vl_7b.safetensors", foreign["text_encoder"], dtype)
    write_json(texts / "config.json", qwen_config())
    write_safetensors(
        texts / "byt5_small_glyphxl_fp16.safetensors", foreign["text_encoder_2"], dtype
    )
    (texts / "tokenizer.json").write_text(byte_bpe(), encoding="utf-8")
    if "image_encoder" in foreign:
        file = folder / "clip_vision" / "sigclip_vision_patch14_384.safetensors"
        write_safetensors(file, foreign["image_encoder"], dtype)
        write_json(folder / "clip_vision" / "config.json", siglip_config())
    if "upsampler" in foreign:
        name = f"hunyuanvideo15_latent_upsampler_{version.split('_')[0]}.safetensors"
        write_safetensors(folder / "latent_upscale_models" / name, foreign["upsampler"])


def write_vocabulary(folder: Path) -> None:
    """The tokenizer as vocab.json, merges.txt and tokenizer_config.json."""
    content = json.loads(byte_bpe())
    write_json(folder / "vocab.json", content["model"]["vocab"])
    merges = [" ".join(pair) for pair in content["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    added = {str(token["id"]): {"content": token["content"]} for token in content["added_tokens"]}
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": added})


def original_config(config: HunyuanConfig) -> dict[str, Any]:
    return {
        "_class_name": "HunyuanVideo_1_5_DiffusionTransformer",
        "patch_size": [1, 1, 1],
        "in_channels": config.out_dim,
        "concat_condition": True,
        "out_channels": config.out_dim,
        "hidden_size": config.dim,
        "heads_num": config.num_heads,
        "mlp_width_ratio": config.ffn_dim / config.dim,
        "mm_double_blocks_depth": config.num_layers,
        "mm_single_blocks_depth": 0,
        "rope_dim_list": list(config.rope_axes),
        "rope_theta": 256,
        "text_states_dim": config.text_dim,
        "text_states_dim_2": None,
        "vision_states_dim": config.vision_dim,
        "guidance_embed": False,
        "use_meanflow": config.use_meanflow,
    }


def diffusers_config(config: HunyuanConfig) -> dict[str, Any]:
    return {
        "_class_name": "HunyuanVideo15Transformer3DModel",
        "in_channels": config.in_dim,
        "out_channels": config.out_dim,
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.dim // config.num_heads,
        "num_layers": config.num_layers,
        "num_refiner_layers": config.refiner_layers,
        "mlp_ratio": config.ffn_dim / config.dim,
        "patch_size": 1,
        "patch_size_t": 1,
        "text_embed_dim": config.text_dim,
        "text_embed_2_dim": config.glyph_dim,
        "image_embed_dim": config.vision_dim,
        "rope_theta": 256.0,
        "rope_axes_dim": list(config.rope_axes),
        "use_meanflow": config.use_meanflow,
        "task_type": "i2v",
        "target_size": 640,
    }


def upsampler_config(version: str) -> dict[str, Any]:
    if version.startswith("720p"):
        config = UPSAMPLERS["720p"][1]
        sizes = {"in_channels": 32, "hidden_channels": config.dim, "num_blocks": config.num_blocks}
        return {"_class_name": "SRTo720pUpsampler", "out_channels": 32, **sizes}
    config = UPSAMPLERS["1080p"][1]
    sizes = {"block_out_channels": list(config.dims), "num_res_blocks": config.num_res_blocks}
    return {"_class_name": "SRTo1080pUpsampler", "z_channels": 32, "out_channels": 32, **sizes}


def vae_config(layout: str) -> dict[str, Any]:
    dims = {"latent_channels": VAE.z_dim, "block_out_channels": list(VAE.block_out_channels)}
    ratios = ("ffactor_spatial", "ffactor_temporal")
    if layout == "diffusers":
        ratios = ("spatial_compression_ratio", "temporal_compression_ratio")
    values = {"layers_per_block": VAE.num_res_blocks, "scaling_factor": VAE.scaling_factor}
    return {**dims, **values, ratios[0]: 16, ratios[1]: 4}


def qwen_config() -> dict[str, Any]:
    return {
        "model_type": "qwen2_5_vl",
        "vocab_size": QWEN.vocab_size,
        "hidden_size": QWEN.dim,
        "intermediate_size": QWEN.dim_ffn,
        "num_hidden_layers": QWEN.num_layers + 2,
        "num_attention_heads": QWEN.num_heads,
        "num_key_value_heads": QWEN.num_kv_heads,
        "rms_norm_eps": QWEN.eps,
        "rope_theta": QWEN.rope_theta,
    }


def siglip_config() -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": SIGLIP.dim,
        "intermediate_size": SIGLIP.dim_ffn,
        "num_hidden_layers": SIGLIP.num_layers,
        "num_attention_heads": SIGLIP.num_heads,
        "image_size": SIGLIP.image_size,
        "patch_size": SIGLIP.patch_size,
    }

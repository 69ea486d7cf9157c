"""Tiny checkpoints of random numbers in every layout we read, under their real names.

    weights = build(folder, "wan2.2-t2v-a14b", "diffusers")

writes one and returns what is in it: {component: {our name: array in our axis order}}.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlx_wan.bench import layouts
from mlx_wan.bench.synthetic import spiece_model, write_pth, write_safetensors, write_sharded
from mlx_wan.convert.families import from_ours
from mlx_wan.convert.quantize import is_quantized
from mlx_wan.convert.sizes import expected_shapes
from mlx_wan.models.umt5 import UMT5Config
from mlx_wan.models.vae_wan21 import WanVAE21Config
from mlx_wan.models.vae_wan22 import WanVAE22Config
from mlx_wan.models.wan import WanConfig

PATCH = (1, 2, 2)
LAYOUTS = ("original", "diffusers", "comfyui", "mlx-video")
Weights = dict[str, np.ndarray]

TRANSFORMER = WanConfig(
    dim=128, ffn_dim=192, num_heads=2, num_layers=2, in_dim=16, out_dim=16, text_dim=64, text_len=32
)
TEXT_ENCODER = UMT5Config(
    vocab_size=320, dim=64, dim_attn=64, dim_ffn=128, num_heads=2, num_layers=2
)
VAE21 = WanVAE21Config(base_dim=8)
VAE22 = WanVAE22Config(base_dim=8, decoder_base_dim=16)

# model -> transformer components, and their config
MODELS = {
    "wan2.2-t2v-a14b": (("high_noise", "low_noise"), TRANSFORMER),
    "wan2.2-i2v-a14b": (("high_noise", "low_noise"), replace(TRANSFORMER, in_dim=36)),
    "wan2.2-ti2v-5b": (("transformer",), replace(TRANSFORMER, in_dim=48, out_dim=48)),
    "wan2.1-t2v-1.3b": (("transformer",), TRANSFORMER),
}


def configs(model: str) -> dict[str, tuple[str, Any]]:
    """component -> (network, config) of a tiny model."""
    experts, transformer = MODELS[model]
    vae = ("wan_vae22", VAE22) if model == "wan2.2-ti2v-5b" else ("wan_vae21", VAE21)
    return {
        **dict.fromkeys(experts, ("wan_transformer", transformer)),
        "text_encoder": ("umt5", TEXT_ENCODER),
        "vae": vae,
    }


def random_weights(network: str, config: Any, seed: int) -> Weights:
    """Every tensor of a network by our names: norms around 1, the rest around 0."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in expected_shapes(network, config).items():
        values = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.1)
        weights[name] = values + 1 if "norm" in name and not name.endswith("bias") else values
    return weights


def to_layout(network: str, weights: Mapping[str, np.ndarray], layout: str) -> Weights:
    """Our tensors by the names and in the axis order of another layout."""
    theirs = "diffusers" if (layout, network) == ("comfyui", "umt5") else layout
    theirs = "original" if theirs == "comfyui" else theirs
    return layouts.to_layout(network, theirs, weights)


def build(
    folder: Path,
    model: str = "wan2.2-t2v-a14b",
    layout: str = "original",
    *,
    dtype: str = "F32",
    shards: int = 1,
    seed: int = 0,
) -> dict[str, Weights]:
    """Write a whole checkpoint; returns its weights by component, in our names and order."""
    weights = {
        component: random_weights(network, config, seed + number)
        for number, (component, (network, config)) in enumerate(configs(model).items())
    }
    folder.mkdir(parents=True, exist_ok=True)
    writer = {
        "original": _write_original,
        "diffusers": _write_diffusers,
        "comfyui": _write_comfyui,
        "mlx-video": _write_mlx_video,
    }[layout]
    foreign = {
        component: to_layout(configs(model)[component][0], tensors, layout)
        for component, tensors in weights.items()
    }
    writer(folder, model, foreign, dtype, shards)
    return weights


def _write_original(
    folder: Path, model: str, foreign: dict[str, Weights], dtype: str, shards: int
) -> None:
    experts, config = MODELS[model]
    for expert in experts:
        place = folder / f"{expert}_model" if len(experts) == 2 else folder
        _write_weights(place, "diffusion_pytorch_model", foreign[expert], dtype, shards)
        write_json(place / "config.json", original_config(model, config))
    vae = "Wan2.2_VAE.pth" if model == "wan2.2-ti2v-5b" else "Wan2.1_VAE.pth"
    write_pth(folder / vae, foreign["vae"], "F32")
    write_pth(folder / "models_t5_umt5-xxl-enc-bf16.pth", foreign["text_encoder"], "BF16")
    write_tokenizer(folder / "google" / "umt5-xxl")


def original_config(model: str, config: WanConfig) -> dict[str, Any]:
    """What the authors' classes write; some settings are not in it."""
    kind = model.split("-")[1]
    names = ("text_len", "in_dim", "dim", "ffn_dim", "freq_dim", "out_dim", "num_heads")
    return {
        "_class_name": "WanModel",
        "model_type": kind,
        **{name: getattr(config, name) for name in (*names, "num_layers", "eps")},
    }


def _write_diffusers(
    folder: Path, model: str, foreign: dict[str, Weights], dtype: str, shards: int
) -> None:
    experts, config = MODELS[model]
    stem = "diffusion_pytorch_model"
    for expert, name in zip(experts, ("transformer", "transformer_2"), strict=False):
        _write_weights(folder / name, stem, foreign[expert], dtype, shards)
        write_json(folder / name / "config.json", diffusers_config(config))
    _write_weights(folder / "vae", stem, foreign["vae"], "F32", 1)
    write_json(folder / "vae" / "config.json", diffusers_vae_config(configs(model)["vae"][1]))
    _write_weights(folder / "text_encoder", "model", foreign["text_encoder"], "BF16", shards)
    write_json(folder / "text_encoder" / "config.json", transformers_config(TEXT_ENCODER))
    write_tokenizer(folder / "tokenizer")
    write_json(folder / "model_index.json", {"_class_name": "WanPipeline"})


def diffusers_config(config: WanConfig) -> dict[str, Any]:
    return {
        "_class_name": "WanTransformer3DModel",
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "in_channels": config.in_dim,
        "out_channels": config.out_dim,
        "ffn_dim": config.ffn_dim,
        "num_layers": config.num_layers,
        "text_dim": config.text_dim,
        "freq_dim": config.freq_dim,
        "patch_size": list(config.patch_size),
        "cross_attn_norm": True,
        "eps": config.eps,
        "image_dim": None,
        "added_kv_proj_dim": None,
    }


def diffusers_vae_config(config: Any) -> dict[str, Any]:
    values = {"_class_name": "AutoencoderKLWan", **asdict(config)}
    values["temperal_downsample"] = values.pop("temporal_downsample")  # their spelling
    return values


def transformers_config(config: UMT5Config) -> dict[str, Any]:
    return {
        "model_type": "umt5",
        "vocab_size": config.vocab_size,
        "d_model": config.dim,
        "d_kv": config.dim_attn // config.num_heads,
        "d_ff": config.dim_ffn,
        "num_heads": config.num_heads,
        "num_layers": config.num_layers,
        "relative_attention_num_buckets": config.num_buckets,
        "relative_attention_max_distance": config.max_distance,
        "layer_norm_epsilon": config.eps,
    }


def _write_comfyui(
    folder: Path, model: str, foreign: dict[str, Weights], dtype: str, shards: int
) -> None:
    """As below split_files/ of ComfyUI's repositories, without any config.json."""
    experts, _ = MODELS[model]
    for expert in experts:
        file = folder / "diffusion_models" / f"{model.replace('-', '_')}_{expert}_fp16.safetensors"
        write_safetensors(file, foreign[expert], dtype)
    write_safetensors(folder / "vae" / "wan_vae.safetensors", foreign["vae"], "F16")
    encoder = dict(foreign["text_encoder"])
    encoder["spiece_model"] = np.frombuffer(spiece_model(), np.uint8)
    write_safetensors(folder / "text_encoders" / "umt5_xxl_fp16.safetensors", encoder, "F16")


def write_fp8_scaled(
    path: Path,
    network: str,
    tensors: Weights,
    *,
    modern: bool = False,
    extra: Weights | None = None,
) -> Weights:
    """ComfyUI's fp8_scaled: linears in float8 with one scale each, the rest in float16.

    Returns the values that are in the file. `modern` uses the newer names.
    """
    import mlx.core as mx

    stored: Weights = {}
    dtypes = dict.fromkeys(tensors, "F16")
    meant = {name: array.astype(np.float16).astype(np.float32) for name, array in tensors.items()}
    shares = from_ours(network, "original", expected_names(network))
    ours = {share.name: name for name, share in shares.items()}
    for name, array in tensors.items():
        stored[name] = array
        if not is_quantized(network, ours.get(name, "")):
            continue
        stem = name.removesuffix(".weight")
        scale = np.float32(np.abs(array).max() / 448)
        stored[name] = array / scale
        dtypes[name] = "F8_E4M3"
        codes = mx.to_fp8(mx.array(stored[name]))
        meant[name] = np.array(mx.from_fp8(codes, mx.float32)) * scale
        stored[f"{stem}.{'weight_scale' if modern else 'scale_weight'}"] = np.array(scale)
        stored[f"{stem}.{'input_scale' if modern else 'scale_input'}"] = np.array(np.float32(1))
        if modern:
            told = json.dumps({"format": "float8_e4m3fn"}).encode()
            stored[f"{stem}.comfy_quant"] = np.frombuffer(told, np.uint8)
    if not modern:
        stored["scaled_fp8"] = np.zeros(2, np.float32)
        dtypes["scaled_fp8"] = "F8_E4M3"
    write_safetensors(path, {**stored, **(extra or {})}, dtypes)
    return meant


def expected_names(network: str) -> list[str]:
    sizes = {"wan_transformer": TRANSFORMER, "umt5": TEXT_ENCODER, "wan_vae21": VAE21}
    return list(expected_shapes(network, sizes[network]))


def _write_mlx_video(
    folder: Path, model: str, foreign: dict[str, Weights], dtype: str, shards: int
) -> None:
    experts, config = MODELS[model]
    for expert in experts:
        name = f"{expert}_model" if len(experts) == 2 else "model"
        write_safetensors(folder / f"{name}.safetensors", foreign[expert], dtype)
    write_safetensors(folder / "t5_encoder.safetensors", foreign["text_encoder"], "BF16")
    write_safetensors(folder / "vae.safetensors", foreign["vae"], "F32")
    settings = {**asdict(config), "dual_model": len(experts) == 2, "vae_z_dim": config.out_dim}
    write_json(folder / "config.json", settings)
    write_tokenizer(folder)


def _write_weights(folder: Path, stem: str, tensors: Weights, dtype: str, shards: int) -> None:
    if shards == 1:
        write_safetensors(folder / f"{stem}.safetensors", tensors, dtype)
    else:
        write_sharded(folder, stem, tensors, shards, dtype)


def write_json(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def write_tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(spiece_model())

"""Tiny checkpoints of Mochi in every layout we read, under their real names.

    weights = build(folder, "diffusers")

writes one and returns what is in it: {component: {our name: array in our axis order}}.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from checkpoints import Weights, random_weights, transformers_config, write_json, write_tokenizer

from mlx_wan.bench.layouts import to_layout
from mlx_wan.bench.synthetic import write_pth, write_safetensors, write_sharded
from mlx_wan.models.mochi import MochiConfig
from mlx_wan.models.t5 import T5Config
from mlx_wan.models.vae_mochi import MochiVAEConfig

LAYOUTS = ("original", "diffusers", "comfyui", "all in one", "pickled")

TRANSFORMER = MochiConfig(
    dim=64,
    dim_y=32,
    ffn_dim=128,
    ffn_dim_y=64,
    num_heads=2,
    num_layers=3,
    text_dim=64,
    freq_dim=64,
)
T5 = T5Config(vocab_size=110, dim=64, dim_attn=64, dim_ffn=128, num_heads=2, num_layers=2)
VAE = MochiVAEConfig(  # of the blocks at its ends the original has 3
    encoder_dims=(32, 32, 64, 32), decoder_dims=(32, 32, 64, 32), num_blocks=(3, 1, 2, 1, 3)
)
CONFIGS: dict[str, tuple[str, Any]] = {
    "transformer": ("mochi_transformer", TRANSFORMER),
    "text_encoder": ("t5", T5),
    "vae": ("mochi_vae", VAE),
}
HALVES = ("encoder", "decoder")


def weights_of(seed: int = 0) -> dict[str, Weights]:
    """What `build` writes, by our names."""
    return {
        component: random_weights(network, config, seed + number)
        for number, (component, (network, config)) in enumerate(CONFIGS.items())
    }


def foreign_of(layout: str, seed: int = 0) -> dict[str, Weights]:
    """The same in the names of the original or of diffusers, the text encoder in transformers'."""
    return {
        component: to_layout(
            CONFIGS[component][0], "diffusers" if component == "text_encoder" else layout, tensors
        )
        for component, tensors in weights_of(seed).items()
    }


def build(
    folder: Path, layout: str = "original", *, dtype: str = "F32", seed: int = 0
) -> dict[str, Weights]:
    """Write a whole checkpoint; returns its weights by component, in our names and order."""
    copytree(_made(layout, dtype, seed).name, folder, dirs_exist_ok=True)
    return weights_of(seed)


@cache
def _made(layout: str, dtype: str, seed: int) -> TemporaryDirectory[str]:
    """One that is written once, to be copied."""
    foreign = foreign_of("diffusers" if layout == "diffusers" else "original", seed)
    made = TemporaryDirectory()
    writers: dict[str, Callable[[Path, dict[str, Weights], str], None]] = {
        "original": _write_original,
        "pickled": partial(_write_original, pickled=True),
        "diffusers": _write_diffusers,
        "comfyui": _write_comfyui,
        "all in one": _write_all_in_one,
    }
    writers[layout](Path(made.name), foreign, dtype)
    return made


def _write_comfyui(folder: Path, foreign: dict[str, Weights], dtype: str) -> None:
    """As below split_files/, with a tokenizer."""
    name = "mochi_preview_bf16.safetensors"
    write_safetensors(folder / "diffusion_models" / name, foreign["transformer"], dtype)
    write_safetensors(folder / "vae" / "mochi_vae.safetensors", foreign["vae"])
    place = folder / "text_encoders" / "t5xxl_fp16.safetensors"
    write_safetensors(place, foreign["text_encoder"], dtype)
    write_tokenizer(folder)


def _write_all_in_one(folder: Path, foreign: dict[str, Weights], dtype: str) -> None:
    prefixes = {
        "transformer": "model.diffusion_model.",
        "vae": "vae.",
        "text_encoder": "text_encoders.t5xxl.transformer.",
    }
    every = {
        prefixes[part] + name: array
        for part, tensors in foreign.items()
        for name, array in tensors.items()
    }
    write_safetensors(folder / "mochi_preview_fp16.safetensors", every, dtype)
    write_tokenizer(folder)


def _write_original(
    folder: Path, foreign: dict[str, Weights], dtype: str, *, pickled: bool = False
) -> None:
    """The files of the authors; the text encoder is in transformers' names, from elsewhere."""
    if pickled:  # nobody publishes it so
        write_pth(folder / "dit.pth", foreign["transformer"], dtype)
    else:
        write_safetensors(folder / "dit.safetensors", foreign["transformer"], dtype)
    for half in HALVES:
        write_safetensors(folder / f"{half}.safetensors", half_of(foreign["vae"], half))
    write_sharded(folder / "text_encoder", "model", foreign["text_encoder"], 2, dtype, index=False)
    write_json(folder / "text_encoder" / "config.json", transformers_config(T5))
    write_tokenizer(folder / "tokenizer")


def half_of(vae: Weights, half: str) -> Weights:
    """The tensors of one of the original's two VAE files."""
    return {n.removeprefix(f"{half}."): a for n, a in vae.items() if n.startswith(f"{half}.")}


def _write_diffusers(folder: Path, foreign: dict[str, Weights], dtype: str) -> None:
    stem = "diffusion_pytorch_model"
    write_sharded(folder / "transformer", stem, foreign["transformer"], 2, dtype)
    write_json(folder / "transformer" / "config.json", diffusers_config())
    write_safetensors(folder / "vae" / f"{stem}.safetensors", foreign["vae"])
    write_json(folder / "vae" / "config.json", diffusers_vae_config())
    write_sharded(folder / "text_encoder", "model", foreign["text_encoder"], 2, dtype)
    write_json(folder / "text_encoder" / "config.json", transformers_config(T5))
    write_tokenizer(folder / "tokenizer")
    write_json(folder / "model_index.json", {"_class_name": "MochiPipeline"})


def diffusers_config() -> dict[str, Any]:
    return {
        "_class_name": "MochiTransformer3DModel",
        "patch_size": 2,
        "num_attention_heads": TRANSFORMER.num_heads,
        "attention_head_dim": TRANSFORMER.head_dim,
        "num_layers": TRANSFORMER.num_layers,
        "pooled_projection_dim": TRANSFORMER.dim_y,
        "in_channels": TRANSFORMER.in_dim,
        "text_embed_dim": TRANSFORMER.text_dim,
        "time_embed_dim": TRANSFORMER.freq_dim,
        "max_sequence_length": TRANSFORMER.text_len,
    }


def diffusers_vae_config() -> dict[str, Any]:
    return {
        "_class_name": "AutoencoderKLMochi",
        "latent_channels": VAE.z_dim,
        "encoder_block_out_channels": list(VAE.encoder_dims),
        "decoder_block_out_channels": list(VAE.decoder_dims),
        "layers_per_block": list(VAE.num_blocks),
        "temporal_expansions": list(VAE.temporal),
        "latents_mean": list(VAE.latents_mean),
        "latents_std": list(VAE.latents_std),
        "scaling_factor": 1.0,
    }


def fused_float8(transformer: Weights) -> tuple[Weights, dict[str, str], dict[str, np.ndarray]]:
    """Every qkv of the original in float8 with one scale: tensors, dtypes, the values meant."""
    import mlx.core as mx

    tensors, dtypes, meant = dict(transformer), {}, {}
    for name, array in transformer.items():
        if ".qkv_" not in name:
            continue
        stem = name.removesuffix(".weight")
        scale = np.float32(np.abs(array).max() / 448)
        tensors[name], dtypes[name] = array / scale, "F8_E4M3"
        tensors[f"{stem}.scale_weight"] = np.array(scale)
        codes = mx.to_fp8(mx.array(tensors[name]))
        meant[name] = np.array(mx.from_fp8(codes, mx.float32)) * scale
    return tensors, dtypes, meant

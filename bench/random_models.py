"""Converted models of random weights, larger than wan-mini, for benches of time and memory."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_wan.bench.networks_hunyuan_text import byte_bpe
from mlx_wan.bench.synthetic import spiece_model
from mlx_wan.models import NETWORKS
from mlx_wan.models.mochi import MochiConfig, MochiTransformer
from mlx_wan.models.t5 import T5Config, T5Encoder
from mlx_wan.models.umt5 import UMT5Config, UMT5Encoder
from mlx_wan.models.vae_mochi import MochiVAE, MochiVAEConfig
from mlx_wan.models.vae_wan21 import WanVAE21, WanVAE21Config
from mlx_wan.models.vae_wan22 import WanVAE22, WanVAE22Config
from mlx_wan.models.wan import WanConfig, WanTransformer
from mlx_wan.presets import PRESETS

# network in config.json, its config, what builds it
Part = tuple[str, Any, Callable[[Any], Any]]


def _transformer(dim: int, ffn_dim: int, num_heads: int, layers: int, channels: int = 16) -> Part:
    config = WanConfig(
        dim=dim,
        ffn_dim=ffn_dim,
        num_heads=num_heads,
        num_layers=layers,
        in_dim=channels,
        out_dim=channels,
        text_dim=256,
    )
    return ("wan_transformer", config, WanTransformer)


_TEXT: Part = (
    "umt5",
    UMT5Config(vocab_size=8000, dim=256, dim_attn=256, dim_ffn=640, num_heads=4, num_layers=4),
    UMT5Encoder,
)


_MOCHI = MochiConfig(512, 256, 1280, 768, num_heads=4, num_layers=6, text_dim=256)


def _vae21(base_dim: int) -> Part:
    return ("wan_vae21", WanVAE21Config(base_dim=base_dim), WanVAE21)


def _experts(part: Part) -> dict[str, Part]:
    return {"high_noise": part, "low_noise": part}


# name -> (preset, parts)
MODELS: dict[str, tuple[str, dict[str, Part]]] = {
    "small": (
        "wan2.2-t2v-a14b",
        _experts(_transformer(256, 1024, 4, 6)) | {"text_encoder": _TEXT, "vae": _vae21(16)},
    ),
    "middle": (
        "wan2.2-t2v-a14b",
        _experts(_transformer(768, 3072, 6, 4)) | {"text_encoder": _TEXT, "vae": _vae21(32)},
    ),
    "ti2v": (
        "wan2.2-ti2v-5b",
        {
            "transformer": _transformer(512, 2048, 4, 4, 48),
            "text_encoder": _TEXT,
            "vae": ("wan_vae22", WanVAE22Config(base_dim=16, decoder_base_dim=24), WanVAE22),
        },
    ),
    "mochi": (
        "mochi-1",
        {
            "transformer": ("mochi_transformer", _MOCHI, MochiTransformer),
            "text_encoder": (
                "t5",
                T5Config(8000, dim=256, dim_attn=256, dim_ffn=640, num_heads=4, num_layers=4),
                T5Encoder,
            ),
            "vae": (
                "mochi_vae",
                MochiVAEConfig((32, 32, 64, 64), (32, 64, 128, 192)),
                MochiVAE,
            ),
        },
    ),
}


def build(name: str, folder: Path, dtype: str = "float32") -> Path:
    """Write one of MODELS to `folder` as `mlx-wan convert` would; returns the folder."""
    preset, parts = MODELS[name]
    networks = {part: (network, make(config)) for part, (network, config, make) in parts.items()}
    return write_folder(folder, preset, networks, dtype)


def write_folder(
    folder: Path, preset: str, networks: Mapping[str, tuple[str, Any]], dtype: str = "float32"
) -> Path:
    """Networks of any sizes, with what weights they have, as a converted model with a small
    tokenizer of its kind; `networks` are name -> (name in NETWORKS, the network)."""
    components: dict[str, Any] = {}
    for part, (name, network) in networks.items():
        assert name in NETWORKS
        (folder / part).mkdir(parents=True)
        weights = {
            key: value.astype(getattr(mx, dtype))
            for key, value in dict(tree_flatten(network.parameters())).items()
        }
        file = f"{part}/model.safetensors"
        mx.save_safetensors(str(folder / file), weights, metadata={"format": "mlx"})
        components[part] = {
            "network": name,
            "config": asdict(network.config),
            "dtype": dtype,
            "quantization": None,
            "files": [file],
        }
        del weights
    (folder / "tokenizer").mkdir()
    kind, _ = PRESETS[preset].components["tokenizer"]
    file, content = (
        ("tokenizer/spiece.model", spiece_model())
        if kind == "sentencepiece"
        else ("tokenizer/tokenizer.json", byte_bpe().encode())
    )
    (folder / file).write_bytes(content)
    components["tokenizer"] = {"network": kind, "config": {}, "files": [file]}
    files = [file for component in components.values() for file in component["files"]]
    config_json = {
        "format": "mlx-wan",
        "format_version": 1,
        "model": preset,
        "components": components,
        "files": {file: {"size": (folder / file).stat().st_size} for file in files},
    }
    (folder / "config.json").write_text(json.dumps(config_json))
    return folder

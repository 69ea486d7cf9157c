"""Small real encoders of HunyuanVideo 1.5 with random weights, the same every time."""

from pathlib import Path
from typing import Any

import tiny_hunyuan
import tiny_hunyuan_vae

from mlx_wan.bench.networks_hunyuan_text import byte_bpe
from mlx_wan.bench.networks_mochi import load, random_weights
from mlx_wan.bench.random_models import write_folder
from mlx_wan.models.byt5 import ByT5Config, ByT5Encoder
from mlx_wan.models.hunyuan_upsampler import (
    Upsampler720,
    Upsampler720Config,
    Upsampler1080,
    Upsampler1080Config,
)
from mlx_wan.models.qwen25vl import QwenConfig, QwenEncoder
from mlx_wan.models.siglip import SiglipConfig, SiglipEncoder

QWEN: dict[str, Any] = {
    "vocab_size": 340,
    "dim": 48,
    "dim_ffn": 40,
    "num_heads": 6,
    "num_kv_heads": 2,
    "num_layers": 3,
}
BYT5: dict[str, Any] = {
    "vocab_size": 270,
    "dim": 8,
    "dim_attn": 12,
    "dim_ffn": 20,
    "num_heads": 2,
    "num_layers": 3,
}
SIGLIP: dict[str, Any] = {
    "dim": 12,
    "dim_ffn": 20,
    "num_heads": 3,
    "num_layers": 3,
    "image_size": 45,  # 3 patches a side, and 3 pixels that belong to none
    "patch_size": 14,
}


UPSAMPLERS: dict[str, tuple[str, Any]] = {
    "720p": ("hunyuan_upsampler_720", lambda: Upsampler720(Upsampler720Config(32, 8, 2))),
    "1080p": ("hunyuan_upsampler_1080", lambda: Upsampler1080(Upsampler1080Config((32, 8), 32, 1))),
}


def qwen(seed: int = 0, **changes: Any) -> QwenEncoder:
    return _filled(QwenEncoder(QwenConfig(**QWEN | changes)), seed)


def byt5(seed: int = 0, **changes: Any) -> ByT5Encoder:
    return _filled(ByT5Encoder(ByT5Config(**BYT5 | changes)), seed)


def siglip(seed: int = 0, **changes: Any) -> SiglipEncoder:
    return _filled(SiglipEncoder(SiglipConfig(**SIGLIP | changes)), seed)


def tokenizer(folder: Path) -> Path:
    """A tokenizer.json in this folder."""
    file = folder / "tokenizer.json"
    file.write_text(byte_bpe(), encoding="utf-8")
    return file


def _filled(network: Any, seed: int) -> Any:
    load(network, random_weights(network, seed))
    return network


def model(folder: Path, preset: str = "hunyuanvideo-1.5-480p-t2v", **transformer: Any) -> str:
    """A converted model with all networks of a preset."""
    larger = preset.endswith("-sr")
    in_dim = 98 if larger else 65
    changes = {"in_dim": in_dim, "out_dim": 32, "text_dim": QWEN["dim"], "text_len": 64}
    changes |= {"glyph_len": 32, "vision_len": 9, "use_meanflow": "step" in preset}
    vae = {"block_out_channels": (16, 16, 32, 32, 64), "z_dim": 32}
    networks: dict[str, Any] = {
        "transformer": (
            "hunyuan_transformer",
            tiny_hunyuan.transformer(1, **changes | transformer),
        ),
        "text_encoder": ("qwen25vl", qwen(2)),
        "text_encoder_2": ("byt5", byt5(3)),
        "vae": ("hunyuan_vae", tiny_hunyuan_vae.vae(4, **vae)),
    }
    if larger:
        network, upsampler = UPSAMPLERS[preset.split("-")[-2]]
        networks["upsampler"] = (network, _filled(upsampler(), 6))
    if "i2v" in preset or larger:
        networks["image_encoder"] = ("siglip", siglip(5))
    return str(write_folder(folder, preset, networks))

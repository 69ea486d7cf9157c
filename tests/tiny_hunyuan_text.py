"""Small real encoders of HunyuanVideo 1.5 with random weights, the same every time."""

from pathlib import Path
from typing import Any

from mlx_wan.bench.networks_hunyuan_text import byte_bpe
from mlx_wan.bench.networks_mochi import load, random_weights
from mlx_wan.models.byt5 import ByT5Config, ByT5Encoder
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

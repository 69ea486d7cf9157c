"""A small real transformer of HunyuanVideo 1.5 with random weights, the same every time."""

from typing import Any

from mlx_wan.bench.networks_hunyuan import our_transformer
from mlx_wan.bench.networks_mochi import load, random_weights

TRANSFORMER: dict[str, Any] = {
    "dim": 32,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 3,
    "refiner_layers": 2,
    "in_dim": 9,
    "out_dim": 4,
    "text_dim": 24,
    "text_len": 16,
    "glyph_dim": 8,
    "glyph_len": 6,
    "vision_dim": 12,
    "vision_len": 7,
    "rope_axes": (2, 6, 8),
}


def transformer(seed: int = 0, **changes: Any) -> Any:
    network = our_transformer(TRANSFORMER | changes)
    load(network, random_weights(network, seed))
    return network

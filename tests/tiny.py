"""Small real networks with random weights."""

from typing import Any

import mlx.core as mx

from mlx_wan.bench.networks_wan import random_weights
from mlx_wan.models.wan import WanConfig, WanTransformer

WAN: dict[str, Any] = {
    "dim": 24,
    "ffn_dim": 32,
    "num_heads": 2,
    "num_layers": 2,
    "in_dim": 4,
    "out_dim": 4,
    "text_dim": 16,
}


def wan_transformer(seed: int = 0, **changes: Any) -> WanTransformer:
    """A transformer of head size 12 and 2 layers, in float32; `changes` are WanConfig fields."""
    config = WAN | changes
    model = WanTransformer(WanConfig(**config))
    weights = random_weights(config, seed)
    model.load_weights([(name, mx.array(value)) for name, value in weights.items()])
    return model

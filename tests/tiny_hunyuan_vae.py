"""A small real VAE of HunyuanVideo 1.5 with random weights, the same every time."""

from typing import Any

from mlx_wan.bench.networks_hunyuan_vae import our_vae
from mlx_wan.bench.networks_mochi import load
from mlx_wan.bench.networks_vae import random_weights

SIZES: dict[str, Any] = {
    "block_out_channels": (16, 16, 32, 32, 32),
    "num_res_blocks": 1,
    "z_dim": 4,
}


def vae(seed: int = 0, **changes: Any) -> Any:
    network = our_vae(SIZES | changes)
    load(network, random_weights(network, seed))
    return network

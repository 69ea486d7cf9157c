"""Small real networks of Mochi with random weights, the same every time, and models of them."""

from pathlib import Path
from typing import Any

from mlx_wan.bench.networks_mochi import load, our_t5, our_transformer, our_vae, random_weights
from mlx_wan.bench.random_models import write_folder

TRANSFORMER: dict[str, Any] = {  # hidden layers are 8/3 of the widths, as in diffusers
    "dim": 24,
    "dim_y": 16,
    "ffn_dim": 64,
    "ffn_dim_y": 42,
    "num_heads": 2,
    "num_layers": 3,
    "text_dim": 32,
    "text_len": 16,
    "freq_dim": 8,
}
T5: dict[str, Any] = {
    "vocab_size": 60,
    "dim": 24,
    "dim_attn": 36,
    "dim_ffn": 40,
    "num_heads": 3,
    "num_layers": 3,
}
VAE: dict[str, Any] = {
    "encoder_dims": (32, 32, 64, 32),
    "decoder_dims": (32, 32, 64, 32),
    "num_blocks": (1, 1, 2, 1, 1),
}


def transformer(seed: int = 0, **changes: Any) -> Any:
    network = our_transformer(TRANSFORMER | changes)
    load(network, random_weights(network, seed))
    return network


def t5(seed: int = 0, **changes: Any) -> Any:
    network = our_t5(T5 | changes)
    load(network, random_weights(network, seed))
    return network


def vae(seed: int = 0, **changes: Any) -> Any:
    network = our_vae(VAE | changes)
    load(network, random_weights(network, seed))
    return network


def model(folder: Path, preset: str = "mochi-1") -> str:
    """A converted model of them, in our layout."""
    networks = {
        "transformer": ("mochi_transformer", transformer(1)),
        "text_encoder": ("t5", t5(2, vocab_size=100, dim=TRANSFORMER["text_dim"])),
        "vae": ("mochi_vae", vae(3)),
    }
    return str(write_folder(folder, preset, networks))

"""The UMT5 encoder for bench/networks.py, against transformers; the reference tests use it too."""

from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

SIZES = {"dim": 512, "dim_attn": 512, "dim_ffn": 1024, "num_heads": 8, "num_layers": 6}
THEIR_NAMES = {
    "norm1": "layer.0.layer_norm",
    "attn.q": "layer.0.SelfAttention.q",
    "attn.k": "layer.0.SelfAttention.k",
    "attn.v": "layer.0.SelfAttention.v",
    "attn.o": "layer.0.SelfAttention.o",
    "pos_embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}


def make(tokens: int) -> Arrays:
    """Random weights and the ids of one prompt."""
    config = SIZES | {"vocab_size": 1000}
    return random_weights(config) | {
        "ids": np.random.default_rng(1).integers(0, config["vocab_size"], (1, tokens))
    }


def ours(arrays: Arrays, tokens: int) -> Callable[[], np.ndarray]:
    """One forward of our encoder."""
    import mlx_wan  # noqa: F401, I001 - loads the fast BLAS before MLX
    import mlx.core as mx
    from mlx_wan.models.umt5 import UMT5Config, UMT5Encoder

    ids = mx.array(arrays.pop("ids"))
    encoder = UMT5Encoder(UMT5Config(vocab_size=1000, **SIZES))
    encoder.load_weights([(name, mx.array(array)) for name, array in arrays.items()])
    mx.eval(encoder.parameters())
    return lambda: np.array(encoder(ids))


def reference(arrays: Arrays, tokens: int) -> Callable[[], np.ndarray]:
    """One forward of transformers' encoder."""
    import torch

    torch.set_num_threads(1)
    ids = torch.tensor(arrays.pop("ids"))
    model = transformers_model(SIZES | {"vocab_size": 1000}, arrays)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return model(ids).last_hidden_state.numpy()

    return run


def random_weights(config: dict[str, int], seed: int = 0) -> Arrays:
    """All tensors in our names, none left at a value that hides an error."""
    dim, attn, ffn = config["dim"], config["dim_attn"], config["dim_ffn"]
    block = {
        "norm1": (dim,),
        "attn.q": (attn, dim),
        "attn.k": (attn, dim),
        "attn.v": (attn, dim),
        "attn.o": (dim, attn),
        "pos_embedding": (config.get("num_buckets", 32), config["num_heads"]),
        "norm2": (dim,),
        "ffn.gate": (ffn, dim),
        "ffn.fc1": (ffn, dim),
        "ffn.fc2": (dim, ffn),
    }
    shapes: dict[str, tuple[int, ...]] = {"token_embedding": (config["vocab_size"], dim)}
    for i in range(config["num_layers"]):
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    shapes["norm"] = (dim,)
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        # matrices that keep the size of what passes, scores of a few units, gammas around 1
        std = 1.0 if "embedding" in name else 0.2 if len(shape) == 1 else shape[1] ** -0.5
        std /= config["dim_attn"] ** 0.25 if name.endswith(("attn.q", "attn.k")) else 1
        array = std * rng.standard_normal(shape) + (1 if len(shape) == 1 else 0)
        weights[f"{name}.weight"] = array.astype(np.float32)
    return weights


def transformers_model(config: dict[str, int], weights: Arrays) -> Any:
    """transformers' UMT5EncoderModel with our weights."""
    import torch
    from transformers import UMT5Config, UMT5EncoderModel

    model = UMT5EncoderModel(
        UMT5Config(
            vocab_size=config["vocab_size"],
            d_model=config["dim"],
            d_kv=config["dim_attn"] // config["num_heads"],
            d_ff=config["dim_ffn"],
            num_layers=config["num_layers"],
            num_heads=config["num_heads"],
            relative_attention_num_buckets=config.get("num_buckets", 32),
            relative_attention_max_distance=config.get("max_distance", 128),
            layer_norm_epsilon=1e-6,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        )
    )
    state = {}
    for name, array in weights.items():
        parts = name.removesuffix(".weight").split(".", 2)
        if parts[0] == "blocks":
            state[f"encoder.block.{parts[1]}.{THEIR_NAMES[parts[2]]}.weight"] = torch.tensor(array)
    state["shared.weight"] = torch.tensor(weights["token_embedding.weight"])
    state["encoder.embed_tokens.weight"] = state["shared.weight"]
    state["encoder.final_layer_norm.weight"] = torch.tensor(weights["norm.weight"])
    model.load_state_dict(state)  # strict
    return model.eval()

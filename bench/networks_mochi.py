"""Mochi's networks for networks.py, against diffusers and transformers; the parity tests and
tests/record_mochi.py use it too.

The transformer is Mochi's architecture at dim 768 with a prompt of 77 tokens, one float32 forward
at B = 1. As in a run, ours works out the modulation once, before the forwards that are timed;
`condition=True` times it with every forward.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Grid = tuple[int, int, int]

SIZES: dict[str, Any] = {  # hidden layers as diffusers has them: 8/3 of the width
    "dim": 768,
    "dim_y": 384,
    "ffn_dim": 2048,
    "ffn_dim_y": 1024,
    "num_heads": 6,
    "num_layers": 6,
    "text_dim": 256,
}
VAE_SIZES: dict[str, Any] = {
    "encoder_dims": (32, 32, 64, 64),
    "decoder_dims": (32, 64, 64, 96),
    "num_blocks": (1, 1, 1, 1, 1),
}
PROMPT, TIMESTEP = 77, 500.0


def make(grid: Grid = (1, 1, 1), vae: str = "", **video: int) -> Arrays:
    """Random weights in our names, and latents with a prompt, or what the VAE is given."""
    random = np.random.RandomState(1)
    if vae:
        network = our_vae(VAE_SIZES)
        t, row, column = network.config.stride
        shape: tuple[int, ...] = (1, video["frames"], video["height"], video["width"], 3)
        if vae == "decode":
            size = (1 + (shape[1] - 1) // t, shape[2] // row, shape[3] // column)
            shape = (1, *size, network.config.z_dim)
        given = random.standard_normal(shape).clip(-1, 1).astype(np.float32)
        return random_weights(network) | {"given": given}
    t, h, w = grid
    latents = random.standard_normal((1, t, 2 * h, 2 * w, 12)).astype(np.float32)
    prompt = random.standard_normal((1, PROMPT, SIZES["text_dim"])).astype(np.float32)
    weights = random_weights(our_transformer(SIZES))
    return weights | {"latents": latents, "prompt": prompt}


def ours(
    arrays: Arrays, grid: Grid = (1, 1, 1), vae: str = "", condition: bool = False, **_: int
) -> Callable[[], Any]:
    import mlx_wan  # noqa: F401, I001 - loads the fast BLAS before MLX
    import mlx.core as mx

    if vae:
        given = mx.array(arrays.pop("given"))
        network = our_vae(VAE_SIZES)
        load(network, arrays)
        return lambda: np.array(getattr(network, vae)(given))
    latents, prompt = (mx.array(arrays.pop(name)) for name in ("latents", "prompt"))
    model = our_transformer(SIZES)
    load(model, arrays)
    kept = model.precompute([model.condition(prompt, grid)], [TIMESTEP], release=False)[0]

    def run() -> np.ndarray:
        fresh = model.condition(prompt, grid) if condition else kept
        return np.array(model(latents, TIMESTEP, fresh))

    return run


def reference(arrays: Arrays, grid: Grid = (1, 1, 1), vae: str = "", **_: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    if vae:
        given = arrays.pop("given")
        network = diffusers_vae(VAE_SIZES, arrays)
        return lambda: run_diffusers_vae(network, vae, given)
    latents, prompt = arrays.pop("latents"), arrays.pop("prompt")
    model = diffusers_transformer(SIZES, arrays)
    times, mask = np.array([TIMESTEP]), np.ones((1, PROMPT))
    return lambda: diffusers_velocity(model, latents, times, prompt, mask)


# --- weights -----------------------------------------------------------------------------------


def random_weights(network: Any, seed: int = 0, std: float | None = None) -> Arrays:
    """Every tensor of one of our networks, none left at a value that hides an error.

    Normal, around 1 where it multiplies a norm. Without `std` it is what keeps the size of what
    passes. RandomState's stream is frozen, so recorded arrays need not store the weights.
    """
    from mlx.utils import tree_flatten

    random = np.random.RandomState(seed)
    weights = {}
    parameters: Any = tree_flatten(network.parameters())
    for name, value in sorted(parameters):
        is_gain = "norm" in name and name.endswith("weight") and value.ndim == 1
        own = prod(value.shape[1:]) ** -0.5 if value.ndim > 1 else 0.2
        if "embedding" in name or name == "pos_frequencies":
            own = 0.5
        spread = random.standard_normal(value.shape) * (own if std is None else std)
        weights[name] = np.asarray(spread + is_gain, np.float32)
    return weights


def load(network: Any, weights: Mapping[str, np.ndarray]) -> None:
    import mlx.core as mx

    network.load_weights([(name, mx.array(array)) for name, array in weights.items()])
    mx.eval(network.parameters())


# --- our networks ------------------------------------------------------------------------------


def our_transformer(config: Mapping[str, Any]) -> Any:
    from mlx_wan.models.mochi import MochiConfig, MochiTransformer

    return MochiTransformer(MochiConfig(**config))


def our_vae(config: Mapping[str, Any]) -> Any:
    from mlx_wan.models.vae_mochi import MochiVAE, MochiVAEConfig

    return MochiVAE(MochiVAEConfig(**config))


def our_t5(config: Mapping[str, Any]) -> Any:
    from mlx_wan.models.t5 import T5Config, T5Encoder

    return T5Encoder(T5Config(**config))


# --- theirs, with our weights ------------------------------------------------------------------


def diffusers_transformer(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Any:
    """diffusers' MochiTransformer3DModel; hidden layers must be 8/3 of the widths, rounded down."""
    from diffusers import MochiTransformer3DModel

    from mlx_wan.bench.layouts import to_layout

    model: Any = MochiTransformer3DModel(
        num_attention_heads=config["num_heads"],
        attention_head_dim=config["dim"] // config["num_heads"],
        num_layers=config["num_layers"],
        pooled_projection_dim=config["dim_y"],
        in_channels=config.get("in_dim", 12),
        text_embed_dim=config["text_dim"],
        time_embed_dim=config.get("freq_dim", 256),
        max_sequence_length=config.get("text_len", 256),
    )
    return filled(model, to_layout("mochi_transformer", "diffusers", weights))


def diffusers_velocity(
    model: Any, latents: np.ndarray, timestep: np.ndarray, prompt: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """One forward of it with our conventions: channels last, time from 1000 to 0, noise - data."""
    import torch

    with torch.inference_mode():
        out = model(
            torch.tensor(latents).movedim(-1, 1).contiguous(),
            torch.tensor(prompt),
            torch.tensor(1000 - timestep, dtype=torch.float32),
            torch.tensor(mask).bool(),
            return_dict=False,
        )[0]
    return -out.movedim(1, -1).numpy()


def diffusers_vae(
    config: Mapping[str, Any], weights: Mapping[str, np.ndarray], original: bool = True
) -> Any:
    """diffusers' AutoencoderKLMochi; `original` drops frames where the original decoder does.

    diffusers keeps the first frames of each enlargement in time until the end, where the original
    drops them at once, before the next convolutions see them.
    """
    from diffusers import AutoencoderKLMochi

    from mlx_wan.bench.layouts import to_layout

    model: Any = AutoencoderKLMochi(
        encoder_block_out_channels=config["encoder_dims"],
        decoder_block_out_channels=config["decoder_dims"],
        layers_per_block=config["num_blocks"],
        latent_channels=config.get("z_dim", 12),
        **{name: config[name] for name in ("latents_mean", "latents_std") if name in config},
    )
    if original:
        for block in model.decoder.up_blocks:
            block.forward = _dropping(block)
        model.drop_last_temporal_frames = False
    return filled(model, to_layout("mochi_vae", "diffusers", weights))


def run_diffusers_vae(model: Any, task: str, given: np.ndarray) -> np.ndarray:
    """encode: frames -> normalised mean; decode: normalised latents -> frames; channels last."""
    import torch

    mean, std = (torch.tensor(model.config[f"latents_{name}"]) for name in ("mean", "std"))
    x = torch.tensor(given)
    with torch.inference_mode():
        if task == "decode":
            y = model.decode((x * std + mean).movedim(-1, 1).contiguous()).sample
            return y.clamp(-1, 1).movedim(1, -1).numpy()
        y = model.encode(x.movedim(-1, 1).contiguous()).latent_dist.mode()
        return ((y.movedim(1, -1) - mean) / std).numpy()


def transformers_t5(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Any:
    """transformers' T5EncoderModel."""
    from transformers import T5Config, T5EncoderModel

    from mlx_wan.bench.layouts import to_layout

    model = T5EncoderModel(
        T5Config(
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
    theirs = to_layout("t5", "diffusers", weights)
    theirs["encoder.embed_tokens.weight"] = theirs["shared.weight"]
    return filled(model, theirs)


def filled(model: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    import torch

    model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})  # strict
    return model.eval()


def _dropping(block: Any) -> Callable[..., Any]:
    plain = block.forward

    def forward(hidden_states: Any, conv_cache: Any = None) -> Any:
        y, cache = plain(hidden_states, conv_cache)
        return y[:, :, block.temporal_expansion - 1 :], cache

    return forward

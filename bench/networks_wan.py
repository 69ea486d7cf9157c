"""The transformer for networks.py: Wan's architecture at dim 768, one float32 forward at B = 1.

The prompt has 77 real tokens of 512, as zero-padded embeddings. As in a run, ours works out what
depends on the prompt only once, before the forwards that are timed; torch's does so in each.
`condition=True` times it with every forward of ours too. `random_weights`, `diffusers_model` and
`diffusers_velocity` also serve the parity tests.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

SIZES: dict[str, Any] = {
    "dim": 768,
    "ffn_dim": 3072,
    "num_heads": 6,
    "num_layers": 6,
    "in_dim": 16,
    "out_dim": 16,
    "text_dim": 256,
}
PROMPT, TIMESTEP = 77, 500.0
Grid = tuple[int, int, int]

RENAMED = {  # ours -> diffusers
    "text_embedding.fc": "condition_embedder.text_embedder.linear_",
    "time_embedding.fc": "condition_embedder.time_embedder.linear_",
    "time_projection": "condition_embedder.time_proj",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
    "modulation": "scale_shift_table",
    "self_attn": "attn1",
    "cross_attn": "attn2",
    ".q.": ".to_q.",
    ".k.": ".to_k.",
    ".v.": ".to_v.",
    ".o.": ".to_out.0.",
    "norm3": "norm2",
    "ffn.fc1": "ffn.net.0.proj",
    "ffn.fc2": "ffn.net.2",
}


def random_weights(config: dict[str, Any], seed: int, std: float = 0.15) -> dict[str, np.ndarray]:
    """Every parameter of our network, normal around 0, or around 1 where it multiplies a norm.

    RandomState's stream is frozen, so recorded arrays need not store the weights.
    """
    from mlx.utils import tree_flatten

    from mlx_wan.models.wan import WanConfig, WanTransformer

    random = np.random.RandomState(seed)
    parameters: Any = tree_flatten(WanTransformer(WanConfig(**config)).parameters())
    weights: dict[str, np.ndarray] = {}
    for name, value in sorted(parameters):
        is_gain = "norm" in name and name.endswith("weight")
        weights[name] = np.asarray(random.standard_normal(value.shape) * std + is_gain, np.float32)
    return weights


def make(grid: Grid, condition: bool = False) -> dict[str, np.ndarray]:
    """Random weights in our names, latents (1, T, H, W, C) and a prompt."""
    random = np.random.RandomState(1)
    t, h, w = grid
    latents = random.standard_normal((1, t, 2 * h, 2 * w, SIZES["in_dim"]))
    prompt = random.standard_normal((1, PROMPT, SIZES["text_dim"]))
    inputs = {"latents": latents.astype(np.float32), "prompt": prompt.astype(np.float32)}
    return inputs | random_weights(SIZES, seed=0, std=0.05)


def ours(
    arrays: dict[str, np.ndarray], grid: Grid, condition: bool = False
) -> Callable[[], np.ndarray]:
    from mlx_wan.models.wan import WanConfig, WanTransformer

    model = WanTransformer(WanConfig(**SIZES))
    import mlx.core as mx

    latents, prompt = (mx.array(arrays.pop(name)) for name in ("latents", "prompt"))
    model.load_weights([(name, mx.array(value)) for name, value in arrays.items()])
    mx.eval(model.parameters(), latents)
    conditioning = model.condition(prompt, grid)

    def run() -> np.ndarray:
        fresh = model.condition(prompt, grid) if condition else conditioning
        return np.array(model(latents, TIMESTEP, fresh))

    return run


def reference(
    arrays: dict[str, np.ndarray], grid: Grid, condition: bool = False
) -> Callable[[], np.ndarray]:
    import torch

    torch.set_num_threads(1)
    latents, prompt = arrays.pop("latents"), arrays.pop("prompt")
    model = diffusers_model(SIZES, arrays)
    return lambda: diffusers_velocity(model, latents, np.array([TIMESTEP]), prompt, 512)


def diffusers_model(config: dict[str, Any], weights: dict[str, np.ndarray]) -> Any:
    """diffusers' WanTransformer3DModel of this config (a WanConfig's fields) with our weights."""
    import torch
    from diffusers import WanTransformer3DModel

    patch = config.get("patch_size", (1, 2, 2))
    model: Any = WanTransformer3DModel(
        num_attention_heads=config["num_heads"],
        attention_head_dim=config["dim"] // config["num_heads"],
        num_layers=config["num_layers"],
        ffn_dim=config["ffn_dim"],
        in_channels=config["in_dim"],
        out_channels=config["out_dim"],
        text_dim=config["text_dim"],
        patch_size=patch,
        cross_attn_norm=config.get("cross_attn_norm", True),
        freq_dim=config.get("freq_dim", 256),
    )
    theirs = {_diffusers_name(name): torch.from_numpy(value) for name, value in weights.items()}
    embedding = theirs["patch_embedding.weight"].reshape(config["dim"], *patch, -1)
    theirs["patch_embedding.weight"] = embedding.permute(0, 4, 1, 2, 3).contiguous()
    model.load_state_dict(theirs)
    return model.eval()


def diffusers_velocity(
    model: Any, latents: np.ndarray, timestep: np.ndarray, prompt: np.ndarray, text_len: int
) -> np.ndarray:
    """One forward of it: channels last in and out, the prompt zero-padded to text_len."""
    import torch

    padded = np.pad(prompt, ((0, 0), (0, text_len - prompt.shape[1]), (0, 0)))
    channels_first = torch.from_numpy(latents).permute(0, 4, 1, 2, 3).contiguous()
    with torch.no_grad():
        velocity = model(
            channels_first,
            torch.from_numpy(timestep).long(),
            torch.from_numpy(padded),
            return_dict=False,
        )[0]
    return velocity.permute(0, 2, 3, 4, 1).numpy()


def _diffusers_name(name: str) -> str:
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    return name

"""The transformer for networks.py: Wan's architecture at dim 768, one float32 forward at B = 1.

The prompt has 77 real tokens of 512, as zero-padded embeddings. As in a run, ours works out what
depends on the prompt only once, before the forwards that are timed; torch's does so in each.
`condition=True` times it with every forward of ours too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

SIZES: dict[str, Any] = {"dim": 768, "ffn_dim": 3072, "num_heads": 6, "num_layers": 6}
LATENTS, TEXT_DIM, TEXT_LEN, PROMPT = 16, 256, 512, 77
TIMESTEP = 500.0

RENAMED = {  # ours -> diffusers (spec wan.md 3.3)
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


def _model() -> Any:
    from mlx_wan.models.wan import WanConfig, WanTransformer

    return WanTransformer(
        WanConfig(**SIZES, in_dim=LATENTS, out_dim=LATENTS, text_dim=TEXT_DIM, text_len=TEXT_LEN)
    )


def make(grid: tuple[int, int, int], condition: bool = False) -> dict[str, np.ndarray]:
    """Random weights in our names, latents (1, T, H, W, C) and a prompt."""
    from mlx.utils import tree_flatten

    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    weights: Any = tree_flatten(_model().parameters())
    for name, value in weights:
        weight = random.standard_normal(value.shape) * 0.05
        is_norm = "norm" in name and name.endswith("weight")
        arrays[name] = np.asarray(weight + is_norm, np.float32)
    t, h, w = grid
    arrays["latents"] = random.standard_normal((1, t, 2 * h, 2 * w, LATENTS)).astype(np.float32)
    arrays["prompt"] = random.standard_normal((1, PROMPT, TEXT_DIM)).astype(np.float32)
    return arrays


def ours(
    arrays: dict[str, np.ndarray], grid: tuple[int, int, int], condition: bool = False
) -> Callable[[], np.ndarray]:
    model = _model()
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
    arrays: dict[str, np.ndarray], grid: tuple[int, int, int], condition: bool = False
) -> Callable[[], np.ndarray]:
    import torch
    from diffusers import WanTransformer3DModel

    torch.set_num_threads(1)
    latents, prompt = (torch.from_numpy(arrays.pop(name)) for name in ("latents", "prompt"))
    model: Any = WanTransformer3DModel(
        num_attention_heads=SIZES["num_heads"],
        attention_head_dim=SIZES["dim"] // SIZES["num_heads"],
        num_layers=SIZES["num_layers"],
        ffn_dim=SIZES["ffn_dim"],
        in_channels=LATENTS,
        out_channels=LATENTS,
        text_dim=TEXT_DIM,
    )
    weights = {_diffusers_name(name): torch.from_numpy(value) for name, value in arrays.items()}
    patch = weights["patch_embedding.weight"].reshape(SIZES["dim"], 1, 2, 2, LATENTS)
    weights["patch_embedding.weight"] = patch.permute(0, 4, 1, 2, 3).contiguous()
    model.load_state_dict(weights)
    latents = latents.permute(0, 4, 1, 2, 3).contiguous()
    padded = torch.nn.functional.pad(prompt, (0, 0, 0, TEXT_LEN - PROMPT))
    timestep = torch.tensor([int(TIMESTEP)])

    def run() -> np.ndarray:
        with torch.no_grad():
            velocity = model(latents, timestep, padded, return_dict=False)[0]
        return velocity.permute(0, 2, 3, 4, 1).numpy()

    return run


def _diffusers_name(name: str) -> str:
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    return name

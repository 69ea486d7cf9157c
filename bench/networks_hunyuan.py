"""HunyuanVideo 1.5's transformer for networks.py, against diffusers; the parity tests and
tests/record_hunyuan.py use it too.

The architecture at dim 768 with an image's condition, a prompt of 77 tokens and 24 of quoted text,
one float32 forward at B = 1. As in a run, ours works out the modulation once, before the forwards
that are timed; `condition=True` times it, and what a prompt fixes, with every forward.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Grid = tuple[int, int, int]

SIZES: dict[str, Any] = {
    "dim": 768,
    "ffn_dim": 3072,
    "num_heads": 6,
    "num_layers": 6,
    "text_dim": 256,
    "glyph_dim": 128,
    "vision_dim": 128,
}
PROMPT, GLYPH, TIMESTEP = 77, 24, 500.0


def make(grid: Grid, **_: Any) -> Arrays:
    """Random weights in our names, latents, and what the encoders would give."""
    from mlx_wan.bench.networks_mochi import random_weights

    random = np.random.RandomState(1)
    shapes = {
        "latents": (1, *grid, 65),
        "text": (1, PROMPT, SIZES["text_dim"]),
        "glyph": (1, GLYPH, SIZES["glyph_dim"]),
    }
    given = {name: random.standard_normal(size) for name, size in shapes.items()}
    weights = random_weights(our_transformer(SIZES))
    return weights | {name: array.astype(np.float32) for name, array in given.items()}


def ours(arrays: Arrays, grid: Grid, condition: bool = False) -> Callable[[], Any]:
    import mlx_wan  # noqa: F401, I001 - loads the fast BLAS before MLX
    import mlx.core as mx

    from mlx_wan.bench.networks_mochi import load
    from mlx_wan.models.hunyuan_text import HunyuanPrompt

    latents, text, glyph = (mx.array(arrays.pop(name)) for name in ("latents", "text", "glyph"))
    prompt = HunyuanPrompt(text, glyph)
    model = our_transformer(SIZES)
    load(model, arrays)

    def conditioned() -> Any:
        return model.precompute([model.condition(prompt, grid)], [TIMESTEP], release=False)[0]

    kept = conditioned()

    def run() -> np.ndarray:
        return np.array(model(latents, TIMESTEP, conditioned() if condition else kept))

    return run


def reference(arrays: Arrays, grid: Grid, **_: Any) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    latents, text, glyph = (arrays.pop(name) for name in ("latents", "text", "glyph"))
    model = diffusers_transformer(SIZES, arrays)
    return lambda: diffusers_velocity(model, latents, np.array([TIMESTEP]), text, glyph=glyph)


# --- both networks -----------------------------------------------------------------------------


def our_transformer(config: Mapping[str, Any]) -> Any:
    from mlx_wan.models.hunyuan import HunyuanConfig, HunyuanTransformer

    return HunyuanTransformer(HunyuanConfig(**config))


def diffusers_transformer(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Any:
    """diffusers' HunyuanVideo15Transformer3DModel with our weights."""
    from diffusers import HunyuanVideo15Transformer3DModel

    from mlx_wan.bench.layouts import to_layout
    from mlx_wan.bench.networks_mochi import filled

    model: Any = HunyuanVideo15Transformer3DModel(
        in_channels=config.get("in_dim", 65),
        out_channels=config.get("out_dim", 32),
        num_attention_heads=config["num_heads"],
        attention_head_dim=config["dim"] // config["num_heads"],
        num_layers=config["num_layers"],
        num_refiner_layers=config.get("refiner_layers", 2),
        mlp_ratio=config["ffn_dim"] / config["dim"],
        text_embed_dim=config["text_dim"],
        text_embed_2_dim=config["glyph_dim"],
        image_embed_dim=config["vision_dim"],
        rope_theta=config.get("rope_theta", 256.0),
        rope_axes_dim=config.get("rope_axes", (16, 56, 56)),
        use_meanflow=config.get("use_meanflow", False),
    )
    return filled(model, to_layout("hunyuan_transformer", "diffusers", weights))


def diffusers_velocity(
    model: Any,
    latents: np.ndarray,
    timestep: np.ndarray,
    text: np.ndarray,
    text_mask: np.ndarray | None = None,
    glyph: np.ndarray | None = None,
    glyph_mask: np.ndarray | None = None,
    vision: np.ndarray | None = None,
    timestep_r: np.ndarray | None = None,
) -> np.ndarray:
    """One forward of it, channels last; parts that are None are padding or zeros, as it has them.

    Latents without the channels of a condition get zeros there.
    """
    import torch

    batch, config = len(latents), model.config
    missing = config.in_channels - latents.shape[-1]
    latents = np.pad(latents, [(0, 0)] * 4 + [(0, missing)])
    if glyph is None:
        glyph, glyph_mask = np.zeros((batch, 3, config.text_embed_2_dim)), np.zeros((batch, 3))
    if vision is None:
        vision = np.zeros((batch, 3, config.image_embed_dim))

    def number(a: np.ndarray) -> Any:
        return torch.tensor(a, dtype=torch.float32)

    def mask(a: np.ndarray | None, tokens: np.ndarray) -> Any:
        return torch.tensor(np.ones(tokens.shape[:2]) if a is None else a).bool()

    with torch.inference_mode():
        out = model(
            number(latents).movedim(-1, 1).contiguous(),
            number(timestep),
            number(text),
            mask(text_mask, text),
            timestep_r=None if timestep_r is None else number(timestep_r),
            encoder_hidden_states_2=number(glyph),
            encoder_attention_mask_2=mask(glyph_mask, glyph),
            image_embeds=number(vision),
            return_dict=False,
        )[0]
    return out.movedim(1, -1).numpy()

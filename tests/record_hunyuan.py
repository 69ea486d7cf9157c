"""Records tests/recorded/hunyuan_transformer_*: diffusers' HunyuanVideo 1.5 transformer on small
random networks, and the names and shapes of its full-size tensors.

python tests/record_hunyuan.py        needs the `reference` extra

The weights are not stored: tiny_hunyuan.py makes the same ones again.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_hunyuan
import torch
from mlx.utils import tree_flatten

from mlx_wan.bench.networks_hunyuan import diffusers_transformer, diffusers_velocity

HERE = Path(__file__).parent / "recorded"
Case = tuple[dict[str, Any], tuple[int, int, int], list[float], list[int], list[int], bool]

# name: changes to tiny_hunyuan.TRANSFORMER, latent size (T, H, W), timesteps, valid tokens of text
# and of glyphs for every item, whether there is an image
CASES: dict[str, Case] = {
    "text": ({}, (3, 4, 5), [972.25], [11], [0], False),
    "image": ({}, (2, 5, 4), [21.5], [16], [4], True),
    "batch": (
        {"num_heads": 1, "rope_axes": (4, 12, 16)},
        (1, 6, 3),
        [999.0, 3.0],
        [3, 16],
        [6, 0],
        False,
    ),
    "batch_image": ({}, (2, 2, 7), [640.0, 640.0], [7, 1], [2, 5], True),
    "meanflow": ({"use_meanflow": True}, (2, 3, 4), [875.0], [9], [3], True),
}


def record_case(name: str) -> None:
    changes, size, times, text, glyph, image = CASES[name]
    ours = tiny_hunyuan.transformer(**changes)
    parameters: Any = tree_flatten(ours.parameters())
    model = diffusers_transformer(
        tiny_hunyuan.TRANSFORMER | changes, {name: np.array(value) for name, value in parameters}
    )
    random, config, batch = np.random.RandomState(len(name)), ours.config, len(times)
    given: dict[str, Any] = {
        "text": random.standard_normal((batch, config.text_len, config.text_dim)),
        "text_mask": np.arange(config.text_len) < np.array(text)[:, None],
        "glyph": random.standard_normal((batch, config.glyph_len, config.glyph_dim)),
        "glyph_mask": np.arange(config.glyph_len) < np.array(glyph)[:, None],
    }
    if image:
        given["vision"] = random.standard_normal((batch, config.vision_len, config.vision_dim))
    given = {key: a.astype(np.float32) for key, a in given.items()}
    latents = random.standard_normal((batch, *size, config.in_dim)).astype(np.float32)
    if config.use_meanflow:
        given["timestep_r"] = np.array(times) * 0.75
    velocity = diffusers_velocity(model, latents, np.array(times), **given)
    np.savez_compressed(
        HERE / f"hunyuan_transformer_{name}.npz",
        changes=json.dumps(changes),
        latents=latents,
        timestep=np.array(times),
        velocity=velocity,
        **given,
    )


def record_names() -> None:
    """Every tensor of the published size as diffusers builds it, for mean flow too."""
    from diffusers import HunyuanVideo15Transformer3DModel

    names = {}
    with torch.device("meta"):
        for meanflow in (False, True):
            model: Any = HunyuanVideo15Transformer3DModel(use_meanflow=meanflow)
            names["meanflow" if meanflow else "plain"] = {
                name: list(value.shape) for name, value in model.state_dict().items()
            }
    packed = gzip.compress(json.dumps(names, separators=(",", ":")).encode(), mtime=0)
    (HERE / "hunyuan_transformer_names.json.gz").write_bytes(packed)


if __name__ == "__main__":
    for case in CASES:
        record_case(case)
    record_names()

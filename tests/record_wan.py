"""Records tests/recorded/wan_*.npz: diffusers' WanTransformer3DModel on small random networks.

python tests/record_wan.py        needs the `reference` extra

The weights are not stored: `tiny.wan_transformer(**config)` makes the same ones again.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny import WAN

from mlx_wan.bench.networks_wan import diffusers_model, diffusers_velocity, random_weights

HERE = Path(__file__).parent / "recorded"
LATENTS = (3, 8, 6)  # T, H, W: 36 tokens
IMAGE_FRAME = [[0] * 12 + [737] * 24]  # per token: the first latent frame at time 0

# name: changes to tiny.WAN, timestep, rows of the prompt
CASES: dict[str, tuple[dict[str, Any], Any, int]] = {
    "t2v": ({}, [999], 7),
    "t2v_batch": ({"dim": 64, "num_heads": 2}, [999, 3], 20),  # head size 32: axes 12, 10, 10
    "i2v": ({"dim": 64, "num_heads": 1, "in_dim": 36, "out_dim": 16}, [500], 11),
    "ti2v": ({"dim": 128, "num_heads": 1, "in_dim": 8, "out_dim": 8}, IMAGE_FRAME, 5),
    "ti2v_batch": ({}, [*IMAGE_FRAME, list(range(10, 46))], 5),
    "full_text": ({"text_len": 128}, [250], 128),
    "short_text": ({"text_len": 128}, [250], 1),
    "no_cross_norm": ({"cross_attn_norm": False, "freq_dim": 64}, [41], 9),
    "patches": ({"patch_size": (3, 1, 2)}, [612], 9),
}


def record(name: str) -> None:
    changes, timestep, rows = CASES[name]
    config = WAN | changes
    model = diffusers_model(config, random_weights(config, seed=0))
    times = np.array(timestep)
    random = np.random.RandomState(len(name))
    latents = np.float32(random.standard_normal((len(times), *LATENTS, config["in_dim"])))
    prompt = np.float32(random.standard_normal((len(times), rows, config["text_dim"])))
    prompt[1:, rows // 2 :] = 0  # a shorter prompt in a batch
    velocity = diffusers_velocity(model, latents, times, prompt, config.get("text_len", 512))
    np.savez_compressed(
        HERE / f"wan_{name}.npz",
        changes=json.dumps(changes),
        latents=latents,
        timestep=times,
        prompt=prompt,
        velocity=velocity,
    )


if __name__ == "__main__":
    for case in CASES:
        record(case)

"""Records tests/recorded/hunyuan_vae*: diffusers' VAE of HunyuanVideo 1.5 on a small random
network, and the names and shapes of its full-size tensors.

python tests/record_hunyuan_vae.py        needs the `reference` extra

The weights are not stored: tiny_hunyuan_vae.py makes the same ones again.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_hunyuan_vae
import torch
from mlx.utils import tree_flatten

from mlx_wan.bench.networks_hunyuan_vae import diffusers_vae, run_diffusers

HERE = Path(__file__).parent / "recorded"

VAES: dict[str, tuple[int, int, int]] = {
    "hunyuan_vae": (5, 48, 32),
    "hunyuan_vae_image": (1, 32, 48),
}
TILE = (2, 1)  # latents of a tile's side, and shared with the next


def record(name: str) -> None:
    parameters: Any = tree_flatten(tiny_hunyuan_vae.vae().parameters())
    weights = {key: np.array(value) for key, value in parameters}
    theirs = diffusers_vae(tiny_hunyuan_vae.SIZES, weights)
    random = np.random.RandomState(len(name))
    frames = random.uniform(-1, 1, (1, *VAES[name], 3)).astype(np.float16)
    encoded = run_diffusers(theirs, "encode", frames.astype(np.float32))
    latents = random.standard_normal(encoded.shape).astype(np.float32)
    decoded = run_diffusers(theirs, "decode", latents)
    tile, shared = TILE
    theirs.enable_tiling(16 * tile, 16 * tile, tile, tile, shared / tile)
    np.savez_compressed(
        HERE / f"{name}.npz",
        frames=frames,
        encoded=encoded,
        latents=latents,
        decoded=decoded,
        tiled=run_diffusers(theirs, "decode", latents),
    )


def record_names() -> None:
    """Every tensor of the published size as diffusers builds it."""
    from diffusers import AutoencoderKLHunyuanVideo15

    with torch.device("meta"):
        model: Any = AutoencoderKLHunyuanVideo15()
    names = {name: list(value.shape) for name, value in model.state_dict().items()}
    packed = gzip.compress(json.dumps(names, separators=(",", ":")).encode(), mtime=0)
    (HERE / "hunyuan_vae_names.json.gz").write_bytes(packed)


if __name__ == "__main__":
    record_names()
    for case in VAES:
        record(case)

"""Records tests/recorded/vae_*.npz with diffusers: python tests/record_vae.py (reference extra).

The weights are those of test_vae.tiny_vae, so only inputs and outputs are stored.
"""

import sys
from pathlib import Path

import numpy as np
from mlx.utils import tree_flatten

sys.path.insert(0, str(Path(__file__).parent))
from test_vae import RECORDED, TINY, tiny_vae

from mlx_wan.bench.networks_vae import diffusers_vae, run_diffusers


def main() -> None:
    rng = np.random.default_rng(0)
    for name, (frames, height, width) in {"vae21": (13, 16, 24), "vae22": (9, 16, 48)}.items():
        ours = tiny_vae(name)
        weights = {key: np.array(value) for key, value in tree_flatten(ours.parameters())}
        theirs = diffusers_vae(int(name[-2:]), vars(TINY[name]), weights)
        video = rng.uniform(-1, 1, (1, frames, height, width, 3)).astype(np.float16)
        encoded = run_diffusers(theirs, "encode", video.astype(np.float32))
        latents = rng.standard_normal(encoded.shape).astype(np.float32)
        decoded = run_diffusers(theirs, "decode", latents)
        np.savez_compressed(
            RECORDED / f"vae_{name}.npz",
            frames=video,
            encoded=encoded,
            latents=latents,
            decoded=decoded,
        )


if __name__ == "__main__":
    main()

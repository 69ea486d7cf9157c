"""Renders the data set and stores its latents, shard by shard, so that training can begin at once.

A shard holds the entries of one stretch of the data set, each started at a phase of its own: every
clip is a loop, so each further pass over the entries gives new latents. Shards that exist are kept.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .clips import SMALL_SIZES, at_phase
from .dataset import entry
from .torch_vae import MiniVAE, channels_last, load_vae

SHARD = 256  # entries
BATCH = 8

Shard = dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]  # (width, height) -> entries, latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--init", type=Path, required=True, help="checkpoint folder with the VAE")
    parser.add_argument("--run", type=Path, required=True, help="shards go to RUN/latents")
    parser.add_argument("--entries", type=int, default=8192, help="clips in the data set")
    parser.add_argument("--passes", type=int, default=2, help="phases each clip is encoded at")
    args = parser.parse_args()
    torch.set_num_threads(1)
    vae = channels_last(load_vae(args.init))
    folder = args.run / "latents"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(args.passes):
        for start in range(0, args.entries, SHARD):
            path = folder / f"pass{number:02}-{start:06}.npz"
            if not path.exists():
                began = time.time()
                save_shard(path, encode_entries(vae, range(start, start + SHARD), number))
                print(f"{path.name}: {time.time() - began:.0f} s", flush=True)


@torch.no_grad()
def encode_entries(vae: MiniVAE, entries: range, number: int) -> Shard:
    """The normalised latents (n, 16, 5, h, w) of some entries, float16, by size."""
    shard: Shard = {}
    rendered = [(i, entry(i)) for i in entries]
    for width, height in SMALL_SIZES:
        mine = [(i, e) for i, e in rendered if (e.width, e.height) == (width, height)]
        latents = []
        for first in range(0, len(mine), BATCH):
            clips = [at_phase(e.render(), phase(i, number)) for i, e in mine[first : first + BATCH]]
            mean, _ = vae.encode(to_video(np.stack(clips)))
            latents.append(vae.normalise(mean).numpy().astype(np.float16))
        if mine:
            shard[width, height] = np.array([i for i, _ in mine]), np.concatenate(latents)
    return shard


def phase(index: int, number: int) -> int:
    """Where the loop of an entry starts in a pass; passes 0 to 3 are four frames apart."""
    return (index * 5 + number * 4 + number // 4) % 16


def to_video(clips: np.ndarray) -> torch.Tensor:
    """uint8 (n, T, H, W, 3) -> float (n, 3, T, H, W) in -1..1."""
    video = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    return video.contiguous(memory_format=torch.channels_last_3d)


def save_shard(path: Path, shard: Shard) -> None:
    arrays: dict[str, Any] = {}
    for (width, height), (entries, latents) in shard.items():
        arrays[f"entries_{width}x{height}"] = entries
        arrays[f"latents_{width}x{height}"] = latents
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)


def load_shard(path: Path) -> Shard:
    with np.load(path) as arrays:
        sizes = [tuple(map(int, n.split("_")[1].split("x"))) for n in arrays if n[0] == "e"]
        return {(w, h): (arrays[f"entries_{w}x{h}"], arrays[f"latents_{w}x{h}"]) for w, h in sizes}


if __name__ == "__main__":
    main()

"""What a training step sees: latents of one size, and captions drawn anew, as token ids."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlx_wan.tokenizer import Tokenizer

from .dataset import Entry, entry
from .encode import load_shard

TOKENIZER = Path("google/umt5-xxl/spiece.model")  # in a checkpoint folder
# How often a motif is drawn. Which way rings, auroras and particles move is learnt last; the
# gradient has no direction and the sweep's is learnt first.
SHARES = {
    "rings": 2.5,
    "aurora": 1.5,
    "particles": 1.5,
    "waves": 1.2,
    "gradient": 0.6,
    "sweep": 0.6,
}


class LatentStore:
    """All latents encoded so far; `refresh` picks up shards that were written meanwhile."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.seen: set[str] = set()
        self.entries: dict[tuple[int, int], np.ndarray] = {}
        self.latents: dict[tuple[int, int], np.ndarray] = {}  # (n, 16, 5, h, w) float16
        self.chances: dict[tuple[int, int], np.ndarray] = {}  # of each pair
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("*.npz")):
            if path.name in self.seen:
                continue
            for size, (entries, latents) in load_shard(path).items():
                if size in self.entries:
                    entries = np.concatenate([self.entries[size], entries])
                    latents = np.concatenate([self.latents[size], latents])
                self.entries[size], self.latents[size] = entries, latents
            self.seen.add(path.name)
        for size, entries in self.entries.items():
            if size not in self.chances or len(self.chances[size]) != len(entries) // 2:
                self.chances[size] = self._chances(entries[::2])

    def _chances(self, entries: np.ndarray) -> np.ndarray:
        shares = np.array([SHARES.get(entry(int(i)).look.motif, 1.0) for i in entries])
        return shares / shares.sum()

    def __len__(self) -> int:
        return sum(map(len, self.entries.values()))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        """Entry numbers (count,) and latents (count, 16, 5, h, w) of one size.

        They come in pairs, a clip and the same one backwards, which are neighbours in a shard.
        """
        sizes = list(self.entries)
        shares = np.array([len(self.entries[size]) for size in sizes]) / len(self)
        size = sizes[int(rng.choice(len(sizes), p=shares))]
        pairs = rng.choice(len(self.chances[size]), size=count // 2, p=self.chances[size])
        rows = np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel()
        return self.entries[size][rows], torch.from_numpy(self.latents[size][rows]).float()


class Captions:
    """Captions of entries as padded token ids."""

    def __init__(self, spiece: Path, text_len: int):
        self.tokenizer = Tokenizer(spiece, text_len)
        self.entries: dict[int, Entry] = {}

    def draw(self, entries: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A new caption for each entry: ids (n, longest) and their lengths (n,).

        Both of a pair are worded alike, so that only what they show makes a difference.
        """
        for index in map(int, entries):
            if index not in self.entries:
                self.entries[index] = entry(index)
        wordings = rng.integers(2**31, size=(len(entries) + 1) // 2)
        return self.encode(
            [
                self.entries[int(index)].caption(np.random.default_rng(wordings[i // 2]))
                for i, index in enumerate(entries)
            ]
        )

    def encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        rows = [self.tokenizer(text) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
        for place, row in zip(ids, rows, strict=True):
            place[: len(row)] = torch.tensor(row)
        return ids, lengths


def one_frame(latents: Tensor, rng: np.random.Generator) -> Tensor:
    """One random latent frame of each clip, as an image: (n, 16, 1, h, w)."""
    frame = torch.from_numpy(rng.integers(latents.shape[2], size=len(latents)))
    return latents[torch.arange(len(latents)), :, frame][:, :, None]

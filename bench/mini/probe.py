"""Trains the judge of `evaluate` on real clips whose seeds no trainer uses."""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .clips import at_phase
from .dataset import entry
from .judge import ANSWERS, Judge, see

PROBE_SEED = 20_000_033


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file for the trained judge")
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    seen, labels = real_clips(args.clips)
    judge = train(seen, labels, args.epochs)
    torch.save(judge.state_dict(), args.out)


def real_clips(count: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    seen, labels = [], {name: torch.zeros(count, dtype=torch.long) for name in ANSWERS}
    for i in range(count):
        one = entry(i, PROBE_SEED)
        seen.append(see(at_phase(one.render(), i % 16)))
        for name, choices in ANSWERS.items():
            labels[name][i] = choices.index(getattr(one.look, name))
    return torch.stack(seen), labels


def train(seen: torch.Tensor, labels: dict[str, torch.Tensor], epochs: int) -> Judge:
    """Noise, blur and mirroring keep it from judging by what only the renderer does."""
    judge, rng = Judge(), np.random.default_rng(0)
    total = epochs * (len(seen) // 64)
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total)
    for step in range(total):
        rows = torch.from_numpy(rng.integers(len(seen), size=64))
        batch = seen[rows]
        if rng.random() < 0.5:
            batch = batch.flip(3)
        if rng.random() < 0.5:
            batch = F.avg_pool2d(F.pad(batch, (1, 1, 1, 1), mode="replicate"), 3, 1)
        batch = batch + float(rng.uniform(0, 0.06)) * torch.randn(batch.shape)
        scores = judge(batch)
        loss = sum(F.cross_entropy(scores[name], labels[name][rows]) for name in ANSWERS)
        assert isinstance(loss, torch.Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == total - 1:
            print(f"step {step} of {total}: loss {loss.item():.3f}", flush=True)
    return judge.eval()


if __name__ == "__main__":
    main()

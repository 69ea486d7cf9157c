"""Trains the judge of `evaluate` on real clips whose seeds no trainer uses (torch, 5 minutes).

python -m mlx_wan.bench.mini.probe        writes judge.safetensors beside this file
"""

import argparse
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from .clips import LOOP, SMALL_SIZES, Clip, at_phase, render
from .judge import ANSWERS, FRAMES, WEIGHTS, WIDTH, answers, load_judge
from .looks import MOTIFS, Look, draw_look

TRAIN_SEED = 20_000_033
TEST_SEED = 20_000_059


class TorchJudge(nn.Module):
    """`judge.Judge` with batch norms, which `merged` takes in."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        widths = (3 * len(FRAMES), width, 2 * width, 4 * width, 4 * width)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3 if i else 5, 1 if i else 2, 1 if i else 2, bias=False)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for after in widths[1:])
        self.head = nn.Linear(8 * width, sum(map(len, ANSWERS.values())))

    def forward(self, seen: Tensor) -> tuple[Tensor, ...]:
        x = seen.contiguous(memory_format=torch.channels_last)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            x = F.max_pool2d(x, 2) if i in (1, 2) else x
        scores = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))
        return scores.split([len(choices) for choices in ANSWERS.values()], dim=1)

    @torch.no_grad()
    def merged(self) -> dict[str, mx.array]:
        """The weights of `judge.Judge`, channels last."""
        weights = {"head.weight": self.head.weight, "head.bias": self.head.bias}
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True), start=1):
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            fused = fuse_conv_bn_eval(conv.eval(), norm.eval())
            weights[f"conv{i}.weight"] = fused.weight.permute(0, 2, 3, 1)
            weights[f"conv{i}.bias"] = fused.get_parameter("bias")
        return {name: mx.array(value.contiguous().numpy()) for name, value in weights.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file for the trained judge")
    parser.add_argument("--clips", type=int, default=4200)
    parser.add_argument("--steps", type=int, default=1200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    judge = train([real_clips(args.clips // 3, size) for size in SMALL_SIZES], args.steps)
    mx.save_safetensors(str(args.out), judge.merged())
    looks = [drawn(i, TEST_SEED) for i in range(630)]
    clips = [render(look, *SMALL_SIZES[i % 3]) for i, look in enumerate(looks)]
    told = answers(load_judge(args.out), clips)
    for name in ANSWERS:
        right = [one[name] == getattr(look, name) for one, look in zip(told, looks, strict=True)]
        print(f"{name}: {np.mean(right):.3f} of {len(looks)} other real clips")


def drawn(index: int, seed: int) -> Look:
    return draw_look(np.random.default_rng((seed, index)), motif=MOTIFS[index % len(MOTIFS)])


def real_clips(count: int, size: tuple[int, int]) -> tuple[Clip, np.ndarray]:
    """Every other frame of clips, (n, 8, H, W, 3), and the numbers of their answers, (n, 3)."""
    clips, labels = [], []
    for i in range(count):
        look = drawn(i, TRAIN_SEED + size[0])
        clips.append(at_phase(render(look, *size), i % 2)[:LOOP:2])
        labels.append([choices.index(getattr(look, name)) for name, choices in ANSWERS.items()])
    return np.stack(clips), np.array(labels)


def train(data: list[tuple[Clip, np.ndarray]], steps: int) -> TorchJudge:
    """Noise, blur and mirroring keep it from judging by what only the renderer does."""
    judge, rng = TorchJudge(), np.random.default_rng(0)
    for weight in judge.parameters():
        if weight.ndim == 4:  # the order this CPU convolves fastest
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for step in range(steps):
        clips, labels = data[int(rng.integers(len(data)))]
        rows = rng.integers(len(clips), size=64)
        batch = disturbed(clips[rows], rng)
        scores, right = judge(batch), torch.from_numpy(labels[rows])
        losses = [
            F.cross_entropy(score, right[:, i], label_smoothing=0.05)
            for i, score in enumerate(scores)
        ]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    return judge.eval()


def disturbed(clips: Clip, rng: np.random.Generator) -> Tensor:
    """(n, 8, H, W, 3) -> what the judge sees from a random start on, (n, 9, H, W)."""
    start = int(rng.integers(8))
    frames = torch.from_numpy(clips[:, [(start + frame // 2) % 8 for frame in FRAMES]])
    seen = frames.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 127.5 - 1
    if rng.random() < 0.5:
        seen = seen.flip(3)
    if rng.random() < 0.4:
        seen = F.avg_pool2d(F.pad(seen, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return seen + float(rng.uniform(0, 0.08)) * torch.randn(seen.shape)


if __name__ == "__main__":
    main()

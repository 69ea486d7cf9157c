"""What a clip shows, judged without the model: a small network for looks, flow for the direction.

The network is trained on real clips of other seeds by `probe`; direction is one least-squares
optical flow vector for the whole clip, radial for rings.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .looks import BACKGROUNDS, COLOURS, LIGHT, MOTIFS

ANSWERS = {"colour": tuple(COLOURS), "background": tuple(BACKGROUNDS), "motif": MOTIFS}
SIDE = 32  # every clip is seen as 32 x 32
FRAMES = (0, 5, 10)


class Judge(nn.Module):
    """Three frames of a clip in, a score for each colour, background and motif out."""

    def __init__(self, width: int = 32):
        super().__init__()
        widths = (3 * len(FRAMES), width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i < 3 else []
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(8 * width, len(choices)) for name, choices in ANSWERS.items()}
        )

    def forward(self, seen: Tensor) -> dict[str, Tensor]:
        features = self.body(seen)
        features = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        return {name: head(features) for name, head in self.heads.items()}


def see(clip: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) -> what the judge sees, (9, 32, 32) in -1..1."""
    frames = torch.from_numpy(clip[list(FRAMES)]).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.adaptive_avg_pool2d(frames, SIDE).flatten(0, 1)


def load_judge(path: Path) -> Judge:
    judge = Judge()
    judge.load_state_dict(torch.load(path, weights_only=True))
    return judge.eval()


@torch.no_grad()
def answers(judge: Judge, clips: list[np.ndarray]) -> list[dict[str, str]]:
    """The colour, background and motif of each clip, and whether the background is light."""
    scores = judge(torch.stack([see(clip) for clip in clips]))
    told = []
    for i in range(len(clips)):
        one = {name: ANSWERS[name][int(scores[name][i].argmax())] for name in ANSWERS}
        one["light"] = "light" if one["background"] in LIGHT else "dark"
        told.append(one)
    return told


def direction(clip: np.ndarray, ways: tuple[str, ...]) -> str:
    """Which of the ways a motif can move this clip moves."""
    grey = torch.from_numpy(clip).float().mean(3)[:, None] / 255  # (T, 1, H, W)
    grey = F.avg_pool2d(grey, 2 if "in" in ways else 4)[:, 0]
    middle = (grey[1:] + grey[:-1]) / 2
    change = (grey[1:] - grey[:-1])[:, 1:-1, 1:-1]
    dx = (middle[:, 1:-1, 2:] - middle[:, 1:-1, :-2]) / 2
    dy = (middle[:, 2:, 1:-1] - middle[:, :-2, 1:-1]) / 2
    if "in" in ways:
        h, w = dx.shape[1:]
        y = torch.arange(h)[:, None] - (h - 1) / 2
        x = torch.arange(w)[None] - (w - 1) / 2
        radius = (x * x + y * y).sqrt().clamp(min=1)
        outward = -(change * (dx * x + dy * y) / radius).sum()
        return "out" if outward > 0 else "in"
    # change + vx * dx + vy * dy = 0, in the least squares
    slopes = torch.stack([dx.flatten(), dy.flatten()], dim=1)
    moment = slopes.T @ slopes + 1e-4 * torch.eye(2)
    vx, vy = torch.linalg.solve(moment, -slopes.T @ change.flatten()).tolist()
    speed = {"left": -vx, "right": vx, "up": -vy, "down": vy}
    return max(ways, key=lambda way: speed[way])


def closure(clip: np.ndarray) -> tuple[float, float]:
    """How far the last frame is from the first, and the mean change from frame to frame."""
    frames = clip.astype(np.float32)
    steps = np.abs(np.diff(frames, axis=0)).mean()
    return float(np.abs(frames[-1] - frames[0]).mean()), float(steps)

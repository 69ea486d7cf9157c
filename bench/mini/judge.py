"""What a clip shows, judged without the model: a small network for looks, matching for motion.

The network is trained on real clips of other seeds by `probe`; the direction is the way along which
shifted frames explain the next ones best, for rings the sign of the radial optical flow.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .clips import TURNS
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
    grey = torch.from_numpy(clip).float().mean(3)[:, None] / 255
    grey = F.avg_pool2d(grey, 2)[:, 0]  # (T, H, W)
    if "in" in ways:
        return "out" if outward_flow(grey) > 0 else "in"
    return min(ways, key=lambda way: shift_error(grey, TURNS[way]))


def shift_error(grey: Tensor, turn: tuple[int, int]) -> float:
    """How badly frames explain the next ones when shifted along a way, at the best distance."""
    _, height, width = grey.shape
    errors = []
    for distance in range(1, 9):
        x, y = distance * turn[0], distance * turn[1]
        after = grey[1:, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
        before = grey[:-1, max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)]
        errors.append(float((after - before).square().mean()))
    return min(errors)


def outward_flow(grey: Tensor) -> float:
    """The optical flow along the rays from the centre, times the strength of what flows."""
    middle, change = (grey[1:] + grey[:-1]) / 2, grey[1:] - grey[:-1]
    dy, dx = torch.gradient(middle, dim=(1, 2))
    height, width = grey.shape[1:]
    y = torch.arange(height)[:, None] - (height - 1) / 2
    x = torch.arange(width)[None] - (width - 1) / 2
    return -float((change * (dx * x + dy * y) / (x * x + y * y).sqrt().clamp(min=1)).sum())


def closure(clip: np.ndarray) -> tuple[float, float]:
    """How far the last frame is from the first, and the mean change from frame to frame."""
    frames = clip.astype(np.float32)
    steps = np.abs(np.diff(frames, axis=0)).mean()
    return float(np.abs(frames[-1] - frames[0]).mean()), float(steps)

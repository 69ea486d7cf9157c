"""What a clip shows, judged without the model that made it: a small network, and matching.

The network says motif, colour and background; `probe` trained it on real clips whose seeds no
trainer uses. The direction is the way along which shifted frames explain later ones best; for rings
it is the sign of the radial flow.
"""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import numpy.typing as npt

from .clips import LOOP, TURNS, Clip
from .looks import BACKGROUNDS, COLOURS, LIGHT, MOTIFS

Array = npt.NDArray[np.float32]

ANSWERS = {"colour": tuple(COLOURS), "background": tuple(BACKGROUNDS), "motif": MOTIFS}
WEIGHTS = Path(__file__).with_name("judge.safetensors")
WIDTH = 16
FRAMES = (0, 6, 10)  # what it sees of a clip, from each of these starts on
STARTS = (0, 4, 8, 12)


class Judge(nn.Module):
    """Three frames (n, H, W, 9) in, log-probabilities of every answer (n, 29) out."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        self.conv1 = nn.Conv2d(3 * len(FRAMES), width, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, padding=1)
        self.conv4 = nn.Conv2d(4 * width, 4 * width, 3, padding=1)
        self.head = nn.Linear(8 * width, sum(map(len, ANSWERS.values())))

    def __call__(self, seen: mx.array) -> dict[str, mx.array]:
        x = nn.relu(self.conv1(seen))
        x = _halved(nn.relu(self.conv2(x)))
        x = _halved(nn.relu(self.conv3(x)))
        x = nn.relu(self.conv4(x))
        scores = self.head(mx.concatenate([x.mean((1, 2)), x.max((1, 2))], axis=1))
        told, first = {}, 0
        for name, choices in ANSWERS.items():
            told[name] = nn.log_softmax(scores[:, first : first + len(choices)])
            first += len(choices)
        return told


def _halved(x: mx.array) -> mx.array:
    """The largest of each 2 x 2; an odd last row or column is left out."""
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def see(clip: Clip, start: int = 0) -> Array:
    """uint8 (T, H, W, 3) -> what the judge sees of its loop, (H, W, 9) in -1..1."""
    frames = clip[[(start + frame) % LOOP for frame in FRAMES]].astype(np.float32) / 127.5 - 1
    return np.concatenate(list(frames), axis=-1)


def load_judge(path: Path = WEIGHTS) -> Judge:
    judge = Judge()
    judge.load_weights(str(path))
    judge.eval()
    return judge


def answers(judge: Judge, clips: list[Clip]) -> list[dict[str, str]]:
    """The colour, background and motif of each clip, and whether the background is light."""
    told = []
    for clip in clips:
        scores = judge(mx.array(np.stack([see(clip, start) for start in STARTS])))
        one = {name: ANSWERS[name][int(scores[name].sum(0).argmax())] for name in ANSWERS}
        one["light"] = "light" if one["background"] in LIGHT else "dark"
        told.append(one)
    return told


def direction(clip: Clip, ways: tuple[str, ...]) -> str:
    """Which of the ways a motif can move this clip moves."""
    grey = _softened(clip.astype(np.float32).mean(axis=3) / 255)  # (T, H, W)
    if "in" in ways:
        return "out" if _outward_flow(grey) > 0 else "in"
    return min(ways, key=lambda way: _unexplained(grey, TURNS[way]))


def _softened(grey: Array) -> Array:
    """Blurred by 1 2 1 along height and width."""
    p: Array = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    p = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    p = p[..., :-2] + 2 * p[..., 1:-1] + p[..., 2:]
    return (p / 16).astype(np.float32)


def _unexplained(grey: Array, turn: tuple[int, int]) -> float:
    """The share of the change that is left after the best shift along a way, slow to fast.

    Frames 1, 2 and 4 apart are compared, at up to 8 pixels a frame.
    """
    side = grey.shape[2] if turn[0] else grey.shape[1]
    left = []
    for gap in (1, 2, 4):
        for distance in range(max(1, 3 * gap // 4), min(8 * gap, side // 3) + 1):
            x, y = distance * turn[0], distance * turn[1]
            here, there = _window(grey, x, y), _window(grey, -x, -y)
            change = np.square(here[gap:] - here[:-gap]).mean()
            left.append(float(np.square(here[gap:] - there[:-gap]).mean() / (change + 1e-6)))
    return min(left)


def _window(grey: Array, x: int, y: int) -> Array:
    """What of each frame is still in it when everything moved here from (-x, -y)."""
    _, height, width = grey.shape
    return grey[:, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]


def _outward_flow(grey: Array) -> float:
    """The optical flow along the rays from the centre, times the strength of what flows."""
    middle, change = (grey[1:] + grey[:-1]) / 2, grey[1:] - grey[:-1]
    dy, dx = np.gradient(middle, axis=(1, 2))
    height, width = grey.shape[1:]
    y = np.arange(height)[:, None] - (height - 1) / 2
    x = np.arange(width)[None] - (width - 1) / 2
    return -float((change * (dx * x + dy * y) / np.hypot(x, y).clip(1)).sum())


def closure(clip: Clip) -> tuple[float, float]:
    """How far the last frame is from the first, and the mean change from frame to frame."""
    frames = clip.astype(np.float32)
    steps = np.abs(np.diff(frames, axis=0)).mean()
    return float(np.abs(frames[-1] - frames[0]).mean()), float(steps)

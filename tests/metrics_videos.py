"""Small videos of which is known how they should measure, uint8 (T, H, W, 3)."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from mlx_wan.bench.metrics.frames import frames_of

SIDE, COUNT = 96, 17
_BLOBS = np.random.default_rng(5).uniform((0, 0, 5, 60), (SIDE, SIDE, 9, 160), (9, 4))
_COLOURS = np.array([1.0, 0.7, 0.4])


def scene(
    speed: float = 2, *, count: int = COUNT, at: Callable[[int], float] | None = None
) -> np.ndarray:
    """Soft spots that move to the right at `speed` pixels a frame, or are `at(t)`; float, 0..255.

    They come in again on the left, so `count` frames of SIDE / (count - 1) pixels make a loop.
    """
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    frames = []
    for t in range(count):
        grey = 40 + 0.3 * y
        for top, left, radius, strength in _BLOBS:
            shift = at(t) if at else speed * t
            dx = (x - left - shift + SIDE / 2) % SIDE - SIDE / 2
            grey = grey + strength * np.exp(-(dx**2 + (y - top) ** 2) / (2 * radius**2))
        frames.append(grey[..., None] * _COLOURS)
    return np.stack(frames)


def particles(speed: float = 2, *, count: int = COUNT) -> np.ndarray:
    """Forty sharp dots falling over black, on their own ways."""
    dice = np.random.default_rng(7)
    places, speeds = dice.uniform(0, SIDE, (40, 2)), dice.uniform(0.5, 1.5, 40) * speed
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    frames = []
    for t in range(count):
        grey = np.zeros((SIDE, SIDE))
        for (top, left), own in zip(places, speeds, strict=True):
            down = (y - top - own * t + SIDE / 2) % SIDE - SIDE / 2
            grey += 220 * np.exp(-(down**2 + (x - left) ** 2) / 4)
        frames.append(np.repeat(grey[..., None], 3, axis=2))
    return np.stack(frames)


def noise(sigma: float, shape: Sequence[int] = (COUNT, SIDE, SIDE, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) * sigma


def samples(video: np.ndarray) -> np.ndarray:
    return np.clip(video, 0, 255).round().astype(np.uint8)


def blurred(video: np.ndarray, radius: float) -> np.ndarray:
    """Along height and width, by a Gaussian, as if the picture went on around its borders."""
    if not radius:
        return video
    fy, fx = np.fft.fftfreq(video.shape[1])[:, None], np.fft.rfftfreq(video.shape[2])
    gain = np.exp(-2 * (np.pi * radius) ** 2 * (fy**2 + fx**2))[..., None]
    spectrum = np.fft.rfft2(video, axes=(1, 2)) * gain
    return np.fft.irfft2(spectrum, s=video.shape[1:3], axes=(1, 2))


def figures(video: np.ndarray, watcher, fps: float = 16.0) -> dict[str, float | None]:
    """What a watcher says of a video."""
    for frame in frames_of(samples(video), fps=fps, count=len(video)):
        watcher.see(frame)
    return watcher.figures()


def rising(values: Sequence[float | None]) -> bool:
    return all(a is not None and b is not None and a < b for a, b in pairwise(values))

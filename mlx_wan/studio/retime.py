"""Clips in their own rate -> pictures at the delivered rate, at the clip's own size."""

from collections.abc import Iterable, Iterator

import numpy as np

INTERPOLATIONS = ("motion", "off")


def loop(frames: np.ndarray, rate: float, interpolate: str) -> Iterator[np.ndarray]:
    """Endless pictures, float32 `(H, W, 3)`, of a clip whose last frame leads back to its first.

    `rate` is source frames per picture. What the last frame misses to be the first again is
    spread over the whole loop, so that there is no seam.
    """
    period = len(frames) - 1
    ramp = (np.arange(period) / period).astype(np.float32)[:, None, None, None]
    gap = frames[0].astype(np.float32) - frames[-1]
    closed = frames[:-1] + ramp * gap
    index = 0
    while True:
        position = index * rate % period
        if interpolate == "off":
            yield closed[int(position + 0.5) % period]
        else:
            before, part = int(position), np.float32(position % 1)
            yield closed[before] * (1 - part) + closed[(before + 1) % period] * part
        index += 1


def once(frames: Iterable[np.ndarray], rate: float, interpolate: str) -> Iterator[np.ndarray]:
    """Pictures, float32 `(H, W, 3)`, of frames that play once, `rate` source frames a picture."""
    index = 0
    for count, frame in enumerate(frames):
        while int(index * rate + 0.5) <= count:
            yield frame.astype(np.float32)
            index += 1

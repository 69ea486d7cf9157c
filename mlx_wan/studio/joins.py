"""Where pictures meet: cross-fades, and colours that do not jump."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

_SHOWN = 3  # frames whose colours are compared on each side of a join
_MOST_SHIFT = 24.0  # grey levels
_MOST_GAIN = 1.25


@dataclass(frozen=True)
class Tint:
    """Per channel: how pictures are shifted and stretched to look like those before the join."""

    gain: np.ndarray
    shift: np.ndarray

    def apply(self, picture: np.ndarray, strength: float) -> np.ndarray:
        """float32 `(H, W, 3)`; strength 0 changes nothing, 1 is the whole match."""
        if strength <= 0:
            return picture
        gain = 1 + strength * (self.gain - 1)
        return picture * gain.astype(np.float32) + (strength * self.shift).astype(np.float32)


def match(before: Iterable[np.ndarray], after: Iterable[np.ndarray]) -> Tint:
    """Gives pictures `after` the mean and spread of those `before`, channel by channel, limited.

    Levels are taken as they are stored, which is about as the eye sees them.
    """
    (mean, spread), (own_mean, own_spread) = _colours(before), _colours(after)
    gain = np.clip((spread + 1) / (own_spread + 1), 1 / _MOST_GAIN, _MOST_GAIN)
    moved = np.clip(mean - own_mean, -_MOST_SHIFT, _MOST_SHIFT)
    return Tint(gain, own_mean + moved - gain * own_mean)


def fade(position: int, length: int) -> float:
    """How much of the new picture is in frame `position` of a cross-fade: smooth at both ends."""
    part = (position + 0.5) / length
    return part * part * (3 - 2 * part)


def mix(old: np.ndarray, new: np.ndarray, part: float) -> np.ndarray:
    return old * np.float32(1 - part) + new * np.float32(part)


def chained(
    clips: Iterable[tuple[Callable[[], Iterator[np.ndarray]], int, bool]], overlap: int
) -> Iterator[np.ndarray]:
    """The frames of clips one after the other, uint8 `(H, W, 3)`, as one shot.

    Each clip is (its frames, their number, whether it continues the clip before). What continues
    is cut to; what does not is faded to over `overlap` frames. The colours of a clip begin as
    those before it and are its own at its end. Few frames are in memory at a time.
    """
    ending: deque[np.ndarray] = deque()  # the frames that may still be faded over
    shown: deque[np.ndarray] = deque(maxlen=_SHOWN)
    for number, (read, length, continues) in enumerate(clips):
        frames = read()
        tint = None
        if number:
            if continues:
                while ending:
                    shown.append(ending.popleft())
                    yield _rounded(shown[-1])
            first = [frame.astype(np.float32) for frame in islice(frames, _SHOWN)]
            tint = match(ending if ending else shown, first)
            frames = chain(first, frames)
        fading = len(ending)
        for index, frame in enumerate(frames):
            picture = frame.astype(np.float32)
            if tint is not None:
                picture = tint.apply(picture, 1 - index / length)
            if index < fading:
                picture = mix(ending.popleft(), picture, fade(index, fading))
                shown.append(picture)
                yield _rounded(picture)
                continue
            ending.append(picture)
            if len(ending) > overlap:
                shown.append(ending.popleft())
                yield _rounded(shown[-1])
    while ending:
        yield _rounded(ending.popleft())


def _rounded(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)


def _colours(pictures: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each channel over the last few pictures."""
    few = np.stack(list(pictures)[-_SHOWN:]).astype(np.float64)
    return few.mean(axis=(0, 1, 2)), few.std(axis=(0, 1, 2))

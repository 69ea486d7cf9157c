"""The data set as a list: entry `i` of seed `s` is always the same size, look and caption source.

Nothing is stored here: a clip is rendered from its look in 15 ms. Every second entry is the one
before it played backwards with the opposite caption, so that direction cannot be guessed from
anything but the words.
"""

from dataclasses import dataclass

import numpy as np

from .captions import caption, dress_theme, unconditional
from .clips import SIZE_SHARES, SMALL_SIZES, Clip, render
from .looks import Look, draw_look
from .themes import draw_theme

THEME_SHARE = 0.15
DROPOUT = 0.1  # captions left out, for guidance
HELD_OUT_SEED = 10_000_019  # entries of this seed are never trained on


@dataclass(frozen=True)
class Entry:
    look: Look
    width: int
    height: int
    theme: str | None  # the phrase, where the caption is one

    def render(self) -> Clip:
        return render(self.look, self.width, self.height)

    def caption(self, rng: np.random.Generator) -> str:
        """A new caption each time it is asked for; now and then none, for guidance."""
        if rng.random() < DROPOUT:
            return unconditional(rng)
        if self.theme is None:
            return caption(self.look, rng)
        return dress_theme(self.theme, rng)


def entry(index: int, seed: int = 0, sizes: tuple[tuple[int, int], ...] = SMALL_SIZES) -> Entry:
    rng = np.random.default_rng((seed, index // 2))
    width, height = sizes[int(rng.choice(len(sizes), p=SIZE_SHARES))]
    if rng.random() < THEME_SHARE:
        phrase, look = draw_theme(rng)
    else:
        phrase, look = None, draw_look(rng)
    if index % 2:
        look = look.reversed()
        if look.direction is None:  # no backwards: another seed of the same look
            look = Look(**{**look.to_dict(), "seed": int(rng.integers(2**31))})
    return Entry(look, width, height, phrase)

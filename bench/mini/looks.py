"""What a clip of the wan-mini data set shows: motif, colours, direction, speed. Numpy only.

A `Look` is plain data; `draw_look` draws one at random, `clips.render` paints it and
`captions.caption` describes it.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np

Rgb = tuple[int, int, int]

# Main colours: family -> shade -> sRGB. The shade's name is a word of the captions.
COLOURS: dict[str, dict[str, Rgb]] = {
    "red": {"red": (228, 34, 38), "crimson": (204, 18, 56), "scarlet": (240, 40, 18)},
    "orange": {"orange": (250, 132, 12), "tangerine": (252, 112, 28), "amber": (250, 150, 20)},
    "yellow": {"yellow": (250, 220, 48), "gold": (238, 196, 60), "golden": (244, 206, 72)},
    "green": {"green": (48, 184, 74), "emerald": (24, 172, 92), "lime": (142, 216, 52)},
    "teal": {"teal": (8, 158, 158), "turquoise": (48, 208, 196), "cyan": (20, 206, 224)},
    "blue": {"blue": (36, 92, 236), "azure": (36, 132, 250), "sky blue": (96, 168, 250)},
    "purple": {"purple": (138, 54, 208), "violet": (118, 66, 230), "lavender": (172, 138, 246)},
    "pink": {"pink": (248, 104, 178), "magenta": (226, 32, 172), "rose": (240, 76, 138)},
    "white": {"white": (248, 248, 250), "silver": (202, 208, 218), "pearl": (240, 234, 222)},
}

# Backgrounds: family -> (words, sRGB of each word's shade).
BACKGROUNDS: dict[str, dict[str, Rgb]] = {
    "black": {"black": (5, 5, 8), "pitch black": (2, 2, 3), "dark": (9, 9, 13)},
    "navy": {"navy": (10, 18, 52), "navy blue": (10, 18, 52), "dark blue": (8, 14, 60)},
    "charcoal": {"charcoal": (40, 42, 47), "dark grey": (46, 47, 51), "slate": (44, 50, 60)},
    "forest": {"dark green": (8, 40, 24), "forest green": (12, 46, 26)},
    "plum": {"dark purple": (36, 12, 56), "plum": (46, 14, 56), "indigo": (30, 14, 70)},
    "deep teal": {"dark teal": (4, 44, 50), "deep teal": (6, 48, 52)},
    "maroon": {"dark red": (56, 8, 14), "maroon": (60, 10, 20), "burgundy": (66, 10, 26)},
    "brown": {"brown": (58, 36, 20), "dark brown": (50, 30, 16)},
    "white": {"white": (248, 248, 250), "bright white": (252, 252, 252)},
    "cream": {"cream": (248, 238, 214), "beige": (240, 226, 198)},
    "light grey": {"light grey": (206, 208, 212), "light gray": (210, 212, 216)},
    "light blue": {"light blue": (190, 218, 246), "pastel blue": (196, 222, 244)},
    "light pink": {"light pink": (250, 212, 224), "pastel pink": (248, 206, 222)},
}
DARK = ("black", "navy", "charcoal", "forest", "plum", "deep teal", "maroon", "brown")
LIGHT = ("white", "cream", "light grey", "light blue", "light pink")

SIDEWAYS = ("left", "right")
ALL_WAYS = ("left", "right", "up", "down")
DIRECTIONS: dict[str, tuple[str, ...]] = {
    "orbs": ALL_WAYS,
    "particles": ALL_WAYS,
    "waves": SIDEWAYS,
    "sweep": ALL_WAYS,
    "aurora": SIDEWAYS,
    "rings": ("in", "out"),
    "gradient": (),
}
MOTIFS = tuple(DIRECTIONS)
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up", "in": "out", "out": "in"}
SPEEDS = ("slow", "medium", "fast")
COUNTS = ("few", "several", "many")

# Neighbours on the colour circle look well together; the second colour of a clip is one of them.
ACCENTS: dict[str, tuple[str, ...]] = {
    "red": ("orange", "pink"),
    "orange": ("red", "yellow"),
    "yellow": ("orange", "green"),
    "green": ("teal", "yellow"),
    "teal": ("blue", "green"),
    "blue": ("teal", "purple"),
    "purple": ("blue", "pink"),
    "pink": ("purple", "orange"),
    "white": ("blue", "white"),
}


@dataclass(frozen=True)
class Look:
    """Everything a caption may name, and the seed of everything it does not."""

    motif: str
    colour: str
    shade: str
    accent: str
    background: str
    background_shade: str
    direction: str | None
    speed: str
    count: str
    seed: int

    @property
    def is_dark(self) -> bool:
        return self.background in DARK

    def reversed(self) -> "Look":
        """The same clip with the opposite motion, where the motif has one."""
        return replace(self, direction=OPPOSITE[self.direction]) if self.direction else self

    def to_dict(self) -> dict:
        return asdict(self)


def possible(motif: str, colour: str, background: str) -> bool:
    """Whether the motif can be seen: lights need the dark, pale colours a contrast."""
    if motif in ("sweep", "aurora") and background in LIGHT:
        return False
    if background in LIGHT and colour == "white":
        return False
    if background in ("white", "cream") and colour == "yellow":
        return False
    same = {"red": "maroon", "purple": "plum", "green": "forest", "orange": "brown"}
    return not (motif == "gradient" and same.get(colour) == background)


def draw_look(rng: np.random.Generator, **fixed: str | None) -> Look:
    """A random look; `fixed` pins fields (motif, colour, background, direction, speed, count).

    Pinned fields are kept even where `possible` would avoid the combination.
    """
    for _ in range(50):
        motif = fixed.get("motif") or pick(rng, MOTIFS)
        colour = fixed.get("colour") or pick(rng, tuple(COLOURS))
        background = fixed.get("background") or pick(rng, DARK if rng.random() < 0.6 else LIGHT)
        if possible(motif, colour, background):
            break
    directions = DIRECTIONS[motif]
    direction = fixed.get("direction")
    if direction not in directions:
        direction = pick(rng, directions) if directions else None
    return Look(
        motif=motif,
        colour=colour,
        shade=pick(rng, tuple(COLOURS[colour])),
        accent=pick(rng, ACCENTS[colour]),
        background=background,
        background_shade=pick(rng, tuple(BACKGROUNDS[background])),
        direction=direction,
        speed=fixed.get("speed") or pick(rng, SPEEDS),
        count=fixed.get("count") or pick(rng, COUNTS),
        seed=int(rng.integers(2**31)),
    )


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]

"""Paints a `Look` as 17 frames of soft abstract motion. Numpy only.

Every clip is a perfect loop of 16 frames (frame 16 is frame 0): all motion is a function of
`tau = frame / 16` with whole periods. What repeats in space moves by one period per loop, a quarter
per latent frame, so that latent frames tell its direction; fast is a longer period, not two of
them, which would be half a period per latent frame and look the same both ways. And whatever moves
has a front and a tail, so that one frame tells its direction too: what only the order of frames
tells, a small model learns last. Lengths are in
units; one unit is the same number of pixels in every size of a family, so that only the window
changes. Layers are laid over each other, not added, so that light backgrounds work too.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .looks import BACKGROUNDS, COLOURS, Look

Array = npt.NDArray[np.float32]
Clip = npt.NDArray[np.uint8]

LOOP = 16
NUM_FRAMES = LOOP + 1
SMALL_SIZES = ((64, 64), (80, 48), (48, 80))  # (width, height)
LARGE_SIZES = ((96, 96), (144, 80), (80, 144))
SIZE_SHARES = (0.5, 0.3, 0.2)

TURNS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
TAU = (np.arange(LOOP, dtype=np.float32) / LOOP)[:, None, None]  # (16, 1, 1)


class Canvas:
    """The pixel grid in units, centre (0, 0), y downwards, and the colours of one look."""

    def __init__(self, width: int, height: int, look: Look, rng: np.random.Generator):
        unit = 56.0 if width * height < 6000 else 84.0
        self.x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / unit)[None, None]
        self.y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / unit)[None, :, None]
        self.half = (width / unit / 2, height / unit / 2)
        self.shape = (LOOP, height, width)
        self.main = _rgb(COLOURS[look.colour][look.shade])
        accents = list(COLOURS[look.accent].values())
        self.accent = _rgb(accents[int(rng.integers(len(accents)))])
        self.ground = _rgb(BACKGROUNDS[look.background][look.background_shade])
        self.frames = self._background(rng)

    def _background(self, rng: np.random.Generator) -> Array:
        """The named colour, tinted a little with the main one, with a slight linear shade."""
        tint = rng.uniform(0.05, 0.09)
        angle = rng.uniform(0, 2 * np.pi)
        slope = self.x * np.cos(angle) + self.y * np.sin(angle)  # (1, H, W)
        shade = 1 + rng.uniform(0.04, 0.12) * slope[..., None]
        colour = self.ground * (1 - tint) + self.main * tint
        return np.broadcast_to(colour * shade, (*self.shape, 3)).astype(np.float32)

    def lay(self, alpha: Array, colour: Array) -> None:
        """Lay a colour, (3,) or per pixel, over the frames; alpha (16, H, W) in 0..1."""
        self.frames += alpha[..., None] * (colour - self.frames)

    def glow(self, strength: Array, is_dark: bool, whiten: float = 0.55) -> Array:
        """The main colour, going towards white where a light in the dark is strongest."""
        white = whiten * np.clip(strength, 0, 1) ** 3 if is_dark else np.zeros_like(strength)
        return self.main + white[..., None] * (1 - self.main)


def render(look: Look, width: int = 64, height: int = 64) -> Clip:
    """The clip of a look: (17, height, width, 3) uint8."""
    rng = np.random.default_rng(look.seed)
    canvas = Canvas(width, height, look, rng)
    PAINTERS[look.motif](canvas, look, rng)
    levels = canvas.frames * 255
    levels += rng.random(levels.shape, dtype=np.float32)  # dither: a VAE would learn the banding
    clip = np.clip(levels, 0, 255.999).astype(np.uint8)
    return np.concatenate([clip, clip[:1]])


def at_phase(clip: Clip, phase: int) -> Clip:
    """The same loop started at another frame."""
    return clip[(phase + np.arange(NUM_FRAMES)) % LOOP]


def _rgb(colour: tuple[int, int, int]) -> Array:
    return (np.asarray(colour) / 255).astype(np.float32)


def _smooth(value: npt.NDArray[np.floating]) -> Array:
    value = np.clip(value, 0, 1).astype(np.float32)
    return value * value * (3 - 2 * value)


def _leaning(angle: npt.NDArray[np.floating]) -> Array:
    """A sine that leans like a breaking wave, in about -1..1."""
    return ((np.sin(angle) + 0.35 * np.sin(2 * angle)) / 1.15).astype(np.float32)


def _lives(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Age 0..1 and opacity (n, 16) of n things that each live one period, spread evenly."""
    births = (np.arange(n) + rng.uniform(0, 1)) / n
    age = (TAU[:, 0, 0] + rng.permutation(births)[:, None]) % 1
    age = age.astype(np.float32)
    return age, _smooth(np.minimum(age, 1 - age) / 0.22)


def _places(canvas: Canvas, n: int, rng: np.random.Generator) -> Array:
    """n well spread places in the window, (n, 2): the best of a few random candidates each."""
    half = np.array(canvas.half)
    places = rng.uniform(-half, half, (1, 2))
    for _ in range(n - 1):
        tries = rng.uniform(-half, half, (8, 2))
        gaps = np.linalg.norm(tries[:, None] - places[None], axis=-1).min(axis=1)
        places = np.vstack([places, tries[gaps.argmax()]])
    return places.astype(np.float32)


def _paths(canvas: Canvas, look: Look, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Positions (2, n, 16) of n things drifting along the direction, and their opacity (n, 16)."""
    distance = {"slow": 0.3, "medium": 0.55, "fast": 1.0}[look.speed]
    turn = np.array(TURNS[look.direction or "right"], dtype=np.float32)
    age, opacity = _lives(n, rng)
    reach = distance * rng.uniform(0.85, 1.15, (n, 1)).astype(np.float32) * (age - 0.5)
    places = _places(canvas, n, rng)
    return places.T[:, :, None] + turn[:, None, None] * reach, opacity


def _orbs(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    low, high = {"few": (2, 3), "several": (4, 6), "many": (7, 9)}[look.count]
    size_low, size_high = {"few": (0.2, 0.28), "several": (0.13, 0.19), "many": (0.095, 0.13)}[
        look.count
    ]
    n = int(rng.integers(low, high + 1)) + 1  # one is always between two lives
    (px, py), opacity = _paths(canvas, look, n, rng)
    tx, ty = TURNS[look.direction or "right"]
    lag = {"slow": 0.7, "medium": 1.0, "fast": 1.3}[look.speed]
    soft = rng.random() < 0.5  # a glowing ball, or a flat translucent disc
    for i in range(n):
        radius = rng.uniform(size_low, size_high)
        dx, dy = canvas.x - px[i][:, None, None], canvas.y - py[i][:, None, None]
        away = np.sqrt(dx * dx + dy * dy) / radius
        disc = 1 / (1 + np.exp(np.minimum((away - 1) * (5 if soft else 9), 40)))
        along, across = (dx * tx + dy * ty) / radius, (dx * ty + dy * tx) / radius
        halo = 0.5 * np.exp(-(((along + lag) / (1.2 + 0.6 * lag)) ** 2) - (across / 1.3) ** 2)
        body = disc * (0.55 + 0.45 * np.exp(-((away * 1.3) ** 2))) if soft else 0.72 * disc
        alpha = np.clip(body + halo * (1 - body), 0, 0.95) * opacity[i][:, None, None]
        shown = canvas.glow(np.exp(-((away * 1.5) ** 2)) * soft, look.is_dark)
        if i % 3 == 2:
            shown = 0.5 * shown + 0.5 * canvas.accent
        canvas.lay(alpha.astype(np.float32), shown)


def _particles(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    n = {"few": 8, "several": 15, "many": 26}[look.count]
    (px, py), opacity = _paths(canvas, look, n, rng)
    size = rng.uniform(0.028, 0.044, (n, 1, 1)).astype(np.float32)
    strength = rng.uniform(0.75, 1.3, (n, 1)).astype(np.float32) * opacity

    tx, ty = TURNS[look.direction or "right"]
    step = {"slow": 0.028, "medium": 0.04, "fast": 0.055}[look.speed]

    def blur(widen: float, behind: float = 0.0) -> Array:
        """Sum of round Gaussians: the product of one along x and one along y."""
        qx, qy = px - tx * behind, py - ty * behind
        gx = np.exp(-(((canvas.x - qx[..., None]) / (size * widen)) ** 2) / 2)  # (n, 16, W)
        gy = np.exp(-(((canvas.y[..., 0] - qy[..., None]) / (size * widen)) ** 2) / 2)  # (n, 16, H)
        return np.einsum("nt,nth,ntw->thw", strength, gy, gx, optimize=True)

    core = blur(1.0)
    tail = sum(share * blur(0.9, i * step) for i, share in ((1, 0.6), (2, 0.4), (3, 0.25)))
    alpha = 1 - np.exp(-(1.5 * core + 0.8 * tail + 0.15 * blur(2.4)))
    canvas.lay(np.clip(alpha, 0, 0.97), canvas.glow(core, look.is_dark, 0.45))


def _waves(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    sign = -1 if look.direction == "left" else 1
    low, high = {"slow": (1.2, 1.7), "medium": (0.8, 1.1), "fast": (0.5, 0.65)}[look.speed]
    layers = int(rng.integers(2, 5))
    top = rng.uniform(-0.4, -0.05)
    for i in range(layers):
        depth = (i + 1) / layers
        middle = canvas.half[1] * (top + (0.75 - top) * i / layers)
        height = rng.uniform(0.05, 0.11)
        frequency, phase = rng.uniform(low, high), rng.uniform(0, 1)
        at = 2 * np.pi * (sign * frequency * canvas.x - TAU + phase)  # grows the way it goes
        crest = middle + height * _leaning(at)
        below = canvas.y - crest  # (16, H, W), positive inside the wave
        inside = 1 / (1 + np.exp(np.minimum(-below / 0.016, 40)))
        lit = np.exp(-np.maximum(below, 0) / 0.12)  # light caught by the crest
        front = (0.7 + 0.3 * np.cos(at)).astype(np.float32)  # the side it goes to is lit
        blend = (0.3 + 0.55 * depth) * (0.5 + 0.5 * lit) * front
        colour = canvas.main * (0.8 + 0.2 * (lit * front)[..., None])
        if i % 2:
            colour = 0.72 * colour + 0.28 * canvas.accent
        canvas.lay((inside * blend).astype(np.float32), colour)


def _sweep(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    tilt = np.deg2rad(rng.uniform(-26, 26))
    tx, ty = TURNS[look.direction or "right"]
    ax, ay = tx * np.cos(tilt) - ty * np.sin(tilt), tx * np.sin(tilt) + ty * np.cos(tilt)
    along = canvas.x * ax + canvas.y * ay  # (1, H, W), grows the way the beam goes
    # A beam crosses once per loop; a fast one in less time, and then it waits out of sight.
    share, width = {"slow": (1.0, 0.25), "medium": (1.0, 0.19), "fast": (0.7, 0.24)}[look.speed]
    width *= rng.uniform(0.9, 1.1)
    reach = canvas.half[0] * abs(ax) + canvas.half[1] * abs(ay) + 2.2 * width
    centre = reach * (2 * ((TAU + rng.uniform(0, 1)) % 1) / share - 1)
    beam = np.exp(-(((along - centre) / width) ** 2))
    trail = 0.3 * np.exp(-(((along - centre + 0.8 * width) / (1.6 * width)) ** 2))
    canvas.lay((0.8 * trail).astype(np.float32), canvas.accent)
    canvas.lay((0.92 * beam).astype(np.float32), canvas.glow(beam, True, 0.6))


def _aurora(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    sign = -1 if look.direction == "left" else 1
    low, high = {"slow": (1.0, 1.4), "medium": (0.65, 0.9), "fast": (0.42, 0.55)}[look.speed]
    for strength in (0.6, 0.95):
        frequency, phase, phase2 = rng.uniform(low, high), *rng.uniform(0, 1, 2)
        at = sign * frequency * canvas.x
        height = canvas.half[1] * rng.uniform(-0.05, 0.55)
        edge = height + 0.1 * _leaning(2 * np.pi * (at - TAU + phase))
        above = edge - canvas.y  # (16, H, W), positive inside the curtain
        tail = rng.uniform(0.22, 0.34)
        curtain = np.exp(-np.maximum(above, 0) / tail) / (
            1 + np.exp(np.minimum(-above / 0.018, 40))
        )
        lag = 1.2 * np.maximum(above, 0)  # a fold leans back, away from where it goes
        folds = 0.66 + 0.34 * _leaning(2 * np.pi * (3 * at + lag - TAU + phase2))
        light = (strength * curtain * folds).astype(np.float32)
        rise = _smooth((above - 0.08) / (1.6 * tail))[..., None]
        colour = canvas.glow(light, True, 0.3) * (1 - rise) + canvas.accent * rise
        canvas.lay(light, colour)


def _rings(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    cx, cy = rng.uniform(-0.22, 0.22, 2) * np.array(canvas.half)
    distance = np.sqrt((canvas.x - cx) ** 2 + (canvas.y - cy) ** 2)  # (1, H, W)
    low, high = {"slow": (0.28, 0.32), "medium": (0.37, 0.43), "fast": (0.52, 0.6)}[look.speed]
    spacing = rng.uniform(low, high)
    turn = -TAU if look.direction == "out" else TAU
    phase = distance / spacing + turn + rng.uniform(0, 1)
    ahead = phase - np.round(phase)
    ahead = ahead if look.direction == "out" else -ahead
    line = np.exp(-((ahead / np.where(ahead > 0, 0.15, 0.27)) ** 2))
    reach = rng.uniform(0.55, 0.75)
    if look.direction == "out":  # born bright in the middle, spent at the rim
        light, core = line * np.exp(-((distance / reach) ** 2)), 0.8
    else:  # the other way round
        light, core = line * (0.15 + 0.85 * _smooth(distance / reach)), 0.25
    core = core * np.exp(-((distance / 0.09) ** 2))
    light = np.maximum(light, core).astype(np.float32)
    outer = _smooth(distance / 0.8)[..., None]
    colour = (
        canvas.glow(light, look.is_dark, 0.35) * (1 - 0.5 * outer) + canvas.accent * 0.5 * outer
    )
    canvas.lay(0.95 * light, colour.astype(np.float32))


def _gradient(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    n = int(rng.integers(3, 5))
    places = 0.75 * _places(canvas, n, rng)
    sway = {"slow": 0.1, "medium": 0.18, "fast": 0.28}[look.speed]
    for i in range(n):
        spin, phase, phase2 = rng.choice([-1, 1]), *rng.uniform(0, 2 * np.pi, 2)
        turn = 2 * np.pi * TAU * spin
        dx = canvas.x - places[i, 0] - sway * np.cos(turn + phase)
        dy = canvas.y - places[i, 1] - sway * np.sin(turn + phase2)
        size = rng.uniform(0.32, 0.5)
        blob = np.exp(-((dx * dx + dy * dy) / (size * size)))
        colour = canvas.accent if i == 1 else canvas.main
        canvas.lay((rng.uniform(0.6, 0.8) * blob).astype(np.float32), colour)


PAINTERS: dict[str, Callable[[Canvas, Look, np.random.Generator], None]] = {
    "orbs": _orbs,
    "particles": _particles,
    "waves": _waves,
    "sweep": _sweep,
    "aurora": _aurora,
    "rings": _rings,
    "gradient": _gradient,
}

"""Words and signature over the frames: laid out at once, made readable, drawn frame by frame."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .blocks import Placed, unit_of
from .brand import Brand
from .contrast import AIM, Colour, Need, Samples, colour_ratio
from .formats import Box, Format
from .layers import REDUCED, Look, Painter, ink, scrim_layer, soft_shape, word_layer
from .layout import lay_out
from .logo import load_logo
from .storyboard import Storyboard

_FADE_IN, _FADE_OUT = 0.4, 0.3  # seconds, or less for what is seen only shortly
_SLIDE = 20  # pixels that words rise while they appear, at a short side of 1080
_COVERED = 0.35  # of a preview's pixel, from which it counts as letter
_PREFER_LIGHT = 0.25  # how much more scrim light words may need than dark ones
_OWN_COLOUR = 0.1  # how much less scrim the signature needs in another colour than the words'


class Overlay:
    """All text of `storyboard` and the signature of `brand` (None: no signature).

    `boxes` has what each block covers; everything in them lies in the format's safe area, and
    those seen at the same time do not touch. Scrims, where needed, fade out around them. Raises
    UsageError for text that cannot be drawn, fitted or read in its time.
    """

    def __init__(
        self, storyboard: Storyboard, brand: Brand | None, debug_safe_zones: bool = False
    ) -> None:
        self.storyboard = storyboard
        self.format = storyboard.format
        self.brand = brand
        self.debug_safe_zones = debug_safe_zones
        self._logo = load_logo(brand.logo) if brand and brand.logo else None
        size = (self._logo.shape[1], self._logo.shape[0]) if self._logo is not None else None
        self.placed = lay_out(storyboard, brand, size)
        self.boxes: dict[str, Box] = {block.name: block.box for block in self.placed}
        self._colours = brand or Brand()
        self._needs: dict[str, Need] = {}
        self._dark_words = False
        self._dark_signature = False
        self._painters: dict[str, tuple[Painter | None, Painter]] = {}  # scrim and words

    def measure(self, previews: Iterable[np.ndarray]) -> None:
        """Go once through all frames, small, uint8 (h, w, 3), and choose colours and scrims.

        Light or dark words, the same for the whole video (the other for the signature where its
        corner calls for it), and for each block the least scrim with which 95 % of its letters'
        pixels reach a contrast of AIM.
        """
        if not self.placed:
            return
        samples: dict[str, Samples] = {}
        for index, preview in enumerate(previews):
            if not samples:
                samples = self._samples(preview.shape[0], preview.shape[1])
            for block in self.placed:
                if block.name in samples and block.start <= index < block.end:
                    samples[block.name].add(preview)
        self._choose({name: one for name, one in samples.items() if one.has_any})

    def draw(self, frame: np.ndarray, index: int) -> None:
        """Draw what is seen in frame `index` onto it: uint8 (H, W, 3), C-contiguous, in place."""
        assert frame.shape == (self.format.height, self.format.width, 3), frame.shape
        seen = [block for block in self.placed if block.start <= index < block.end]
        names = {block.name for block in seen}
        self._painters = {name: two for name, two in self._painters.items() if name in names}
        for block in seen:
            if block.name not in self._painters:
                self._painters[block.name] = self._painter(block)
        motion = {block.name: self._motion(block, index) for block in seen}
        for block in seen:  # no scrim dims the words of another block
            if scrim := self._painters[block.name][0]:
                scrim.draw(frame, motion[block.name][0])
        for block in seen:
            self._painters[block.name][1].draw(frame, *motion[block.name])
        if self.debug_safe_zones:
            self._draw_zones(frame, [block.box for block in seen])

    def report(self) -> dict[str, Any]:
        """What was drawn where, how large and with which contrast, for the record."""
        return {
            "format": self.format.name,
            "safe": asdict(self.format.safe),
            "words": "dark" if self._dark_words else "light",
            "brand": self.brand.to_dict() if self.brand else None,
            "blocks": [self._report(block) for block in self.placed],
        }

    def _report(self, block: Placed) -> dict[str, Any]:
        need, look = self._needs.get(block.name), self._look(block)
        return {
            "name": block.name,
            "role": block.role,
            "text": block.text,
            "lines": len(block.lines),
            "box": asdict(block.box),
            "font_size": round(block.size, 1),
            "start_frame": block.start,
            "end_frame": block.end,
            "colour": "#{:02X}{:02X}{:02X}".format(*look.text),
            "scrim": round(look.strength, 3),
            "contrast_before": round(need.before, 2) if need else None,
            "contrast_after": round(need.after, 2) if need else None,
        }

    def _samples(self, height: int, width: int) -> dict[str, Samples]:
        """Of each block with letters, the pixels of a preview that they cover."""
        found = {}
        for block in self.placed:
            region, coverage, _ = ink(block, self.format)
            small = _reduced(region, coverage / np.float32(255), self.format, height, width)
            covered = small >= min(_COVERED, small.max() * 0.6)
            if not small.any():
                continue  # a logo or emoji alone: they keep their colours
            rows, columns = np.nonzero(covered)
            box, soft = soft_shape(block, self.format)
            y = ((rows + 0.5) * self.format.height / height - box.top) / REDUCED
            x = ((columns + 0.5) * self.format.width / width - box.left) / REDUCED
            under = soft[
                y.astype(int).clip(0, soft.shape[0] - 1), x.astype(int).clip(0, soft.shape[1] - 1)
            ]
            found[block.name] = Samples(rows, columns, under, block.end - block.start)
        return found

    def _choose(self, samples: dict[str, Samples]) -> None:
        brand = self._colours
        light, dark = sorted(
            (brand.colour("text"), brand.colour("background")), key=_lightness, reverse=True
        )
        needs = {}
        for name, words, behind in (("light", light, dark), ("dark", dark, light)):
            needs[name] = {
                block.name: self._need(block, samples[block.name], words, behind)
                for block in self.placed
                if block.name in samples
            }
        costs = {name: [need.strength for need in some.values()] for name, some in needs.items()}
        most = {name: max(some, default=0.0) for name, some in costs.items()}
        self._dark_words = most["dark"] < most["light"] - _PREFER_LIGHT
        sides = ("dark", "light") if self._dark_words else ("light", "dark")
        self._needs, others = (needs[side] for side in sides)
        self._dark_signature = self._dark_words
        mine, other = self._needs.get("signature"), others.get("signature")
        if mine and other and other.strength < mine.strength - _OWN_COLOUR:
            # its corner is of another lightness: better a colour of its own than a smudge
            self._dark_signature = not self._dark_words
            self._needs["signature"] = other
        self._painters.clear()

    def _need(self, block: Placed, samples: Samples, words: Colour, behind: Colour) -> Need:
        if block.pill:  # opaque: the picture does not matter
            text, accent = self._pill_colours()
            return Need(0.0, samples.need(text, accent).before, colour_ratio(text, accent))
        return samples.need(words, behind, self._opacity(block))

    def _look(self, block: Placed) -> Look:
        brand = self._colours
        words, behind = brand.colour("text"), brand.colour("background")
        is_dark = self._dark_signature if block.role == "signature" else self._dark_words
        if (_lightness(words) < _lightness(behind)) != is_dark:
            words, behind = behind, words
        accent = brand.colour("accent")
        if block.pill:
            words, accent = self._pill_colours()
        need = self._needs.get(block.name)
        strength = need.strength if need else 0.0
        return Look(words, accent, behind, strength, self._opacity(block))

    def _opacity(self, block: Placed) -> float:
        return self._colours.opacity if block.role == "signature" else 1.0

    def _pill_colours(self) -> tuple[Colour, Colour]:
        """Words and pill: the better of the brand's colours, on its accent."""
        brand = self._colours
        accent = brand.colour("accent")
        choices = (brand.colour("text"), brand.colour("background"), (255, 255, 255), (0, 0, 0))
        words = max(choices[:2], key=lambda one: colour_ratio(one, accent))
        if colour_ratio(words, accent) < AIM:
            words = max(choices, key=lambda one: colour_ratio(one, accent))
        while colour_ratio(words, accent) < AIM:  # a middling accent: away from the words
            towards = 0 if _lightness(words) > _lightness(accent) else 255
            accent = tuple(round(one + (towards - one) * 0.06) for one in accent)  # type: ignore[assignment]
        return words, accent

    def _painter(self, block: Placed) -> tuple[Painter | None, Painter]:
        logo = None
        if block.logo is not None and self._logo is not None:
            logo = _resized(self._logo, block.logo)
        look = self._look(block)
        scrim = Painter(scrim_layer(block, look, self.format)) if look.strength else None
        return scrim, Painter(word_layer(block, look, self.format, logo))

    def _motion(self, block: Placed, index: int) -> tuple[float, float]:
        """How visible, 0 to 1, and how many pixels below its place. The signature never moves."""
        if block.role == "signature":
            return 1.0, 0.0
        fps, seconds = self.format.fps, (block.end - block.start) / self.format.fps
        fade_in, fade_out = min(_FADE_IN, seconds * 0.2), min(_FADE_OUT, seconds * 0.15)
        appeared = min((index - block.start + 1) / max(fade_in * fps, 1), 1.0)
        left = min((block.end - index) / max(fade_out * fps, 1), 1.0)
        if block.end >= self.storyboard.num_frames:
            left = 1.0  # the last picture keeps its words
        visible = _ease(appeared)
        if block.start == 0:
            visible = 1.0  # the first picture is the thumbnail: its words only rise
        slide = min(
            _SLIDE * unit_of(self.format),
            self.format.safe.bottom - block.box.bottom,
        )
        return visible * _ease(left), (1 - _ease(appeared)) * slide

    def _draw_zones(self, frame: np.ndarray, boxes: Sequence[Box]) -> None:
        outlined = [*((box, (255, 200, 0)) for box in boxes), (self.format.safe, (0, 255, 120))]
        for box, colour in outlined:
            rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
            frame[rows, [box.left, box.left + 1, box.right - 2, box.right - 1]] = colour
            frame[[box.top, box.top + 1, box.bottom - 2, box.bottom - 1], columns] = colour


def _ease(part: float) -> float:
    """Quick at first, gentle at the end: cubic ease-out."""
    return 1 - (1 - part) ** 3


def _lightness(colour: Colour) -> float:
    return colour_ratio(colour, (0, 0, 0))


def _reduced(box: Box, mask: np.ndarray, form: Format, height: int, width: int) -> np.ndarray:
    """A mask of `box` as the mean over each pixel of a picture of height x width."""
    from PIL import Image

    whole = np.zeros((form.height, form.width), np.float32)
    whole[box.top : box.bottom, box.left : box.right] = mask
    return np.asarray(Image.fromarray(whole).resize((width, height), Image.Resampling.BOX))


def _resized(logo: np.ndarray, box: Box) -> np.ndarray:
    """Premultiplied before it is made smaller, so that no edge takes the colour of nothing."""
    from PIL import Image

    part = logo.astype(np.float32)
    part[:, :, :3] *= part[:, :, 3:] / 255
    channels = [
        np.asarray(
            Image.fromarray(part[:, :, n]).resize((box.width, box.height), Image.Resampling.LANCZOS)
        )
        for n in range(4)
    ]
    return np.stack(channels, axis=2).clip(0, 255)

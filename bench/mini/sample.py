"""Clips from a converted model through the engine's own pipeline, and contact sheets of them."""

from pathlib import Path

import numpy as np

from mlx_wan.loading import ModelFolder
from mlx_wan.pipeline import Experts, decode, denoise, encode_prompt, start_noise
from mlx_wan.planning import plan_for
from mlx_wan.request import Request


def sample(folder: ModelFolder, request: Request) -> np.ndarray:
    """The clip of a request, uint8 (T, H, W, 3)."""
    plan = plan_for(request, folder)
    latents = start_noise(plan)
    experts = Experts(plan, folder, encode_prompt(plan, folder))
    for step in denoise(plan, experts, latents):
        latents = step.latents
    return np.concatenate(list(decode(plan, folder, latents)))


def contact_sheet(clips: list[np.ndarray], path: Path, columns: int = 4, scale: int = 2) -> None:
    """Frames 0, 5 and 10 of each clip side by side; clips in rows of `columns`."""
    from PIL import Image

    cell = max(max(clip.shape[1:3]) for clip in clips)
    rows = -(-len(clips) // columns)
    sheet = np.zeros((rows, cell, columns, 3, cell, 3), np.uint8)
    for i, clip in enumerate(clips):
        height, width = clip.shape[1:3]
        for place, frame in enumerate((0, 5, 10)):
            sheet[i // columns, :height, i % columns, place, :width] = clip[frame]
    picture = Image.fromarray(sheet.reshape(rows * cell, columns * 3 * cell, 3))
    size = (picture.width * scale, picture.height * scale)
    picture.resize(size, Image.Resampling.BICUBIC).save(path, quality=85)

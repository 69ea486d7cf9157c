"""Clips from a converted model through the engine's own pipeline, and contact sheets of them."""

from pathlib import Path

import numpy as np

from mlx_wan.loading import ModelFolder
from mlx_wan.pipeline import Experts, decode, denoise, encode_prompt, start_noise
from mlx_wan.plan import plan_for
from mlx_wan.request import Request


def sample(folder: ModelFolder, request: Request) -> np.ndarray:
    """The clip of a request, uint8 (T, H, W, 3)."""
    plan = plan_for(request, folder)
    latents = start_noise(plan)
    experts = Experts(plan, folder, encode_prompt(plan, folder))
    for step in denoise(plan, experts, latents):
        latents = step.latents
    return np.concatenate(list(decode(plan, folder, latents)))


def contact_sheet(clips: list[np.ndarray], path: Path, columns: int = 3, scale: int = 2) -> None:
    """Frames 0, 5 and 10 of each clip side by side; clips in rows of `columns`."""
    from PIL import Image

    strips = []
    for clip in clips:
        height, width = clip.shape[1:3]
        strip = np.zeros((80, 3 * 80, 3), np.uint8)
        for place, frame in enumerate((0, 5, 10)):
            strip[:height, place * 80 : place * 80 + width] = clip[frame]
        strips.append(strip[: max(height, 64)] if height <= 64 else strip)
    tall = max(strip.shape[0] for strip in strips)
    strips = [np.pad(strip, ((0, tall - len(strip)), (0, 0), (0, 0))) for strip in strips]
    strips += [np.zeros_like(strips[0])] * (-len(strips) % columns)
    rows = [np.hstack(strips[i : i + columns]) for i in range(0, len(strips), columns)]
    picture = Image.fromarray(np.vstack(rows))
    size = (picture.width * scale, picture.height * scale)
    picture.resize(size, Image.Resampling.BICUBIC).save(path, quality=85)

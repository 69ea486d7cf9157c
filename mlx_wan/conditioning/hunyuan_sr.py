"""HunyuanVideo 1.5's super resolution: what its transformer reads of the small video.

The small video's latents, resized and upsampled, are mixed with noise once. While a timestep is
noisier than that mix they are channels beside the noisy latents, with ones to say so; from then on
zeros. Reference: Tencent-Hunyuan/HunyuanVideo-1.5, hyvideo/pipelines/hunyuan_video_sr_pipeline.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_wan.models.hunyuan_upsampler import resize

from .buckets import PATCH, Size, sizes

NOISE = 0.7  # of the mix
BASES = {"480p": 640, "720p": 960, "1080p": 1440}  # a square of this side has a size's area


@dataclass(frozen=True)
class SmallVideo:
    """The channels beside the noisy latents; all arrays (1, T, H, W, .)."""

    image: mx.array  # of image to video: latents and where they count; zeros for text to video
    low: mx.array  # the small video's latents at the larger size, mixed with noise

    def channels(self, timestep: float) -> mx.array:
        """What follows the noisy latents at this timestep (1000 to 0)."""
        told = mx.concatenate([self.low, mx.ones((*self.low.shape[:-1], 1))], axis=-1)
        if timestep < 1000 * NOISE:
            told = mx.zeros_like(told)
        return mx.concatenate([self.image, told], axis=-1)


def small_video(
    latents: mx.array,
    height: int,
    width: int,
    upsampler: Callable[[mx.array], mx.array],
    key: mx.array,
    image: mx.array | None = None,
) -> SmallVideo:
    """From the small video's latents (1, T, h, w, C), for latents of height x width."""
    low = upsampler(resize(latents, height, width))
    low = (1 - NOISE) * low + NOISE * mx.random.normal(low.shape, key=key)
    if image is None:
        image = mx.zeros((*low.shape[:-1], low.shape[-1] + 1))
    mx.eval(low, image)
    return SmallVideo(image, low)


def larger_size(size: Size, base: str) -> Size:
    """Of the (width, height) a network for `base` was trained on, the one shaped most like this.

    The original reads its list as widths first here, and as heights first for a first video; it
    refuses any video of another size, which becomes half as large again here.
    """
    if size[::-1] not in sizes((_smaller(base) // PATCH) ** 2):
        width, height = (max(1, round(1.5 * side / PATCH)) * PATCH for side in size)
        return width, height
    possible = [(width, height) for height, width in sizes((BASES[base] // PATCH) ** 2)]
    ratios = np.array([width / height for width, height in possible])
    return possible[int(np.abs(ratios - size[0] / size[1]).argmin())]


def _smaller(base: str) -> int:
    """The base of the videos that are made larger."""
    names = list(BASES)
    return BASES[names[names.index(base) - 1]]

"""The sizes HunyuanVideo was trained on, and which of them an image's shape asks for.

As Tencent-Hunyuan/HunyuanVideo-1.5 has it (hyvideo/utils/data_utils.py), which takes the nearest
shape of all; diffusers takes the nearest that is not narrower. Sizes are (width, height).
"""

from functools import cache

import numpy as np

Size = tuple[int, int]

PATCH = 16
MAX_RATIO = 4
BASES = (640, 960)  # 480p and 720p: sizes have about the area of a square of this side
_NEARLY = 0.9  # a size of a base has at least this share of its area


@cache
def sizes(patches: int) -> list[Size]:
    """All sizes of about so many patches, from tall to wide."""
    found = []
    rows, columns = patches, 1
    while rows > 0:
        if max(rows, columns) / min(rows, columns) <= MAX_RATIO:
            found.append((columns * PATCH, rows * PATCH))
        if (columns + 1) * rows <= patches:
            columns += 1
        else:
            rows -= 1
    return found


def nearest_size(shape: Size, max_area: int) -> Size:
    """The size whose shape is nearest to that of a (width, height), among those of this area."""
    possible = sizes(_patches(max_area))
    ratios = np.array([round(height / width, 5) for width, height in possible])
    return possible[int(np.abs(ratios - shape[1] / shape[0]).argmin())]


def _patches(max_area: int) -> int:
    """Of the base that the area is of; of any other area as many as it has."""
    for base in BASES:
        if _NEARLY * base**2 <= max_area <= base**2:
            return (base // PATCH) ** 2
    return max(1, max_area // PATCH**2)

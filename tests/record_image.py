"""Records tests/recorded/image_bicubic.npz: torch's bicubic on small pictures.

python tests/record_image.py        needs the `reference` extra
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent / "recorded"
# (width, height) before and after: larger, smaller, one of each, long enough for rounding to show
CASES = [((7, 5), (16, 12)), ((40, 30), (16, 8)), ((9, 33), (24, 16)), ((1999, 3), (1000, 4))]


def main() -> None:
    arrays: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for i, ((width, height), size) in enumerate(CASES):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        planes = torch.tensor(image).permute(2, 0, 1)[None] / 255 * 2 - 1
        out = torch.nn.functional.interpolate(
            planes, size=size[::-1], mode="bicubic", align_corners=False
        )
        arrays[f"image_{i}"] = image
        arrays[f"out_{i}"] = out[0].permute(1, 2, 0).numpy()
    np.savez_compressed(HERE / "image_bicubic.npz", **arrays)


if __name__ == "__main__":
    main()

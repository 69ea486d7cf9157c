"""The brand's logo: a PNG from outside, checked before it is decoded."""

import io
import warnings
from pathlib import Path

import numpy as np

from mlx_wan.errors import BadFileError
from mlx_wan.files import read_small

MAX_FILE_BYTES = 8 * 2**20
MAX_SIDE = 4096
MIN_SIDE = 16


def load_logo(path: str | Path) -> np.ndarray:
    """The picture as uint8 (H, W, 4), not premultiplied, cut to what is not transparent.

    Raises UsageError for a file that cannot be read, BadFileError for what is no such PNG.
    """
    from PIL import Image

    path = Path(path)
    what = f"brand: logo {path}"
    data = read_small(path, MAX_FILE_BYTES, what=what, hint="give a PNG file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=("PNG",))
            if not MIN_SIDE <= min(picture.size) <= max(picture.size) <= MAX_SIDE:
                raise BadFileError(
                    f"brand: logo {path.name} is {picture.width}x{picture.height}; accepted: "
                    f"{MIN_SIDE} to {MAX_SIDE} pixels a side"
                )
            pixels = np.array(picture.convert("RGBA"))
    except BadFileError:
        raise
    except Exception as error:  # decoders raise anything at all on a damaged file
        raise BadFileError(
            f"brand: logo {path.name} is not a whole PNG: {error}", "save it again as PNG"
        ) from None
    seen = pixels[:, :, 3] > 0
    if not seen.any():
        raise BadFileError(f"brand: logo {path.name} is fully transparent")
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

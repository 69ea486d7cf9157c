"""Images in: loaded with suspicion, sized and resized as each model's reference does it.

Spec: wan.md 5.2 (I2V-A14B), 5.3 (TI2V-5B); ecosystem.md 4.2 for what a file may be.
"""

import math
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .errors import BadFileError, MlxWanError, UsageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_BYTES = 200_000_000
MAX_PIXELS = 100_000_000
MIN_SIDE = 8
_CUBIC = -0.75  # torch's bicubic; Pillow's is -0.5


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) as the image is meant to be seen, from its header alone."""
    with _opened(path) as image:
        width, height = image.size
        sideways = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (height, width) if sideways else (width, height)


def load_image(path: str | Path) -> np.ndarray:
    """The picture as uint8 RGB `(H, W, 3)`, upright; transparency is dropped as the reference does.

    Raises MlxWanError when the file cannot be read, BadFileError when it is no picture we accept.
    """
    try:
        with _opened(path) as image:
            image.verify()
        with _opened(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits a sample
                grey = np.asarray(upright).astype(np.float32) / 257
                return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
            return np.asarray(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadFileError(f"{path} is damaged: {error}", "open and save it again") from None


def i2v_size(size: tuple[int, int], area: int, multiples: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of about `area` pixels in the shape of `size`, in whole multiples."""
    aspect = size[1] / size[0]
    width = int(math.sqrt(area / aspect) // multiples[0]) * multiples[0]
    height = int(math.sqrt(area * aspect) // multiples[1]) * multiples[1]
    return _usable(width, height, size)


def ti2v_size(size: tuple[int, int], area: int, multiples: tuple[int, int]) -> tuple[int, int]:
    """As `i2v_size` by TI2V-5B's rule: round one side down, fit the other, keep the best shape."""
    ratio = size[0] / size[1]
    across, down = multiples
    ideal_width = math.sqrt(area * ratio)
    width = int(ideal_width // across) * across
    height = int(area / ideal_width // down) * down
    _usable(width, height, size)
    by_width = (width, int(area / width // down) * down)
    by_height = (int(area / height // across) * across, height)

    def misfit(candidate: tuple[int, int]) -> float:
        mine = candidate[0] / candidate[1]
        return max(ratio / mine, mine / ratio)

    return by_width if misfit(by_width) < misfit(by_height) else by_height


def resize_exact(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 `(H, W, 3)` -> float32 in [-1, 1] at `size` = (width, height), by torch's bicubic.

    As `interpolate(mode="bicubic", align_corners=False, antialias=False)`; may overshoot a little.
    """
    pixels = image.astype(np.float32) / 255 * 2 - 1
    pixels = _cubic(pixels, size[1], axis=0)
    return _cubic(pixels, size[0], axis=1)


def resize_cover(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 `(H, W, 3)` -> float32 in [-1, 1] that fills `size`: Lanczos, then a centre crop."""
    height, width = image.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    resized = Image.fromarray(image).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.LANCZOS
    )
    left, top = (resized.width - size[0]) // 2, (resized.height - size[1]) // 2
    cropped = resized.crop((left, top, left + size[0], top + size[1]))
    return np.asarray(cropped).astype(np.float32) / 255 * 2 - 1


def i2v_frames(
    first: np.ndarray, last: np.ndarray | None, num_frames: int, stride: int = 4
) -> Iterator[np.ndarray]:
    """The video that I2V-A14B encodes: the image, grey (0) frames, perhaps the last image.

    Yields `(1, t, H, W, 3)` float32: 1 frame, then `stride` at a time.
    """
    yield first[None, None].astype(np.float32)
    for start in range(1, num_frames, stride):
        chunk = np.zeros((1, stride, *first.shape), np.float32)
        if last is not None and start + stride == num_frames:
            chunk[0, -1] = last
        yield chunk


def i2v_mask(latent_shape: tuple[int, ...], has_last: bool, stride: int = 4) -> np.ndarray:
    """`(1, T, H, W, stride)` float32: 1 where a pixel frame of the latent frame is given."""
    mask = np.zeros((*latent_shape[:4], stride), np.float32)
    mask[:, 0] = 1
    if has_last:
        mask[:, -1, ..., -1] = 1
    return mask


def _opened(path: str | Path) -> Image.Image:
    path = Path(path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BadFileError(f"{path} is not a file", "give a picture: PNG, JPEG or WebP")
        if found.st_size > MAX_BYTES:
            raise BadFileError(f"{path} has {found.st_size:,} bytes", f"at most {MAX_BYTES:,}")
        image = Image.open(path, formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise BadFileError(f"{path} is not a picture", f"accepted: {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError as error:
        raise BadFileError(f"{path}: {error}", f"at most {MAX_PIXELS:,} pixels") from None
    except OSError as error:
        raise MlxWanError(f"{path} cannot be read: {error.strerror or error}") from None
    width, height = image.size
    if width * height > MAX_PIXELS or min(width, height) < MIN_SIDE:
        image.close()
        raise BadFileError(
            f"{path} is {width}x{height} pixels",
            f"accepted: sides from {MIN_SIDE}, up to {MAX_PIXELS:,} pixels in all",
        )
    return image


def _usable(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    if not width or not height:
        raise UsageError(
            f"an image of {size[0]}x{size[1]} leaves no usable video size",
            "crop the image, or ask for a larger --width and --height",
        )
    return width, height


def _cubic(x: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Resample one axis with 4 taps a sample, edges repeated."""
    old = x.shape[axis]
    position = (np.arange(length) + 0.5) * (old / length) - 0.5
    base = np.floor(position)
    fraction = (position - base)[:, None]
    distance = np.abs(fraction - np.arange(-1, 3))  # (length, 4)
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.where(distance <= 1, near, far).astype(np.float32)
    taps = np.clip(base[:, None].astype(int) + np.arange(-1, 3), 0, old - 1)
    x = np.moveaxis(x, axis, 0)
    shape = (length, *(1,) * (x.ndim - 1))
    mixed = sum(weights[:, k].reshape(shape) * x[taps[:, k]] for k in range(4))
    return np.ascontiguousarray(np.moveaxis(np.asarray(mixed, np.float32), 0, axis))

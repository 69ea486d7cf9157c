"""Images in: hardened loading, the sizes image models choose, and what their VAE is shown.

Pictures are uint8 (H, W, 3) as loaded and float32 in [-1, 1] after resizing; sizes are
(width, height).
"""

import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import BadFileError, UsageError
from .files import read_small

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_FILE_BYTES = 128 * 2**20
MAX_PIXELS = 64 * 2**20  # what decoding may cost is bounded by this, not by the file's size
MAX_ASPECT = 10  # longer pictures make videos no player takes

Size = tuple[int, int]


def load_image(path: str | Path) -> np.ndarray:
    """A picture from a file, upright, as uint8 (H, W, 3).

    What is transparent becomes black, as it looks in a video. Of an animation the first frame is
    taken, and 16 bits per channel are cut to 8. Colour profiles are ignored, as in the reference.
    """
    path = Path(path)
    data = read_small(path, MAX_FILE_BYTES, what=f"image {path}")
    name = path.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd EXIF data, or below Pillow's own size limit
            _open(data).verify()  # leaves the picture unusable
            return _rgb(ImageOps.exif_transpose(_open(data)))
    except Image.DecompressionBombError:
        raise BadFileError(
            f"{name} has more than {MAX_PIXELS // 2**20} million pixels", "scale it down first"
        ) from None
    except UnidentifiedImageError:
        raise BadFileError(
            f"{name} is not a picture in {', '.join(FORMATS)}", "convert it to PNG or JPEG"
        ) from None
    except Exception as error:  # decoders raise anything at all on a damaged file
        raise BadFileError(f"{name} is damaged: {error}", "save it again as PNG or JPEG") from None


def image_size(path: str | Path) -> Size:
    """(width, height) of an image that `load_image` takes, which is found out by loading it."""
    height, width, _ = load_image(path).shape
    return width, height


def i2v_size(image_size: Size, max_area: int, multiples: Size) -> Size:
    """The size I2V-A14B makes of an image: its shape, at most `max_area` pixels.

    In whole numbers; the reference's floats make 832x464 of an image of 832x480.
    """
    width, height = _checked(image_size)
    made_width = math.isqrt(max_area * width // height) // multiples[0] * multiples[0]
    made_height = math.isqrt(max_area * height // width) // multiples[1] * multiples[1]
    return _not_empty((made_width, made_height), image_size, max_area)


def ti2v_size(image_size: Size, max_area: int, multiples: Size) -> Size:
    """The size TI2V-5B makes of an image: close to its shape, at most `max_area` pixels.

    Rounds one side down and gives the other what is left, both ways round, and takes what is
    nearer to the image's shape.
    """
    width, height = _checked(image_size)
    w1 = math.isqrt(max_area * width // height) // multiples[0] * multiples[0]
    h1 = max_area // max(w1, 1) // multiples[1] * multiples[1]
    h2 = math.isqrt(max_area * height // width) // multiples[1] * multiples[1]
    w2 = max_area // max(h2, 1) // multiples[0] * multiples[0]

    def distortion(size: Size) -> float:
        ratio = (width / height) / (size[0] / size[1])
        return max(ratio, 1 / ratio)

    # the second first: it wins a tie
    possible = [size for size in ((w2, h2), (w1, h1)) if min(size)]
    best = min(possible, key=distortion, default=(0, 0))
    return _not_empty(best, image_size, max_area)


def resize_exact(image: np.ndarray, size: Size) -> np.ndarray:
    """Bicubic, to exactly `size`: how I2V-A14B takes its images. Overshoots [-1, 1] at edges.

    Matches torch's `interpolate(mode="bicubic", align_corners=False, antialias=False)`.
    """
    columns, column_weights = _cubic_taps(image.shape[1], size[0])
    rows, row_weights = _cubic_taps(image.shape[0], size[1])
    out = np.zeros((size[1], size[0], 3), np.float32)
    for row, row_weight in zip(rows, row_weights, strict=True):
        lines = image[row]  # (height, W, 3)
        line = np.zeros_like(out)
        for column, weight in zip(columns, column_weights, strict=True):
            line += lines[:, column] * weight[:, None]
        out += line * row_weight[:, None, None]
    return out / np.float32(127.5) - 1


def resize_cover(image: np.ndarray, size: Size) -> np.ndarray:
    """Lanczos until it covers `size`, then the centre: how TI2V-5B takes its image."""
    return _centre(_covering(image, size), size).astype(np.float32) / np.float32(127.5) - 1


def cover(image: np.ndarray, size: Size) -> np.ndarray:
    """As `resize_cover`, but uint8, and half a pixel to cut off is rounded to the even number:
    how HunyuanVideo takes its image."""
    resized = _covering(image, size)
    left, top = (round((resized.shape[1 - i] - size[i]) / 2) for i in (0, 1))
    return resized[top : top + size[1], left : left + size[0]]


def crop_to_shape(image: np.ndarray, size: Size) -> np.ndarray:
    """The centre of the image in the shape of `size`, unscaled.

    For a last frame, which may have another shape than the first: `resize_exact` would stretch it.
    """
    height, width, _ = image.shape
    scale = min(width / size[0], height / size[1])
    return _centre(image, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))


def i2v_frames(first: np.ndarray, last: np.ndarray | None, num_frames: int) -> Iterator[np.ndarray]:
    """The video I2V-A14B's VAE encodes, (1, t, H, W, 3): the image, then grey (0, not black).

    1 frame, then 4 at a time, as the encoder goes through them. `last` replaces the last frame.
    """
    assert num_frames % 4 == 1, num_frames
    if last is not None and num_frames < 5:
        raise UsageError(f"num_frames is {num_frames}; a last image needs room", "try 5 or more")
    yield first[None, None]
    grey = np.zeros((1, 4, *first.shape), np.float32)
    for start in range(1, num_frames, 4):
        if last is not None and start + 4 >= num_frames:
            grey = grey.copy()
            grey[:, -1] = last
        yield grey


def i2v_mask(latent_shape: tuple[int, ...], *, has_last: bool) -> np.ndarray:
    """1 where a pixel frame is given, 0 where it is to be made: (1, T, H, W, 4).

    The four channels are the pixel frames of a latent frame; the first latent frame is one pixel
    frame, four times. latent_shape: (1, T, H, W, C).
    """
    mask = np.zeros((*latent_shape[:4], 4), np.float32)
    mask[:, 0] = 1
    if has_last:
        mask[:, -1, ..., -1] = 1
    return mask


def _open(data: bytes) -> Image.Image:
    """An image whose header has been read."""
    picture = Image.open(io.BytesIO(data), formats=FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return picture


def _rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        grey = np.asarray(picture).astype(np.int64).clip(0, 65535) >> 8
        return np.repeat(grey[:, :, None].astype(np.uint8), 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return np.array(picture.convert("RGB"))


def _checked(image_size: Size) -> Size:
    width, height = image_size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UsageError(
            f"the image is {width}x{height}; its sides may differ by a factor of {MAX_ASPECT}",
            "crop it",
        )
    return width, height


def _not_empty(size: Size, image_size: Size, max_area: int) -> Size:
    if not min(size):
        raise UsageError(
            f"nothing is left of an image of {image_size[0]}x{image_size[1]} in {max_area} pixels",
            "ask for a larger size",
        )
    return size


def _covering(image: np.ndarray, size: Size) -> np.ndarray:
    """Resized, in its own shape, until no side is less than that of `size`."""
    height, width, _ = image.shape
    scale = max(size[0] / width, size[1] / height)
    covering = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(image).resize(covering, Image.Resampling.LANCZOS))


def _centre(image: np.ndarray, size: Size) -> np.ndarray:
    left, top = (image.shape[1] - size[0]) // 2, (image.shape[0] - size[1]) // 2
    return image[top : top + size[1], left : left + size[0]]


def _cubic_taps(size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Four source indices and weights for each target pixel, (4, size_out); edges repeat.

    Positions are rounded to float32 once, like torch's fused multiply-add: in a large picture the
    rounding shows.
    """
    scale = float(np.float32(size_in) / np.float32(size_out))
    position = (scale * (np.arange(size_out) + 0.5) - 0.5).astype(np.float32)
    before = np.floor(position)
    t = position - before
    a = np.float32(-0.75)

    def near(x: np.ndarray) -> np.ndarray:  # up to a pixel away
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: np.ndarray) -> np.ndarray:  # one to two pixels away
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    indices = before.astype(np.int64) + np.arange(-1, 3)[:, None]
    weights = np.stack([far(t + 1), near(t), near(1 - t), far(2 - t)])
    return indices.clip(0, size_in - 1), weights.astype(np.float32)

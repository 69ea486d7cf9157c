"""Pictures of a clip's size -> pictures of the delivered size, at more than 8 bit inside.

A resampling filter is a matrix for the columns and one for the rows; both are almost empty, so
they are applied block by block (`_Band`). The result gets a grey level of blue noise before it is
cut to 8 bit, so that soft gradients do not show steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlx_wan.errors import UsageError

MAX_CROP = 0.08  # of one side; wan-mini's 80x48 loses 6.25 % in 16:9, real models at most 5 %
_SOFT_FROM = 4  # times larger: such pictures are soft, whatever the filter
_SHARPEN = 0.06
_BLOCK = 16  # rows or columns of the result at a time: what fits into a core's cache
_TILE = 64
_ONE_THREAD = 2**18  # multiplications; OpenBLAS spreads larger products over threads that spin

# Grey levels of noise, peak to peak, static and different for each channel. What soft pictures get
# has to survive x264, which removes weaker noise and with it what hides the steps (measured on
# decoded gradients at 1080p, crf 16: error of the local mean 0.22 levels without noise, 0.17 with
# 1, 0.12 with 2, for a third more bits; noise that changes costs more and helps no more).
_SOFT_NOISE, _NOISE = 2.0, 1.0

Size = tuple[int, int]  # (width, height)


class Resizer:
    """Makes pictures of `source` size fill `target`: centred crop, never squeezed.

    Call it with `(H, W, 3)`, uint8 or float32 in 0..255, for uint8 of the target's size. `soft`
    takes a filter without ringing or grid, by default for what becomes much larger; else Lanczos
    and a little sharpening. Raises UsageError when more than MAX_CROP of a side would be lost.
    """

    def __init__(self, source: Size, target: Size, *, soft: bool | None = None, seed: int = 0):
        self.source, self.target = source, target
        scale = max(target[0] / source[0], target[1] / source[1])
        lost = crop_loss(source, target)
        if lost > MAX_CROP:
            raise UsageError(
                f"a clip is {source[0]}x{source[1]}; {lost:.1%} of it would be cut away to fill "
                f"{target[0]}x{target[1]}, at most {MAX_CROP:.0%} may",
                "render it in a shape nearer to the format's",
            )
        self.soft = scale > _SOFT_FROM if soft is None else soft
        kernel, radius = (_cubic_b_spline, 2.0) if self.soft else (_lanczos3, 3.0)
        self.columns, self.rows = (
            _bands(_weights(n, m, scale, kernel, radius) @ _sharpening(n, self.soft))
            for n, m in zip(source, target, strict=True)
        )
        self.noise = _noise_rows(target[0], _SOFT_NOISE if self.soft else _NOISE, seed)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        target_width, target_height = self.target
        planes = np.moveaxis(frame, 2, 0).astype(np.float32, order="C").reshape(3 * height, width)
        wide = np.empty((3 * height, target_width), np.float32)
        for band in self.columns:
            _product(planes[:, band.source], band.weights.T, wide[:, band.target])
        lines = np.moveaxis(wide.reshape(3, height, -1), 0, 2).reshape(height, -1)
        result = np.empty((target_height, 3 * target_width), np.uint8)
        for band in self.rows:
            block = np.empty((len(band.weights), 3 * target_width), np.float32)
            _product(band.weights, lines[band.source], block)
            first = band.target.start % _TILE
            block += self.noise[first : first + len(block)]
            np.clip(block, 0, 255, out=block)
            result[band.target] = block
        return result.reshape(target_height, target_width, 3)


def crop_loss(source: Size, target: Size) -> float:
    """The fraction of one side that is cut away when `source` fills `target`."""
    scales = target[0] / source[0], target[1] / source[1]
    return 1 - min(scales) / max(scales)


def blue_noise(size: int, seed: int = 0) -> np.ndarray:
    """`(size, size)` float32, uniform in [0, 1), without low frequencies; tiles seamlessly.

    White noise is high-passed and made uniform again by rank, a few times over.
    """
    frequency = np.fft.fftfreq(size)
    radius2 = frequency[:, None] ** 2 + frequency**2
    high_pass = 1 - np.exp(-radius2 / (2 * 0.2**2))
    noise = np.random.default_rng(seed).random((size, size))
    for _ in range(20):
        filtered = np.fft.ifft2(np.fft.fft2(noise) * high_pass).real
        ranks = filtered.ravel().argsort().argsort()
        noise = (ranks.reshape(size, size) + 0.5) / size**2
    return noise.astype(np.float32)


@dataclass(frozen=True)
class _Band:
    """`weights @ source[band.source]` gives `target[band.target]`."""

    target: slice
    source: slice
    weights: np.ndarray


def _bands(weights: np.ndarray) -> list[_Band]:
    bands = []
    for start in range(0, len(weights), _BLOCK):
        rows = weights[start : start + _BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        source = slice(used[0], used[-1] + 1)
        target = slice(start, start + len(rows))
        bands.append(_Band(target, source, np.ascontiguousarray(rows[:, source], np.float32)))
    return bands


def _product(left: np.ndarray, right: np.ndarray, result: np.ndarray) -> None:
    """`left @ right` into `result`, in pieces of the larger side small enough for one thread.

    Threads that wait by spinning cost a second of processor time a frame while x264 is at work.
    """
    (m, k), n = left.shape, right.shape[1]
    step = max(1, _ONE_THREAD // (k * min(m, n)))
    for start in range(0, max(m, n), step):
        piece = slice(start, start + step)
        if m > n:
            np.matmul(left[piece], right, out=result[piece])
        else:
            np.matmul(left, right[:, piece], out=result[:, piece])


def _noise_rows(width: int, amplitude: float, seed: int) -> np.ndarray:
    """What is added before cutting to whole levels: `(2 * _TILE, 3 * width)`, mean a half."""
    channels = [blue_noise(_TILE, 3 * seed + channel) for channel in range(3)]
    tile = (np.stack(channels, axis=2) - 0.5) * amplitude + 0.5
    return np.tile(tile, (2, -(-width // _TILE), 1))[:, :width].reshape(2 * _TILE, -1)


def _sharpening(size: int, soft: bool) -> np.ndarray:
    """`(size, size)`: each sample less a little of its neighbours'."""
    matrix = np.eye(size)
    if not soft:
        for i in range(size):
            matrix[i, i] += 2 * _SHARPEN
            matrix[i, max(i - 1, 0)] -= _SHARPEN
            matrix[i, min(i + 1, size - 1)] -= _SHARPEN
    return matrix


def _weights(
    size: int, target: int, scale: float, kernel: Callable[[np.ndarray], np.ndarray], radius: float
) -> np.ndarray:
    """`(target, size)`: how much of each source sample is in each target sample.

    The centre of `size` is taken; the edge is mirrored. Shrinking widens the kernel.
    """
    stretch = max(1.0, 1 / scale)
    centre = (np.arange(target) + 0.5 - target / 2) / scale + size / 2 - 0.5
    reach = int(np.ceil(radius * stretch))
    near = np.floor(centre).astype(int)[:, None] + np.arange(-reach, reach + 2)
    values = kernel((near - centre[:, None]) / stretch)
    values /= values.sum(axis=1, keepdims=True)
    mirrored = np.abs((near + 0.5 + size) % (2 * size) - size).astype(int)
    weights = np.zeros((target, size))
    np.add.at(weights, (np.arange(target)[:, None], mirrored), values)
    return weights


def _cubic_b_spline(x: np.ndarray) -> np.ndarray:
    """Smooth up to the second derivative and never negative: no grid, no ringing."""
    x = np.abs(x)
    inner = 2 / 3 - x**2 + x**3 / 2
    outer = (2 - x) ** 3 / 6
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def _lanczos3(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)

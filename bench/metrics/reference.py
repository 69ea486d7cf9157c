"""How near a video is to a reference run of the same prompt and seed."""

from pathlib import Path

import numpy as np

from mlx_wan.errors import BadFileError

from .frames import Frame, Plane, shrunk
from .metric import Metric, Values

MAX_LATENTS = 2**31  # values
_SIGMA, _REACH = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SAME = 100.0  # dB for videos that are the same in every sample

METRICS = (
    Metric(
        "psnr",
        "dB",
        "higher",
        "information",
        "10 log10(255^2 / mean squared difference) over all samples of all frames; "
        f"{_SAME:g} when they are the same. How near, not how good.",
        "ITU-T J.340",
    ),
    Metric(
        "ssim",
        "",
        "higher",
        "information",
        "mean over frames and places of (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)"
        "(sx^2 + sy^2 + C2)) of the luma under a Gaussian window (11 x 11, sigma 1.5), "
        "C1 = (0.01 x 255)^2, C2 = (0.03 x 255)^2, after averaging down to a shorter side of 256.",
        "Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004; the reduction is the authors' advice "
        "with their ssim.m",
    ),
    Metric(
        "latent_cosine",
        "",
        "higher",
        "information",
        "x . y / (|x| |y|) of the final latents, latents.npy beside each video.",
        "ours",
    ),
)


class Against:
    """PSNR and SSIM of pairs of frames. Videos of different size or length are not compared."""

    def __init__(self) -> None:
        self._squares, self.fits = 0.0, True
        self._ssim: list[float] = []

    def see(self, frame: Frame, other: Frame | None) -> None:
        small = min(frame.rgb.shape[:2]) < 2 * _REACH + 1
        if other is None or small or frame.rgb.shape != other.rgb.shape:
            self.fits = False
            return
        self._squares += float(np.square(frame.rgb.astype(np.float32) - other.rgb).mean())
        self._ssim.append(ssim(shrunk(frame.luma, 256), shrunk(other.luma, 256)))

    def figures(self) -> Values:
        if not self.fits or not self._ssim:
            return {"psnr": None, "ssim": None}
        mean = self._squares / len(self._ssim)
        psnr = min(_SAME, float(10 * np.log10(255**2 / mean))) if mean else _SAME
        return {"psnr": psnr, "ssim": float(np.mean(self._ssim))}


def ssim(x: Plane, y: Plane) -> float:
    """Both of at least 11 pixels a side."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    mx, my = _blurred(x), _blurred(y)
    sx, sy = _blurred(x * x) - mx * mx, _blurred(y * y) - my * my
    sxy = _blurred(x * y) - mx * my
    top = (2 * mx * my + _C1) * (2 * sxy + _C2)
    return float((top / ((mx * mx + my * my + _C1) * (sx + sy + _C2))).mean())


def _blurred(x: np.ndarray) -> np.ndarray:
    """By the Gaussian window, where all of it is inside."""
    weights = np.exp(-np.square(np.arange(-_REACH, _REACH + 1)) / (2 * _SIGMA**2))
    weights /= weights.sum()
    rows = x.shape[0] - 2 * _REACH
    x = sum(w * x[i : i + rows] for i, w in enumerate(weights))  # type: ignore[assignment]
    columns = x.shape[1] - 2 * _REACH
    blurred: np.ndarray = np.sum([w * x[:, i : i + columns] for i, w in enumerate(weights)], axis=0)
    return blurred


def latent_cosine(video: Path, reference: Path) -> float | None:
    """Of the latents.npy beside each; None where one is missing or the shapes differ."""
    files = [path.with_name("latents.npy") for path in (video, reference)]
    if not all(file.is_file() for file in files):
        return None
    x, y = map(_latents, files)
    if x.shape != y.shape:
        return None
    x, y = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    cosine = float(x @ y) / size if size else float("nan")
    return cosine if np.isfinite(cosine) else None


def _latents(file: Path) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise BadFileError(f"{file} holds no latents: {error}", "make the run again") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.size > MAX_LATENTS:
        raise BadFileError(f"{file} holds no latents of a sound size", "make the run again")
    return array

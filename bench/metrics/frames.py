"""A video's frames one at a time, whole and as the small luma most metrics work on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlx_wan.errors import BadFileError, MlxWanError

Plane = npt.NDArray[np.float32]  # (H, W)

SMALL = 128  # the shorter side of the small copies, in pixels at most
MAX_PIXELS = 8192 * 8192
MAX_FRAMES = 100_000
SAMPLES = 24  # frames on which measures of single pictures are taken
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709


@dataclass(frozen=True)
class Frame:
    """One frame, uint8 `(H, W, 3)`. `sampled` frames are those for measures of single pictures."""

    index: int
    rgb: npt.NDArray[np.uint8]
    fps: float = 16.0
    sampled: bool = True

    @cached_property
    def luma(self) -> Plane:
        """BT.709 luma, 0 to 255."""
        return (self.rgb.astype(np.float32) @ _LUMA).astype(np.float32)

    @cached_property
    def small(self) -> Plane:
        """The luma averaged over squares until its shorter side has `SMALL` pixels or fewer."""
        return shrunk(self.luma, SMALL)


def shrunk(plane: Plane, side: int) -> Plane:
    """Averaged over n x n pixels, n being the least that brings the shorter side to `side`."""
    height, width = plane.shape
    n = -(-min(height, width) // side)
    if n <= 1:
        return plane
    height, width = height // n * n, width // n * n
    whole = plane[:height, :width].reshape(height // n, n, width // n, n)
    return whole.mean((1, 3), dtype=np.float32)


def frames_of(
    arrays: Iterable[np.ndarray], *, fps: float = 16.0, count: int = 0
) -> Iterator[Frame]:
    """Frames from uint8 arrays `(H, W, 3)`; `count` says how many there will be, 0 if unknown."""
    every = max(1, -(-count // SAMPLES))
    for index, rgb in enumerate(arrays):
        yield Frame(index, rgb, fps, index % every == 0)


def read_frames(video: Path) -> Iterator[Frame]:
    """The frames of a video file; BadFileError when it is none, too large, or ends early.

    Raises MlxWanError for one that may not be opened, of which nothing is known.
    """
    import av

    try:
        with av.open(str(video.absolute())) as container:
            if not container.streams.video:
                raise BadFileError(f"{video} has no pictures", "give an MP4 video")
            stream = container.streams.video[0]
            pixels = stream.codec_context.width * stream.codec_context.height
            if not 0 < pixels <= MAX_PIXELS:
                raise BadFileError(f"{video} has frames of {pixels} pixels", "give another video")
            fps = float(stream.average_rate or 16)
            arrays = _decoded(container, stream, video)
            yield from frames_of(arrays, fps=fps, count=min(stream.frames, MAX_FRAMES))
    except PermissionError:
        raise MlxWanError(f"{video} cannot be read", "check its permissions") from None
    except (OSError, ValueError) as error:  # PyAV's errors are both
        raise BadFileError(f"{video} cannot be read: {error}", "give an MP4 video") from error


def _decoded(container, stream, video: Path) -> Iterator[npt.NDArray[np.uint8]]:  # type: ignore[no-untyped-def]
    size, count = None, 0
    for count, picture in enumerate(container.decode(stream), 1):
        if size not in (None, (picture.width, picture.height)):
            raise BadFileError(f"{video} changes its size at frame {count}", "give another video")
        if count > MAX_FRAMES:
            raise BadFileError(f"{video} has more than {MAX_FRAMES} frames", "cut it into parts")
        size = picture.width, picture.height
        yield _rgb(picture)
    if not count:
        raise BadFileError(f"{video} has no frames", "give an MP4 video")


def _rgb(picture) -> npt.NDArray[np.uint8]:  # type: ignore[no-untyped-def]
    """By the matrix the file names; BT.709 when it names none, as our own files are."""
    from av.video.reformatter import ColorRange, Colorspace

    matrix = Colorspace.ITU709
    if int(picture.colorspace) in (5, 6):  # the codes of BT.601
        matrix = Colorspace.ITU601
    converted = picture.reformat(
        format="rgb24", src_colorspace=matrix, dst_color_range=ColorRange.JPEG
    )
    rgb: npt.NDArray[np.uint8] = converted.to_ndarray()
    return rgb

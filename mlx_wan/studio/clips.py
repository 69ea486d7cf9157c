"""Rendered shots on disk: lossless FFV1 in Matroska, written and read frame by frame.

A clip keeps exactly what the model made, so text, brand and encoding can be done again without
rendering again. 81 frames of 1280x720 take about 100 MB, a clip of wan-mini 0.1 MB.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mlx_wan.errors import BadFileError, GenerationError, UsageError
from mlx_wan.files import complete_or_absent, from_source

_LOOPS, _CONTINUES = "MLX_WAN_LOOPS", "MLX_WAN_CONTINUES"  # tags in the file
_OPTIONS = {"level": "3", "slicecrc": "1"}


@dataclass(frozen=True)
class Clip:
    """A lossless video of one shot, or of a part of it.

    `loops`: the last frame leads back to the first. `continues`: the first frame is the one after
    the last of the clip before.
    """

    path: Path
    width: int
    height: int
    fps: int
    num_frames: int
    loops: bool
    continues: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


def write_clip(
    frames: Iterable[np.ndarray],
    path: str | Path,
    fps: int,
    loops: bool = False,
    continues: bool = False,
) -> Clip:
    """Keep chunks of frames, uint8 `(t, H, W, 3)`, losslessly in a .mkv file at `path`.

    Chunks are taken one at a time. Raises UsageError for an existing file, GenerationError when
    nothing was given, MlxWanError when the place cannot be written or the disk is full.
    """
    import av

    path = Path(path)
    if path.exists():
        raise UsageError(f"{path} exists already", "nothing is overwritten")
    count = 0
    size = (0, 0)
    with complete_or_absent(path) as partial:
        with av.open(str(partial.absolute()), "w", format="matroska") as container:
            container.metadata.update({_LOOPS: f"{loops:d}", _CONTINUES: f"{continues:d}"})
            stream = None
            for frame in (frame for chunk in from_source(frames) for frame in chunk):
                if stream is None:
                    size = (frame.shape[1], frame.shape[0])
                    stream = container.add_stream("ffv1", rate=Fraction(fps), options=_OPTIONS)
                    stream.width, stream.height, stream.pix_fmt = *size, "bgr0"
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture.pts, picture.time_base = count, Fraction(1, fps)
                container.mux(stream.encode(picture.reformat(format="bgr0")))
                count += 1
            if stream is not None:
                container.mux(stream.encode())
        if not count:
            raise GenerationError("there were no frames to keep")
    return Clip(path, *size, fps, count, loops, continues)


def open_clip(path: str | Path) -> Clip:
    """The clip in a file `write_clip` made. Its frames are counted, not decoded.

    Raises BadFileError when it is something else.
    """
    path = Path(path)
    with _opened(path) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name != "ffv1" or _LOOPS not in container.metadata:
            raise BadFileError(f"{path} is no clip of ours")
        count = sum(packet.size > 0 for packet in container.demux(stream))
        return Clip(
            path,
            stream.codec_context.width,
            stream.codec_context.height,
            round(stream.average_rate),
            count,
            container.metadata[_LOOPS] == "1",
            container.metadata.get(_CONTINUES) == "1",
        )


def read_clip(clip: Clip) -> Iterator[np.ndarray]:
    """The clip's frames in order, uint8 `(H, W, 3)`, one in memory at a time."""
    with _opened(clip.path) as container:
        pictures = container.decode(container.streams.video[0])
        count = 0
        while (picture := _decoded(pictures, clip.path)) is not None:
            yield picture.to_ndarray(format="rgb24")
            count += 1
    if count != clip.num_frames:
        raise BadFileError(f"{clip.path} has {count} of its {clip.num_frames} frames", "delete it")


def _decoded(pictures: Any, path: Path) -> Any:
    """The next picture, None after the last."""
    try:
        return next(pictures, None)
    except (OSError, ValueError) as error:  # FFmpeg's errors are both
        raise BadFileError(f"{path} cannot be read: {error}", "delete it") from None


def _opened(path: Path):  # type: ignore[no-untyped-def]
    import av

    try:
        container = av.open(str(path.absolute()), format="matroska")
    except (OSError, ValueError) as error:
        raise BadFileError(f"{path} cannot be read: {error}", "delete it") from None
    return container

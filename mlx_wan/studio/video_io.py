"""Frames -> MP4 with PyAV: H.264 High, yuv420p, BT.709, web-ready, never half-written.

Settings follow ecosystem.md 1.9: converted and tagged as limited-range BT.709, index first
(faststart), no edit list, closed groups of half a second. The file is written under a partial name
and renamed when it is complete.
"""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from mlx_wan.errors import GenerationError, UsageError
from mlx_wan.files import complete_or_absent

_BT709 = 1  # the code of BT.709 for primaries, transfer and matrix
_LIMITED_RANGE = 1
_MP4_OPTIONS = {
    "movflags": "+faststart+negative_cts_offsets+use_metadata_tags",
    "use_editlist": "0",
}


def save_video(
    frames: Iterable[np.ndarray],
    path: str | Path,
    *,
    fps: int,
    crf: int = 16,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Encode chunks of frames, uint8 `(t, H, W, 3)` with even H and W, to an MP4 at `path`.

    Chunks are taken one at a time, so a generator never has all frames in memory. `metadata` goes
    into the container. Raises UsageError for odd sizes or an existing file, GenerationError when
    nothing was given, MlxWanError when the place cannot be written or the disk is full.
    """
    path = Path(path)
    if path.exists():
        raise UsageError(f"{path} exists already", "nothing is overwritten; give another --output")
    with complete_or_absent(path) as partial:
        count = _encode(frames, partial, fps, crf, metadata or {})
        if not count:
            raise GenerationError("there were no frames to save")
    return path


def _encode(
    frames: Iterable[np.ndarray], path: Path, fps: int, crf: int, metadata: Mapping[str, str]
) -> int:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    count = 0
    # absolute: FFmpeg takes `a:b` for a protocol
    with av.open(str(path.absolute()), "w", format="mp4", options=_MP4_OPTIONS) as container:
        container.metadata.update(metadata)
        stream = None
        for frame in _single(frames):
            if stream is None:
                height, width = frame.shape[:2]
                stream = container.add_stream("libx264", rate=Fraction(fps))
                _configure(stream, width, height, fps, crf)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
            picture.pts = count
            container.mux(stream.encode(picture))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


def _configure(stream, width: int, height: int, fps: int, crf: int) -> None:  # type: ignore[no-untyped-def]
    if width % 2 or height % 2:
        raise UsageError(f"frames are {width}x{height}; H.264 needs even sizes")
    group = max(1, fps // 2)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = Fraction(1, fps)
    stream.options = {
        "crf": str(crf),
        "preset": "slow",
        "profile": "high",
        "x264-params": f"keyint={group}:min-keyint={group}:open-gop=0:bframes=2",
    }
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED_RANGE
    context.thread_type = "FRAME"  # slice threading, the default, costs compression


def _single(chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for chunk in chunks:
        yield from np.ascontiguousarray(chunk)

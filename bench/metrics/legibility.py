"""Whether words can still be read after a platform encoded the video again, at 2 Mbit/s."""

import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlx_wan.errors import UsageError
from mlx_wan.studio.contrast import luminance, ratio

from .frames import Frame, read_frames
from .metric import Metric, Values

if TYPE_CHECKING:
    from mlx_wan.studio.formats import Box

BITRATE = 2_000_000
_INK = 5  # percent of a box's pixels, at least, are letters, and as many are not

METRICS = (
    Metric(
        "text_contrast",
        "",
        "higher",
        "quality",
        "(L95 + 0.05) / (L5 + 0.05), the 95th and 5th percentile of relative luminance inside each "
        "text box after encoding at 2 Mbit/s; of the worst box, mean over frames. 4.5 is readable.",
        "contrast ratio: W3C, WCAG 2.2, 1.4.3",
    ),
    Metric(
        "text_edges_kept",
        "",
        "higher",
        "quality",
        "gradient energy (mean squared length) of the luma inside each text box after encoding at "
        "2 Mbit/s, over that before; of the worst box, mean over frames. 1: nothing is smeared.",
        "ours",
    ),
)


def legibility(video: Path, boxes: Sequence["Box"]) -> Values:
    """Boxes in pixels of the video, all inside it, with text in every frame."""
    if not boxes:
        return dict.fromkeys((metric.name for metric in METRICS), None)
    contrasts, kept = [], []
    with tempfile.TemporaryDirectory(prefix="mlx-wan-text-") as folder:
        again = Path(folder) / "again.mp4"
        _encode(read_frames(video), again)
        for before, after in zip(read_frames(video), read_frames(again), strict=True):
            if not before.sampled:
                continue
            pairs = [(_inside(before, box), _inside(after, box)) for box in boxes]
            contrasts.append(min(_contrast(small) for _, small in pairs))
            kept.append(min(_energy(small) / max(_energy(whole), 1e-6) for whole, small in pairs))
    return {
        "text_contrast": float(np.mean(contrasts)),
        "text_edges_kept": float(np.mean(kept)),
    }


def _inside(frame: Frame, box: "Box") -> np.ndarray:
    height, width = frame.rgb.shape[:2]
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise UsageError(f"a text box {box} is not inside a frame of {width}x{height}")
    return frame.rgb[box.top : box.bottom, box.left : box.right]


def _contrast(rgb: np.ndarray) -> float:
    low, high = np.percentile(luminance(np.moveaxis(rgb, -1, 0)), (_INK, 100 - _INK))
    return float(ratio(high, low))


def _energy(rgb: np.ndarray) -> float:
    y = rgb.astype(np.float32).mean(2)
    return float(np.square(np.diff(y, axis=0)).mean() + np.square(np.diff(y, axis=1)).mean())


def _encode(frames: Iterator[Frame], path: Path) -> None:
    """H.264 at a mean of 2 Mbit/s, as a platform would."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for frame in frames:
            height, width = (side // 2 * 2 for side in frame.rgb.shape[:2])
            if stream is None:
                rate = Fraction(frame.fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.bit_rate = BITRATE
                stream.options = {"preset": "veryfast", "maxrate": "2M", "bufsize": "1M"}
                stream.codec_context.colorspace = 1  # BT.709
            rgb = np.ascontiguousarray(frame.rgb[:height, :width])
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
            picture.pts = frame.index
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())

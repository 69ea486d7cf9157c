"""Clips in their own rate -> pictures at the delivered rate, at the clip's own size.

Loops are slowed down a lot and closed by construction; frames that play once are interpolated with
motion compensation (FFmpeg's minterpolate, which leaves scene cuts alone).

Why loops are not: on soft 64 to 80 pixel clips painted at four times their rate, minterpolate is 2
to 9 dB farther from the truth than a periodic cubic, whatever its block size (fast sweeps apart).
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import count

import numpy as np

INTERPOLATIONS = ("motion", "off")
_MOTION = "mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=fdiff"
_PACE = 4  # frames: a latent frame of Wan's VAEs; change within one comes in bursts
_MOST_PACE = 1.7  # how much faster or slower than even a frame may be passed


def loop(frames: np.ndarray, rate: float, interpolate: str) -> Iterator[np.ndarray]:
    """Endless pictures, float32 `(H, W, 3)`, of a clip whose last frame leads back to its first.

    `rate` is source frames per picture. Between frames the pictures follow a cubic B-spline, which
    passes near them: it has no kinks in time and damps the decoder's flicker.
    """
    closed = close_loop(frames)
    period = len(closed)
    if interpolate == "off":
        for index in count():
            yield closed[int(index * rate + 0.5) % period]
    knots = even_pace(closed)
    for index in count():
        position = np.interp(index * rate % period, knots, np.arange(period + 1))
        before, part = int(position), float(position % 1)
        picture = np.zeros_like(closed[0])
        for offset, weight in enumerate(_b_spline(part), -1):
            picture += np.float32(weight) * closed[(before + offset) % period]
        yield picture


def close_loop(frames: np.ndarray) -> np.ndarray:
    """The period of a nearly closed loop, float32 `(T - 1, H, W, 3)`, exactly closed.

    What the last frame misses to be the first again is spread evenly over all frames.
    """
    period = len(frames) - 1
    ramp = (np.arange(period) / period).astype(np.float32)[:, None, None, None]
    return frames[:-1] + ramp * (frames[0].astype(np.float32) - frames[-1])


def even_pace(closed: np.ndarray) -> np.ndarray:
    """When each frame of a loop is reached, in frames, `(T + 1,)` from 0 to T.

    Much change takes longer and little passes sooner, compared with the `_PACE` frames around:
    the change within a latent frame is uneven by a factor of two, which looks like stop and go.
    """
    period = len(closed)
    change = np.abs(np.roll(closed, -1, axis=0) - closed).mean(axis=(1, 2, 3)).astype(np.float64)
    window = np.array([0.5, *[1.0] * (_PACE - 1), 0.5]) / _PACE
    around = sum(
        weight * np.roll(change, offset - _PACE // 2) for offset, weight in enumerate(window)
    )
    pace = np.clip((change + 1e-3) / (around + 1e-3), 1 / _MOST_PACE, _MOST_PACE)
    knots = np.concatenate([[0.0], np.cumsum(pace)])
    return knots * (period / knots[-1])


def once(
    frames: Iterable[np.ndarray], fps: Fraction, target: int, interpolate: str
) -> Iterator[np.ndarray]:
    """Pictures, float32 `(H, W, 3)`, at `target` a second of uint8 frames at `fps` a second.

    Without interpolation the frame nearest in time is repeated or left out.
    """
    if interpolate == "motion" and fps < target:
        yield from _motion(frames, fps, target)
        return
    index = 0
    for number, frame in enumerate(frames):
        while int(index * fps / target + Fraction(1, 2)) <= number:
            yield frame.astype(np.float32)
            index += 1


def _motion(frames: Iterable[np.ndarray], fps: Fraction, target: int) -> Iterator[np.ndarray]:
    """Red, green and blue take the places of Y, U and V, green in front: nothing is converted."""
    import av
    import av.filter

    graph = None
    last, number = None, 0
    for number, last in enumerate(frames):
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=last.shape[1],
                height=last.shape[0],
                format=av.VideoFormat("yuv444p"),
                time_base=1 / fps,
            )
            motion = graph.add("minterpolate", f"fps={target}:{_MOTION}")
            sink = graph.add("buffersink")
            source.link_to(motion)
            motion.link_to(sink)
            graph.configure()
        _push(graph, last, number, fps)
        yield from _pulled(graph)
    if graph is None or last is None:
        return
    for extra in (1, 2):  # the filter looks ahead and keeps what it has not seen both sides of
        _push(graph, last, number + extra, fps)
        yield from _pulled(graph)


def _push(graph, frame: np.ndarray, number: int, fps: Fraction) -> None:  # type: ignore[no-untyped-def]
    import av

    planes = np.ascontiguousarray(frame[..., [1, 2, 0]].transpose(2, 0, 1))
    picture = av.VideoFrame.from_ndarray(planes, format="yuv444p")
    picture.pts, picture.time_base = number, 1 / fps
    graph.push(picture)


def _pulled(graph) -> Iterator[np.ndarray]:  # type: ignore[no-untyped-def]
    import av.error

    while True:
        try:
            planes = graph.pull().to_ndarray()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield planes[[2, 0, 1]].transpose(1, 2, 0).astype(np.float32)


def _b_spline(part: float) -> tuple[float, float, float, float]:
    """Weights of the frames before, at, after and behind, `part` of the way between two."""
    rest = 1 - part
    at = 2 / 3 - part**2 + part**3 / 2
    after = 2 / 3 - rest**2 + rest**3 / 2
    return rest**3 / 6, at, after, part**3 / 6

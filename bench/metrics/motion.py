"""How things move: each frame against the middle of its neighbours, by matching blocks."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .frames import Frame, Plane
from .metric import Metric, Values
from .temporal import STILL

BLOCK = 8  # pixels of the small copy
REACH = 7  # pixels a frame, in each direction
_STAND = 0.02  # grey levels a vector must save for each pixel it is long
_TELLS = 0.5  # a vector counts as motion when it leaves no more than this of the difference

METRICS = (
    Metric(
        "motion_smoothness",
        "",
        "higher",
        "quality",
        "1 - sum |y(t) - m(t)| / sum (|y(t) - y(t-1)| + |y(t) - y(t+1)|) / 2, where m(t) is the "
        f"mean of the two neighbours after each {BLOCK} x {BLOCK} block moved along the vector v "
        "that matches y(t-1) at -v with y(t+1) at +v best. 1: motion explains all change; 0: none. "
        "None when nothing moves.",
        "the idea is VBench's motion smoothness (arXiv:2311.17982: a dropped frame against the one "
        "interpolated by AMT); block motion replaces AMT, and dividing by the change keeps still "
        "videos from scoring best",
    ),
    Metric(
        "dynamic_degree",
        "% of the shorter side per second",
        "none",
        "information",
        "mean over frames of the largest twentieth of the block vectors; a vector counts when it "
        "explains at least half of its block's change. How much a scene should move is the "
        "prompt's to say, so more is not better; a video that stands still fails a gate.",
        "VBench's dynamic degree (arXiv:2311.17982: the top 5 % of RAFT's flow), before its "
        "threshold, with block motion for RAFT",
    ),
)


class Motion:
    """Both figures of this file, from three frames at a time."""

    def __init__(self) -> None:
        self._last: list[Plane] = []
        self._left, self._change, self._middles = 0.0, 0.0, 0
        self._speeds: list[float] = []
        self._fps = 0.0

    def see(self, frame: Frame) -> None:
        self._fps = frame.fps
        self._last = [*self._last, frame.small][-3:]
        if len(self._last) < 3:
            return
        before, now, after = self._last
        predicted, vectors, counts = middle(before, after)
        self._left += float(np.abs(now - predicted).mean())
        self._change += float(np.abs(now - before).mean() + np.abs(now - after).mean()) / 2
        self._middles += 1
        speed = np.sort(np.where(counts, np.hypot(*vectors), 0).ravel())
        top = speed[-max(1, speed.size // 20) :].mean()
        self._speeds.append(float(top) / min(now.shape))

    def figures(self) -> Values:
        if not self._middles:
            return {"motion_smoothness": None, "dynamic_degree": None}
        moves = self._change / self._middles >= STILL
        return {
            "motion_smoothness": 1 - self._left / self._change if moves else None,
            "dynamic_degree": 100 * self._fps * float(np.mean(self._speeds)),
        }


def middle(before: Plane, after: Plane) -> tuple[Plane, np.ndarray, np.ndarray]:
    """The frame between two, the vectors (2, rows, columns) in pixels a frame, and which count."""
    height, width = before.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    pad = ((REACH, REACH + rows * BLOCK - height), (REACH, REACH + columns * BLOCK - width))
    a, b = np.pad(before, pad, mode="edge"), np.pad(after, pad, mode="edge")
    size = rows * BLOCK, columns * BLOCK
    steps = np.arange(-REACH, REACH + 1)
    ways = len(steps)
    costs = np.empty((ways, ways, rows, columns), np.float32)  # of v = (y, x)
    for cost, y in zip(costs, steps, strict=True):
        lines = [p[REACH + s : REACH + s + size[0]] for p, s in ((a, -y), (b, y))]
        from_, to = (sliding_window_view(line, size[1], axis=1) for line in lines)
        apart = np.abs(from_[:, ::-1] - to)  # (H, ways, W), by x
        blocks = apart.reshape(rows, BLOCK, ways, columns, BLOCK).sum(4).sum(1) / BLOCK**2
        cost[:] = _with_neighbours(np.moveaxis(blocks, 1, 0))
    still = costs[REACH, REACH]
    lengths = np.hypot(*np.meshgrid(steps, steps, indexing="ij"))[..., None, None]
    best = (costs + _STAND * lengths).reshape(-1, rows, columns).argmin(0)
    cost = np.take_along_axis(costs.reshape(-1, rows, columns), best[None], 0)[0]
    vectors = np.stack([steps[best // ways], steps[best % ways]])
    counts = (still > 2 * STILL) & (cost <= _TELLS * still)
    yy, xx = np.mgrid[0 : size[0], 0 : size[1]]
    dy, dx = (np.repeat(np.repeat(v, BLOCK, 0), BLOCK, 1) for v in vectors)
    there, back = a[REACH + yy - dy, REACH + xx - dx], b[REACH + yy + dy, REACH + xx + dx]
    return ((there + back) / 2)[:height, :width], vectors, counts


def _with_neighbours(costs: np.ndarray) -> np.ndarray:
    """(n, rows, columns), each with those around it: a block alone is too small to be sure of."""
    p = np.pad(costs, ((0, 0), (1, 1), (1, 1)), mode="edge")
    p = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    p = p[..., :-2] + 2 * p[..., 1:-1] + p[..., 2:]
    return p / 16

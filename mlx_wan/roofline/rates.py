"""Seconds of an operation, from rates measured at a few sizes or a chip's published ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .work import Op

Point = tuple[float, float, float]  # width, size, amount per second


@dataclass(frozen=True)
class Rates:
    """What a machine does: of each kind of operation, how much a second at which width and size.

    `factor` is what a network takes against the sum of its operations alone, `overhead` the
    seconds each of them costs besides. `pair`: (seconds of one forward, how much of the time of
    two the guidance pair takes). `start` seconds pass before the first stage, `tensor` for each
    tensor of a network; weights are read at `load` bytes per second, and each byte they grow by in
    memory takes `widen` seconds. `frame`: seconds to write one pixel of a frame to the file.
    """

    points: dict[str, tuple[Point, ...]]
    load: float
    factor: float = 1.0
    overhead: float = 0.0
    start: float = 0.0
    tensor: float = 0.0
    widen: float = 0.0
    frame: float = 0.0
    pair: tuple[tuple[float, float], ...] = field(default=((1.0, 1.0),))


def seconds(ops: Sequence[Op], rates: Rates) -> float:
    """Of operations one after the other."""
    return sum(op.calls * (rates.factor * alone(op, rates) + rates.overhead) for op in ops)


def alone(op: Op, rates: Rates) -> float:
    """Seconds of one call."""
    if op.size <= 0 or op.amount <= 0:
        return 0.0
    return op.amount / _rate(rates.points[op.kind], op.width, op.size)


def pair_seconds(one: float, rates: Rates) -> float:
    """Seconds of the two forwards of guidance, of which one alone takes `one`."""
    curve = sorted(rates.pair)
    return 2 * one * _along([math.log(s) for s, _ in curve], [f for _, f in curve], math.log(one))


def _rate(points: Sequence[Point], width: float, size: float) -> float:
    """Between the points on a grid of logarithms; of smaller sizes each call takes as long as the
    smallest measured, larger ones go at the rate of the largest."""
    widths = sorted({point[0] for point in points})
    rows = []
    for known in widths:
        row = sorted((s, r) for w, s, r in points if w == known)
        sizes, rates = [math.log(s) for s, _ in row], [math.log(r) for _, r in row]
        low = min(0.0, math.log(size) - sizes[0])  # below: the rate falls with the size
        rows.append(_along(sizes, rates, math.log(size)) + low)
    return math.exp(_along([math.log(w) for w in widths], rows, math.log(width)))


def _along(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """Linear between points sorted by x, constant beyond them."""
    if x <= xs[0]:
        return ys[0]
    for i in range(1, len(xs)):
        if x <= xs[i]:
            share = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
            return ys[i - 1] + share * (ys[i] - ys[i - 1])
    return ys[-1]

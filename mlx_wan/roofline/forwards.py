"""Whole forwards of real networks: what they take beside the sum of their operations.

A forward alone and a guidance pair are each repeated back to back, as the steps of a run are: a
core that has just slept, or a cache that another forward has filled, is not what a run meets.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import mlx.core as mx

from mlx_wan import cpu

from . import work
from .rates import Rates, alone

Grid = tuple[int, int, int]  # patches (T, H, W)

TEXT = 30  # tokens of the prompt
BURST = 4  # forwards in a row; the first of them warms up
LEAST_FACTOR, MOST_FACTOR = 0.5, 2.0  # no machine is beyond these
LEAST_PAIR, MOST_PAIR = 0.4, 1.5


@dataclass(frozen=True)
class Forward:
    """The operations of one forward, its seconds, and those of two at once as a guidance pair."""

    ops: tuple[work.Op, ...]
    one: float
    two: float


def measured(
    network: Any, grid: Grid, clock: Callable[[], float], most_seconds: float, guidance: float = 5.0
) -> Forward:
    """Single forwards and pairs by turns, each in bursts, for so many seconds in all."""
    config = network.config
    key = mx.random.key(math.prod(grid))
    texts = [mx.random.normal((1, TEXT, config.text_dim), key=key) for _ in range(2)]
    first, second = (network.condition(text, grid) for text in texts)
    sides = (n * p for n, p in zip(grid, config.patch_size, strict=True))
    x = mx.random.normal((1, *sides, config.in_dim), key=key)
    mx.eval(x)

    def one() -> mx.array:
        made: mx.array = network(x, 500.0, first)
        return made

    def pair() -> mx.array:  # as pipeline.GuidedExpert does
        cond, uncond = cpu.run_pair(one, lambda: network(x, 500.0, second))
        return uncond + guidance * (cond - uncond)

    ones: list[float] = []
    twos: list[float] = []
    begun = time.perf_counter()
    while not ones or time.perf_counter() - begun < most_seconds:
        for found, run in ((ones, one), (twos, pair)):
            found += [_once(run, clock) for _ in range(BURST)][1:]
    ops = sys.modules[type(network).__module__].forward_work(config, math.prod(grid), TEXT)
    return Forward(tuple(ops), median(ones), median(twos))


def _once(function: Callable[[], mx.array], clock: Callable[[], float]) -> float:
    before = clock()
    mx.eval(function())
    return max(1e-7, clock() - before)


def middle(passes: Sequence[Forward]) -> Forward:
    """Of one network and size at several moments."""
    one, two = (median(getattr(each, name) for each in passes) for name in ("one", "two"))
    return replace(passes[0], one=one, two=two)


def fitted(rates: Rates, forwards: Sequence[Forward]) -> Rates:
    """`factor`, `overhead` and `pair` from forwards of several networks and sizes.

    One forward is factor * (its operations alone) + overhead * (how many they are); the two
    figures are those with the least relative errors over all of them.
    """
    rows = [
        (sum(op.calls * alone(op, rates) for op in f.ops) / f.one, work.calls(list(f.ops)) / f.one)
        for f in forwards
    ]
    aa, ac, cc = (sum(r[i] * r[j] for r in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, c = (sum(r[i] for r in rows) for i in (0, 1))
    determinant = aa * cc - ac * ac
    factor = (a * cc - c * ac) / determinant if determinant > 1e-9 * aa * cc else 0.0
    factor = min(MOST_FACTOR, max(LEAST_FACTOR, factor))
    overhead = (c - factor * ac) / cc
    if overhead < 0:  # an operation costs no less among others than it does alone
        overhead, factor = 0.0, min(MOST_FACTOR, max(LEAST_FACTOR, a / aa))
    pair = [(f.one, min(MOST_PAIR, max(LEAST_PAIR, f.two / (2 * f.one)))) for f in forwards]
    return replace(rates, factor=factor, overhead=overhead, pair=tuple(sorted(pair)))

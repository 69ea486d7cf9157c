"""How sure a difference is: intervals, tests and strengths, seeded and on plain numpy arrays.

The unit is the prompt. Seeds, repeats and votes of one prompt resemble each other, so they are
averaged first, and prompts are what is drawn again or swapped: a table here is `(prompts, figures)`
of paired differences, NaN where one is missing.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

DRAWS = 4000
SWAPS = 10_000
_EXACT = 13  # up to so many prompts all 2^(n-1) ways to swap are looked at
MIN_CLUSTERS = 6  # fewer prompts give no interval that holds what it promises


@dataclass(frozen=True)
class Interval:
    """A mean over `n` prompts with the ends of its interval."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """The mean of `(n,)` values, one per prompt, with its interval by drawing prompts again.

    Percentiles, widened for few prompts (Hesterberg, "What Teachers Should Know About the
    Bootstrap", 2015, section 5.3.2: the tails of Student's t, and n / (n - 1)). None for fewer than
    6 values, from which too little can be drawn.
    """
    values = values[np.isfinite(values)]
    n = len(values)
    if n < MIN_CLUSTERS:
        return None
    drawn = np.random.default_rng(seed).integers(n, size=(draws, n))
    means = values[drawn].mean(axis=1)
    tail = _widened_tail((1 - level) / 2, n)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high), n)


def swap_test(table: np.ndarray, *, swaps: int = SWAPS, seed: int = 0) -> np.ndarray:
    """How often chance alone makes a difference as large: one p per column, `(k,)`.

    Were A and B the same, swapping them for any prompt would change nothing. So they are swapped
    for random prompts (all ways, when there are few), in all columns alike, and each column's
    |sum| / root of the sum of squares is held against the largest of its kind in any column. The
    step-down of Westfall and Young (1993): the chance that any p of true zeros is at most x is at
    most x, however many columns there are and however they hang together.
    """
    n, k = table.shape
    values = np.nan_to_num(table)
    size = np.sqrt((values**2).sum(axis=0))
    values = values / np.where(size > 0, size, 1)
    observed = np.abs(values.sum(axis=0))  # (k,)
    chance = np.abs(_signs(n, swaps, seed) @ values)  # (swaps, k)
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(chance[:, order[::-1]], axis=1)[:, ::-1]
    p = (largest >= observed[order] - 1e-9).mean(axis=0)
    result = np.empty(k)
    result[order] = np.maximum.accumulate(p)
    return result


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p of so uneven a count when both are equally likely; ties are left out."""
    n = wins + losses
    if not n:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(max(wins, losses), n + 1))
    return min(1.0, 2 * tail / 2**n)


def evidence(wins: int, losses: int) -> float:
    """How many times likelier the counts are with an unknown win rate than with one half.

    The average of p^wins (1-p)^losses over all p, over 2^-n. By Ville's inequality a true half
    reaches 20 with a chance of at most 1 in 20 however often one looks while prompts are counted
    one after the other and stay as they are, which a sign test looked at again and again does not
    keep to (Ville 1939; Robbins 1970).
    """
    n = wins + losses
    beta = math.lgamma(wins + 1) + math.lgamma(losses + 1) - math.lgamma(n + 2)
    return math.exp(min(beta + n * math.log(2), 700))


def bradley_terry(wins: np.ndarray, *, rounds: int = 10_000) -> np.ndarray:
    """Strengths `(..., k)` with sum 1 from `wins` `(..., k, k)`: how often the row beat the column.

    i beats j with the chance s_i / (s_i + s_j); found by the MM algorithm of Hunter (2004). A tie
    is half a win for both. One tie more is counted for every two that met, so that one which never
    lost has a finite strength. Those that never met any other get NaN.
    """
    games = wins + np.swapaxes(wins, -1, -2)
    met = games > 0
    known = met.any(axis=-1)
    won = wins.sum(axis=-1) + met.sum(axis=-1) / 2
    games = games + met
    strength = known / np.maximum(known.sum(axis=-1, keepdims=True), 1)
    for _ in range(rounds):
        pairs = strength[..., :, None] + strength[..., None, :]
        expected = (games / np.where(pairs > 0, pairs, 1)).sum(axis=-1)
        new = won / np.where(expected > 0, expected, 1)
        new = new / np.maximum(new.sum(axis=-1, keepdims=True), 1e-300)
        change = np.abs(new - strength).max()
        strength = new
        if change < 1e-10:
            break
    return np.where(known, strength, np.nan)


def bradley_terry_intervals(
    wins: np.ndarray, *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> list[Interval | None]:
    """Strengths with intervals from `(prompts, k, k)` wins, by drawing prompts again."""
    n, k, _ = wins.shape
    strength = bradley_terry(wins.sum(axis=0))
    if n < MIN_CLUSTERS:
        return [None] * k
    drawn = np.random.default_rng(seed).integers(n, size=(draws, n))
    strengths = bradley_terry(wins[drawn].sum(axis=1), rounds=500)  # (draws, k)
    tail = _widened_tail((1 - level) / 2, n)
    result: list[Interval | None] = []
    for one in range(k):
        column = strengths[np.isfinite(strengths[:, one]), one]
        if not np.isfinite(strength[one]) or not len(column):
            result.append(None)
            continue
        low, high = np.quantile(column, [tail, 1 - tail])
        result.append(Interval(float(strength[one]), float(low), float(high), n))
    return result


def _signs(n: int, swaps: int, seed: int) -> np.ndarray:
    """Ways to swap, `(ways, n)` of 1 and -1; the first one swaps nothing.

    The first prompt is never swapped: swapping all of them gives the same |sum|.
    """
    if n <= _EXACT:
        ways = np.arange(2 ** max(n - 1, 0))[:, None] >> np.arange(max(n - 1, 0)) & 1
        signs = 1.0 - 2.0 * ways
    else:
        signs = np.random.default_rng(seed).integers(2, size=(swaps, n - 1)) * 2.0 - 1.0
        signs[0] = 1
    return np.hstack([np.ones((len(signs), min(n, 1))), signs])


def _widened_tail(tail: float, n: int) -> float:
    quantile = -_student_quantile(tail, n - 1)
    return NormalDist().cdf(-quantile * math.sqrt(n / (n - 1)))


def _student_quantile(tail: float, freedom: int) -> float:
    """Of Student's t by bisection of its distribution, integrated by Simpson's rule."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)

    def above(x: float) -> float:  # the mass between 0 and x
        at = np.linspace(0, x, 2001)
        density = scale * (1 + at**2 / freedom) ** (-(freedom + 1) / 2)
        weights = np.ones(2001)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return float((density * weights).sum() * x / 2000 / 3)

    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) < 0.5 - tail else (low, middle)
    return -high

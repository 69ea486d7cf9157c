"""The linear-quadratic schedule: slow through the noisiest levels in even steps, then faster and
faster. The other spacing of a preset's sigmas is `make_schedule` of sampling.py, for any solver.
"""

import numpy as np

from .errors import UsageError
from .sampling import MAX_STEPS, TRAIN_STEPS, Schedule


def linear_quadratic(
    steps: int, threshold: float = 0.025, linear_steps: int | None = None
) -> Schedule:
    """`steps` steps, of which `linear_steps` (by default half) cover sigma 1 to 1 - threshold.

    The rest are a parabola that continues the line without a bend and ends at sigma 0
    (genmoai/mochi, pipelines.py; FastMochi runs 8 steps with threshold 0.1 and 6 linear ones).
    """
    linear = steps // 2 if linear_steps is None else linear_steps
    if type(steps) is not int or not 2 <= steps <= MAX_STEPS:
        raise UsageError(
            f"steps is {steps!r}; it must be a whole number from 2 to {MAX_STEPS}", "try 64"
        )
    if type(linear) is not int or not 1 <= linear < steps:
        raise UsageError(
            f"linear_steps is {linear!r}; of {steps} steps it can be 1 to {steps - 1}",
            f"try {steps // 2}",
        )
    if not 0 < threshold < 1:
        raise UsageError(f"threshold is {threshold!r}; it must be between 0 and 1", "try 0.025")
    i = np.arange(steps + 1, dtype=np.float64)
    rest = steps - linear
    quadratic = (linear - threshold * steps) / (linear * rest**2)
    slope = threshold / linear - 2 * (linear - threshold * steps) / rest**2
    curve = quadratic * i**2 + slope * i + quadratic * linear**2
    done = np.where(i < linear, i * threshold / linear, curve)
    sigmas = 1 - done
    sigmas[-1] = 0
    if (np.diff(sigmas) >= 0).any():
        raise UsageError(
            f"{linear} linear steps to {threshold:g} leave {rest} steps no way to end at 0",
            "use fewer linear steps or a larger threshold",
        )
    return Schedule(
        tuple(sigmas.astype(np.float32).tolist()),
        tuple((sigmas[:-1] * TRAIN_STEPS).astype(np.float32).tolist()),
    )

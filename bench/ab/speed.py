"""One plan, run again and again: a figure that another day or machine can be held against."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_wan.errors import GenerationError, UsageError
from mlx_wan.plan import Plan

from .facts import facts
from .results import STAGES
from .runner import CHILD, TIMEOUT, run_plan
from .summary import spread

MAX_RUNS = 1000


def measure_speed(
    plan: Plan,
    runs: int,
    *,
    timeout: float = TIMEOUT,
    report: Callable[[int, dict[str, Any]], None] = lambda number, told: None,
    child: Sequence[str] = CHILD,
) -> dict[str, Any]:
    """Median, least and most of `runs` runs, each in a process of its own, as plain data.

    One run before them is not counted: it warms the disk's cache. `report` is told each run's
    number (0 is that one) and figures. Raises GenerationError when a run fails.
    """
    if not 1 <= runs <= MAX_RUNS:
        raise UsageError(f"runs is {runs}", f"accepted: 1 to {MAX_RUNS}")
    told = []
    with tempfile.TemporaryDirectory(prefix="mlx-wan-speed-") as folder:
        for number in range(runs + 1):
            work = Path(folder) / str(number)
            work.mkdir()
            told.append(run_plan(plan, work, timeout, child))
            if told[-1]["error"]:
                raise GenerationError(f"run {number} failed: {told[-1]['error']}")
            report(number, told[-1])
    return {"format": "mlx-wan-speed", "version": 1, **facts()} | _figures(plan, told[1:])


def _figures(plan: Plan, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = {stage: _spread([one["seconds"][stage] for one in told]) for stage in STAGES}
    seconds["total"] = _spread([sum(one["seconds"].values()) for one in told])
    steps = [one["seconds_per_step"] for one in told if one["seconds_per_step"]]
    denoise = seconds["denoise"]["median"]
    settings = plan.to_dict()
    for name in ("sigmas", "timesteps", "notes", "output"):
        del settings[name]
    return {
        "plan": settings,
        "runs": len(told),
        "seconds": seconds,
        "seconds_per_step": _spread(steps) if steps else None,
        "seconds_per_forward": denoise / plan.forwards,
        "teraflops": plan.flops / denoise / 1e12,
        "peak_memory": {
            stage: max(one["peak_memory"][stage] for one in told)
            for stage in told[0]["peak_memory"]
        },
        "peak_rss": max(one["peak_rss"] for one in told),
        "same_latents": len({one["hashes"]["latents"] for one in told}) == 1,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    found = spread(values)
    assert found is not None
    return asdict(found)

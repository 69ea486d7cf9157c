"""Predicted against measured: denoise time and peak memory of plans of many kinds.

    python -m mlx_wan.bench.predictions [--only NAME] [--rounds 3] [--cpu-time] [--json]

Calibrates this machine (its own MLX_WAN_HOME is left alone), then runs each plan in processes of
its own, of which the median counts. The bars: denoise time within 25 %, peak memory within 10 %.
`--cpu-time` compares CPU seconds, of a calibration in CPU seconds: a sanity check on a machine that
is busy.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TIME_BAR, MEMORY_BAR = 1.25, 1.10
STAGES = ("encode", "denoise", "decode")
# model, width, height, frames, steps, guidance (None: the model's)
PLANS: tuple[tuple[str, int, int, int, int, float | None], ...] = (
    ("wan-mini", 64, 64, 17, 20, None),
    ("wan-mini", 80, 48, 17, 8, None),
    ("wan-mini", 144, 80, 17, 12, None),
    ("wan-mini", 96, 96, 17, 10, 1.0),
    ("wan-mini", 160, 96, 33, 8, None),
    ("wan-mini", 240, 128, 17, 6, None),
    ("small", 128, 128, 17, 6, None),
    ("small", 256, 192, 9, 4, None),
    ("small", 192, 128, 17, 6, 1.0),
    ("middle", 128, 128, 9, 3, None),
    ("middle", 256, 160, 9, 3, None),
    ("middle", 320, 320, 5, 2, None),
    ("ti2v", 256, 160, 17, 4, None),
    ("ti2v", 320, 320, 9, 3, None),
)


def measure(job: Path) -> None:
    """Run the plan in `job` and leave what was measured beside it; in a process of its own."""
    from mlx_wan.events import Event
    from mlx_wan.memory import run_limits
    from mlx_wan.plan import Plan
    from mlx_wan.run import Rendering

    cpu: dict[str, float] = {}

    def watch(event: Event) -> None:  # each stage tells its beginning and its end
        cpu.setdefault(f"{event.stage} begins", time.process_time())
        cpu[f"{event.stage} ends"] = time.process_time()

    with run_limits():
        rendering = Rendering(Plan.from_dict(json.loads(job.read_text())), watch)
        for _ in rendering.frames():
            pass
    found = {
        "seconds": rendering.measure.seconds,
        "cpu_seconds": {s: cpu[f"{s} ends"] - cpu[f"{s} begins"] for s in STAGES},
        "peak_memory": rendering.measure.peak_memory,
    }
    job.with_suffix(".measured.json").write_text(json.dumps(found))


def compare(only: str | None, rounds: int, cpu_time: bool) -> list[dict[str, Any]]:
    """A row for each plan."""
    from mlx_wan.bench.random_models import build
    from mlx_wan.loading import open_model
    from mlx_wan.planning import make_plan
    from mlx_wan.request import Request
    from mlx_wan.roofline.calibrate import measure as calibrated
    from mlx_wan.roofline.stages import stage_seconds

    rows = []
    clock = time.process_time if cpu_time else time.perf_counter
    begun = time.perf_counter()
    rates = calibrated(clock)
    _say(f"calibrated in {time.perf_counter() - begun:.0f} s")
    with tempfile.TemporaryDirectory(prefix="mlx-wan-predictions-") as temporary:
        for number, (name, width, height, frames, steps, guidance) in enumerate(PLANS):
            if only is not None and only != name:
                continue
            model = Path(temporary) / name
            if name != "wan-mini" and not model.exists():
                build(name, model)
            request = Request(
                "a red fox runs through fresh snow",
                model=name if name == "wan-mini" else str(model),
                width=width,
                height=height,
                num_frames=frames,
                steps=steps,
                guidance_scale=guidance,
                seed=0,
            )
            plan = make_plan(request)
            job = Path(temporary) / f"plan-{number}.json"
            job.write_text(json.dumps(plan.to_dict()))
            told = stage_seconds(plan, open_model(plan.model_path), rates)
            command = [sys.executable, "-m", "mlx_wan.bench.predictions", "--job", str(job)]
            found = []
            for _ in range(rounds):
                subprocess.run(command, check=True, env={**os.environ, "MLX_WAN_HOME": temporary})
                found.append(json.loads(job.with_suffix(".measured.json").read_text()))
            clocked = "cpu_seconds" if cpu_time else "seconds"
            rows.append(
                {
                    "plan": f"{name} {width}x{height}x{frames}, {steps} steps"
                    + ("" if guidance is None else f", guidance {guidance:g}"),
                    "tokens": plan.tokens,
                    "predicted": told,
                    "measured": {
                        stage: statistics.median(run[clocked][stage] for run in found)
                        for stage in STAGES
                    },
                    "predicted_memory": plan.memory.stages(),
                    "measured_memory": found[0]["peak_memory"],  # the same each time
                }
            )
            _print_row(rows[-1])
    return rows


def _print_row(row: dict[str, Any]) -> None:
    told, found = row["predicted"], row["measured"]
    peaks = [max(row[name].values()) for name in ("predicted_memory", "measured_memory")]
    others = "  ".join(f"{told[stage]:6.2f} {found[stage]:6.2f}" for stage in ("encode", "decode"))
    _say(
        f"{row['plan']:42} {row['tokens']:5} "
        f"{told['denoise']:7.2f} {found['denoise']:7.2f} {told['denoise'] / found['denoise']:5.2f} "
        f"{peaks[0] / 2**20:7.1f} {peaks[1] / 2**20:7.1f} {peaks[0] / peaks[1]:5.2f}   {others}"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst ratios, as factors of at least 1, and whether they are within the bars."""
    times = [row["predicted"]["denoise"] / row["measured"]["denoise"] for row in rows]
    peaks = [
        max(row["predicted_memory"].values()) / max(row["measured_memory"].values()) for row in rows
    ]
    worst = {name: max(max(r, 1 / r) for r in v) for name, v in (("time", times), ("peak", peaks))}
    low, high = 1 / TIME_BAR, TIME_BAR
    return {
        "plans": len(rows),
        "worst_time": round(worst["time"], 3),
        "worst_peak": round(worst["peak"], 3),
        "time_within": sum(low <= ratio <= high for ratio in times),
        "passed": worst["time"] <= TIME_BAR and worst["peak"] <= MEMORY_BAR,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", help="the plans of one model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job is not None:
        measure(given.job)
        return 0
    _say(
        f"{'':42} tokens    denoise seconds     peak memory, MiB      encode and decode seconds\n"
        f"{'plan':42}         told   found ratio    told   found ratio    told  found   told  found"
    )
    rows = compare(given.only, given.rounds, given.cpu_time)
    told = summary(rows)
    if given.json:
        print(json.dumps({"rows": rows} | told))
    else:
        print(
            f"{told['plans']} plans: denoise time off by at most {told['worst_time']:.2f} "
            f"({told['time_within']} within {TIME_BAR}), peak memory by {told['worst_peak']:.2f}: "
            + ("passed" if told["passed"] else "FAILED")
        )
    return 0 if told["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())

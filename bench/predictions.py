"""Predicted against measured: denoise time and peak memory of plans of many kinds.

    python -m mlx_wan.bench.predictions [--only NAME] [--rounds 3] [--cpu-time] [--json]

Each round calibrates this machine anew (its own MLX_WAN_HOME is left alone), then runs every plan
once, each in a process of its own; of predictions and measurements the medians over the rounds are
compared. The bars: denoise time within 25 %, peak memory within 10 %. How much of the machine
others had meanwhile is told beside the table: where that is more than a few per cent, seconds say
little, and `--cpu-time` compares CPU seconds with a calibration in CPU seconds. Under six minutes.
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
# steps for about three seconds of denoising each on two cores
PLANS: tuple[tuple[str, int, int, int, int, float | None], ...] = (
    ("wan-mini", 64, 64, 17, 200, None),
    ("wan-mini", 80, 48, 17, 200, None),
    ("wan-mini", 144, 80, 17, 100, None),
    ("wan-mini", 96, 96, 17, 160, 1.0),
    ("wan-mini", 160, 96, 33, 50, None),
    ("wan-mini", 240, 128, 17, 50, None),
    ("small", 128, 128, 17, 36, None),
    ("small", 256, 192, 9, 22, None),
    ("small", 192, 128, 17, 30, 1.0),
    ("middle", 128, 128, 9, 16, None),
    ("middle", 256, 160, 9, 8, None),
    ("middle", 320, 320, 5, 4, None),
    ("ti2v", 256, 160, 17, 30, None),
    ("ti2v", 320, 320, 9, 22, None),
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


def predict(jobs: Path, cpu_time: bool) -> None:
    """Calibrate, and leave what the plans in a folder should take; in a process of its own."""
    from mlx_wan.loading import open_model
    from mlx_wan.plan import Plan
    from mlx_wan.roofline.calibrate import measure as calibrated
    from mlx_wan.roofline.stages import stage_seconds

    rates = calibrated(time.process_time if cpu_time else time.perf_counter)
    told = {}
    for job in sorted(jobs.glob("plan-??.json")):
        plan = Plan.from_dict(json.loads(job.read_text()))
        told[job.stem] = stage_seconds(plan, open_model(plan.model_path), rates)
    (jobs / "told.json").write_text(json.dumps(told))


def compare(only: str | None, rounds: int, cpu_time: bool) -> list[dict[str, Any]]:
    """A row for each plan."""
    clocked = "cpu_seconds" if cpu_time else "seconds"
    with tempfile.TemporaryDirectory(prefix="mlx-wan-predictions-") as temporary:
        folder = Path(temporary)
        plans = _planned(folder, only)
        told: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in plans}
        for number in range(rounds):
            begun, load = time.perf_counter(), Load()
            _child(folder, "--calibrate", temporary, *(["--cpu-time"] if cpu_time else []))
            calibrated = time.perf_counter() - begun
            for name, seconds in json.loads((folder / "told.json").read_text()).items():
                told[name].append(seconds)
            for name in plans:
                _child(folder, "--job", str(folder / f"{name}.json"))
                found[name].append(json.loads((folder / f"{name}.measured.json").read_text()))
            _say(
                f"round {number + 1} of {rounds}: {time.perf_counter() - begun:.0f} s, calibrated "
                f"in {calibrated:.0f} s; {load.told()}"
            )
    return [
        {
            "plan": title,
            "tokens": plan.tokens,
            "predicted": _medians(told[name]),
            "measured": _medians([run[clocked] for run in found[name]]),
            "each": [
                round(one["denoise"] / run[clocked]["denoise"], 3)
                for one, run in zip(told[name], found[name], strict=True)
            ],
            "predicted_memory": plan.memory.stages(),
            "measured_memory": found[name][0]["peak_memory"],  # the same each time
        }
        for name, (title, plan) in plans.items()
    ]


def _planned(folder: Path, only: str | None) -> dict[str, tuple[str, Any]]:
    """Name of a job -> (title, plan); the models are built and the jobs are written."""
    from mlx_wan.bench.random_models import build
    from mlx_wan.planning import make_plan
    from mlx_wan.request import Request

    plans = {}
    for number, (name, width, height, frames, steps, guidance) in enumerate(PLANS):
        if only is not None and only != name:
            continue
        if name != "wan-mini" and not (folder / name).exists():
            build(name, folder / name)
        request = Request(
            "a red fox runs through fresh snow",
            model=name if name == "wan-mini" else str(folder / name),
            width=width,
            height=height,
            num_frames=frames,
            steps=steps,
            guidance_scale=guidance,
            seed=0,
        )
        plan = make_plan(request)
        title = f"{name} {width}x{height}x{frames}, {steps} steps"
        title += "" if guidance is None else f", guidance {guidance:g}"
        plans[f"plan-{number:02}"] = title, plan
        (folder / f"plan-{number:02}.json").write_text(json.dumps(plan.to_dict()))
    return plans


def _child(home: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "mlx_wan.bench.predictions", *arguments]
    subprocess.run(command, check=True, env={**os.environ, "MLX_WAN_HOME": str(home)})


def _medians(each: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(one[stage] for one in each) for stage in STAGES}


class Load:
    """What of the machine's cores others have had since this was made (Linux's /proc/stat)."""

    def __init__(self) -> None:
        self.begun = self._now()

    def told(self) -> str:
        if self.begun is None or (now := self._now()) is None:
            return "how loaded the machine was is not known here"
        total, busy, stolen, own = (a - b for a, b in zip(now, self.begun, strict=True))
        others = max(0.0, busy - own) / max(total, 1e-9)
        return (
            f"others had {others:.0%} of the cores, {stolen / max(total, 1e-9):.0%} was stolen "
            f"by the host; load {os.getloadavg()[0]:.1f}"
        )

    def _now(self) -> tuple[float, float, float, float] | None:
        """Seconds of all cores together, busy, stolen; and those of our children and ourselves."""
        try:
            first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        except OSError:
            return None
        ticks = [int(value) / os.sysconf("SC_CLK_TCK") for value in first]
        user, nice, system, _, _, irq, softirq, steal = ticks
        return sum(ticks), user + nice + system + irq + softirq, steal, sum(os.times()[:4])


def _print_row(row: dict[str, Any]) -> None:
    told, found = row["predicted"], row["measured"]
    peaks = [max(row[name].values()) for name in ("predicted_memory", "measured_memory")]
    others = "  ".join(f"{told[stage]:6.2f} {found[stage]:6.2f}" for stage in ("encode", "decode"))
    _say(
        f"{row['plan']:42} {row['tokens']:5} "
        f"{told['denoise']:7.2f} {found['denoise']:7.2f} {told['denoise'] / found['denoise']:5.2f} "
        f"{peaks[0] / 2**20:7.1f} {peaks[1] / 2**20:7.1f} {peaks[0] / peaks[1]:5.2f}   {others}   "
        + " ".join(f"{ratio:.2f}" for ratio in row["each"])
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
        "middle_time": round(statistics.median(times), 3),
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
    parser.add_argument("--calibrate", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job is not None:
        measure(given.job)
        return 0
    if given.calibrate is not None:
        predict(given.calibrate, given.cpu_time)
        return 0
    load = Load()
    rows = compare(given.only, given.rounds, given.cpu_time)
    _say(
        f"{'':42} tokens    denoise seconds     peak memory, MiB      encode and decode seconds\n"
        f"{'plan':42}         told   found ratio    told   found ratio    told  found   told  found"
        "   ratio in each round"
    )
    for row in rows:
        _print_row(row)
    _say(load.told())
    told = summary(rows) | {"load": load.told()}
    if given.json:
        print(json.dumps({"rows": rows} | told))
    else:
        print(
            f"{told['plans']} plans: denoise time {told['middle_time']:.2f} times the measured one "
            f"in the middle, off by at most {told['worst_time']:.2f} "
            f"({told['time_within']} within {TIME_BAR}), peak memory by {told['worst_peak']:.2f}: "
            + ("passed" if told["passed"] else "FAILED")
        )
    return 0 if told["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())

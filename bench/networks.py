"""Our networks against torch's on the CPU: time, memory and agreement, one process per engine.

    python -m mlx_wan.bench.networks [--case NAME ...] [--runs 5] [--json]

Both engines get the same float32 weights and inputs through a file and one BLAS thread, and take
turns run by run, so that whatever else the machine does falls on both alike. Compared are CPU
seconds (not wall time); the ratio is the median of ours over the median of theirs.

A case names a file beside this one with three functions, importing mlx_wan or torch inside them:
    make(**options) -> dict of numpy arrays            weights and inputs, in our names
    ours(arrays, **options) -> () -> numpy array       load, then return one run of our network
    reference(arrays, **options) -> () -> numpy array  the same with torch
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One comparison: `most` is the ratio it must not exceed, `most_mib` the peak MLX memory."""

    module: str
    options: dict[str, Any] = field(default_factory=dict)
    most: float = 1.0
    most_mib: float | None = None


_VIDEO: dict[str, Any] = {"frames": 17, "height": 192, "width": 192}
_MOCHI_VIDEO: dict[str, Any] = _VIDEO | {"frames": 13}

CASES = {
    "wan-320": Case("networks_wan", {"grid": (5, 8, 8)}),
    "wan-320-conditioning": Case("networks_wan", {"grid": (5, 8, 8), "condition": True}),
    "wan-1280": Case("networks_wan", {"grid": (5, 16, 16)}),
    "wan-5120": Case("networks_wan", {"grid": (5, 32, 32)}),
    "umt5-512": Case("networks_umt5", {"tokens": 512}),
    "umt5-256": Case("networks_umt5", {"tokens": 256}),
    # so few rows that BLAS mostly reads weights: OpenBLAS takes 1.3x the time of torch's MKL there
    "umt5-77": Case("networks_umt5", {"tokens": 77}, most=1.15),
    "vae21-decode": Case("networks_vae", _VIDEO | {"vae": 21, "task": "decode"}, 1.2, 500),
    "vae21-encode": Case("networks_vae", _VIDEO | {"vae": 21, "task": "encode"}, 1.2, 500),
    "vae22-decode": Case("networks_vae", _VIDEO | {"vae": 22, "task": "decode"}, 1.2, 500),
    "vae22-encode": Case("networks_vae", _VIDEO | {"vae": 22, "task": "encode"}, 1.2, 500),
    "mochi-320": Case("networks_mochi", {"grid": (5, 8, 8)}),
    "mochi-320-conditioning": Case("networks_mochi", {"grid": (5, 8, 8), "condition": True}),
    "mochi-1280": Case("networks_mochi", {"grid": (5, 16, 16)}),
    "mochi-5120": Case("networks_mochi", {"grid": (5, 32, 32)}),
    "mochi-vae-decode": Case("networks_mochi", _MOCHI_VIDEO | {"vae": "decode"}, 1.2),
    "mochi-vae-encode": Case("networks_mochi", _MOCHI_VIDEO | {"vae": "encode"}, 1.2),
    "hunyuan-320": Case("networks_hunyuan", {"grid": (5, 8, 8)}),
    # what a prompt fixes and the modulation are few rows too
    "hunyuan-320-conditioning": Case(
        "networks_hunyuan", {"grid": (5, 8, 8), "condition": True}, most=1.15
    ),
    "hunyuan-1280": Case("networks_hunyuan", {"grid": (5, 16, 16)}),
    "hunyuan-5120": Case("networks_hunyuan", {"grid": (5, 32, 32)}),
    "hunyuan-vae-decode": Case("networks_hunyuan_vae", _VIDEO | {"task": "decode"}),
    "hunyuan-vae-encode": Case("networks_hunyuan_vae", _VIDEO | {"task": "encode"}),
    # plain matmuls of few rows again
    "hunyuan-qwen-250": Case("networks_hunyuan_text", {"encoder": "qwen", "tokens": 250}, 1.15),
    "hunyuan-siglip": Case("networks_hunyuan_text", {"encoder": "siglip"}, 1.15),
}


@dataclass(frozen=True)
class Result:
    """Medians over the runs; memory in MiB: peaks as MLX counts it, and resident with all else."""

    case: str
    ours_seconds: float
    reference_seconds: float
    ratio: float
    most: float
    ours_wall: float
    reference_wall: float
    error: float  # largest difference over the largest value
    ours_mib: float
    ours_rss_mib: float
    reference_rss_mib: float
    runs: int


class Engine:
    """A child process that answers each line "run" with the cost of one run.

    It runs this file by its path: importing the package would give torch our preloaded BLAS.
    """

    def __init__(self, name: str, case: str, folder: Path):
        self.command = [sys.executable, "-P", __file__, "--child", name]
        self.process = subprocess.Popen(
            [*self.command, "--case", case, "--folder", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self.ask("load")

    def ask(self, request: str) -> dict[str, float]:
        assert self.process.stdin and self.process.stdout
        print(request, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"failed: {' '.join(self.command)}")
        return json.loads(answer)

    def finish(self) -> dict[str, float]:
        answer = self.ask("finish")
        self.process.wait()
        return answer


def compare(name: str, runs: int) -> Result:
    """Run one case: make its arrays, then let both engines take turns."""
    with tempfile.TemporaryDirectory(prefix="mlx-wan-bench-") as directory:
        folder = Path(directory)
        case = CASES[name]
        Engine("make", name, folder).finish()
        ours, reference = (Engine(e, name, folder) for e in ("ours", "reference"))
        ours.ask("run"), reference.ask("run")  # the first run warms caches and compiles
        costs = [(ours.ask("run"), reference.ask("run")) for _ in range(runs)]
        ours_end, reference_end = ours.finish(), reference.finish()
        a, b = (np.load(folder / f"{e}.npy") for e in ("ours", "reference"))
    seconds, theirs = (median(cost[i]["cpu"] for cost in costs) for i in (0, 1))
    return Result(
        case=name,
        ours_seconds=seconds,
        reference_seconds=theirs,
        ratio=seconds / theirs,
        most=case.most,
        ours_wall=median(cost[0]["wall"] for cost in costs),
        reference_wall=median(cost[1]["wall"] for cost in costs),
        error=float(np.abs(a - b).max() / np.abs(b).max()),
        ours_mib=ours_end["mlx_mib"],
        ours_rss_mib=ours_end["rss_mib"],
        reference_rss_mib=reference_end["rss_mib"],
        runs=runs,
    )


def child(engine: str, name: str, folder: Path) -> None:
    """Serve one engine on stdin and stdout; the last output is left in the folder."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints stays out of the way
    case = CASES[name]
    module = _load(case.module)
    if engine == "make":
        np.savez(folder / "arrays.npz", **module.make(**case.options))
    run, output = None, np.empty(0)
    for line in sys.stdin:
        start = time.perf_counter(), time.process_time()
        if line.strip() == "load" and engine != "make":
            run = getattr(module, engine)(dict(np.load(folder / "arrays.npz")), **case.options)
            _reset_mlx_peak()
        elif line.strip() == "run":
            assert run is not None
            output = run()
        elif line.strip() == "finish":
            np.save(folder / f"{engine}.npy", output)
        cost = {
            "wall": time.perf_counter() - start[0],
            "cpu": time.process_time() - start[1],
            "mlx_mib": _mlx_peak_mib(),
            "rss_mib": _peak_rss_mib(),
        }
        print(json.dumps(cost), file=answers, flush=True)
        if line.strip() == "finish":
            return


def _load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _mlx_peak_mib() -> float:
    mlx = sys.modules.get("mlx.core")
    return mlx.get_peak_memory() / 2**20 if mlx else 0.0


def _reset_mlx_peak() -> None:
    mlx = sys.modules.get("mlx.core")
    if mlx:
        mlx.reset_peak_memory()


def _peak_rss_mib() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def machine() -> str:
    """What this ran on, as far as the system says."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| case | ours CPU s | torch CPU s | ratio | at most | max rel. error | MLX peak MiB "
        "| RSS MiB ours / torch | wall s ours / torch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        lines.append(
            f"| {r.case} | {r.ours_seconds:.3f} | {r.reference_seconds:.3f} | {r.ratio:.2f} "
            f"| {r.most:.2f} | {r.error:.1e} | {r.ours_mib:.0f} "
            f"| {r.ours_rss_mib:.0f} / {r.reference_rss_mib:.0f} "
            f"| {r.ours_wall:.2f} / {r.reference_wall:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--case", action="append", choices=list(CASES), help="default: all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--child", choices=["make", "ours", "reference"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.case[0], arguments.folder)
        return
    print(machine(), file=sys.stderr)
    results = []
    for name in arguments.case or CASES:
        results.append(compare(name, arguments.runs))
        print(f"{name}: {results[-1].ratio:.2f}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"machine": machine(), "results": [asdict(r) for r in results]}))
    else:
        print(f"{machine()}; float32, one BLAS thread, median of {arguments.runs} runs\n")
        print(table(results))


if __name__ == "__main__":
    main()

"""How many runs does `kill -9` cost a comparison? It is killed at random points, gone on with, and
everything is counted.

    python -m mlx_wan.bench.ab.kills --trials 300 [--json]

Each trial begins a comparison of two variants in a child process and kills it (SIGKILL) a few
times: "line" before a random line of this package, so between any two steps; "time" after a random
time, so inside a write or rename; "two" one of two processes that were started at once. After each
kill every run that was finished must still be there, byte for byte, and none may be half there.
Then it goes on to its end, and every run must be there once, and nothing else.

The runs themselves are pretended: a file of random bytes and its figures. A kill leaves the
system's disk cache alone: what a power cut takes is not measured here.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mlx_wan.bench.tracing import count_lines, die_before, killed
from mlx_wan.errors import MlxWanError

from . import compare, results, runner
from . import folder as folder_module
from .experiment import Experiment, Plans
from .facts import machine
from .prompts import Prompt
from .results import STAGES
from .variants import build_variants

KILLS = ("line", "time", "two")
FAULTS = ("lost", "changed", "half", "left over", "refused")
FIGURES = {
    "video": results.VIDEO,
    "latents": results.LATENTS,
    "seconds": dict.fromkeys(STAGES, 0.1),
    "seconds_per_step": None,
    "error": None,
}


class Bench:
    """`tally` counts trials, kills and faults of each kind of kill; `faults` says which."""

    def __init__(self, root: Path, seed: int):
        self.root, self.dice = root, random.Random(seed)
        self.tally: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []
        prompts = (Prompt("one", "aurora", "low"), Prompt("two", "waves", "low"))
        built = tuple(build_variants(["wan-mini:steps=2", "wan-mini:steps=3"]))
        self.experiment = Experiment(built, prompts, (0, 1))
        self.plans = Plans(self.experiment)
        start = time.perf_counter()
        self._go(root / "timed")
        self.seconds = time.perf_counter() - start
        self.lines = count_lines(lambda: self._go(root / "counted"), _ours)

    def trial(self, kill: str, number: int) -> None:
        folder = self.root / f"{kill}-{number}"
        self.tally[kill, "trials"] += 1
        kept: dict[str, dict[str, bytes]] = {}
        for _ in range(3):
            self.tally[kill, "kills"] += self._kill(folder, kill)
            now = _finished(folder)
            self._fault(kill, "lost", [name for name in kept if name not in now])
            self._fault(kill, "changed", [n for n in kept if n in now and now[n] != kept[n]])
            self._fault(kill, "half", [name for name in now if len(now[name]) < 3])
            kept |= now
        try:
            stored = self._go(folder)
            found = results.read_runs(stored, warmups=True)
        except Exception as error:
            self._fault(kill, "refused", [f"{type(error).__name__}: {error}"])
            return
        wanted = {run.name for run in self.experiment.runs}
        self._fault(kill, "lost", sorted(wanted - {one.run.name for one in found}))
        now = _finished(folder)
        self._fault(kill, "changed", [n for n in kept if now.get(n) != kept[n]])
        there = {path.name for path in (folder / results.RUNS).iterdir()}
        beside = {path.name for path in folder.iterdir()} - {results.EXPERIMENT, results.RUNS}
        self._fault(kill, "left over", sorted(there - wanted) + sorted(beside - {".lock"}))

    def _go(self, folder: Path) -> results.StoredExperiment:
        return compare.compare(self.experiment, folder, plans=self.plans)

    def _kill(self, folder: Path, kill: str) -> int:
        """1 when a process was killed, 0 when it was faster."""
        if kill == "line":
            last = self.dice.randrange(1, self.lines + 20)
            return killed(self._fork(folder, last))
        pids = [self._fork(folder) for _ in range(2 if kill == "two" else 1)]
        time.sleep(self.dice.random() * self.seconds)
        os.kill(pids[0], signal.SIGKILL)
        return next(iter([killed(pid) for pid in pids]))

    def _fork(self, folder: Path, last_line: int | None = None) -> int:
        """A child that runs the comparison, and kills itself before line number `last_line`."""
        pid = os.fork()
        if pid:
            return pid
        try:
            if last_line is not None:
                die_before(last_line, _ours)
            self._go(folder)
        except MlxWanError as error:  # "two": the other one has the lock
            if "another process" not in str(error):
                print(f"child: {error}", file=sys.stderr)
        finally:
            os._exit(0)

    def _fault(self, kill: str, what: str, found: list[str]) -> None:
        if found:
            self.tally[kill, what] += len(found)
            self.faults.append(f"kill {kill}: {what}: {', '.join(found)}")


def pretended_run(plan: Any, work: Path, timeout: float, child: Any = None) -> dict[str, Any]:
    """In the place of `runner.run_plan`."""
    for name in (results.VIDEO, results.LATENTS):
        (work / name).write_bytes(os.urandom(20_000))
    return dict(FIGURES)


def _finished(folder: Path) -> dict[str, dict[str, bytes]]:
    """Run -> file -> bytes, of what has its final name."""
    runs = (folder / results.RUNS).glob("[a-z]*")
    return {run.name: {file.name: file.read_bytes() for file in run.iterdir()} for run in runs}


def _ours(file: str) -> bool:
    """Whether a file is one of those that write and read a result folder."""
    return file in {module.__file__ for module in (compare, folder_module, results, runner)}


def run(trials: int, seed: int) -> Bench:
    """So many trials of each kind."""
    with tempfile.TemporaryDirectory(prefix="mlx-wan-kills-") as root:
        real, at = runner.run_plan, runner.commit
        runner.run_plan, runner.commit = pretended_run, lambda: None
        try:
            bench = Bench(Path(root), seed)
            for number in range(trials):
                bench.trial(KILLS[number % len(KILLS)], number)
            return bench
        finally:
            runner.run_plan, runner.commit = real, at


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bench = run(given.trials, given.seed)
    columns = ("trials", "kills", *FAULTS)
    rows: list[dict[str, Any]] = [
        {"kill": kill} | {c: bench.tally[kill, c] for c in columns} for kill in KILLS
    ]
    rows.append({"kill": "all"} | {c: sum(bench.tally[k, c] for k in KILLS) for c in columns})
    if given.json:
        print(json.dumps({"rows": rows, "faults": bench.faults, "machine": machine()}))
    else:
        for row in [{name: name for name in rows[0]}, *rows]:
            print("".join(f"{row[name]!s:>{max(len(name), 6) + 2}}" for name in row))
        print("\n".join(bench.faults))
    sys.exit(1 if bench.faults else 0)


if __name__ == "__main__":
    main()

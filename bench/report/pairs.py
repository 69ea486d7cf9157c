"""Runs of two variants beside each other, paired by prompt and seed, and the gates they failed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mlx_wan.bench.ab.results import RunResult


@dataclass(frozen=True)
class Gate:
    """How many of the pairs' videos failed a gate; "finished" counts runs that gave no video."""

    name: str
    a_failed: int
    b_failed: int
    pairs: int


@dataclass(frozen=True)
class Pair:
    """One prompt and seed through both variants, all repeats; a run that is missing is in none."""

    prompt: str
    seed: int
    a: tuple[RunResult, ...]
    b: tuple[RunResult, ...]

    @property
    def name(self) -> str:
        return f"{self.prompt}-{self.seed}"

    @property
    def done(self) -> bool:
        return any(run.done for run in self.a) and any(run.done for run in self.b)


def paired(runs: Iterable[RunResult], a: str, b: str) -> list[Pair]:
    """Pairs in the order of prompts and seeds in which they were run; without warm-ups."""
    found: dict[tuple[str, int], dict[str, list[RunResult]]] = {}
    for result in runs:
        if result.run.warmup or result.run.variant not in (a, b):
            continue
        sides = found.setdefault((result.run.prompt, result.run.seed), {a: [], b: []})
        sides[result.run.variant].append(result)
    return [
        Pair(prompt, seed, tuple(sides[a]), tuple(sides[b]))
        for (prompt, seed), sides in found.items()
        if sides[a] and sides[b]
    ]


def gate_counts(pairs: Sequence[Pair]) -> list[Gate]:
    """Of each gate, and of finishing at all; a pair fails when any of its repeats does."""
    names = dict.fromkeys(
        name for pair in pairs for run in (*pair.a, *pair.b) for name in sorted(run.gates)
    )
    gates = [
        Gate("finished", _count(not_done, pairs, "a"), _count(not_done, pairs, "b"), len(pairs))
    ]
    for name in names:

        def failed(run: RunResult, name: str = name) -> bool:
            return run.gates.get(name) is False

        gates.append(Gate(name, _count(failed, pairs, "a"), _count(failed, pairs, "b"), len(pairs)))
    return gates


def not_done(run: RunResult) -> bool:
    return not run.done


def broken(run: RunResult) -> bool:
    """It gave no video, or one that failed a gate."""
    return not run.done or not all(run.gates.values())


def peak(run: RunResult) -> float:
    """The largest peak of any stage, in bytes; 0 where none was measured."""
    return max(run.peak_memory.values(), default=0)


def _count(fails: Callable[[RunResult], bool], pairs: Sequence[Pair], side: str) -> int:
    return sum(any(fails(run) for run in getattr(pair, side)) for pair in pairs)

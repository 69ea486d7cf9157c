"""The order of runs: whatever drifts while they last falls on all variants alike."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

NAME = re.compile(r"[a-z]-[a-z0-9_]{1,40}-\d{1,19}(-(\d{1,3}|warmup))?")


@dataclass(frozen=True)
class Run:
    """One video of one variant. `repeat` counts from 1; a warm-up, which no figure uses, has 0."""

    variant: str
    prompt: str
    seed: int
    repeat: int = 1

    @property
    def warmup(self) -> bool:
        return self.repeat == 0

    @property
    def name(self) -> str:
        """Its folder's name, which `NAME` matches."""
        more = {0: "-warmup", 1: ""}.get(self.repeat, f"-{self.repeat}")
        return f"{self.variant}-{self.prompt}-{self.seed}{more}"


def schedule(
    variants: Sequence[str],
    prompts: Sequence[str],
    seeds: Sequence[int],
    repeats: int = 1,
    order_seed: int = 0,
) -> list[Run]:
    """A warm-up of each variant, then every prompt with every seed through all variants.

    The order of the variants is drawn for every two such rounds, and the second of them has it
    backwards (ABBA or BAAB): over both, each variant runs at the same time on average.
    """
    dice = random.Random(order_seed)
    runs = [Run(variant, prompts[0], seeds[0], repeat=0) for variant in variants]
    rounds = [(p, s, r) for r in range(1, repeats + 1) for p in prompts for s in seeds]
    order: list[str] = []
    for number, (prompt, seed, repeat) in enumerate(rounds):
        order = order[::-1] if number % 2 else dice.sample(variants, len(variants))
        runs += [Run(variant, prompt, seed, repeat) for variant in order]
    return runs

"""PASS, FAIL or NOT ENOUGH EVIDENCE: the rules, and the words the page states them with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .figures import ALPHA, LEVEL, MEMORY_NOISE, OVERALL, TIME_NOISE, Figure
from .pairs import Gate
from .stats import sign_test
from .votes import Preference

PASS, FAIL, NOT_ENOUGH = "PASS", "FAIL", "NOT ENOUGH EVIDENCE"
MIN_PAIRS = 12
MIN_PROMPTS = math.ceil(1 - math.log2(ALPHA))  # 8: with 7, 2 swaps of 2^7 are more than ALPHA
MIN_BROKEN = 4  # prompts; equal variants would split so few this way with a chance below ALPHA
MIN_EVIDENCE = 20.0
MAX_LOSS = 0.5  # standard deviations of overall quality that must be ruled out

RULES = (
    "Nothing is decided before all planned runs were made, and on fewer than "
    f"{MIN_PROMPTS} prompts (one more for each doubling of the candidates) or {MIN_PAIRS} pairs.",
    "B and A are compared on pairs of the same prompt and seed. Seeds, repeats and votes of one "
    "prompt are averaged first; a prompt counts once.",
    f"A difference is clear when its {LEVEL:.0%} bootstrap interval lies wholly on one side of "
    "zero, and when swapping A and B at random, prompt by prompt, makes so large a difference in "
    f"any of the figures less than once in {1 / ALPHA:.0f} times (corrected for all of them "
    "together: Westfall and Young). So two equal variants get a clear difference in about one of "
    f"{1 / ALPHA:.0f} reports.",
    f"For time the whole interval must lie beyond {TIME_NOISE:.0%}, or beyond what the machine "
    "differed from itself on the same work if that is more; for peak memory beyond "
    f"{MEMORY_NOISE:.0%}.",
    "Votes are clear when the interval of the win rate excludes one half, and the prompts won are "
    f"{MIN_EVIDENCE:.0f} times likelier under some other win rate than under one half. That holds "
    "however often one looks while prompts are voted on one after the other; a second rater can "
    "turn a prompt that was counted.",
    "Overall quality is the mean of all quality figures, each in standard deviations of single "
    "videos. Where it is clear it decides, whatever single figures say; else quality is better or "
    "worse when single figures clearly are and none clearly says the opposite.",
    "FAIL: B's videos break clearly more often (no video, or a gate failed; a sign test over "
    f"prompts at {ALPHA:.0%}, or all of B's and none of A's on {MIN_BROKEN} prompts); or people "
    "clearly prefer A; or quality is worse and people do not clearly prefer B; or time or memory "
    "is clearly worse, quality was measured and nothing is clearly better.",
    "PASS: no gate failed more often than with A, quality is not worse and not in dispute, people "
    "do not prefer A; and quality is better, or people clearly prefer B, or time or memory is "
    "clearly better, the other one not clearly worse, and no single quality figure clearly worse. "
    f"Unless overall quality is clearly better, it must not be worse by {MAX_LOSS} standard "
    "deviations anywhere within its interval. Votes settle a dispute between quality figures.",
    "NOT ENOUGH EVIDENCE: everything else, with what is missing.",
)


@dataclass(frozen=True)
class Verdict:
    """`verdict` is about candidate B against A; the reasons are sentences, the weightiest first."""

    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """All a verdict rests on.

    `broken` are the prompts on which more of B's, and more of A's videos broke, `missing` the runs
    that were planned and not made. `all_broken` says that every video of B broke and none of A.
    """

    figures: Sequence[Figure]
    gates: Sequence[Gate]
    preference: Preference | None
    prompts: int
    pairs: int
    missing: int
    broken: tuple[int, int] = (0, 0)
    all_broken: bool = False
    alpha: float = ALPHA
    min_evidence: float = MIN_EVIDENCE


def decide(case: Case) -> Verdict:
    """The rules of `RULES`, in their order."""
    if case.missing:
        return _open(f"planned runs that were not made yet: {case.missing}")
    if reason := _breaks(case):
        return Verdict(FAIL, (reason, *_gate_reasons(case)))
    least = math.ceil(1 - math.log2(case.alpha))
    if case.prompts < least or case.pairs < MIN_PAIRS:
        counts = f"{_many(case.pairs, 'finished pair')} of {_many(case.prompts, 'prompt')}"
        return _open(
            f"{counts}: at least {MIN_PAIRS} pairs of {least} prompts are needed",
            *_gate_reasons(case),
        )
    costs = [figure for figure in case.figures if figure.kind in ("time", "memory")]
    cheaper, dearer = ([f for f in costs if f.clear == c] for c in ("better", "worse"))
    quality, preferred, gates = _quality(case.figures), _preferred(case), _gate_reasons(case)
    votes = (_votes(case.preference),) if case.preference else ()
    found = (*quality.found, *map(describe, (*cheaper, *dearer)))
    if preferred == "a":
        return Verdict(FAIL, ("people clearly prefer A", *votes, *gates, *found))
    if quality.state == "worse":
        if preferred == "b":
            return _open("people prefer B, but quality is measured worse", *votes, *gates, *found)
        return Verdict(FAIL, (*found, *gates, *votes))
    if gates:
        return _open(*gates, *found, *votes)
    if preferred == "b":
        if quality.doubt:
            return _open(quality.doubt, *votes, *found)
        return Verdict(PASS, ("people clearly prefer B", *votes, *found))
    if quality.state == "disputed":
        more = "the quality figures disagree; votes can decide: `mlx-wan bench vote`"
        return _open(more, *found, *votes)
    if quality.state == "better":
        return _open(quality.doubt, *found) if quality.doubt else Verdict(PASS, (*found, *votes))
    if cheaper and dearer:
        return _open("time and memory pull in different directions", *found, *votes)
    if quality.state == "unknown":
        return _open("quality was not measured", *found, *votes)
    if dearer:
        return Verdict(FAIL, (*found, "nothing is clearly better", *votes))
    if not cheaper:
        return _open("no difference is clear", *found, *votes)
    if quality.doubt:
        return _open(quality.doubt, *found, *votes)
    return Verdict(PASS, (*found, "quality is not worse", *votes))


def describe(figure: Figure) -> str:
    """As in "time is clearly better: -41.2 % (-43 to -39.5 %)"."""
    change = percent if figure.ratio else signed
    unit = " standard deviations" if figure.name == OVERALL else ""
    name = figure.name.replace("_", " ")
    text = f"{name} is clearly {figure.clear}: {change(figure.difference)}{unit}"
    if figure.low is not None and figure.high is not None:
        text += f" (95 % interval {change(figure.low)} to {change(figure.high)})"
    return text


def percent(value: float) -> str:
    return f"{signed(100 * value)} %"


def signed(value: float) -> str:
    text = f"{value:+.3g}" if abs(value) >= 5e-7 else "0"
    return text.replace("-", "\N{MINUS SIGN}")


def _breaks(case: Case) -> str | None:
    more, fewer = case.broken
    if case.all_broken and more >= MIN_BROKEN:
        return "every video of B broke and none of A"
    if more > fewer and sign_test(more, fewer) <= case.alpha:
        return f"B's videos break clearly more often: on {more} prompts, A's on {fewer}"
    return None


def _gate_reasons(case: Case) -> tuple[str, ...]:
    return tuple(
        f"{gate.name}: failed by {gate.b_failed} of B's {_many(gate.pairs, 'pair')} and "
        f"{gate.a_failed} of A's"
        for gate in case.gates
        if gate.b_failed > gate.a_failed
    )


def _preferred(case: Case) -> str | None:
    votes = case.preference
    if votes is None or votes.win_rate is None or votes.evidence < case.min_evidence:
        return None
    if votes.wins > votes.losses and votes.win_rate.low > 0.5:
        return "b"
    if votes.losses > votes.wins and votes.win_rate.high < 0.5:
        return "a"
    return None


def _votes(votes: Preference) -> str:
    text = f"votes for B: {100 * votes.mean_win_rate:.0f} %"
    if votes.win_rate:
        text += (
            f" (95 % interval {100 * votes.win_rate.low:.0f} to {100 * votes.win_rate.high:.0f})"
        )
    return f"{text}, {votes.wins} prompts won, {votes.losses} lost, {votes.ties} tied"


@dataclass(frozen=True)
class _Quality:
    """`state` is better, worse, same, disputed or unknown; `doubt` says why it may be worse."""

    state: str
    found: tuple[str, ...] = ()
    doubt: str | None = None


def _quality(figures: Sequence[Figure]) -> _Quality:
    rows = [figure for figure in figures if figure.kind == "quality"]
    if not rows:
        return _Quality("unknown")
    decides = [row for row in rows if row.name == OVERALL] or (rows if len(rows) == 1 else [])
    better, worse = ([f for f in rows if f.clear == c] for c in ("better", "worse"))
    found = tuple(map(describe, (*better, *worse)))
    for figure in decides:
        if figure.clear:
            ordered = sorted((*better, *worse), key=lambda other: other.clear != figure.clear)
            return _Quality(figure.clear, tuple(map(describe, ordered)))
    doubt = None
    for figure in decides or rows:  # without an overall figure each may say so
        if figure.effect_low is not None and figure.effect_low <= -MAX_LOSS:
            doubt = (
                f"{figure.name} may be worse by up to {-figure.effect_low:.2g} standard "
                "deviations; more prompts would tell"
            )
            break
    states = {(True, True): "disputed", (True, False): "better", (False, True): "worse"}
    return _Quality(states.get((bool(better), bool(worse)), "same"), found, doubt)


def _open(*reasons: str) -> Verdict:
    return Verdict(NOT_ENOUGH, reasons)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")

"""The stated rules, one by one, and what they find in reports of which the truth is known."""

from dataclasses import replace

import pytest

from mlx_wan.bench import aa_simulation
from mlx_wan.bench.aa_simulation import EFFECTS, EXPECTED, count_verdicts
from mlx_wan.bench.report.figures import Figure
from mlx_wan.bench.report.pairs import Gate
from mlx_wan.bench.report.stats import Interval
from mlx_wan.bench.report.verdict import FAIL, NOT_ENOUGH, PASS, Case, decide
from mlx_wan.bench.report.votes import Preference


def row(name: str, kind: str, clear: str | None = None, effect_low: float | None = -0.1) -> Figure:
    return Figure(
        *(name, "", "higher", kind, kind in ("time", "memory"), 1.0, 1.0, 0.1, 0.05, 0.15, 24, 48),
        p=0.001,
        effect_low=effect_low,
        clear=clear,
    )


def votes(low: float, high: float, wins: int, losses: int, evidence: float) -> Preference:
    rate = (low + high) / 2
    return Preference(48, 2, wins, losses, 0, Interval(rate, low, high, 24), rate, 0.01, evidence)


FOR_B, FOR_A = votes(0.7, 0.9, 21, 3, 300), votes(0.1, 0.3, 3, 21, 300)
SAME = Case(
    figures=(row("overall quality", "quality"), row("x", "quality"), row("y", "quality")),
    gates=(Gate("moving", 0, 0, 48),),
    preference=None,
    prompts=24,
    pairs=48,
    missing=0,
)


def case(*, overall: str | None = None, x: str | None = None, y: str | None = None, **more) -> Case:
    costs = [row(kind, kind, more.pop(kind, None)) for kind in ("time", "memory")]
    low = more.pop("low", -0.1)
    figures = (
        row("overall quality", "quality", overall, low),
        row("x", "quality", x),
        row("y", "quality", y),
        *costs,
    )
    return replace(SAME, figures=figures, **more)


def test_without_an_overall_figure_no_single_one_decides_for_the_others():
    figures = (row("x", "quality", "better"), row("y", "quality", "worse"))
    assert decide(replace(SAME, figures=figures)).verdict == NOT_ENOUGH
    assert decide(replace(SAME, figures=figures[:1])).verdict == PASS


@pytest.mark.parametrize(
    ("given", "verdict", "reason"),
    [
        (case(), NOT_ENOUGH, "no difference is clear"),
        (case(overall="better"), PASS, "overall quality is clearly better"),
        (case(overall="worse"), FAIL, "overall quality is clearly worse"),
        (case(x="better"), PASS, "x is clearly better"),
        (case(x="worse"), FAIL, "x is clearly worse"),
        (case(x="better", y="worse"), NOT_ENOUGH, "disagree"),
        (case(x="better", y="worse", preference=FOR_B), PASS, "people clearly prefer B"),
        (case(overall="better", y="worse"), PASS, "overall"),
        (case(overall="worse", y="better"), FAIL, "overall"),
        (case(x="better", low=-0.6), NOT_ENOUGH, "may be worse by up to 0.6"),
        (case(overall="better", time="worse", memory="worse"), PASS, "overall"),
        (case(time="better"), PASS, "time is clearly better"),
        (case(memory="better"), PASS, "memory is clearly better"),
        (case(time="better", low=-0.6), NOT_ENOUGH, "may be worse by up to 0.6"),
        (case(time="better", x="worse"), FAIL, "x is clearly worse"),
        (case(time="better", memory="worse"), NOT_ENOUGH, "different directions"),
        (case(time="worse"), FAIL, "time is clearly worse"),
        (case(memory="worse"), FAIL, "memory is clearly worse"),
        (case(preference=FOR_B), PASS, "people clearly prefer B"),
        (case(preference=FOR_A), FAIL, "people clearly prefer A"),
        (case(preference=FOR_A, overall="better"), FAIL, "people clearly prefer A"),
        (case(preference=FOR_B, overall="worse"), NOT_ENOUGH, "measured worse"),
        (case(preference=replace(FOR_B, evidence=19)), NOT_ENOUGH, "no difference"),
        (case(preference=votes(0.4, 0.9, 21, 3, 300)), NOT_ENOUGH, "no difference"),
        (case(overall="better", gates=(Gate("moving", 0, 1, 48),)), NOT_ENOUGH, "moving: failed"),
        (case(overall="better", gates=(Gate("moving", 2, 1, 48),)), PASS, "overall"),
        (case(overall="better", broken=(8, 0)), FAIL, "break clearly more often"),
        (case(overall="better", broken=(7, 0)), PASS, "overall"),
        (case(overall="better", missing=1), NOT_ENOUGH, "not made yet: 1"),
        (case(overall="worse", missing=1), NOT_ENOUGH, "not made yet: 1"),
        (case(overall="better", prompts=7), NOT_ENOUGH, "at least 12 pairs of 8 prompts"),
        (case(overall="better", pairs=11), NOT_ENOUGH, "at least 12 pairs of 8 prompts"),
        (case(prompts=0, pairs=0, all_broken=True, broken=(4, 0)), FAIL, "every video of B broke"),
        (case(prompts=0, pairs=0, all_broken=True, broken=(3, 0)), NOT_ENOUGH, "at least"),
        (replace(SAME, figures=(row("time", "time", "better"),)), NOT_ENOUGH, "not measured"),
        (replace(SAME, figures=(row("time", "time", "worse"),)), NOT_ENOUGH, "not measured"),
    ],
)  # fmt: skip
def test_each_rule(given, verdict, reason):
    decided = decide(given)
    assert decided.verdict == verdict
    assert reason in " / ".join(decided.reasons)


def test_equal_variants_are_told_apart_in_no_report():
    """`python -m mlx_wan.bench.aa_simulation` does this with 100 reports, and more effects."""
    counts = count_verdicts(EFFECTS["A/A"], 25, first_seed=1000, prompts=12, seeds=2)
    assert counts[NOT_ENOUGH] >= 24


@pytest.mark.parametrize("name", [name for name in EFFECTS if name != "A/A"])
def test_a_real_difference_is_found(name):
    counts = count_verdicts(EFFECTS[name], 4, first_seed=50)
    assert counts[EXPECTED[name]] >= 3
    assert sum(counts[v] for v in (PASS, FAIL) if v != EXPECTED[name]) == 0


def test_the_same_videos_are_equal_whatever_the_prompts():
    """A deterministic model against itself: all differences are zero."""
    report = aa_simulation.simulate(EFFECTS["A/A"], 1)
    pair = report["comparisons"][0]["figures"]
    assert {figure["name"] for figure in pair} >= {"overall quality", "time", "peak memory"}

"""Intervals that hold what they promise, tests that are exact, strengths that fit the wins."""

import math

import numpy as np
import pytest

from mlx_wan.bench.report import stats


@pytest.mark.parametrize("count", [6, 8, 24])
def test_an_interval_holds_the_truth_about_95_times_in_100(count):
    dice = np.random.default_rng(count)
    held = 0
    for number in range(400):
        found = stats.bootstrap_interval(dice.normal(3, 1, count), draws=800, seed=number)
        held += found.low <= 3 <= found.high
    assert 0.91 <= held / 400 <= 0.99


def test_an_interval_is_the_same_each_time_and_none_where_too_little_is_known():
    values = np.array([1.0, 2, 4, 4, 9, 2])
    first = stats.bootstrap_interval(values)
    assert first == stats.bootstrap_interval(values)
    assert first.mean == pytest.approx(22 / 6) and first.n == 6
    assert first.low < first.mean < first.high
    assert stats.bootstrap_interval(values[:5]) is None
    assert stats.bootstrap_interval(np.array([1, math.nan, 2, 3, 4, 5])) is None
    flat = stats.bootstrap_interval(np.full(8, 2.0))
    assert (flat.low, flat.high) == (2, 2)


def test_students_t_as_in_the_tables():
    for freedom, quantile in ((2, 4.3027), (7, 2.3646), (23, 2.0687)):
        assert stats._student_quantile(0.025, freedom) == pytest.approx(-quantile, abs=2e-4)


def test_swapping_finds_a_difference_and_none_where_there_is_none():
    dice = np.random.default_rng(0)
    table = dice.normal(0, 1, (24, 8))
    table[:, 3] += 1.5
    p = stats.swap_test(table)
    assert p[3] < 0.001 and min(np.delete(p, 3)) > 0.05
    assert np.array_equal(p, stats.swap_test(table))


def test_swapping_few_prompts_looks_at_every_way():
    assert stats.swap_test(np.ones((8, 1)))[0] == 2 / 2**8  # all the same sign: the rarest way
    assert stats.swap_test(np.zeros((8, 2))).tolist() == [1, 1]
    one_against = np.ones((8, 1))
    one_against[2] = -1
    assert stats.swap_test(one_against)[0] == 2 * (1 + 8) / 2**8


def test_swapping_is_corrected_for_many_figures():
    dice = np.random.default_rng(2)
    false = sum(
        (stats.swap_test(dice.standard_t(3, (10, 12)), seed=number) <= 0.05).any()
        for number in range(300)
    )
    assert false / 300 <= 0.08  # 12 figures at 5 % each would give 46 %


def test_a_missing_difference_is_no_difference():
    table = np.ones((9, 2))
    table[0, 1] = math.nan
    assert stats.swap_test(table)[1] == pytest.approx(2 / 2**8)


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1), (5, 5, 1), (8, 0, 2 / 256), (9, 1, 22 / 1024)]
)
def test_the_sign_test_is_exact(wins, losses, p):
    assert stats.sign_test(wins, losses) == stats.sign_test(losses, wins) == pytest.approx(p)


def test_evidence_is_kept_however_often_one_looks():
    assert stats.evidence(0, 0) == pytest.approx(1)
    assert stats.evidence(8, 0) == pytest.approx(2**8 / 9)
    assert stats.evidence(10**6, 0) > 1e300  # not an overflow
    dice = np.random.default_rng(3)
    fooled = 0
    for _ in range(300):
        wins = np.cumsum(dice.random(60) < 0.5)
        fooled += any(stats.evidence(int(w), n - int(w)) >= 20 for n, w in enumerate(wins, 1))
    assert fooled / 300 <= 0.05


def test_strengths_give_back_the_chances_they_were_made_of():
    strength = np.array([0.5, 0.3, 0.2])
    games = 10_000.0
    wins = games * strength[:, None] / (strength[:, None] + strength[None, :])
    np.fill_diagonal(wins, 0)
    assert stats.bradley_terry(wins) == pytest.approx(strength, abs=1e-3)


def test_a_strength_is_finite_for_one_that_never_lost_and_unknown_for_one_never_met():
    wins = np.zeros((3, 3))
    wins[0, 1] = 9
    first, second, third = stats.bradley_terry(wins)
    assert first == pytest.approx(0.95) and second == pytest.approx(0.05)
    assert math.isnan(third)


def test_strengths_have_intervals_over_prompts():
    wins = np.zeros((12, 2, 2))
    wins[:9, 1, 0] = 1
    wins[9:, 0, 1] = 1
    a, b = stats.bradley_terry_intervals(wins)
    assert a.low < 0.5 < b.high and b.low < b.mean < b.high
    assert a.mean + b.mean == pytest.approx(1)
    assert stats.bradley_terry_intervals(wins[:4]) == [None, None]

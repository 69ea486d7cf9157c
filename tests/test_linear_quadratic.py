"""Mochi's schedule against values of the original's formula (genmoai/mochi, 2024-11)."""

from itertools import pairwise

import pytest

from mlx_wan.errors import UsageError
from mlx_wan.linear_quadratic import linear_quadratic


def test_eight_steps():
    expected = [1, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0]
    assert linear_quadratic(8).sigmas == pytest.approx(expected, abs=1e-7)


def test_sixty_four_steps():
    schedule = linear_quadratic(64)
    assert schedule.steps == 64 and len(schedule.sigmas) == 65
    sigmas = schedule.sigmas
    assert sigmas[:4] == pytest.approx([1, 0.999219, 0.998437, 0.997656], abs=6e-7)
    assert sigmas[30:36] == pytest.approx(
        [0.976562, 0.975781, 0.975, 0.973291, 0.969727, 0.964307], abs=6e-7
    )
    assert sigmas[-5:] == pytest.approx([0.225781, 0.172119, 0.116602, 0.059229, 0], abs=6e-7)
    assert schedule.timesteps == pytest.approx([1000 * sigma for sigma in sigmas[:-1]], rel=1e-6)


def test_fast_mochi():
    expected = [1, 0.983333, 0.966667, 0.95, 0.933333, 0.916667, 0.9, 0.666667, 0]
    assert linear_quadratic(8, 0.1, 6).sigmas == pytest.approx(expected, abs=6e-7)


@pytest.mark.parametrize("steps", [2, 3, 7, 50, 200])
def test_it_falls_all_the_way(steps):
    sigmas = linear_quadratic(steps).sigmas
    assert sigmas[0] == 1 and sigmas[-1] == 0
    assert all(a > b for a, b in pairwise(sigmas))


@pytest.mark.parametrize(
    "wrong",
    [
        (1,),
        (0,),
        (2.0,),
        (True,),
        (1001,),
        (8, 0.0),
        (8, 1.5),
        (8, float("nan")),
        (8, 0.1, 8),
        (8, 0.1, 0),
        (8, 0.999, 2),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError):
        linear_quadratic(*wrong)

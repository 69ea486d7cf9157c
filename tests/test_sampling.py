"""Schedules and solvers against the reference's golden values."""

import math

import mlx.core as mx
import numpy as np
import pytest

from mlx_wan.errors import UsageError
from mlx_wan.sampling import FASTWAN_TIMESTEPS, SOLVERS, Schedule, make_schedule, make_solver

T2V_A14B = """
999 997 995 993 990 988 985 982 979 976 972 969 965 961 956 952 947 941 936 929 922 915 907 898
888 877 865 852 837 819 799 776 749 717 678 631 571 492 386 235"""
I2V_A14B = """
999 994 989 983 978 972 965 959 952 944 937 929 920 911 902 892 882 870 859 846 833 818 803 786
768 749 728 706 681 654 624 591 555 514 468 416 356 288 208 113"""
TI2V_5B = """
999 995 991 987 982 978 973 968 963 957 952 946 940 934 927 920 913 906 898 890 882 873 863 854
843 833 821 809 796 783 768 753 737 720 701 681 660 636 611 584 555 522 487 448 405 356 302 241
172 92"""


@pytest.mark.parametrize(
    ("steps", "shift", "timesteps", "first", "last"),
    [
        (40, 12.0, T2V_A14B, 0.999917, 0.235110),
        (40, 5.0, I2V_A14B, 0.999800, 0.113533),
        (50, 5.0, TI2V_5B, 0.999800, 0.092507),
        (4, 5.0, "999 937 833 624", 0.999800, 0.624687),
    ],
)
def test_unipc_schedules_are_the_references(steps, shift, timesteps, first, last):
    schedule = make_schedule("unipc", steps, shift)
    assert schedule.steps == steps == len(schedule.sigmas) - 1
    assert schedule.timesteps == tuple(float(t) for t in timesteps.split())
    assert schedule.sigmas[0] == pytest.approx(first, abs=1e-6)
    assert schedule.sigmas[-2] == pytest.approx(last, abs=1e-6)
    assert schedule.sigmas[-1] == 0


def test_unipc_sigmas_agree_beyond_the_first():
    sigmas = make_schedule("unipc", 40, 12.0).sigmas
    assert sigmas[:5] == pytest.approx([0.999917, 0.997783, 0.995546, 0.993200, 0.990735], abs=1e-6)
    assert sigmas[-3:] == pytest.approx([0.386847, 0.235110, 0], abs=1e-6)


def test_sigmas_are_float32_values():
    sigmas = make_schedule("unipc", 40, 12.0).sigmas
    assert sigmas == tuple(float(np.float32(sigma)) for sigma in sigmas)


@pytest.mark.parametrize(("shift", "boundary", "high"), [(12.0, 875, 26), (5.0, 900, 15)])
def test_high_noise_steps_of_the_a14b_models(shift, boundary, high):
    timesteps = make_schedule("unipc", 40, shift).timesteps
    assert [t >= boundary for t in timesteps] == [True] * high + [False] * (40 - high)


def test_dpm_schedule_starts_at_exactly_one():
    schedule = make_schedule("dpm++", 40, 12.0)
    assert schedule.sigmas[:2] == pytest.approx([1, 0.997868], abs=1e-6)
    assert schedule.sigmas[-3:] == pytest.approx([0.387097, 0.235294, 0], abs=1e-6)
    assert schedule.sigmas[0] == 1 and schedule.timesteps[:2] == (1000, 997)


@pytest.mark.parametrize(
    ("steps", "sigmas"),
    [
        (4, [1, 0.9375, 0.833333, 0.625, 0]),
        (8, [1, 0.972222, 0.9375, 0.892857, 0.833333, 0.75, 0.625, 0.416667, 0]),
    ],
)
def test_euler_schedules(steps, sigmas):
    schedule = make_schedule("euler", steps, 5.0)
    assert schedule.sigmas == pytest.approx(sigmas, abs=1e-6)
    assert schedule.timesteps == pytest.approx([1000 * s for s in sigmas[:-1]], abs=1e-3)


def test_euler_takes_the_step_list_of_a_distilled_model():
    given = make_schedule("euler", 4, 5.0, timesteps=[1000, 750, 500, 250])
    assert given == make_schedule("euler", 4, 5.0)


def test_dmd_schedule_is_fastwans():
    schedule = make_schedule("dmd", 3, 5.0)
    assert schedule.sigmas == pytest.approx([1, 0.939672, 0.845207, 0], abs=1e-6)
    assert schedule.timesteps == pytest.approx([1000, 939.672, 845.207], abs=1e-3)


def test_dmd_with_shift_one_keeps_the_listed_timesteps():
    schedule = make_schedule("dmd", 3, 1.0, timesteps=FASTWAN_TIMESTEPS)
    assert schedule.timesteps == (1000, 757, 522)


def run(solver: str, steps: int, shift: float = 5.0) -> np.ndarray:
    """A toy problem, whose velocity depends on latents and timestep."""
    schedule = make_schedule(solver, steps, shift)
    stepper, latents = make_solver(solver, schedule), mx.linspace(-1, 1, 6)
    for i, timestep in enumerate(schedule.timesteps):
        velocity = 0.3 * latents + 0.5 * timestep / 1000 - 0.1
        latents = stepper.step(i, velocity, latents, noise_key=mx.random.key(0))
    return np.array(latents)


@pytest.mark.parametrize(
    ("solver", "steps", "expected"),
    [
        ("unipc", 6, [-0.915463, -0.622936, -0.330409, -0.037883, 0.254644, 0.547171]),
        ("dpm++", 6, [-0.917877, -0.625510, -0.333143, -0.040776, 0.251591, 0.543958]),
        ("dpm++", 20, [-0.866038, -0.570156, -0.274274, 0.021608, 0.317490, 0.613371]),
    ],
)
def test_solver_golden_vectors(solver, steps, expected):
    np.testing.assert_allclose(run(solver, steps), expected, atol=2e-6)


def test_unipc_with_the_sigmas_of_diffusers():
    # Their grid runs from 1 to 0.001 and their first sigma is lowered to 1 - 1e-6 in float64.
    unshifted = np.linspace(1, 1 / 1000, 7)[:-1]
    shifted = 5 * unshifted / (1 + 4 * unshifted)
    shifted[0] -= 1e-6
    sigmas = tuple(np.append(shifted, 0).astype(np.float32).tolist())
    solver = make_solver("unipc", Schedule(sigmas, tuple(np.trunc(shifted * 1000).tolist())))
    latents = mx.linspace(-1, 1, 6)
    for i, timestep in enumerate(np.trunc(shifted * 1000)):
        latents = solver.step(i, 0.3 * latents + 0.5 * float(timestep) / 1000 - 0.1, latents)
    expected = [-0.915943, -0.623460, -0.330978, -0.038496, 0.253987, 0.546469]
    np.testing.assert_allclose(np.array(latents), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("solver", "steps"),
    [(s, n) for s in ("unipc", "dpm++", "euler") for n in (1, 2, 3, 8)] + [("dmd", 3)],
)
def test_every_solver_is_exact_for_a_straight_path(solver, steps):
    """With velocity = noise - clean at every point, all of them must land on clean."""
    clean, noise = mx.array([0.5, -2.0, 3.0]), mx.array([1.0, 0.25, -1.5])
    schedule = make_schedule(solver, steps, 5.0)
    stepper = make_solver(solver, schedule)
    latents = (1 - schedule.sigmas[0]) * clean + schedule.sigmas[0] * noise
    for i, sigma in enumerate(schedule.sigmas[:-1]):
        velocity = (latents - clean) / sigma
        latents = stepper.step(i, velocity, latents, noise_key=mx.random.key(7))
    np.testing.assert_allclose(np.array(latents), np.array(clean), atol=2e-5)


def test_dmd_renoises_with_fresh_noise_at_each_step():
    schedule = make_schedule("dmd", 3, 5.0)
    solver, zeros = make_solver("dmd", schedule), mx.zeros((4000,))
    noises = [
        np.array(solver.step(i, zeros, zeros, noise_key=mx.random.key(3))) / schedule.sigmas[i + 1]
        for i in range(2)
    ]
    assert abs(np.corrcoef(noises)[0, 1]) < 0.1
    assert np.std(noises[0]) == pytest.approx(1, abs=0.05)
    again = solver.step(0, zeros, zeros, noise_key=mx.random.key(3))
    assert np.array_equal(np.array(again) / schedule.sigmas[1], noises[0])
    last = solver.step(2, zeros + 1, zeros)  # no noise is added at the end, so no key is needed
    assert last[0].item() == -np.float32(schedule.sigmas[2])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_restored_solver_continues_bit_for_bit(solver):
    steps = 3 if solver == "dmd" else 6
    schedule = make_schedule(solver, steps, 5.0)

    def walk(stepper, latents, first, last):
        for i in range(first, last):
            velocity = mx.sin(3 * latents) + schedule.timesteps[i] / 1000
            latents = stepper.step(i, velocity, latents, noise_key=mx.random.key(i))
        return latents

    start = mx.random.normal((5, 7), key=mx.random.key(1))
    whole = np.array(walk(make_solver(solver, schedule), start, 0, steps))
    for stop in range(steps):
        first = make_solver(solver, schedule)
        latents = walk(first, start, 0, stop)
        saved = {name: mx.array(np.array(value)) for name, value in first.state().items()}
        second = make_solver(solver, schedule)
        second.restore(saved)
        resumed = walk(second, mx.array(np.array(latents)), stop, steps)
        assert np.array_equal(np.array(resumed), whole), f"resumed at step {stop}"


@pytest.mark.parametrize("solver", SOLVERS)
def test_latents_stay_float32(solver):
    schedule = make_schedule(solver, 3, 5.0)
    half = mx.ones((2, 2), dtype=mx.bfloat16)
    stepper = make_solver(solver, schedule)
    for i in range(3):
        out = stepper.step(i, half, half, noise_key=mx.random.key(0))
        assert out.dtype == mx.float32


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_extreme_step_counts_stay_finite(solver, steps):
    result = run(solver, steps)
    assert np.isfinite(result).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unipcc", 20, 5.0), "try unipc"),
        (("dpm", 20, 5.0), "try dpm"),
        (("unipc", 0, 5.0), "steps is 0"),
        (("unipc", 1001, 5.0), "steps is 1001"),
        (("unipc", 20.0, 5.0), "whole number"),
        (("unipc", True, 5.0), "whole number"),
        (("unipc", 20, 0.0), "shift is 0"),
        (("unipc", 20, -1.0), "shift is -1"),
        (("unipc", 20, math.nan), "finite"),
        (("euler", 20, math.inf), "finite"),
        (("euler", 20, "5"), "shift is '5'"),
        (("unipc", 1000, 1e5), "fewer steps"),
        (("unipc", 1, 1e9), "smaller shift"),
        (("dmd", 4, 5.0), "try steps 3"),
        (("euler", 3, 5.0, [1000, 500]), "try steps 2"),
        (("euler", 2, 5.0, [500, 1000]), "must fall"),
        (("euler", 2, 5.0, [1001, 500]), "at most 1000"),
        (("euler", 2, 5.0, [1000, 0]), "above 0"),
        (("unipc", 2, 5.0, [1000, 500]), "its own timesteps"),
    ],
)
def test_wrong_requests_name_what_was_given_and_a_way_out(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        make_schedule(*arguments)
    assert caught.value.hint


def test_an_unknown_solver_cannot_be_made():
    with pytest.raises(UsageError, match="known are unipc, euler"):
        make_solver("heun", make_schedule("euler", 2, 5.0))

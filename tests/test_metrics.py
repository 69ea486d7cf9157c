"""Every figure puts synthetic videos in the order that is known, at several strengths."""

import numpy as np
import pytest
from metrics_videos import COUNT, SIDE, blurred, figures, noise, particles, rising, samples, scene

from mlx_wan.bench.metrics.loop import Loop
from mlx_wan.bench.metrics.motion import Motion
from mlx_wan.bench.metrics.picture import Pictures, colourfulness
from mlx_wan.bench.metrics.temporal import Changes

ALTERNATING = np.where(np.arange(COUNT) % 2, 1, -1)[:, None, None, None]


def told(name, videos, watcher):
    return [figures(video, watcher())[name] for video in videos]


def test_vbench_flickering_is_its_formula():
    still = np.full((COUNT, SIDE, SIDE, 3), 100.0)
    for strength in (0, 2, 8, 32):
        value = figures(still + strength * ALTERNATING, Changes())["temporal_flickering"]
        assert value == pytest.approx(1 - 2 * strength / 255)


def test_flicker_share_rises_with_flicker_and_not_with_speed():
    videos = [scene(2) + strength * ALTERNATING for strength in (0, 2, 6, 20)]
    shares = told("flicker_share", videos, Changes)
    assert rising(shares) and shares[0] < 0.1 and shares[-1] > 0.85
    assert told("flicker_share", [scene(1)], Changes)[0] < 0.1


@pytest.mark.parametrize("frequency", [0.05, 0.1, 0.25, 0.4])
def test_flicker_share_is_the_frequency(frequency):
    waves = 100 + 50 * np.sin(2 * np.pi * frequency * np.arange(200))
    video = np.ones((200, 32, 32, 3)) * waves[:, None, None, None]
    share = figures(video, Changes())["flicker_share"]
    assert share == pytest.approx(np.sin(np.pi * frequency) ** 2, rel=0.05, abs=0.003)


def test_flicker_share_of_noise_is_three_quarters():
    share = figures(128 + noise(30), Changes())["flicker_share"]
    assert share == pytest.approx(0.75, abs=0.02)


def test_what_stands_still_has_no_share():
    still = np.repeat(scene(0, count=1), COUNT, axis=0)
    assert figures(still, Changes())["flicker_share"] is None
    assert figures(still, Motion())["motion_smoothness"] is None
    assert figures(still, Loop())["loop_closure"] is None


def test_smoothness_falls_as_motion_stutters():
    dice = np.random.default_rng(3).uniform(-1, 1, COUNT)
    videos = [scene(at=lambda t, j=jitter: 2 * t + j * dice[t]) for jitter in (0, 0.5, 1.5, 4)]
    smooth = told("motion_smoothness", videos, Motion)
    assert rising(smooth[::-1]) and smooth[0] > 0.9 and smooth[-1] < 0.5


def test_smoothness_falls_with_noise_that_is_new_in_each_frame():
    videos = [scene(2) + noise(sigma) for sigma in (0, 3, 10, 40)]
    assert rising(told("motion_smoothness", videos, Motion)[::-1])


def test_smoothness_does_not_depend_on_speed_or_contrast():
    values = told("motion_smoothness", [scene(1), scene(4), 60 + 0.3 * scene(2)], Motion)
    assert min(values) > 0.85


def test_dynamic_degree_is_the_speed():
    for speed in (0, 1, 2, 4, 6):
        value = figures(scene(speed), Motion(), fps=8.0)["dynamic_degree"]
        assert value == pytest.approx(100 * 8 * speed / SIDE, rel=0.2, abs=1)


def test_dynamic_degree_is_not_raised_by_flicker_or_noise():
    still = np.repeat(scene(0, count=1), COUNT, axis=0)
    videos = [still + 20 * ALTERNATING, still + noise(10), 128 + noise(40)]
    assert max(told("dynamic_degree", videos, Motion)) < 0.2 * 100 * 16 * 2 / SIDE


def test_sharpness_falls_with_blur_and_hardly_rises_with_noise():
    video = particles(count=3)
    sharp = told("sharpness", [blurred(video, r) for r in (0, 1, 2, 4, 8)], Pictures)
    assert rising(sharp[::-1])
    noisy = told("sharpness", [video + noise(s, video.shape) for s in (5, 10)], Pictures)
    assert max(noisy) < 1.15 * sharp[0]


def test_colourfulness_rises_with_saturation():
    video = scene(count=1)
    grey = video.mean(axis=3, keepdims=True)
    videos = [grey + s * (video - grey) for s in (0, 0.25, 0.5, 1)]
    values = told("colourfulness", videos, Pictures)
    assert rising(values) and values[0] == pytest.approx(0, abs=0.5)


def test_colourfulness_is_its_formula():
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:, :4] = (200, 100, 0)  # rg 100, yb 150; the other half 0, 0
    expected = np.hypot(50, 75) + 0.3 * np.hypot(50, 75)
    assert colourfulness(halves) == pytest.approx(expected)


def test_noise_is_its_deviation():
    grey = np.repeat(noise(1, (1, SIDE, SIDE, 1)), 3, axis=3)
    for sigma in (2, 5, 10, 20):
        value = figures(scene(count=1) * 0.5 + 60 + sigma * grey, Pictures())["noise"]
        assert value == pytest.approx(sigma, rel=0.1)


def test_banding_rises_with_the_height_of_the_steps():
    ramp = np.linspace(40, 90, SIDE)[None, None, :, None] * np.ones((1, SIDE, SIDE, 3))
    videos = [np.round(ramp / step) * step for step in (1, 3, 5, 10)]
    values = told("banding", videos, Pictures)
    assert values[0] == 0 and rising(values)
    assert told("banding", [videos[2] + noise(3, ramp.shape)], Pictures)[0] < 0.1 * values[2]


def test_edges_of_the_picture_are_no_bands():
    halves = np.full((1, SIDE, SIDE, 3), 40.0)
    halves[:, :, SIDE // 2 :] = 200
    assert told("banding", [halves], Pictures)[0] == 0


def test_clipped_is_the_share_at_the_ends():
    video = np.full((1, 10, 10, 3), 100.0)
    for rows in (0, 2, 5):
        video[:, :rows] = 255
        assert told("clipped", [video], Pictures)[0] == pytest.approx(10 * rows)


def test_loop_closure_rises_with_the_seam():
    whole = SIDE / (COUNT - 1)  # comes round exactly
    values = told("loop_closure", [scene(whole * part) for part in (1, 0.97, 0.9, 0.75)], Loop)
    assert values[0] == pytest.approx(0, abs=0.01) and rising(values) and values[-1] > 2


def test_a_seam_like_any_other_step_is_one():
    whole = SIDE / COUNT  # the frame after the last would be the first
    assert told("loop_closure", [scene(whole)], Loop)[0] == pytest.approx(1, rel=0.1)


def test_a_single_frame_says_nothing_of_time():
    one = samples(scene(count=1))
    for watcher in (Changes(), Motion(), Loop()):
        assert set(figures(one, watcher).values()) == {None}

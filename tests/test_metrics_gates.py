"""Gates pass soft, moving, natural videos and stop broken ones, also after the encoder."""

import numpy as np
import pytest
from metrics_videos import COUNT, SIDE, blurred, noise, particles, samples, scene

from mlx_wan.bench.metrics import gates
from mlx_wan.bench.metrics.frames import frames_of
from mlx_wan.bench.metrics.health import Health
from mlx_wan.bench.metrics.loop import Loop
from mlx_wan.bench.metrics.motion import Motion
from mlx_wan.bench.mini.clips import render
from mlx_wan.bench.mini.looks import MOTIFS, draw_look
from mlx_wan.studio.video_io import save_video

STILL = np.repeat(scene(0, count=1), COUNT, axis=0)
GREY_NOISE = np.repeat(noise(50, (COUNT, SIDE, SIDE, 1)), 3, axis=3)
SOFT_NOISE = blurred(noise(400), 2.5)  # each colour on its own, no detail: as decoded latents
SOUND = {
    "spots": scene(2),
    "slow": scene(0.2),
    "fast": scene(7),
    "faint": 100 + 0.1 * scene(2),
    "particles": particles(2),
    "loop": scene(SIDE / (COUNT - 1)),
    "film grain": scene(2) + noise(12),
    "flicker": scene(2) + 10 * np.where(np.arange(COUNT) % 2, 1, -1)[:, None, None, None],
    "one small thing moving": STILL + 0.3 * particles(2) * (np.arange(SIDE) < 12)[:, None],
    "breathing": STILL * np.linspace(0.8, 1, COUNT)[:, None, None, None],
    "a cut": np.concatenate([scene(2, count=8), 255 - scene(2, count=9)]),
}
BROKEN = {
    "not_black": np.full((COUNT, SIDE, SIDE, 3), 3.0),
    "not_blank": np.full((COUNT, SIDE, SIDE, 3), 130.0),
    "not_frozen": STILL,
}
NOISES = {
    "white": 128 + noise(50),
    "grey": 128 + GREY_NOISE,
    "faint": 128 + noise(8),
    "soft": 128 + SOFT_NOISE,
    "standing": np.repeat(128 + noise(40, (1, SIDE, SIDE, 3)), COUNT, axis=0) + noise(1),
}


def failed(video, loops=False):
    motion, loop = Motion(), Loop() if loops else None
    health = Health(motion, loop)
    for frame in frames_of(samples(video), count=len(video)):
        for watcher in filter(None, (motion, loop, health)):
            watcher.see(frame)
    return {name for name, passed in health.passed().items() if not passed}


@pytest.mark.parametrize("name", SOUND)
def test_sound_videos_pass(name):
    assert failed(SOUND[name]) == set()


@pytest.mark.parametrize("motif", MOTIFS)
@pytest.mark.parametrize("size", [(64, 64), (80, 48)])
def test_drawn_motion_passes(motif, size):
    """The clips wan-mini is trained on, which are the hardest to tell from noise: dots on black."""
    for seed in (1, 2):
        clip = render(draw_look(np.random.default_rng(seed), motif=motif), *size)
        assert failed(clip, loops=True) == set()


@pytest.mark.parametrize("gate", BROKEN)
def test_each_gate_stops_what_it_is_for(gate):
    assert gate in failed(BROKEN[gate])


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_stopped(name):
    assert "not_noise" in failed(NOISES[name])


def test_noise_takes_over_at_some_strength_and_stays():
    """What remains of a picture under more and more noise."""
    stopped = ["not_noise" in failed(scene(2) * (1 - p) + 400 * p * noise(1) / 4) for p in
               (0, 0.1, 0.6, 0.9, 1)]  # fmt: skip
    assert stopped[0] is False and stopped[-1] is True and stopped == sorted(stopped)


@pytest.mark.parametrize(("part", "passes"), [(1, True), (0.97, True), (0.8, False), (0.6, False)])
def test_a_loop_that_jumps_is_stopped_where_loops_are_promised(part, passes):
    video = scene(part * SIDE / (COUNT - 1))
    assert ("loops" not in failed(video, loops=True)) is passes
    assert failed(video) == set()


def test_encoded_videos_are_told_apart_too(tmp_path):
    for name, video, gate in (
        ("sound", scene(2), None),
        ("frozen", STILL, "not_frozen"),
        ("noise", 128 + noise(50), "not_noise"),
        ("black", np.zeros((COUNT, SIDE, SIDE, 3)), "not_black"),
    ):
        path = save_video([samples(video)], tmp_path / f"{name}.mp4", fps=16, crf=20)
        stopped = {name for name, passed in gates(path).items() if not passed}
        assert (gate in stopped) if gate else not stopped


def test_one_frame_is_not_called_frozen():
    assert failed(scene(count=1), loops=True) == set()

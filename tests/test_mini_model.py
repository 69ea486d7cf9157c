"""The model that ships, and the judge it is scored with: whole, small, independent of torch."""

import numpy as np
import pytest

from mlx_wan.bench.mini.clips import SMALL_SIZES, render
from mlx_wan.bench.mini.evaluate import expert_table, prompt_table, vae_table, with_scores
from mlx_wan.bench.mini.judge import answers, closure, direction, load_judge
from mlx_wan.bench.mini.looks import DIRECTIONS, MOTIFS, SPEEDS, draw_look
from mlx_wan.bench.mini.sample import ROLES, recast, sample
from mlx_wan.bench.mini.scores import QUESTIONS, draw_trials, prompt_scores
from mlx_wan.bench.mini.ship import MAX_BYTES, folder_size
from mlx_wan.convert import verify
from mlx_wan.loading import embedded_model, open_model
from mlx_wan.request import Request


@pytest.fixture(scope="module")
def folder():
    return open_model(embedded_model())


def test_the_shipped_model_is_whole_small_and_half_precision(folder):
    assert verify(folder.path) == []
    assert folder_size(folder.path) <= MAX_BYTES
    networks = [c for c in folder.components.values() if c.network != "sentencepiece"]
    assert {component.dtype for component in networks} == {"float16"}
    assert '"path": "wan-mini"' in (folder.path / "config.json").read_text()  # not of a machine


def test_it_makes_a_moving_clip_from_a_prompt(folder):
    clip = sample(folder, Request("slow blue aurora over a dark background", seed=1, steps=4))
    assert clip.shape == (17, 64, 64, 3) and clip.dtype == np.uint8
    assert clip.std() > 5 and closure(clip)[1] > 0.1


def test_experts_can_play_each_others_roles(folder):
    assert {name: list(roles.values()) for name, roles in ROLES.items()} == {
        "as trained": [],
        "swapped": ["low_noise", "high_noise"],
        "high noise only": ["high_noise"],
        "low noise only": ["low_noise"],
    }
    files = {name: folder[name].files for name in ("high_noise", "low_noise")}
    swapped = recast(folder, ROLES["swapped"])
    assert swapped["high_noise"].files == files["low_noise"]
    assert swapped["low_noise"].files == files["high_noise"]
    assert swapped["vae"] == folder["vae"]
    assert recast(folder, ROLES["low noise only"])["high_noise"].files == files["low_noise"]


def test_the_judge_is_right_about_real_clips():
    judge, trials = load_judge(), draw_trials(12)
    scores = prompt_scores(judge, trials, [trial.real() for trial in trials])
    for question, least in (("colour", 0.9), ("background", 0.9), ("motif", 0.97)):
        assert scores[question] >= least, question
    assert scores["light"] == scores["direction"] == 1
    assert scores["closure"] == 0


def test_the_judge_sees_what_is_there_and_not_what_was_asked_for():
    judge, trials = load_judge(), draw_trials(4)
    others = [trials[(i + 5) % len(trials)].real() for i in range(len(trials))]
    scores = prompt_scores(judge, trials, others)
    assert max(scores[question] for question in ("colour", "background", "motif")) < 0.4
    noise = np.random.default_rng(0).integers(0, 256, (17, 48, 80, 3), dtype=np.uint8)
    assert answers(judge, [noise])[0].keys() == {"colour", "background", "motif", "light"}


@pytest.mark.parametrize("motif", [motif for motif in MOTIFS if DIRECTIONS[motif]])
def test_directions_are_seen_at_every_speed_and_size(motif):
    for i, speed in enumerate(SPEEDS):
        for way in DIRECTIONS[motif]:
            look = draw_look(np.random.default_rng(i), motif=motif, speed=speed, direction=way)
            clip = render(look, *SMALL_SIZES[i])
            assert direction(clip, DIRECTIONS[motif]) == way
            if motif != "rings":  # the same clip backwards goes the other way
                assert direction(clip[::-1], DIRECTIONS[motif]) != way


def test_trials_are_held_out_reproducible_and_cover_everything():
    trials = draw_trials(30)
    assert len(trials) == 210
    assert trials[:70] == draw_trials(10)
    for motif in MOTIFS:
        assert sum(trial.look.motif == motif for trial in trials) == 30
    assert {(trial.width, trial.height) for trial in trials} == set(SMALL_SIZES)
    assert len({trial.prompt for trial in trials}) > 200


def test_the_table_says_pass_and_miss_against_the_bars():
    real = dict.fromkeys(QUESTIONS, 1.0) | {"motif rings": 1.0, "direction rings": 0.0}
    model = real | {"colour": 0.91, "background": 0.87, "light": 0.999, "closure": 1.51}
    table = prompt_table(real | {"closure": 0.0}, model, 210)
    lines = {line[:20].strip(): line for line in table.splitlines()}
    assert lines["colour"].endswith("pass") and lines["motif"].endswith("pass")
    for missed in ("background", "light", "closure"):
        assert lines[missed].endswith("MISS")
    table = vae_table({"mean dB": 30.1, "worst dB": 23.9, "flicker": 1.11})
    assert [line.split()[-1] for line in table.splitlines()[1:]] == ["pass", "MISS", "MISS"]
    assert "swapped" in expert_table({"swapped": model}, {"high_noise": {"0.97": 0.5}}, 70)


def test_the_table_goes_into_the_model_card():
    card = (embedded_model() / "README.md").read_text()
    once = with_scores(card, "a table")
    assert "```text\na table\n```" in once
    assert with_scores(once, "another").count("```text") == card.count("```text")
    assert with_scores(once, "another") == with_scores(card, "another")

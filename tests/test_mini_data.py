"""The data wan-mini is trained on: clips that loop, captions that say what is there."""

from dataclasses import replace

import numpy as np
import pytest

from mlx_wan.bench.mini.captions import NEGATIVES, caption, unconditional
from mlx_wan.bench.mini.clips import LARGE_SIZES, LOOP, SMALL_SIZES, at_phase, render
from mlx_wan.bench.mini.dataset import HELD_OUT_SEED, entry
from mlx_wan.bench.mini.looks import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    DIRECTIONS,
    LIGHT,
    MOTIFS,
    OPPOSITE,
    SPEEDS,
    Look,
    draw_look,
    possible,
)
from mlx_wan.bench.mini.themes import THEMES, draw_theme


def look_of(motif: str, seed: int = 0, **fixed: str) -> Look:
    return draw_look(np.random.default_rng(seed), motif=motif, **fixed)


@pytest.mark.parametrize("motif", MOTIFS)
@pytest.mark.parametrize(("width", "height"), [*SMALL_SIZES, LARGE_SIZES[1]])
def test_every_clip_is_a_loop_of_sixteen_frames(motif: str, width: int, height: int) -> None:
    for speed in SPEEDS:
        clip = render(look_of(motif, speed=speed), width, height)
        assert clip.shape == (LOOP + 1, height, width, 3)
        assert clip.dtype == np.uint8
        assert (clip[-1] == clip[0]).all()
        steps = np.abs(np.diff(clip.astype(float), axis=0)).mean(axis=(1, 2, 3))
        assert steps[-1] < 2.5 * steps[:-1].max(), "the seam jumps"
        assert steps.min() > 0, "it stands still"


def test_a_loop_can_start_anywhere() -> None:
    clip = render(look_of("waves"))
    later = at_phase(clip, 5)
    assert later.shape == clip.shape
    assert (later[0] == clip[5]).all()
    assert (later[11] == clip[0]).all()
    assert (later[-1] == later[0]).all()


def test_the_same_seed_gives_the_same_clip_and_another_gives_another() -> None:
    look = look_of("orbs")
    assert (render(look) == render(look)).all()
    assert (render(look) != render(replace(look, seed=look.seed + 1))).any()


@pytest.mark.parametrize("motif", MOTIFS)
def test_clips_show_their_background_and_colour(motif: str) -> None:
    for seed in range(6):
        look = look_of(motif, seed)
        clip = render(look).astype(float)
        ground = np.array(BACKGROUNDS[look.background][look.background_shade])
        away = np.abs(clip - ground).mean(axis=-1)
        if motif not in ("gradient", "waves"):  # these may cover all of it
            assert np.percentile(away, 20) < 45
        main = np.array(COLOURS[look.colour][look.shade])
        assert np.abs(clip - main).mean(axis=-1).min() < 60


@pytest.mark.parametrize("way", ["left", "right", "up", "down"])
def test_things_move_the_way_they_are_said_to(way: str) -> None:
    axis, sign = {"left": (2, -1), "right": (2, 1), "up": (1, -1), "down": (1, 1)}[way]
    for motif in (m for m in MOTIFS if way in DIRECTIONS[m] and m != "sweep"):
        votes = []
        for seed in range(4):
            grey = render(look_of(motif, seed, direction=way)).astype(float).mean(axis=-1)
            slope = np.gradient(grey[:-1], axis=axis)
            change = np.diff(grey, axis=0)
            votes.append(-sign * (slope * change).sum() > 0)
        assert np.mean(votes) >= 0.75, f"{motif} does not move {way}"


def test_rings_grow_outwards_and_shrink_inwards() -> None:
    y, x = np.mgrid[:64, :64] - 31.5
    for way, sign in (("out", 1), ("in", -1)):
        grey = render(look_of("rings", direction=way, speed="slow")).astype(float).mean(axis=-1)
        dy, dx = np.gradient(grey[:-1], axis=(1, 2))
        radial = (dx * x + dy * y) / np.hypot(x, y)
        assert -sign * (radial * np.diff(grey, axis=0)).sum() > 0


def test_each_second_entry_is_the_one_before_it_with_the_opposite_motion() -> None:
    for index in range(0, 80, 2):
        forwards, backwards = entry(index), entry(index + 1)
        assert (forwards.width, forwards.height) == (backwards.width, backwards.height)
        if forwards.look.direction:
            opposite = OPPOSITE[forwards.look.direction]
            assert backwards.look == replace(forwards.look, direction=opposite)
        else:
            assert backwards.look.seed != forwards.look.seed
            assert replace(backwards.look, seed=forwards.look.seed) == forwards.look


def test_entries_are_reproducible_and_held_out_ones_differ() -> None:
    assert entry(7) == entry(7)
    assert entry(7).look.seed != entry(7, HELD_OUT_SEED).look.seed


def test_nothing_invisible_is_drawn() -> None:
    looks = [draw_look(np.random.default_rng(seed)) for seed in range(600)]
    assert all(possible(look.motif, look.colour, look.background) for look in looks)
    assert {look.motif for look in looks} == set(MOTIFS)
    assert {look.colour for look in looks} == set(COLOURS)
    assert {look.background for look in looks} == set(BACKGROUNDS)
    assert not any(k.motif in ("sweep", "aurora") and k.background in LIGHT for k in looks)


def test_a_full_caption_names_every_attribute() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        look = draw_look(rng)
        text = caption(look, rng, everything=True)
        assert look.shade in text
        assert look.background_shade in text


def test_captions_vary_and_stay_short() -> None:
    rng = np.random.default_rng(0)
    look = draw_look(rng)
    texts = [caption(look, rng) for _ in range(200)]
    assert len(set(texts)) > 150
    assert max(map(len, texts)) < 160
    assert all(text == text.strip() for text in texts)


def test_no_prompt_is_mostly_the_empty_string_and_else_a_negative_prompt() -> None:
    rng = np.random.default_rng(0)
    texts = [unconditional(rng) for _ in range(300)]
    assert 150 < texts.count("") < 250
    assert set(texts) == {"", *NEGATIVES}


def test_themes_are_many_and_name_looks_that_exist() -> None:
    phrases = [phrase for theme in THEMES for phrase in theme.phrases]
    assert len(phrases) >= 100
    assert len(set(phrases)) == len(phrases)
    for theme in THEMES:
        assert theme.motifs and set(theme.motifs) <= set(MOTIFS), theme
        assert set(theme.colours) <= set(COLOURS), theme
        assert set(theme.backgrounds) <= set(BACKGROUNDS), theme
        assert set(theme.speeds) <= set(SPEEDS), theme


def test_theme_captions_come_with_a_look() -> None:
    for seed in range(200):
        phrase, look = draw_theme(np.random.default_rng(seed))
        assert phrase == phrase.strip() != ""
        assert look.motif in MOTIFS and look.count in COUNTS

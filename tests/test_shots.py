"""Shots on a model's grid: sizes, lengths, continuation; clips that survive a kill."""

import json
from dataclasses import replace

import numpy as np
import pytest

import mlx_wan.studio.shots as shots_module
from mlx_wan.errors import GenerationError, UsageError
from mlx_wan.loading import find_model, open_model
from mlx_wan.presets import PRESETS
from mlx_wan.studio.clips import read_clip
from mlx_wan.studio.formats import FORMATS
from mlx_wan.studio.profiles import PROFILES
from mlx_wan.studio.resize import crop_loss
from mlx_wan.studio.shots import clip_keys, clip_lengths, plan_shots, render_shots, render_size
from mlx_wan.studio.storyboard import Shot, Storyboard

HIGH, LOW = PROFILES["high"].area, PROFILES["low"].area


@pytest.fixture(scope="module")
def mini():
    return open_model(find_model("wan-mini"))


def planned(folder, *shots, form="square", **options):
    board = Storyboard(form, sum(shot.duration for shot in shots), shots)
    options = {"area": LOW, "steps": 15, "seed": 0, "settings": {}} | options
    return board, plan_shots(board, folder, **options)


@pytest.mark.parametrize("form", FORMATS)
def test_wan_mini_renders_the_size_it_was_made_for(mini, form):
    target = FORMATS[form].width, FORMATS[form].height
    for area in (LOW, HIGH):
        size = render_size(mini, target, area)
        assert size in mini.preset.sizes
        assert (size[0] > size[1], size[0] < size[1]) == (form == "wide", form == "shorts")


@pytest.mark.parametrize("kind", ["t2v", "i2v", "ti2v"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("area", [LOW, HIGH])
def test_real_models_lose_at_most_5_percent(tiny_models, kind, form, area):
    folder = open_model(tiny_models[kind])
    target = FORMATS[form].width, FORMATS[form].height
    width, height = render_size(folder, target, area)
    assert crop_loss((width, height), target) <= 0.05
    areas = [w * h for w, h in folder.preset.sizes]
    made = min(max(area, min(areas)), max(areas))
    assert 0.94 * made <= width * height <= 1.06 * made
    grid = 32 if kind == "ti2v" else 16
    assert width % grid == height % grid == 0


def test_known_sizes(tiny_models):
    folder = open_model(tiny_models["t2v"])
    assert render_size(folder, (1920, 1080), HIGH) == (1280, 720)
    assert render_size(folder, (1080, 1920), LOW) == (480, 832)
    assert render_size(folder, (1080, 1080), HIGH) == (960, 960)


@pytest.mark.parametrize("seconds", [0.5, 1, 3, 5, 5.1, 7.3, 12, 60])
@pytest.mark.parametrize("kind", ["t2v", "i2v", "ti2v"])
def test_clips_of_a_shot_are_long_enough_and_few(tiny_models, kind, seconds):
    folder = open_model(tiny_models[kind])
    preset, lengths = folder.preset, clip_lengths(folder, seconds)
    shared = 1 if preset.takes_image else round(0.5 * preset.fps)
    total = sum(lengths) - shared * (len(lengths) - 1)
    assert total >= seconds * preset.fps
    assert all(length % 4 == 1 and length <= preset.num_frames for length in lengths)
    fewer = (len(lengths) - 1) * preset.num_frames - shared * (len(lengths) - 2)
    assert len(lengths) == 1 or fewer < seconds * preset.fps + 1


def test_a_loop_is_one_clip_however_long(mini):
    assert clip_lengths(mini, 60) == [PRESETS["wan-mini"].num_frames]


def test_profile_steps_never_exceed_the_models_and_a_person_wins(mini):
    for wanted, made in ((30, 20), (15, 15)):
        _, shots = planned(mini, Shot("waves", 2), steps=wanted)
        assert shots[0][0].plan.steps == made
    _, shots = planned(mini, Shot("waves", 2), settings={"steps": 40})
    assert shots[0][0].plan.steps == 40
    with pytest.raises(UsageError, match="steps is 0"):
        planned(mini, Shot("waves", 2), settings={"steps": 0})


def test_an_image_model_goes_on_from_the_last_frame(tiny_models, tmp_path, monkeypatch):
    folder = open_model(tiny_models["ti2v"])
    monkeypatch.setattr(shots_module, "render_size", lambda *_: (64, 64))
    board, shots = planned(folder, Shot("a fox", 7.0), Shot("a hare", 1.0))
    assert [[clip.first_frame for clip in clips] for clips in shots] == [[None, "previous"], [None]]
    given: list = []
    monkeypatch.setattr(shots_module, "Rendering", fake_rendering(given))
    rendered = render_shots(board, shots, tmp_path)
    first, second = rendered.clips[0]
    *_, last = read_clip(first)
    assert np.array_equal(given[1], last)  # and that frame is not shown twice
    assert second.num_frames == shots[0][1].plan.num_frames - 1
    assert given[0] is None and given[2] is None


def test_the_shots_image_is_cut_to_the_clips_shape(tiny_models, tmp_path, monkeypatch):
    from PIL import Image

    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    folder = open_model(tiny_models["i2v"])
    monkeypatch.setattr(shots_module, "render_size", lambda *_: (64, 64))
    shot = Shot("a fox", 1.0, image=str(tmp_path / "a.png"))
    board, shots = planned(folder, shot)
    given: list = []
    monkeypatch.setattr(shots_module, "Rendering", fake_rendering(given))
    render_shots(board, shots, tmp_path / "work")
    assert (
        given[0].shape == (64, 64, 3) and given[0][:, 2:-2].min() == 200
    )  # the middle, unsqueezed
    Image.new("RGB", (300, 100)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="not the image"):
        render_shots(board, shots, tmp_path / "work2")


def test_a_whole_clip_is_used_again_and_a_damaged_one_is_not(mini, tmp_path, monkeypatch):
    board, shots = planned(mini, Shot("waves", 1.0), Shot("rings", 1.0))
    made: list = []
    monkeypatch.setattr(shots_module, "Rendering", fake_rendering(made))
    first = render_shots(board, shots, tmp_path)
    again = render_shots(board, shots, tmp_path)
    assert len(made) == 2 and again == first
    damaged = first.clips[1][0].path
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert render_shots(board, shots, tmp_path).clips == first.clips and len(made) == 3
    first.clips[0][0].path.with_suffix(".json").unlink()  # killed between clip and facts
    assert render_shots(board, shots, tmp_path).clips == first.clips and len(made) == 4


def test_keys_say_what_is_seen_and_nothing_else(mini):
    _, shots = planned(mini, Shot("waves", 1.0))
    same, other = (replace(shots[0][0].plan, **c) for c in ({"model_path": "/x"}, {"seed": 9}))
    keys = [clip_keys([[replace(shots[0][0], plan=p)]]) for p in (shots[0][0].plan, same, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_black_shot_is_named_and_not_kept(mini, tmp_path, monkeypatch):
    board, shots = planned(mini, Shot("waves", 1.0), Shot("rings", 1.0))
    monkeypatch.setattr(shots_module, "Rendering", fake_rendering([], verdicts=[None, "black"]))
    with pytest.raises(GenerationError, match="shot 2 came out black"):
        render_shots(board, shots, tmp_path)
    assert len(list(tmp_path.glob("*.mkv"))) == 1


def test_progress_counts_through_all_shots(mini, tmp_path):
    board, shots = planned(mini, Shot("waves", 1.0), Shot("rings", 1.0), settings={"steps": 2})
    events: list = []
    render_shots(board, shots, tmp_path, events.append)
    denoise = [(e.done, e.total) for e in events if e.stage == "denoise"]
    assert denoise == [(0, 4), (1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]
    assert events[-1].done == events[-1].total == 34
    assert "shot 2 of 2" in events[-1].detail
    facts = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert set(facts["seconds"]) == {"encode", "denoise", "decode"}


def fake_rendering(given: list, verdicts: list | None = None):
    """Stands in for the model: moving noise; remembers the first frames it was given."""
    from PIL import Image

    from mlx_wan.run import Measure

    class Fake:
        def __init__(self, plan, report, networks):
            self.plan, self.measure = plan, Measure()
            given.append(None if plan.image is None else np.asarray(Image.open(plan.image)))
            self.hashes = {"latents": "0" * 64, "frames": "0" * 64}
            self.verdict = verdicts[len(given) - 1] if verdicts else None

        def frames(self):
            rng = np.random.default_rng(self.plan.seed)
            for _ in range(self.plan.num_frames):
                shape = (1, self.plan.height, self.plan.width, 3)
                yield rng.integers(0, 255, shape, dtype=np.uint8)

    return Fake

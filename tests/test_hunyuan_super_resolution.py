"""HunyuanVideo's super resolution through the whole engine: a small video's plan, and the plan that
makes its latents larger; tiny random networks."""

import json
from dataclasses import replace
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan_text as tiny
from PIL import Image

from mlx_wan import Request, encode_prompt, make_plan, open_model, start_noise
from mlx_wan.cli.main import run
from mlx_wan.conditioning import ImageCondition, encode_image
from mlx_wan.errors import MemoryPlanError, ModelError, UsageError
from mlx_wan.loading import load_network
from mlx_wan.models.hunyuan_upsampler import resize
from mlx_wan.pipeline import continue_latents
from mlx_wan.plan import Plan, describe
from mlx_wan.planning import replan
from mlx_wan.record import read_record_plan, request_of
from mlx_wan.roofline.predict import predict
from mlx_wan.run import Rendering, generate
from mlx_wan.studio.video_io import video_fault

NAME = "hunyuanvideo-1.5-"
SMALL = {"width": 48, "height": 32, "num_frames": 5, "steps": 3, "seed": 3}
KINDS = ("480p-t2v", "480p-i2v", "720p-t2v", "720p-sr", "1080p-sr")
GIB = 2**30


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("super")
    return {kind: tiny.model(folder / kind, NAME + kind) for kind in KINDS}


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("picture") / "first.png"
    pixels = np.random.RandomState(0).randint(0, 256, (32, 48, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file)
    return str(file)


def planned(models, kind="480p-t2v", larger="720p-sr", limit=None, **changes) -> Plan:
    request = Request(
        "slow waves", model=models[kind], super_resolution=models[larger], **SMALL | changes
    )
    return make_plan(request, memory_limit=limit)


# --- planning ----------------------------------------------------------------------------------


def test_the_plan_has_both_with_the_authors_choices(models):
    plan = planned(models, steps=None)
    assert plan.before is not None and plan.before.model == f"{NAME}480p-t2v"
    assert (plan.before.steps, plan.before.experts[0].guidance_scale) == (50, 6.0)
    assert (plan.model, plan.task) == (f"{NAME}720p-sr", "sr")
    assert (plan.steps, plan.shift, plan.guided, plan.forwards) == (6, 2.0, False, 6)
    assert (plan.width, plan.height, plan.num_frames) == (64, 48, 5)
    assert planned(models, "720p-t2v", "1080p-sr").steps == 8
    rows = describe(plan)
    assert ("video", "48x32, 5 frames at 24 fps") in rows
    assert ("then video", "64x48, 5 frames at 24 fps") in rows
    assert "then sampling" in dict(rows) and "seed" in dict(rows) and "then seed" not in dict(rows)


def test_what_cannot_be_continued_is_refused(models):
    with pytest.raises(UsageError, match="it makes none itself") as error:
        make_plan(Request("x", model=models["720p-sr"], **SMALL))
    assert f"{NAME}480p-t2v" in error.value.hint and "--super-resolution" in error.value.hint
    for kind, larger, hint in (
        ("720p-t2v", "720p-sr", f"--super-resolution {NAME}1080p-sr does"),
        ("480p-t2v", "1080p-sr", f"--super-resolution {NAME}720p-sr does"),
        ("480p-t2v", "480p-i2v", f"--super-resolution {NAME}720p-sr does"),
    ):
        with pytest.raises(UsageError, match=f"{larger} makes no video of {NAME}{kind}") as error:
            planned(models, kind, larger)
        assert error.value.hint == hint
    with pytest.raises(UsageError, match="makes no video of wan-mini larger"):
        make_plan(Request("x", model="wan-mini", super_resolution=models["720p-sr"]))
    with pytest.raises(ModelError, match="there is no model 'larger'"):
        make_plan(Request("x", model=models["480p-t2v"], super_resolution="larger", **SMALL))
    with pytest.raises(UsageError, match="super_resolution is empty"):
        Request("x", super_resolution="")


def test_what_only_the_larger_video_has_no_room_for(models):
    changes = {"width": 128, "height": 96}
    plan = planned(models, **changes)
    assert plan.before is not None and plan.memory.peak > plan.before.memory.peak
    limit = int(1.17 * plan.before.memory.peak)
    make_plan(
        Request("slow waves", model=models["480p-t2v"], **SMALL | changes), memory_limit=limit
    )
    with pytest.raises(MemoryPlanError, match=f"made larger by {NAME}720p-sr, 192x144") as error:
        planned(models, limit=limit, **changes)
    assert "a smaller first video" in error.value.hint


def test_published_models_are_planned_together(capsys):
    words = ["plan", "a fox", "--model", f"{NAME}480p-t2v", "--json"]
    words += ["--super-resolution", f"{NAME}720p-sr", "--chip", "m3-ultra-80"]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    plan = told["plan"]
    assert (plan["width"], plan["height"]) == (1280, 720) and plan["before"]["width"] == 848
    assert plan["memory"]["denoise"] > 20 * GIB / 2 and plan["tokens"] == 31 * 45 * 80
    alone = ["plan", "a fox", "--model", f"{NAME}480p-t2v", "--json", "--chip", "m3-ultra-80"]
    assert run(alone) == 0
    first = json.loads(capsys.readouterr().out)["prediction"]["seconds"]
    both = told["prediction"]["seconds"]
    assert all(both[stage] > first[stage] for stage in first)


# --- running -----------------------------------------------------------------------------------


def test_frames_of_the_larger_size_the_same_each_time(models, tmp_path):
    plan = replace(planned(models), output=str(tmp_path / "a.mp4"))
    made = generate(plan)
    again = generate(replace(plan, output=str(tmp_path / "b.mp4")))
    assert made.record["sha256"] == again.record["sha256"]
    frames = np.concatenate([np.asarray(chunk) for chunk in Rendering(plan).frames()])
    assert frames.shape == (5, 48, 64, 3)
    first = Rendering(plan.before).hashes["latents"]
    assert made.record["sha256"]["small_latents"] == first
    for change in ({"seed": 4}, {"prompt": "a fox"}):
        other = Rendering(replace(plan, **change, before=replace(plan.before, **change)))
        assert other.hashes["latents"] != made.record["sha256"]["latents"]
    fewer = replace(plan.before, experts=(replace(plan.before.experts[0], guidance_scale=1.0),))
    other = Rendering(replace(plan, before=fewer))  # what was made first counts
    assert other.hashes["latents"] != made.record["sha256"]["latents"]


@pytest.mark.parametrize("kind", ["480p-t2v", "480p-i2v"])
def test_the_loop_is_the_originals(kind, models, picture):
    """Euler steps in plain NumPy, around our networks: the small video is told down to 700."""
    image = picture if kind == "480p-i2v" else None
    plan = planned(models, kind, image=image)
    folder, small = open_model(plan.model_path), Rendering(plan.before).latents
    made = Rendering(plan).latents
    pictured = encode_image(plan, folder)
    told = continue_latents(plan, folder, small, pictured)
    assert callable(told.channels)
    upsampler = load_network(folder["upsampler"])
    low = upsampler(resize(small, *plan.latent_shape[2:4]))
    mixed = told.channels(1000.0)[..., 33:65]
    noise = (np.array(mixed) - 0.3 * np.array(low)) / 0.7
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
    latents = np.array(start_noise(plan))
    zeros = np.zeros((*latents.shape[:-1], 33), np.float32)
    network = load_network(folder["transformer"])
    prompt = network.condition(encode_prompt(plan, folder).prompt_embeds, plan.latent_shape[1:4])
    beside = zeros if image is None else np.array(pictured.channels)
    ones = np.ones((*latents.shape[:-1], 1), np.float32)
    levels = np.linspace(1, 0, 7)
    levels = 2 * levels / (1 + levels)
    seen = []
    for level, following in pairwise(levels):
        read = np.concatenate([np.array(mixed), ones], -1) if 1000 * level >= 700 else zeros
        seen.append(bool(read.any()))
        inputs = mx.array(np.concatenate([latents, beside, read], -1).astype(np.float32))
        velocity = np.array(network(inputs, 1000 * level, prompt))
        latents = latents + (following - level) * velocity
    assert seen == [True] * 3 + [False] * 3
    assert np.abs(np.array(made) - latents).max() < 1e-3 * np.abs(latents).max()


def test_one_model_is_let_go_before_the_other_is_read(models, monkeypatch):
    alive = []
    plan = planned(models)
    from mlx_wan import pipeline

    load = pipeline.load_network

    def watched(component, **options):
        mx.clear_cache()
        alive.append((component.name, mx.get_active_memory()))
        return load(component, **options)

    monkeypatch.setattr(pipeline, "load_network", watched)
    list(Rendering(plan).frames())
    assert [name for name, _ in alive] == ["transformer", "transformer", "vae"]
    small = open_model(plan.before.model_path)["transformer"].nbytes
    assert alive[1][1] - alive[0][1] < small / 2


def test_stages_need_about_what_was_planned(models, tmp_path):
    plan = planned(models, width=128, height=96, num_frames=17, steps=2)
    plan = replace(plan, output=str(tmp_path / "video.mp4"))
    told = generate(plan).record
    for stage, predicted in told["prediction"]["peak_memory"].items():
        assert told["peak_memory"][stage] <= 1.2 * predicted + 4e6, stage
    assert told["prediction"]["peak_memory"] == predict([plan]).peak_memory


# --- records -----------------------------------------------------------------------------------


def test_a_recorded_plan_is_made_again(models):
    plan = planned(models)
    there = read_record_plan(
        {"format": "mlx-wan-record", "version": 1, "plan": json.loads(json.dumps(plan.to_dict()))}
    )
    assert there == plan
    again = replan(there, None, None, memory_limit=plan.memory.available)
    assert again.before is not None
    assert again == replace(plan, memory=again.memory, before=again.before)
    request = request_of(plan, {})
    assert request.super_resolution == models["720p-sr"] and request.width == 48
    asked = make_plan(request, memory_limit=plan.memory.available)
    assert asked == replace(plan, memory=asked.memory, before=asked.before)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 80},
        {"steps": 7},
        {"seed": 9},
        {"prompt": "another"},
        {"before": None},
        {"before": 3},
        {"before": {}},
        {"model_path": "nowhere"},
    ],
)
def test_a_record_that_was_changed_is_refused(change, models):
    data = {"format": "mlx-wan-record", "version": 1, "plan": planned(models).to_dict() | change}
    with pytest.raises((UsageError, ModelError)):
        replan(read_record_plan(data), None, None)


def test_a_chain_of_three_is_refused(models):
    data = planned(models).to_dict()
    with pytest.raises(UsageError, match="continues a plan that continues another"):
        Plan.from_dict(data | {"before": data})


# --- by command line ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["480p-t2v", "480p-i2v"])
def test_from_prompt_to_video_and_record_and_again(kind, models, picture, tmp_path, capsys):
    words = ["generate", "waves", "--model", models[kind], "--steps", "2", "--seed", "1", "--json"]
    words += ["--width", "48", "--height", "32", "--num-frames", "5"]
    words += ["--super-resolution", models["720p-sr"]]
    words += [] if kind == "480p-t2v" else ["--image", picture]
    assert run([*words, "-o", str(tmp_path / "large.mp4")]) == 0
    told = json.loads(capsys.readouterr().out)["record"]
    assert video_fault(tmp_path / "large.mp4", 5, (64, 48), 24) is None
    assert told["plan"]["before"]["model"] == NAME + kind
    again = ["generate", "--from-record", str(tmp_path / "large.json"), "--json"]
    assert run([*again, "-o", str(tmp_path / "again.mp4")]) == 0
    made = json.loads(capsys.readouterr().out)["record"]
    assert made["sha256"] == told["sha256"]
    other = [*again, "--seed", "2", "--dry-run"]
    assert run([*other, "-o", str(tmp_path / "other.mp4")]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["seed"], plan["before"]["seed"], plan["width"]) == (2, 2, 64)


def test_wrong_flags_are_told(models, capsys):
    words = ["generate", "x", "--super-resolution", models["720p-sr"]]
    assert run([*words, "--model", models["480p-t2v"], "--format", "square"]) == 2
    assert "--super-resolution" in capsys.readouterr().err
    assert run(["generate", "x", "--model", models["720p-sr"]]) == 2
    assert "makes the videos of other models larger" in capsys.readouterr().err


def test_without_a_small_video_nothing_is_added():
    latents = mx.zeros((1, 1, 2, 2, 4))
    assert ImageCondition().network_input(latents, 900.0) is latents
    steps = ImageCondition(channels=lambda timestep: mx.full((1, 1, 2, 2, 1), timestep))
    assert steps.network_input(latents, 900.0)[0, 0, 0, 0, 4].item() == 900

"""HunyuanVideo through the whole engine: tiny random networks, from a prompt to MP4 and record."""

import gc
import json
import shutil
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan_text as tiny
from PIL import Image

from mlx_wan import (
    Experts,
    Request,
    decode,
    denoise,
    encode_prompt,
    make_plan,
    open_model,
    start_noise,
)
from mlx_wan.cli.main import run
from mlx_wan.conditioning import encode_image
from mlx_wan.errors import GenerationError, ModelError, UsageError
from mlx_wan.pipeline import Networks
from mlx_wan.plan import Plan, describe
from mlx_wan.planning import replan
from mlx_wan.run import generate

SMALL = {"width": 48, "height": 32, "num_frames": 9, "steps": 4, "seed": 3}
KINDS = {
    "t2v": "hunyuanvideo-1.5-480p-t2v",
    "i2v": "hunyuanvideo-1.5-480p-i2v",
    "meanflow": "hunyuanvideo-1.5-480p-i2v-step-distilled",
}
PROMPT = 'a neon sign that says "OPEN"'


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("hunyuan")
    return {kind: tiny.model(folder / kind, preset) for kind, preset in KINDS.items()}


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("picture") / "first.png"
    pixels = np.random.RandomState(0).randint(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file)
    return str(file)


@pytest.fixture(params=KINDS)
def plan(request, models, picture) -> Plan:
    return planned(request.param, models, picture)


def planned(kind: str, models: dict[str, str], picture: str, **changes) -> Plan:
    image = None if kind == "t2v" else picture
    return make_plan(Request(PROMPT, model=models[kind], image=image, **SMALL | changes))


def latents_of(plan: Plan, networks: Networks | None = None) -> np.ndarray:
    folder = open_model(plan.model_path)
    experts = Experts(plan, folder, encode_prompt(plan, folder), networks)
    *_, last = denoise(plan, experts, start_noise(plan), encode_image(plan, folder))
    return np.array(last.latents)


def test_the_plan_has_the_authors_choices(models, picture):
    plan = make_plan(Request("waves", model=models["t2v"], width=64, height=32))
    assert (plan.steps, plan.num_frames, plan.fps, plan.solver) == (50, 121, 24, "euler")
    assert plan.experts[0].guidance_scale == 6.0 and plan.negative_prompt == ""
    assert plan.latent_shape == (1, 31, 2, 4, 32) and plan.tokens == 31 * 2 * 4
    assert dict(describe(plan))["sampling"] == "euler, 50 steps, shift 5"
    distilled = make_plan(Request("waves", model=models["meanflow"], image=picture))
    assert (distilled.steps, distilled.shift, distilled.guided) == (12, 7.0, False)
    assert distilled.forwards == 12


def test_same_seed_same_latents_and_frames(plan):
    first = latents_of(plan)
    assert np.isfinite(first).all() and np.array_equal(first, latents_of(plan))
    assert not np.array_equal(first, latents_of(replace(plan, seed=4)))
    folder = open_model(plan.model_path)
    frames = [np.concatenate(list(decode(plan, folder, mx.array(first)))) for _ in range(2)]
    assert frames[0].shape == (9, plan.height, plan.width, 3) and frames[0].dtype == np.uint8
    assert np.array_equal(*frames)


def test_all_that_was_asked_counts(models, picture, tmp_path):
    """Another prompt, quoted text, negative prompt, guidance or image makes another video."""
    made = latents_of(planned("i2v", models, picture))
    other = tmp_path / "other.png"
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(other)
    asked = planned("i2v", models, picture)
    for change in (
        {"prompt": "waves"},
        {"prompt": PROMPT.replace("OPEN", "SHUT")},
        {"negative_prompt": "red"},
        {"experts": (replace(asked.experts[0], guidance_scale=1.0),)},
        {"image": str(other)},
    ):
        assert not np.allclose(made, latents_of(replace(asked, **change)), atol=1e-4), change


def test_mean_flow_is_told_where_each_step_leads(models, picture):
    plan = planned("meanflow", models, picture)
    folder = open_model(plan.model_path)
    expert = Experts(plan, folder, encode_prompt(plan, folder)).at(0)
    times = [time for time, _ in expert.positive.tables.times]
    assert times == list(plan.timesteps)
    assert [to for _, to in expert.positive.tables.times] == [*plan.timesteps[1:], 0.0]
    assert expert.negative is None


def test_modulation_weights_are_let_go_unless_the_network_is_kept(models, picture):
    plan = planned("i2v", models, picture)
    folder, networks = open_model(plan.model_path), Networks()
    experts = Experts(plan, folder, encode_prompt(plan, folder))
    assert "mod" not in experts.at(0).network.double_blocks[0].img
    networks.begin(plan, folder)
    assert networks.keeps
    assert np.array_equal(latents_of(plan, networks), latents_of(plan, networks))
    assert np.array_equal(latents_of(plan), latents_of(plan, networks))


def test_what_it_cannot_do_is_refused(models, picture):
    for kind, changes, message, hint in (
        ("t2v", {"width": 50}, "width is 50; .* multiples of 16", "try 48 or 64"),
        ("t2v", {"num_frames": 10}, r"num_frames is 10; .* 4n\+1", "try 9 or 13"),
        ("t2v", {"image": picture}, "from text only", "hunyuanvideo-1.5-480p-i2v"),
        ("i2v", {"last_image": picture}, "takes no last frame", "wan2.2-i2v-a14b"),
    ):
        image = {} if kind == "t2v" else {"image": picture}
        with pytest.raises(UsageError, match=message) as error:
            make_plan(Request("x", model=models[kind], **SMALL | image | changes))
        assert hint in error.value.hint
    with pytest.raises(UsageError, match="needs a first frame"):
        make_plan(Request("x", model=models["meanflow"], **SMALL))
    for solver in ("unipc", "dpm++", "dmd"):  # mean flow is no velocity at a time
        with pytest.raises(UsageError, match="predicts whole steps"):
            planned("meanflow", models, picture, solver=solver)
    assert planned("i2v", models, picture, solver="unipc").solver == "unipc"


def test_a_network_of_another_kind_than_its_preset_is_refused(models, tmp_path):
    """Mean flow under another name would run, and run wrong."""
    for kind, other in (("i2v", "meanflow"), ("meanflow", "i2v")):
        folder = shutil.copytree(models[kind], tmp_path / kind)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model": KINDS[other]}))
        with pytest.raises(ModelError, match=r"has use_meanflow (True|False), hunyuanvideo"):
            open_model(folder)


def test_a_recorded_plan_is_made_again(plan):
    there = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    again = replan(there, None, None, memory_limit=plan.memory.available)
    assert again == replace(plan, memory=again.memory)


@pytest.mark.parametrize("kind", KINDS)
def test_from_prompt_to_video_and_record_and_again(kind, models, picture, tmp_path, capsys):
    words = ["generate", PROMPT, "--model", models[kind], "--steps", "2", "--seed", "1", "--json"]
    words += ["--width", "48", "--height", "32", "--num-frames", "5"]
    words += [] if kind == "t2v" else ["--image", picture]
    assert run([*words, "-o", str(tmp_path / "sign.mp4")]) == 0
    told = json.loads(capsys.readouterr().out)["record"]
    assert told["plan"]["model"] == KINDS[kind]
    assert json.loads((tmp_path / "sign.json").read_text())["sha256"] == told["sha256"]
    peaks = told["prediction"]
    assert peaks, "what was predicted stands beside what was measured"
    again = ["generate", "--from-record", str(tmp_path / "sign.json"), "--json"]
    assert run([*again, "-o", str(tmp_path / "again.mp4")]) == 0
    made = json.loads(capsys.readouterr().out)["record"]
    assert made["sha256"] | {"video": ""} == told["sha256"] | {"video": ""}


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
def test_stages_need_about_what_was_planned(kind, models, picture, tmp_path):
    """On networks this small what MLX needs anyway counts; bench/predictions.py has larger ones."""
    changes = {"width": 128, "height": 96, "num_frames": 17, "steps": 2}
    plan = planned(kind, models, picture, **changes, output=str(tmp_path / "video.mp4"))
    gc.collect()
    before = mx.get_active_memory()  # what earlier tests keep
    told = generate(plan).record["prediction"]
    for stage, predicted in told["peak_memory"].items():
        measured = told["measured"]["peak_memory"][stage] - before
        assert 0.7 * predicted <= measured <= 1.2 * predicted + 4e6, stage


@pytest.mark.parametrize(
    ("component", "told"),
    [
        ("text_encoder", "prompt_embeds text"),
        ("text_encoder_2", "prompt_embeds glyph"),
        ("image_encoder", "prompt_embeds vision"),
        ("vae", "channels"),
    ],
)
def test_damaged_weights_of_an_encoder_are_told_as_such(component, told, picture, tmp_path):
    """Not as the transformer's, which only reads what they made."""
    model = tiny.model(tmp_path / "model", KINDS["i2v"])
    file = next((tmp_path / "model" / component).glob("*.safetensors"))
    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    file.write_bytes(content[:begin] + b"\xff" * (len(content) - begin))  # not a number
    plan = planned("i2v", {"i2v": model}, picture)
    with pytest.raises(GenerationError, match=f"NaN or infinite {told}") as error:
        generate(replace(plan, output=str(tmp_path / "no.mp4")))
    assert "convert --verify" in error.value.hint
    assert not (tmp_path / "no.mp4").exists()

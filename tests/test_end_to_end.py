"""A tiny random A14B in the original layout, from checkpoint to MP4, through the command line."""

import hashlib
import json
from pathlib import Path

import av
import mlx.core as mx
import numpy as np
import pytest
from checkpoints import build
from PIL import Image

from mlx_wan import (
    Experts,
    Request,
    decode,
    denoise,
    encode_prompt,
    library,
    make_plan,
    open_model,
    start_noise,
)
from mlx_wan.cli.main import run
from mlx_wan.errors import GenerationError, ModelError, UsageError
from mlx_wan.events import Event
from mlx_wan.run import generate

SIZE = ["--width", "48", "--height", "32", "--num-frames", "9", "--steps", "4"]
REQUEST = {"width": 48, "height": 32, "num_frames": 9, "steps": 4, "seed": 3}


@pytest.fixture
def picture(tmp_path) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "first.png")
    return str(tmp_path / "first.png")


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_checkpoint_to_video_from_prompt_and_from_image(tmp_path, picture, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(tmp_path / "t2v", "wan2.2-t2v-a14b", dtype="F32", shards=2)
    build(tmp_path / "i2v", "wan2.2-i2v-a14b", dtype="BF16")
    assert run(["convert", "t2v", "models/t2v"]) == 0
    assert run(["convert", "i2v", "models/i2v", "--quantize", "8"]) == 0
    capsys.readouterr()

    assert run(["generate", "a fox", "--model", "models/t2v", "--seed", "1", *SIZE]) == 0
    raw = library.stage_folder("raw")
    assert capsys.readouterr().out.strip() == str(raw / "a_fox.mp4")
    assert frames_of(raw / "a_fox.mp4").shape == (9, 32, 48, 3)

    words = ["generate", "a fox", "--model", "models/i2v", "--image", picture, "--seed", "1"]
    assert run([*words, *SIZE, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(raw / "a_fox_2.mp4")  # nothing is overwritten
    assert frames_of(raw / "a_fox_2.mp4").shape == (9, 32, 48, 3)
    assert library.find(told["record"]["id"]).video == raw / "a_fox_2.mp4"
    assert told["record"]["plan"]["image"] == picture
    again = ["generate", "--from-record", told["record"]["id"], "--dry-run", "--json"]
    assert run(again) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["sigmas"] == told["record"]["plan"]["sigmas"]
    assert sorted(p.name for p in tmp_path.glob("*") if p.name.startswith(".")) == []


@pytest.mark.parametrize("kind", ["t2v", "i2v", "ti2v"])
def test_same_seed_same_latents_and_another_seed_others(kind, tiny_models, picture, tmp_path):
    image = None if kind == "t2v" else picture

    def latents_hash(seed: int, name: str) -> str:
        request = Request(
            "a fox",
            model=tiny_models[kind],
            image=image,
            output=str(tmp_path / name),
            **{**REQUEST, "width": 64, "height": 64, "seed": seed},
        )
        return generate(make_plan(request)).record["sha256"]["latents"]

    first = latents_hash(1, "a.mp4")
    assert latents_hash(1, "b.mp4") == first
    assert latents_hash(2, "c.mp4") != first


@pytest.mark.parametrize("kind", ["t2v", "i2v", "ti2v"])
def test_the_record_alone_makes_the_same_video(kind, tiny_models, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["generate", "a fox", "--model", tiny_models[kind], "--seed", "5", *SIZE]
    size = ["--width", "96", "--height", "64"] if kind == "ti2v" else []
    image = [] if kind == "t2v" else ["--image", picture]
    assert run([*words, *size, *image, "--output", "one.mp4"]) == 0
    assert run(["generate", "--config", "one.json", "--output", "two.mp4"]) == 0
    one, two = (json.loads(Path(f"{name}.json").read_text()) for name in ("one", "two"))
    assert two["sha256"]["latents"] == one["sha256"]["latents"]
    assert two["sha256"]["frames"] == one["sha256"]["frames"]
    # a changed setting is another video, from the same record
    assert run(["generate", "--config", "one.json", "--seed", "6", "--output", "3.mp4"]) == 0
    three = json.loads(Path("3.json").read_text())
    assert three["sha256"]["latents"] != one["sha256"]["latents"]
    assert three["plan"]["steps"] == one["plan"]["steps"]


def test_stages_are_functions_that_can_be_used_alone(tiny_models):
    plan = make_plan(Request("a fox", model=tiny_models["t2v"], **REQUEST))
    folder = open_model(plan.model_path)
    embeds = encode_prompt(plan, folder)
    latents = start_noise(plan)
    assert latents.shape == plan.latent_shape == (1, 3, 4, 6, 16)
    steps = list(denoise(plan, Experts(plan, folder, embeds), latents))
    assert [step.index for step in steps] == [0, 1, 2, 3]
    experts = [step.expert for step in steps]
    assert experts == ["high_noise", "high_noise", "high_noise", "low_noise"]
    chunks = list(decode(plan, folder, steps[-1].latents))
    assert [len(chunk) for chunk in chunks] == [1, 4, 4]
    assert all(chunk.dtype == np.uint8 for chunk in chunks)
    noise = np.array(start_noise(plan))
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1


def test_ti2v_keeps_the_first_frame(tiny_models, picture):
    from mlx_wan import encode_image

    request = Request(
        "a", model=tiny_models["ti2v"], image=picture, **{**REQUEST, "width": 96, "height": 64}
    )
    plan = make_plan(request)
    folder = open_model(plan.model_path)
    condition = encode_image(plan, folder)
    experts = Experts(plan, folder, encode_prompt(plan, folder))
    *_, last = denoise(plan, experts, start_noise(plan), condition)
    assert mx.array_equal(last.latents[:, :1], condition.first_frame)


def test_experts_take_turns_unless_both_fit(tiny_models):
    from dataclasses import replace

    plan = make_plan(Request("a", model=tiny_models["t2v"], **REQUEST))
    folder = open_model(plan.model_path)
    embeds = encode_prompt(plan, folder)
    both = Experts(plan, folder, embeds)
    both.at(0), both.at(3)
    assert plan.memory.both_experts and list(both.loaded) == ["high_noise", "low_noise"]
    small = replace(plan, memory=replace(plan.memory, both_experts=False))
    turns = Experts(small, folder, embeds)
    turns.at(0), turns.at(3)
    assert list(turns.loaded) == ["low_noise"]


def test_an_expert_is_gone_before_the_next_is_loaded(tiny_models, monkeypatch):
    import weakref
    from dataclasses import replace

    import mlx_wan.pipeline as pipeline

    plan = make_plan(Request("a", model=tiny_models["t2v"], **REQUEST))
    plan = replace(plan, memory=replace(plan.memory, both_experts=False))
    folder = open_model(plan.model_path)
    loaded, alive = [], []
    load = pipeline.load_network

    def watched(component):
        alive.append([network() is not None for network in loaded])
        network = load(component)
        loaded.append(weakref.ref(network))
        return network

    embeds = encode_prompt(plan, folder)
    monkeypatch.setattr(pipeline, "load_network", watched)
    list(denoise(plan, Experts(plan, folder, embeds), start_noise(plan)))
    assert alive == [[], [False]]


def test_nan_names_the_step_and_the_layer_group(tiny_models, tmp_path, monkeypatch):
    import mlx_wan.pipeline as pipeline

    load = pipeline.load_network

    def damaged(component):
        network = load(component)
        if component.name == "low_noise":
            network.blocks[1].ffn.fc2.bias = network.blocks[1].ffn.fc2.bias * mx.inf
        return network

    monkeypatch.setattr(pipeline, "load_network", damaged)
    output = tmp_path / "v.mp4"
    plan = make_plan(Request("a", model=tiny_models["t2v"], output=str(output), **REQUEST))
    with pytest.raises(GenerationError, match=r"step 4 of 4 in blocks.1 of low_noise"):
        generate(plan)
    assert list(tmp_path.iterdir()) == []


def test_frozen_output_fails_and_is_kept_under_another_name(tiny_models, tmp_path, monkeypatch):
    import mlx_wan.run as engine

    def still(plan, folder, latents, networks):
        yield np.full((plan.num_frames, plan.height, plan.width, 3), 90, np.uint8)

    monkeypatch.setattr(engine, "decode", still)
    output = tmp_path / "v.mp4"
    plan = make_plan(Request("a", model=tiny_models["t2v"], output=str(output), **REQUEST))
    with pytest.raises(GenerationError, match="frozen"):
        generate(plan)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.rejected.json", "v.rejected.mp4"]
    assert json.loads((tmp_path / "v.rejected.json").read_text())["health"] == "frozen"


def test_a_changed_model_is_noticed(tiny_models, tmp_path):
    from dataclasses import replace

    plan = make_plan(Request("a", model=tiny_models["t2v"], **REQUEST))
    with pytest.raises(ModelError, match="not the model"):
        generate(replace(plan, model_fingerprint="0" * 64))


def test_the_same_weights_converted_elsewhere_are_the_same_model(tiny_models, tmp_path):
    import shutil

    moved = shutil.copytree(tiny_models["t2v"], tmp_path / "moved")
    config = json.loads((moved / "config.json").read_text())
    config["source"]["path"], config["mlx_wan_version"] = "/elsewhere", "9.9"
    (moved / "config.json").write_text(json.dumps(config))
    fingerprint = open_model(tiny_models["t2v"]).fingerprint
    assert open_model(moved).fingerprint == fingerprint
    first = next(iter(config["files"].values()))
    first["sha256"] = "0" * 64
    (moved / "config.json").write_text(json.dumps(config))
    assert open_model(moved).fingerprint != fingerprint


def test_record_hashes_are_those_of_the_results(tiny_models, tmp_path):
    output = tmp_path / "v.mp4"
    plan = make_plan(Request("a", model=tiny_models["t2v"], output=str(output), **REQUEST))
    result = generate(plan)
    assert result.record["sha256"]["video"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert set(result.record["seconds"]) == {"encode", "denoise", "decode"}
    assert all(peak > 0 for peak in result.record["peak_memory"].values())
    assert json.loads(result.record_path.read_text()) == result.record


def test_a_changed_image_is_noticed(tiny_models, picture, tmp_path):
    output = str(tmp_path / "v.mp4")
    plan = make_plan(
        Request("a", model=tiny_models["i2v"], image=picture, output=output, **REQUEST)
    )
    Image.new("RGB", (48, 32)).save(picture)
    with pytest.raises(UsageError, match="not the image this was planned with"):
        generate(plan)


def test_a_record_works_from_another_folder(tiny_models, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Path(tiny_models["i2v"])
    monkeypatch.chdir(model.parent)
    Image.open(picture).save("near.png")
    plan = make_plan(Request("a", model=model.name, image="near.png", **REQUEST))
    monkeypatch.chdir(tmp_path)
    assert Path(plan.image).is_file() and Path(plan.model_path).is_dir()
    assert Path(plan.image).is_absolute() and Path(plan.model_path).is_absolute()


def test_another_setting_leaves_the_size_of_a_record_alone(tiny_models, tmp_path, capsys):
    Image.new("RGB", (400, 300), (200, 80, 40)).save(tmp_path / "wide.png")
    words = ["plan", "a", "--model", tiny_models["i2v"], "--image", str(tmp_path / "wide.png")]
    sizes = []
    for steps in ("4", "5", "6"):
        assert run([*words, "--steps", steps, "--json"]) == 0
        plan = json.loads(capsys.readouterr().out)["plan"]
        sizes.append((plan["width"], plan["height"]))
        record = {"format": "mlx-wan-record", "version": 1, "plan": plan}
        (tmp_path / "v.json").write_text(json.dumps(record))
        words = ["plan", "--config", str(tmp_path / "v.json")]
    assert len(set(sizes)) == 1, sizes


def test_a_name_taken_meanwhile_is_not_overwritten(tiny_models, tmp_path, monkeypatch):
    import mlx_wan.run as engine

    output = tmp_path / "v.mp4"

    def slow(plan, folder, latents, networks):
        output.write_text("mine")
        (tmp_path / "v_2.json").write_text("mine too")
        yield from decode(plan, folder, latents)

    monkeypatch.setattr(engine, "decode", slow)
    result = generate(
        make_plan(Request("a", model=tiny_models["t2v"], output=str(output), **REQUEST))
    )
    assert (output.read_text(), (tmp_path / "v_2.json").read_text()) == ("mine", "mine too")
    assert (result.video.name, result.record_path.name) == ("v_3.mp4", "v_3.json")


def test_every_stage_says_when_it_begins_and_how_far_it_is(tiny_models, tmp_path):
    events: list[Event] = []
    plan = make_plan(
        Request("fox " * 400, model=tiny_models["t2v"], output=str(tmp_path / "v.mp4"), **REQUEST)
    )
    generate(plan, events.append)
    assert [(e.stage, e.done, e.total) for e in events] == [
        *(("encode", done, 1) for done in (0, 1)),
        *(("denoise", done, 4) for done in range(5)),
        *(("decode", done, 9) for done in (0, 1, 5, 9)),
    ]
    assert "tokens did not fit" in events[1].detail  # the last word of the stage, so it is seen


def test_nan_frames_of_the_vae_are_no_video(tiny_models, tmp_path, monkeypatch):
    import mlx_wan.pipeline as pipeline

    load = pipeline.load_network

    def damaged(component):
        network = load(component)
        if component.name == "vae":
            network.conv2.bias = network.conv2.bias * mx.nan
        return network

    monkeypatch.setattr(pipeline, "load_network", damaged)
    output = tmp_path / "v.mp4"
    plan = make_plan(Request("a", model=tiny_models["t2v"], output=str(output), **REQUEST))
    with pytest.raises(GenerationError, match="VAE"):
        generate(plan)
    assert list(tmp_path.iterdir()) == []


def test_dmd_runs_without_guidance_and_renoises_from_the_seed(tiny_models):
    request = Request("a", model=tiny_models["t2v"], solver="dmd", **(REQUEST | {"steps": 3}))
    plan = make_plan(request)
    assert {expert.guidance_scale for expert in plan.experts} == {1.0}
    assert plan.forwards == 3
    folder = open_model(plan.model_path)
    embeds = encode_prompt(plan, folder)
    assert embeds.negative_prompt_embeds is None

    def last_latents():
        *_, last = denoise(plan, Experts(plan, folder, embeds), start_noise(plan))
        return last.latents

    assert mx.array_equal(last_latents(), last_latents())

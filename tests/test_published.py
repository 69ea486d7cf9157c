"""Planning models that were never converted, from what their authors published about them."""

import json
from dataclasses import replace

import pytest
from checkpoints import build

from mlx_wan.cli.main import run
from mlx_wan.convert import convert
from mlx_wan.cpu import counting_for_gpu, is_cpu
from mlx_wan.errors import ModelError
from mlx_wan.loading import embedded_model, open_model
from mlx_wan.planning import make_plan, plan_for
from mlx_wan.presets import EMBEDDED, PRESETS
from mlx_wan.published import folder_of, is_published, planning_folder, published_folder
from mlx_wan.registry.catalogue import known_models
from mlx_wan.request import Request
from mlx_wan.roofline.predict import predict
from mlx_wan.roofline.stages import tensor_count

GIB = 2**30


def request(preset, tmp_path, **changes) -> Request:
    """For a model that needs one with an image."""
    values = {"prompt": "a fox", "model": preset.id} | changes
    if preset.task == "i2v":
        import numpy as np
        from PIL import Image

        file = tmp_path / "first.png"
        Image.fromarray(np.full((72, 128, 3), 90, np.uint8)).save(file)
        values["image"] = str(file)
    return Request(**values)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_planned_at_its_full_size(name, tmp_path):
    preset = PRESETS[name]
    with counting_for_gpu():
        folder = published_folder(preset)
        if preset.continues:
            first = PRESETS[preset.continues[0]]
            asked = replace(request(first, tmp_path), super_resolution=preset.id)
            plan = plan_for(asked, published_folder(first), larger=folder)
        else:
            plan = plan_for(request(preset, tmp_path), folder)
        told = predict([plan], "m3-ultra")
    assert is_published(folder)
    transformers = [folder[expert.name] for expert in preset.experts]
    parameters = known_models()[name].parameters
    if name != EMBEDDED and parameters:
        assert sum(t.nbytes for t in transformers) == pytest.approx(2 * parameters, rel=0.01)
    assert plan.flops > 0 and (plan.width, plan.height) in preset.sizes
    assert all(amount > 0 for amount in plan.memory.stages().values())
    assert told.seconds is not None
    assert all(value > 0 for value in told.seconds.values())


def test_the_published_sizes_are_those_of_the_converted_model():
    ours, published = open_model(embedded_model()), published_folder(PRESETS[EMBEDDED])
    for name, component in ours.components.items():
        if name == "tokenizer":
            continue
        counted = published[name]
        assert counted.network == component.network
        assert tensor_count(counted) == tensor_count(component) > 0
        if name != "vae":  # which is stored in 16 bits, for it is part of the package
            assert counted.nbytes == pytest.approx(component.nbytes, rel=0.02)


def test_mochi_1():
    with counting_for_gpu():
        plan = plan_for(Request("a fox"), published_folder(PRESETS["mochi-1"]))
        small = plan_for(Request("a fox"), published_folder(PRESETS["mochi-1"], 4))
    assert plan.tokens == 44_520
    assert plan.flops == pytest.approx(128 * 1.667e15, rel=0.01)
    # 20.1 GB of weights, of which 5.5 are let go, and some 3 GiB beside them
    assert 15 * GIB < plan.memory.denoise < 19 * GIB
    assert small.memory.denoise < plan.memory.denoise - 9 * GIB
    assert any("models download mochi-1 --convert" in note for note in plan.notes)


def test_quantised_weights_are_counted_as_convert_would_store_them(tmp_path):
    build(tmp_path / "source", "wan2.1-t2v-1.3b", "original", dtype="BF16")
    convert(tmp_path / "source", tmp_path / "made", quantize=8)
    made = open_model(tmp_path / "made")
    for name in ("transformer", "text_encoder"):
        preset = PRESETS["wan2.1-t2v-1.3b"]
        components = dict(preset.components) | {name: (made[name].network, made[name].config)}
        counted = published_folder(replace(preset, components=components), 8)[name]
        assert counted.nbytes == pytest.approx(made[name].nbytes, rel=0.1)


def test_the_command(capsys):
    assert run(["plan", "a fox", "--model", "mochi-1", "--chip", "m3-ultra", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["plan"]["model"] == "mochi-1" and told["prediction"]["chip"] == "m3-ultra-60"
    assert told["prediction"]["seconds"]["denoise"] > 1000
    assert run(["plan", "a fox", "--model", "mochi-1", "--quantize", "8", "--json"]) == 0
    fewer = json.loads(capsys.readouterr().out)["plan"]
    assert "8 bits" in fewer["notes"][0] and fewer["notes"][0].endswith("--convert --quantize 8")
    assert run(["plan", "a fox", "--model", "mochi-1", "--quantize", "5"]) == 2
    assert "4, 6, 8" in capsys.readouterr().err
    assert run(["plan", "a fox", "--model", "elsewhere"]) == 1
    assert "there is no model" in capsys.readouterr().err
    assert run(["plan", "a fox", "--quantize", "8"]) == 2
    assert "--model" in capsys.readouterr().err


def test_what_does_not_fit_is_told_not_refused():
    plan = plan_for(Request("x"), published_folder(PRESETS["mochi-1"]), memory_limit=GIB)
    assert any("more than this machine has" in note for note in plan.notes)


def test_it_cannot_be_run(capsys):
    assert run(["generate", "a fox", "--model", "mochi-1"]) == 1
    said = capsys.readouterr().err
    assert "there is no model 'mochi-1'" in said and "models download mochi-1 --convert" in said
    with pytest.raises(ModelError, match="there is no model"):
        make_plan(Request("a fox", model="mochi-1"))
    with pytest.raises(ModelError):
        open_model(plan_for(Request("x"), published_folder(PRESETS["mochi-1"])).model_path)


def test_a_converted_model_is_planned_as_it_is():
    assert planning_folder(None).path == embedded_model()
    assert planning_folder(EMBEDDED).path == embedded_model()
    plan = make_plan(Request("waves", model=EMBEDDED))
    assert folder_of(plan).path == embedded_model()
    published = plan_for(Request("waves"), published_folder(PRESETS[EMBEDDED], 8))
    assert folder_of(published).fingerprint == published.model_fingerprint


def test_a_damaged_folder_of_that_name_is_not_passed_over(library_folders):
    from mlx_wan.home import models_folder

    (models_folder() / "mochi-1").mkdir(parents=True)
    with pytest.raises(ModelError, match="is not a converted model"):
        planning_folder("mochi-1")


def test_counting_for_a_gpu_ends():
    before = is_cpu()
    with counting_for_gpu():
        assert not is_cpu()
    assert is_cpu() == before

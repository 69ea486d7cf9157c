"""Which model becomes the default, and by what evidence."""

import hashlib
import json
import shutil

import pytest

from mlx_wan import ModelMetadata, ModelRegistry
from mlx_wan.cli.main import run
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.home import models_folder
from mlx_wan.loading import embedded_model, find_model, open_model
from mlx_wan.registry import (
    active_model,
    add_model,
    find_known,
    known_models,
    read_registry,
    record_ab_report,
    record_benchmark,
    registry_file,
    remove_model,
)
from mlx_wan.registry.promotion import activate, rollback
from mlx_wan.registry.status import list_models


def install(name, number):
    """A converted model with weights of its own; its fingerprint."""
    folder = models_folder() / name
    shutil.copytree(embedded_model(), folder)
    config = json.loads((folder / "config.json").read_text())
    file = next(file for file in config["files"] if file.endswith(".safetensors"))
    data = bytearray((folder / file).read_bytes())
    data[-1 - number] ^= 1
    (folder / file).write_bytes(data)
    config["files"][file]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    return open_model(folder).fingerprint


def report(a, b, verdict="PASS", **changes):
    sides = {
        "a": {"model": "one", "fingerprint": a, "more": 1},
        "b": {"model": "two", "fingerprint": b},
    }
    about = {"format": "mlx-wan-ab", "version": 1, "candidate": "b", "verdict": verdict}
    about |= {"path": "/r/report.json", "sha256": "0" * 64, "finished": "2026-11-23T00:00:00Z"}
    return sides | about | changes


@pytest.fixture
def two():
    """Models one (active) and two; their fingerprints."""
    prints = install("one", 0), install("two", 1)
    assert prints[0] != prints[1]
    activate("one")
    return prints


def test_without_evidence_a_model_does_not_become_active(two):
    assert active_model() == "one"
    with pytest.raises(UsageError, match="was not compared yet") as error:
        activate("two")
    assert "bench ab one two" in error.value.hint and "--force" in error.value.hint
    assert active_model() == "one"


def test_a_passed_comparison_of_these_weights_is_enough(two):
    record_ab_report(report(*two))
    assert "PASS" in activate("two")
    assert active_model() == "two" and find_model(None) == models_folder() / "two"
    last = read_registry().history[-1]
    assert (last["action"], last["previous"], last["model"]) == ("activated", "one", "two")


@pytest.mark.parametrize(
    ("verdict", "said"), [("FAIL", "says FAIL"), ("NOT ENOUGH EVIDENCE", "says NOT ENOUGH")]
)
def test_another_verdict_is_not(two, verdict, said):
    record_ab_report(report(*two, path="/older/report.json"))
    record_ab_report(report(*two, verdict))
    with pytest.raises(UsageError, match=said):
        activate("two")


def test_an_older_comparison_noted_again_is_no_newer(two):
    record_ab_report(report(*two, "FAIL", path="/newer.json", finished="2026-11-24T00:00:00Z"))
    record_ab_report(report(*two, path="/older.json"))
    with pytest.raises(UsageError, match="says FAIL"):
        activate("two")


def test_evidence_is_of_exactly_these_weights_in_this_order(two):
    record_ab_report(report("f" * 64, two[1]))
    with pytest.raises(UsageError, match="not with the active one"):
        activate("two")
    record_ab_report(report(two[1], two[0], path="/the/other/way/round.json"))
    with pytest.raises(UsageError, match="not with the active one"):
        activate("two")
    record_ab_report(report(two[0], "e" * 64))
    shutil.rmtree(models_folder() / "two")
    install("two", 2)
    with pytest.raises(UsageError, match="other weights"):
        activate("two")


def test_by_force_with_the_reason_kept(two, capsys):
    assert run(["models", "activate", "two", "--force", "the client wants it"]) == 0
    assert active_model() == "two"
    assert run(["models", "history"]) == 0
    assert "the client wants it" in capsys.readouterr().out
    with pytest.raises(UsageError, match="reason"):
        activate("one", "  ")
    with pytest.raises(UsageError, match="reason"):
        activate("one", "\udcff")  # what the shell hands over as bytes


def test_an_active_model_that_is_gone_is_the_reason(two):
    shutil.rmtree(models_folder() / "one")
    assert activate("two") == "the active one is gone, so nothing can be compared with it"


def test_rollback_goes_back_step_by_step(two):
    install("three", 3)
    activate("two", "first")
    activate("three", "second")
    assert [rollback(), rollback()] == ["two", "one"]
    with pytest.raises(UsageError, match="no other active model before"):
        rollback()
    activate("three", "again")
    shutil.rmtree(models_folder() / "one")
    with pytest.raises(ModelError, match="gone"):
        rollback()
    assert active_model() == "three"


def test_what_is_not_converted_cannot_be_active(capsys):
    with pytest.raises(ModelError, match="not converted") as error:
        activate("mochi-1")
    assert "models download mochi-1" in error.value.hint
    models_folder().mkdir(parents=True)
    (models_folder().parent / "config.json").write_text("{}")
    for name in ("../x", "..", "", "a/b", "x" * 300, "\0"):
        with pytest.raises(ModelError, match="not converted"):
            activate(name)
    assert run(["models", "activate", "none"]) == 1


def test_the_embedded_model_can_be_active_among_real_ones(two):
    activate("wan-mini", "small and quick")
    assert find_model(None) == embedded_model()


def test_no_report_is_refused(two):
    for wrong in (
        {},
        report(*two, version=2),
        report(*two, verdict="MAYBE"),
        report(*two) | {"a": {"model": 3, "fingerprint": 4}},
        report(*two, sha256="x"),
    ):
        with pytest.raises(UsageError):
            record_ab_report(wrong)
    assert read_registry().evidence == []


def test_the_list_says_what_is_here(two, capsys):
    states = {status.name: status.state for status in list_models()}
    assert states["one"] == "active" and states["two"] == "converted"
    assert states["mochi-1"] == "known"
    assert run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["*", "one"]
    shutil.rmtree(models_folder() / "one")
    (models_folder() / "two" / "config.json").write_text("{")
    assert run(["models", "list", "--json"]) == 0
    found = {model["id"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert found["one"]["state"] == "missing" and found["two"]["state"] == "broken"
    assert found["one"]["problem"] and found["two"]["problem"]
    assert run(["models"]) == 0


def test_a_download_that_was_deleted_is_no_download(tmp_path):
    from mlx_wan.hub import Listing, RemoteFile, Snapshot
    from mlx_wan.registry import downloaded, record_downloads

    file = RemoteFile("a.safetensors", 3, "0" * 64, "0" * 64)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    record_downloads(
        "mochi-1", [Snapshot(Listing(f"o/{f.name}", "1" * 40, (file,)), f) for f in folders]
    )
    kept = downloaded("mochi-1")
    assert [one.repo for one in kept] == ["o/one", "o/two"]
    assert (kept[0].revision, kept[0].files[0].path) == ("1" * 40, "a.safetensors")
    assert next(s for s in list_models() if s.name == "mochi-1").state == "downloaded"
    folders[1].rmdir()
    assert next(s for s in list_models() if s.name == "mochi-1").state == "known"


def test_the_names_of_the_document_work():
    registry = ModelRegistry()
    name = registry.add_model(
        ModelMetadata(
            name="My Model",
            version="1.0",
            parameters="14B",
            architecture="DiT",
            license="MIT",
            source="me/my-model",
            file_size_gb=28.5,
            quality_score=83.1,
            performance={"seconds_per_step": 3.5},
            active=False,
        )
    )
    found = {model.name: model for model in registry.list_models()}
    assert name == "my-model" and found[name].parameters == 14_000_000_000
    assert (found[name].quality_score, found[name].file_size_gb) == (83.1, 28.5)
    assert registry.get_active().name == "wan-mini"
    assert find_known(name).source.repo == "me/my-model"
    with pytest.raises(UsageError, match="added already"):
        registry.add_model(ModelMetadata("My Model"))
    with pytest.raises(ModelError, match="not converted"):
        registry.set_active("My Model")
    with pytest.raises(UsageError, match="cannot be active"):
        registry.add_model(ModelMetadata("other", active=True))
    remove_model(name)
    assert name not in {model.name for model in registry}
    with pytest.raises(UsageError, match="nothing is noted"):
        remove_model(name)


def test_figures_of_a_built_in_model_are_checked_and_few_are_kept():
    for wrong in ({"s": float("nan")}, {"s": object()}, {"s": {1, 2}}):
        with pytest.raises(UsageError):
            ModelRegistry().add_model(ModelMetadata("mochi-1", performance=wrong))
    ModelRegistry().add_model(ModelMetadata("mochi-1", performance={"s": 2.5}))
    [kept] = read_registry().models["mochi-1"]["benchmarks"]
    assert kept["stated"] == {"s": 2.5}


def test_models_of_ones_own_on_the_command_line(capsys):
    words = ["models", "add", "Mine", "--source", "me/mine", "--parameters", "1.3B"]
    assert run(words) == 0 and run(words) == 2
    assert run(["models", "show", "mine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["known"]["parameters"] == 1_300_000_000 and told["state"] == "known"
    assert run(["models", "add", "x", "--parameters", "many"]) == 2
    assert run(["models", "add", "Mochi 1"]) == 2
    assert "mochi-1 is known already" in capsys.readouterr().err
    assert run(["models", "show", "nothing"]) == 2
    assert run(["models", "remove", "mine"]) == 0


def test_what_was_measured_is_kept_and_shown(capsys):
    record_benchmark("wan-mini", {"seconds_per_step": 0.25, "machine": "m"})
    with pytest.raises(UsageError):
        record_benchmark("wan-mini", {"seconds_per_step": float("nan")})
    assert run(["models"]) == 0
    assert "0.25 s a step" in capsys.readouterr().out


def test_the_catalogue_is_consistent():
    models = known_models()
    for id, model in models.items():
        assert model.id == id and model.license.name and model.license.url
        assert all(source.repo for source in model.sources) or id == "wan-mini"
        for source in model.sources:
            assert source.revision is None or len(source.revision) == 40
            for file in source.files:
                assert file.sha256 is None or len(file.sha256) == 64
                assert file.sha256 is None or file.size
            paths = [file.path for file in source.files]
            assert len(paths) == len(set(paths))
        repos = [source.repo for source in model.sources]
        assert len(repos) == len(set(repos))
        for other in (model.distilled, model.base):
            assert other is None or other in models
        if model.distilled:
            assert models[model.distilled].base == id
        score = model.quality_score
        assert score is None or score.as_stated or (score.date and score.source)
    whole = [
        id
        for id, m in models.items()
        if m.size and all(file.sha256 for source in m.sources for file in source.files)
    ]
    assert whole == ["wan2.2-ti2v-5b", "mochi-1"], (
        "of which every file is known before the hub is asked"
    )
    tencent = [model for id, model in models.items() if id.startswith("hunyuan")]
    assert len(tencent) == 10 and all("European Union" in m.license.restrictions for m in tencent)
    for model in tencent:  # every network of the preset has a repository it comes from
        repos = {source.repo for source in model.sources}
        assert {"tencent/HunyuanVideo-1.5", "Qwen/Qwen2.5-VL-7B-Instruct"} < repos
        looks = "i2v" in model.id or model.id.endswith("-sr")
        assert ("google/siglip-so400m-patch14-384" in repos) == looks


def test_defaults_are_those_of_the_presets():
    from mlx_wan.presets import PRESETS

    for id, preset in PRESETS.items():
        model = known_models()[id]
        assert model.preset == id
        assert (model.defaults["width"], model.defaults["height"]) == preset.sizes[0]
        for name in ("num_frames", "fps", "steps"):
            assert model.defaults[name] == getattr(preset, name), (id, name)
        assert model.defaults.get("shift", 1.0) == preset.shift


def test_adding_leaves_others_alone(two):
    add_model("own", {"license": "MIT"})
    before = registry_file().read_bytes()
    with pytest.raises(UsageError):
        add_model("own", {})
    with pytest.raises(UsageError):
        add_model("mochi-1", {})
    with pytest.raises(UsageError, match="is the active model"):
        remove_model("one")
    assert registry_file().read_bytes() == before

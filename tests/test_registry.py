"""The default model: embedded until a real one was installed, then that one or an error."""

import json
from dataclasses import replace

import pytest
from checkpoints import build

from mlx_wan import Request, make_plan
from mlx_wan.cli.main import run
from mlx_wan.convert import convert
from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.loading import embedded_model, find_model, open_model
from mlx_wan.planning import replan
from mlx_wan.registry import active_model, record_installed, registry_file, set_active


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The models folder of an empty home, in which we also are."""
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "models"


def install(models, name):
    (models / name).mkdir(parents=True)
    (models / name / "config.json").write_text("{}")
    record_installed(models / name, "wan2.2-ti2v-5b")


def test_with_nothing_installed_the_embedded_model_is_the_default(models):
    assert find_model(None) == embedded_model()
    folder = open_model(find_model(None))
    assert folder.preset.id == "wan-mini"
    assert not models.parent.exists(), "looking leaves nothing behind"


def test_one_note_says_that_the_embedded_model_is_used_and_what_to_do(models, capsys):
    notes = make_plan(Request("blue waves")).notes
    assert len(notes) == 1
    assert "wan-mini" in notes[0] and ": mlx-wan " in notes[0]
    assert make_plan(Request("blue waves", model="wan-mini")).notes == ()


def test_the_first_real_model_becomes_the_default(models):
    install(models, "one")
    assert active_model() == "one"
    assert find_model(None) == models / "one"
    install(models, "two")
    assert find_model(None) == models / "one", "a second one changes nothing"
    set_active("two")
    assert find_model(None) == models / "two"


def test_convert_records_only_what_goes_into_the_models_folder(models, tmp_path):
    build(tmp_path / "source", "wan2.2-ti2v-5b")
    convert(tmp_path / "source", tmp_path / "elsewhere", dtype="fp32")
    assert active_model() is None
    convert(tmp_path / "source", models / "mine", dtype="fp32")
    assert active_model() == "mine"
    assert find_model(None) == models / "mine"


def test_a_copy_of_the_embedded_model_is_no_real_model(models):
    record_installed(models / "wan-mini", "wan-mini")
    assert active_model() is None


def test_a_missing_active_model_is_an_error_and_never_replaced(models):
    install(models, "one")
    install(models, "two")
    (models / "one").rename(models / "gone")
    (models / "gone" / "config.json").unlink()
    with pytest.raises(ModelError, match="active model 'one' is missing") as error:
        find_model(None)
    assert "two" in error.value.hint and "wan-mini" in error.value.hint
    (models / "two" / "config.json").unlink()
    with pytest.raises(ModelError, match="missing"):
        find_model(None)


def test_models_put_there_by_hand_are_found_and_a_choice_is_asked_for(models):
    for name in ("one", "two"):
        (models / name).mkdir(parents=True)
        (models / name / "config.json").write_text("{}")
        if name == "one":
            assert find_model(None) == models / "one"
    with pytest.raises(ModelError, match="2 models are installed"):
        find_model(None)


def test_wan_mini_is_always_there_by_name(models, tmp_path):
    assert find_model("wan-mini") == embedded_model()
    (tmp_path / "wan-mini").mkdir()  # a folder of that name that is no model
    assert find_model("wan-mini") == embedded_model()
    install(models, "one")
    assert find_model("wan-mini") == embedded_model()
    (models / "wan-mini").mkdir()
    (models / "wan-mini" / "config.json").write_text("{}")
    assert find_model("wan-mini") == models / "wan-mini"


DAMAGED = {
    "empty": b"",
    "cut": b'{"format": "mlx-wan-reg',
    "a list": b"[]",
    "another format": b'{"format": "x", "version": 1, "active": "one"}',
    "a newer version": b'{"format": "mlx-wan-registry", "version": 99, "active": "one"}',
    "a true version": b'{"format": "mlx-wan-registry", "version": true, "active": "one"}',
    "a number": b'{"format": "mlx-wan-registry", "version": 1, "active": 7}',
    "a path": b'{"format": "mlx-wan-registry", "version": 1, "active": "../../etc"}',
    "no name": b'{"format": "mlx-wan-registry", "version": 1, "active": ""}',
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_registry_is_an_error_and_a_copy_is_kept(models, damage):
    install(models, "one")
    registry_file().write_bytes(DAMAGED[damage])
    for _ in range(3):
        with pytest.raises(BadFileError) as error:
            find_model(None)
        assert str(registry_file()) in error.value.message and error.value.hint
    copies = list(models.parent.glob("registry.damaged*"))
    assert [copy.read_bytes() for copy in copies] == [DAMAGED[damage]]
    assert registry_file().read_bytes() == DAMAGED[damage], "and it stays as it is"
    assert find_model("one") == models / "one"
    registry_file().write_bytes(b"another")
    for _ in range(2):
        with pytest.raises(BadFileError):
            find_model(None)
    assert len(list(models.parent.glob("registry.damaged*"))) == 2


def test_activating_replaces_a_damaged_registry_whose_copy_is_kept(models):
    install(models, "one")
    registry_file().write_bytes(b"?")
    install(models, "two")
    assert find_model(None) == models / "two"
    assert (models.parent / "registry.damaged.json").read_bytes() == b"?"


def test_a_conversion_leaves_the_active_model_of_a_damaged_registry(models):
    install(models, "one")
    registry_file().write_text(registry_file().read_text().replace('"installed"', '"invented"'))
    install(models, "two")
    assert active_model() == "one", "it was readable, and stays"
    install(models, "a\nname that is none")


def test_the_error_names_the_copy_that_was_kept(models):
    models.mkdir(parents=True)
    for contents in (b"?", b"??"):
        registry_file().write_bytes(contents)
        with pytest.raises(BadFileError) as error:
            find_model(None)
        kept = error.value.hint.split("kept as ")[1].split(";")[0]
        assert (models.parent / kept).read_bytes() == contents


def test_a_registry_too_large_or_no_file_is_refused(models):
    models.mkdir(parents=True)
    registry_file().write_bytes(b" " * 9_000_000)
    with pytest.raises(BadFileError, match="too large"):
        find_model(None)
    registry_file().unlink()
    registry_file().mkdir()
    with pytest.raises(BadFileError, match="is not a file"):
        find_model(None)


def test_what_is_written_is_whole_and_says_why(models):
    install(models, "one")
    set_active("two")
    data = json.loads(registry_file().read_text())
    assert data["active"] == "two" and data["version"] == 3
    assert [(item["model"], item["previous"]) for item in data["history"]] == [
        ("one", None),
        ("two", "one"),
    ]
    files = sorted(file.name for file in models.parent.iterdir() if file.is_file())
    assert files == ["registry.json", "registry.lock"]


def test_a_registry_of_the_first_version_is_read(models):
    install(models, "one")
    registry_file().write_text('{"format": "mlx-wan-registry", "version": 1, "active": "one"}')
    assert active_model() == "one"
    set_active("two")
    assert json.loads(registry_file().read_text())["version"] == 3


def test_a_plan_of_the_embedded_model_moves_with_the_package(models):
    plan = make_plan(Request("blue waves"))
    moved = replace(plan, model_path="/another/machine/mlx_wan/assets/wan-mini")
    assert replan(moved, None, None).model_path == plan.model_path
    with pytest.raises(ModelError):
        replan(replace(moved, model="wan2.2-ti2v-5b"), None, None)


def test_doctor_names_the_default_model(models, capsys):
    assert run(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["default model"] == "wan-mini"
    assert facts["models"]["wan-mini"].startswith("built in: ")
    install(models, "one")
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "one" in shown.split("default model:")[1].splitlines()[0]
    assert "one: broken" in shown
    (models / "one" / "config.json").unlink()
    assert run(["doctor"]) == 0
    assert "none: the active model 'one' is missing" in capsys.readouterr().out

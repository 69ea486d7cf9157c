"""What the commands share: settings by name, notes, checks before the work."""

import json
import random
from types import SimpleNamespace

import pytest
from library_files import add_video
from typer.testing import CliRunner

from mlx_wan import library
from mlx_wan.api import Wan22Generator
from mlx_wan.cli import deliver
from mlx_wan.cli.main import run
from mlx_wan.cli.planned import making, plan_values
from mlx_wan.cli.studio_options import social_production
from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.library import actions
from mlx_wan.studio import production
from mlx_wan.studio.brand import Brand, brand_path


def test_flags_become_the_same_production_from_every_command():
    given = {"seed": 3, "steps": 2, "interpolate": "off", "tags": ["launch"], "no_brand": True}
    one = plan_values({"prompt": "blue waves", "format": "wide"} | given)
    other = social_production("linkedin", {"topic": "Waves", "format": "wide"} | given)
    for name in ("seed", "interpolate", "tags", "brand"):
        assert getattr(one, name) == getattr(other, name)
    assert {p.steps for p in (*one.plans, *other.plans)} == {2}
    assert making({}, None)["interpolate"] == "motion"
    assert social_production("linkedin", {"topic": "Waves"}).tags == ("linkedin",)


@pytest.mark.parametrize(
    "arguments",
    [
        ["linkedin", "Waves", "--format", ""],
        ["linkedin", "Waves", "--interpolate", ""],
        ["linkedin", "Waves", "--quality", ""],
        ["generate", "waves", "--format", ""],
        ["generate", "waves", "--interpolate", ""],
        ["library", "list", "--since", ""],
    ],
)
def test_an_empty_value_is_a_wrong_one(arguments, capsys):
    dry = [] if arguments[0] == "library" else ["--dry-run"]
    assert run([*arguments, *dry]) == 2
    assert "error:" in capsys.readouterr().err


def test_a_dry_run_checks_the_output(tmp_path, capsys):
    (tmp_path / "a.mp4").touch()
    taken = ["--dry-run", "--output", str(tmp_path / "a.mp4")]
    for words in (["linkedin", "Waves"], ["generate", "waves"]):
        assert run([*words, *taken]) == 2
        assert "exists already" in capsys.readouterr().err
    small = ["--width", "96", "--height", "96", "--model", "wan-mini"]
    assert run(["generate", "waves", *small, *taken]) == 2


def test_words_without_quotes_are_told_to_be_quoted(capsys):
    for command, name in (("generate", "prompt"), ("linkedin", "topic")):
        assert run([command, "a", "red", "fox"]) == 2
        assert f"put the {name} in quotes" in capsys.readouterr().err
    assert run(["batch", "a", "b"]) == 2
    assert "quotes" not in capsys.readouterr().err


def test_a_known_model_that_is_not_converted_names_the_whole_command(capsys):
    assert run(["generate", "a fox", "--model", "wan2.2-ti2v-5b"]) == 1
    assert "mlx-wan models download wan2.2-ti2v-5b --convert" in capsys.readouterr().err


def test_tags_of_engine_only_batch_items_reach_the_library(tmp_path, capsys):
    small = {"width": 80, "height": 80, "num_frames": 17, "steps": 1}
    item = {"kind": "generate", "prompt": "slow blue waves", "tags": ["launch"], "seed": 1} | small
    (tmp_path / "b.json").write_text(json.dumps([item, item | {"seed": 2}]))
    code = run(["batch", str(tmp_path / "b.json")])
    told = capsys.readouterr().err
    assert code == 0, told
    with library.open_library() as shelf:
        found = shelf.index.select(library.Filters(tags=("launch",)))
    assert [entry.tags for entry in found] == [("launch",)] * 2
    assert sum(line.startswith("note:") and "wan-mini" in line for line in told.splitlines()) == 1


def test_tags_nobody_would_keep_are_refused(tmp_path, capsys):
    small = {"prompt": "waves", "width": 80, "height": 80, "num_frames": 17, "model": "wan-mini"}
    (tmp_path / "c.json").write_text(json.dumps(small | {"tags": ["launch"]}))
    assert run(["generate", "--config", str(tmp_path / "c.json"), "--dry-run"]) == 2
    assert "tags" in capsys.readouterr().err


def test_who_has_no_brand_file_is_told_how_to_get_one(capsys):
    hint = "signed Arthur Dell; `mlx-wan brand init`"
    assert hint in "".join(deliver._unknown_signer(SimpleNamespace(brand=Brand())))
    assert deliver._unknown_signer(SimpleNamespace(brand=None)) == []
    assert deliver._unknown_signer(SimpleNamespace(brand=Brand(name="Me"))) == []
    assert run(["brand", "init"]) == 0
    assert brand_path().exists()
    assert deliver._unknown_signer(SimpleNamespace(brand=Brand())) == []


@pytest.mark.parametrize("configs", [5, None, "ab"])
def test_a_batch_of_nothing_like_videos_is_told(configs):
    with pytest.raises(UsageError):
        Wan22Generator().batch_generate(configs)


@pytest.mark.parametrize(("command", "done"), [("promote", "promoted"), ("delete", "deleted")])
@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_done_before_a_failure_is_told(command, done, as_json, capsys, monkeypatch):
    for name in ("one", "two", "three"):
        add_video(name)
    real = getattr(actions, command)

    def failing(shelf, entry, **more):
        if entry.video.name == "two.mp4":
            raise MlxWanError("the disk is full")
        return real(shelf, entry, **more)

    monkeypatch.setattr(actions, command, failing)
    yes = ["--yes"] if command == "delete" else []
    code = run(["library", command, "one", "two", "three", *yes, *(["--json"] * as_json)])
    out, err = capsys.readouterr()
    assert code == 1 and "the disk is full" in err
    if as_json:
        told = json.loads(out)
        assert [video["video"].split("/")[-1] for video in told["videos"]] == ["one.mp4"]
        assert told["ok"] is False and len(told["failed"]) == 1
    else:
        assert out.startswith(done) and "one.mp4" in out and "two" not in out
        assert f"{done}: 1 of 3" in err


def test_list_and_search_take_the_same_filters():
    from mlx_wan.cli.app import app

    for command in ("list", "search"):
        shown = CliRunner().invoke(app, ["library", command, "--help"], env={"COLUMNS": "200"})
        for name in ("model", "tag", "since", "until", "stage", "archived", "limit"):
            assert f"--{name}" in shown.output


@pytest.mark.parametrize(
    ("quality", "stored", "told"),
    [
        ("high", None, "16 bits, as converted"),
        ("low", None, "low needs no more than 8: convert with --quantize 8"),
        ("low", 8, "8 bits, as converted"),
        ("high", 8, "high takes full precision: convert without --quantize"),
    ],
)
def test_the_text_encoder_is_the_converted_one_and_the_plan_says_what_suits(
    quality, stored, told, monkeypatch
):
    if stored:
        monkeypatch.setattr(production, "stored_bits", lambda _: stored)
    monkeypatch.setattr(production, "EMBEDDED", "another")  # there it would be no advice
    made = plan_values({"prompt": "blue waves", "format": "wide", "quality": quality, "seed": 1})
    row = dict(production.describe_production(made))["text encoder"]
    assert row.endswith(told) and row.startswith(f"{stored or 16} bits")
    assert made.recorded()["production"]["text_encoder_bits"] == (stored or 16)


def test_nobody_is_told_to_convert_the_model_that_comes_with_us():
    made = plan_values({"prompt": "blue waves", "format": "wide", "quality": "low", "seed": 1})
    assert dict(production.describe_production(made))["text encoder"] == "16 bits, as converted"


def test_quantised_weights_are_counted_by_their_codes():
    one = SimpleNamespace(quantization={"bits": 8, "group_size": 64}, dtype="bfloat16")
    assert production.stored_bits(one) == 8
    assert production.stored_bits(SimpleNamespace(quantization=None, dtype="float32")) == 32


def test_templates_ask_wan_mini_in_words_it_was_trained_with():
    from mlx_wan.bench.mini import captions
    from mlx_wan.studio import mini_words, templates

    assert captions.NOUNS is mini_words.NOUNS and captions.MOVEMENTS is mini_words.MOVEMENTS
    moves = {*mini_words.STILL, *(w for ways in mini_words.MOVEMENTS.values() for w in ways)}
    for motif, nouns in mini_words.NOUNS.items():
        assert templates._NOUNS[motif] in nouns and {*templates._MOVES[motif]} <= moves
    waves = templates._abstract([templates.GENERAL], [""] * 20, random.Random(1))
    assert "slow several " in " ".join(waves) or "slow a few " in " ".join(waves)
    assert templates._NOUNS["waves"] == "layered waves"

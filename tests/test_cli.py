"""The command line: bad arguments get one line and a hint; exit codes 0, 1, 2, 130."""

import json

import pytest
from PIL import Image

from mlx_wan.cli.main import run
from mlx_wan.files import write_json
from mlx_wan.record import read_json

SMALL = ["--width", "32", "--height", "32", "--num-frames", "5", "--steps", "2"]
BOTH_IMAGES = ["--image", "fox.png", "--last-image", "fox.png"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with an image and an empty home for models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))
    Image.new("RGB", (48, 32), (200, 80, 40)).save("fox.png")
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "taken.mp4").write_text("mine")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "typo.json").write_text('{"prompt": "a", "widht": 3}')
    (tmp_path / "tags.json").write_text('{"prompt": "a", "format": "wide", "tags": 5}')
    (tmp_path / "brand.json").write_text('{"prompt": "a", "format": "wide", "brand": 5}')
    (tmp_path / "record.json").write_text('{"format": "mlx-wan-record", "version": 1, "plan": {}}')
    (tmp_path / "empty").mkdir()
    return tmp_path


def fails(arguments, capsys) -> tuple[int, str]:
    code = run(arguments)
    err = capsys.readouterr().err
    lines = err.strip().splitlines()
    assert code in (1, 2), err
    assert lines[0].startswith("error: ") and len(lines[0]) > 12, err
    assert "Traceback" not in err and "a mistake of mlx-wan" not in err
    assert len(lines) <= 2 and all(line.startswith("hint: ") for line in lines[1:]), err
    return code, err


MISUSED = [
    ["generate"],
    ["generate", ""],
    ["generate", "a", "b"],
    ["generate", "a", "--model", "{t2v}", "--width", "33", "--height", "32"],
    ["generate", "a", "--model", "{t2v}", "--width", "32"],
    ["generate", "a", "--model", "{t2v}", "--height", "999999", "--width", "32"],
    ["generate", "a", "--model", "{t2v}", "--width", "-32", "--height", "32"],
    ["generate", "a", "--model", "{t2v}", "--width", "wide"],
    ["generate", "a", "--model", "{t2v}", "--num-frames", "80"],
    ["generate", "a", "--model", "{t2v}", "--num-frames", "0"],
    ["generate", "a", "--model", "{t2v}", "--num-frames", "1.5"],
    ["generate", "a", "--model", "{t2v}", "--duration", "-1"],
    ["generate", "a", "--model", "{t2v}", "--duration", "nan"],
    ["generate", "a", "--model", "{t2v}", "--duration", "1", "--num-frames", "17"],
    ["generate", "a", "--model", "{t2v}", "--fps", "0"],
    ["generate", "a", "--model", "{t2v}", "--steps", "0"],
    ["generate", "a", "--model", "{t2v}", "--steps", "100000"],
    ["generate", "a", "--model", "{t2v}", "--steps", "many"],
    ["generate", "a", "--model", "{t2v}", "--shift", "0"],
    ["generate", "a", "--model", "{t2v}", "--shift", "inf"],
    ["generate", "a", "--model", "{t2v}", "--guidance-scale", "strong"],
    ["generate", "a", "--model", "{t2v}", "--guidance-scale", "-2"],
    ["generate", "a", "--model", "{t2v}", "--guidance-scale", "transformer=3"],
    ["generate", "a", "--model", "{t2v}", "--guidance-scale", "high_noise="],
    ["generate", "a", "--model", "{t2v}", "--solver", "magic"],
    ["generate", "a", "--model", "{t2v}", "--solver", "dmd", "--steps", "7"],
    ["generate", "a", "--model", "{t2v}", "--seed", "-1"],
    ["generate", "a", "--model", "{t2v}", "--seed", "18446744073709551616"],
    ["generate", "a", "--model", "{t2v}", "--seed", "0x10"],
    ["generate", "a", "--model", "{t2v}", "--image", "fox.png"],
    ["generate", "a", "--model", "{t2v}", "--last-image", "fox.png"],
    ["generate", "a", "--model", "{i2v}"],
    ["generate", "a", "--model", "{i2v}", "--image", "missing.png"],
    ["generate", "a", "--model", "{i2v}", "--image", "."],
    ["generate", "a", "--model", "{i2v}", "--image", "fox.png", "--last-image", "missing.png"],
    ["plan", "a", "--model", "{i2v}", *BOTH_IMAGES, "--num-frames", "1"],
    ["generate", "a", "--model", "{ti2v}", "--image", "fox.png", "--last-image", "fox.png"],
    ["generate", "a", "--model", "{t2v}", "--output", "taken.mp4", *SMALL],
    ["generate", "a", "--model", "{t2v}", "--output", "film.avi", *SMALL],
    ["generate", "a", "--model", "{t2v}", "--output", "", *SMALL],
    ["generate", "a", "--model", ""],
    ["generate", "a", "--memory-limit", "0", "--model", "{t2v}"],
    ["generate", "a", "--memory-limit", "nan", "--model", "{t2v}"],
    ["generate", "a", "--no-such-flag"],
    ["generate", "--config", "missing.json"],
    ["generate", "--config", "list.json"],
    ["generate", "--config", "bad.json"],
    ["generate", "--config", "typo.json"],
    ["generate", "--config", "tags.json"],
    ["generate", "--config", "brand.json"],
    ["generate", "--config", "record.json"],
    ["generate", "--config", "fox.png"],
    ["generate", "--from-record", "missing.json"],
    ["generate", "--from-record", "no-such-id"],
    ["generate", "--from-record", "list.json"],
    ["generate", "--from-record", "typo.json"],
    ["generate", "--from-record", "record.json", "--config", "typo.json"],
    ["generate", "a", "--model", "{t2v}", "--format", "portrait"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--width", "32", "--height", "32"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--num-frames", "17"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--fps", "24"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--quality", "best"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--interpolate", "some"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--duration", "0.5"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--steps", "0"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--seed", "-1"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--output", "taken.mp4"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--brand", "missing.toml"],
    ["generate", "a", "--model", "{t2v}", "--format", "wide", "--brand", "b", "--no-brand"],
    ["generate", "a", "--model", "{i2v}", "--format", "wide"],
    ["generate", "a", "--model", "{t2v}", "--quality", "high", *SMALL],
    ["generate", "a", "--model", "{t2v}", "--debug-safe-zones"],
    ["generate", "a", "--format", "square", "--image", "fox.png"],
    ["plan", "a", "--model", "{t2v}", "--num-frames", "4"],
    ["plan"],
    ["convert"],
    ["convert", "only-a-source"],
    ["convert", "empty", "out", "--dtype", "int8"],
    ["convert", "empty", "out", "--quantize", "5"],
    ["convert", "empty", "out", "--quantize", "8", "--group-size", "48"],
    ["no-such-command"],
    ["--no-such-flag"],
]

FAILED = [
    ["generate", "a", "--model", "no-such-model"],
    ["generate", "a", "--format", "wide", "--model", "no-such-model"],
    ["plan", "a", "--format", "wide", "--memory-limit", "0.000001"],
    ["generate", "a", "--model", "empty"],
    ["generate", "a", "--model", "{i2v}", "--image", "text.png"],
    ["plan", "a", "--model", "{t2v}", "--memory-limit", "0.000001"],
    ["convert", "empty", "out"],
    ["convert", "no-such-folder", "out"],
    ["convert", "--verify", "no-such-folder"],
    ["convert", "--verify", "empty"],
]


def filled(arguments, models):
    return [argument.format(**models) for argument in arguments]


@pytest.mark.parametrize("arguments", MISUSED, ids=" ".join)
def test_misuse_is_one_line_and_exit_2(arguments, here, tiny_models, capsys):
    before = sorted(here.rglob("*"))
    code, _ = fails(filled(arguments, tiny_models), capsys)
    assert code == 2
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("arguments", FAILED, ids=" ".join)
def test_failure_is_one_line_and_exit_1(arguments, here, tiny_models, capsys):
    before = sorted(here.rglob("*"))
    code, _ = fails(filled(arguments, tiny_models), capsys)
    assert code == 1
    assert sorted(here.rglob("*")) == before


def test_errors_as_json_are_one_object_on_stdout(here, tiny_models, capsys):
    arguments = ["generate", "a", "--model", "{t2v}", "--num-frames", "80", "--json"]
    assert run(filled(arguments, tiny_models)) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False and "4n+1" in told["error"] and "81" in told["hint"]


def test_dry_run_prints_the_plan_and_writes_nothing(here, tiny_models, capsys):
    before = sorted(here.rglob("*"))
    arguments = ["generate", "a fox", "--model", tiny_models["t2v"], "--dry-run", "--json", *SMALL]
    assert run(arguments) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["latent_shape"] == [1, 2, 4, 4, 16]
    assert plan["tokens"] == 2 * 2 * 2
    assert sorted(here.rglob("*")) == before


def test_plan_refuses_what_cannot_fit_and_names_what_does(here, tiny_models, capsys):
    arguments = ["plan", "a", "--model", tiny_models["t2v"], "--width", "1280", "--height", "720"]
    assert run([*arguments, "--json"]) == 0
    memory = json.loads(capsys.readouterr().out)["plan"]["memory"]
    need = max(memory["encode"], memory["denoise"], memory["decode"])
    limit = need * 0.6 / 2**30
    assert run([*arguments, "--memory-limit", f"{limit:.6f}"]) == 1
    hint = capsys.readouterr().err.splitlines()[1]
    assert "--width" in hint
    words = hint.replace(",", "").split()
    size = words[words.index("--width") : words.index("--width") + 4]
    smaller = ["plan", "a", "--model", tiny_models["t2v"], *size]
    assert run([*smaller, "--memory-limit", f"{limit:.6f}"]) == 0


def test_interrupting_exits_130(here, tiny_models, capsys, monkeypatch):
    from mlx_wan import run as engine

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "generate", interrupted)
    assert run(["generate", "a", "--model", tiny_models["t2v"], *SMALL]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_prompt_comes_from_stdin_as_dash(here, tiny_models, capsys, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("a fox\n"))
    arguments = ["plan", "-", "--model", tiny_models["t2v"], "--json", *SMALL]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["prompt"] == "a fox\n"


def test_a_gpu_that_gives_up_is_no_mistake_of_ours(here, tiny_models, capsys, monkeypatch):
    from mlx_wan import run as engine

    def out_of_memory(*_, **__):
        raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")

    monkeypatch.setattr(engine, "generate", out_of_memory)
    assert run(["generate", "a", "--model", tiny_models["t2v"], *SMALL]) == 1
    told = capsys.readouterr().err.strip().splitlines()[-2:]
    assert told[0].startswith("error: the GPU gave up") and "smaller size" in told[1]


def test_terminal_codes_in_a_prompt_are_not_printed(here, tiny_models, capsys):
    assert run(["plan", "a \x1b[31mred\x07 fox", "--model", tiny_models["t2v"], *SMALL]) == 0
    told = capsys.readouterr().out
    assert "[31mred" in told and "\x1b" not in told and "\x07" not in told


def test_a_path_that_is_no_unicode_stops_no_record(tmp_path):
    record = {"font": "\udcff.ttf", "title": "größer"}
    assert read_json(write_json(tmp_path / "v.json", record)) == record

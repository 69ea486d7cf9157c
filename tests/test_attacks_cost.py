"""`cost`, `plan`, `bench speed` and `bench kernels` with what nobody should give them."""

import copy
import json
import os
from pathlib import Path

import pytest

from mlx_wan.cli.main import run
from mlx_wan.cost import prices
from mlx_wan.home import home
from mlx_wan.roofline.store import calibration_file

EVIL = "\x1b[2J\x07\u202e[/red]\ud800"
WRONG = [None, True, [], {}, "", EVIL, "x" * 100_000, -1, 0, 1e308, 1e-320, 10**300, [None], [{}]]
NOTHING = (b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1, "a": 2}')


def answer(words, capsys) -> int:
    """The exit code; a failure is one line and a hint, and prints nothing else."""
    code = run([str(word) for word in words])
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n")), (out, err)
    assert "a mistake of mlx-wan" not in err and code in (0, 1, 2), err
    if code:
        lines = [line[:6] for line in err.splitlines()]
        assert lines in (["error:"], ["error:", "hint: "]) and not out, (out, err)
    return code


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "1e308", "x", "", "9" * 400])
@pytest.mark.parametrize(
    "flag", ["tariff", "watts", "wall-factor", "purchase-price", "life-years", "hours-per-day"]
)
def test_figures_of_ones_own_that_are_none(flag, value, capsys):
    assert answer(["cost", f"--{flag}", value], capsys) == 2


@pytest.mark.parametrize("text", ["", "usd", "US", "EURO", "€€€", EVIL[:3], "\ud800" * 3])
def test_a_currency_that_is_none(text, capsys):
    assert answer(["cost", "--currency", text], capsys) == 2


def test_any_value_of_a_table_of_prices_is_taken_or_refused(tmp_path, capsys):
    sound = json.loads(Path(prices.__file__).with_name("prices.json").read_text())
    file = tmp_path / "prices.json"
    codes = []
    for row in (None, *sound["prices"][0]):
        for name in sound if row is None else (row,):
            for value in WRONG:
                data = copy.deepcopy(sound)
                (data if row is None else data["prices"][0])[name] = value
                file.write_text(json.dumps(data))
                codes.append(answer(["cost", "--prices", file], capsys))
    assert codes.count(1) > 100 and len(codes) > 150


@pytest.mark.parametrize("content", NOTHING)
@pytest.mark.parametrize("words", [["cost"], ["cost", "--prices"]], ids=["record", "prices"])
def test_files_that_hold_nothing_of_use(words, content, tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    code = answer([*words, file], capsys)
    assert code in (1, 2) or (words == ["cost"] and content.startswith(b'{"a"'))


@pytest.mark.parametrize("kind", ["pipe", "loop", "folder", "missing"])
@pytest.mark.parametrize("words", [["cost"], ["cost", "--prices"]], ids=["record", "prices"])
def test_what_is_no_file(words, kind, tmp_path, capsys):
    path = tmp_path / "a.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    assert answer([*words, path], capsys) in (1, 2)


RECORD = {"id": "abc", "duration": 1, "seconds": {"denoise": 3.0}, "energy": {"joules": 3}}
OWN = ["--tariff", "0.3", "--watts", "100", "--purchase-price", "4000"]


def test_a_record_may_say_anything(tmp_path, capsys):
    file = tmp_path / "a.json"
    changes = [{name: value} for name in (*RECORD, "plan") for value in WRONG[:-4]]
    changes += [{"seconds": {"denoise": value}} for value in WRONG]
    changes += [{"energy": {"joules": value}} for value in WRONG]
    changes += [{"plan": {"num_frames": 10**300, "fps": 0}, "duration": None}]
    for change in changes:
        file.write_text(json.dumps(RECORD | change))
        answer(["cost", file, *OWN], capsys)


@pytest.mark.parametrize(
    "text",
    [
        *("cost = 1", "[[cost]]", "[cost]\ntariff = 'x'", "[cost]\ntariff = nan"),
        *("[cost]\ntariff = -1", "[cost]\nunknown = 1", "[cost]\ncurrency = 5"),
        *("[cost]\nlife_years = 1e400", "a = " + "[" * 999),
    ],
    ids=ascii,
)
def test_a_configuration_that_cannot_be(text, capsys):
    home().mkdir(parents=True, exist_ok=True)
    (home() / "config.toml").write_text(text)
    assert answer(["cost"], capsys) == 2


@pytest.mark.parametrize("content", [*NOTHING, b"x" * 10_000_000, None])
def test_a_damaged_calibration_only_takes_the_prediction(content, capsys):
    """Whatever lies there, a plan is still a plan."""
    file = calibration_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(file) if content is None else file.write_bytes(content)
    assert answer(["plan", "a fox"], capsys) == 0


@pytest.mark.parametrize(
    "words",
    [
        *(["plan", "a fox", "--chip", text] for text in ("", "m3", EVIL, "x" * 5000)),
        *(["plan", "a fox", "--quantize", text] for text in ("0", "-1", "3", "9" * 30, "x", "nan")),
        *(["plan", "a fox", "--seed", text] for text in ("-1", "9" * 30, "x")),
        *(["plan", text] for text in ("", " ", "\0", "\ud800", "x" * 10**6)),
        *(["bench", "speed", "a fox", "--runs", text] for text in ("0", "-1", "9" * 30, "x")),
        *(["bench", "speed", "a fox", "--width", text] for text in ("0", "-8", "9" * 40)),
        *(["bench", "kernels", "--runs", text] for text in ("0", "-1", "9" * 30, "nan")),
        *(["bench", "kernels", "--only", text] for text in ("", "x", "matmul,", EVIL[:2])),
        *(["bench", "kernels", "--size", text] for text in ("", "x", "small,,", EVIL[:2])),
        ["cost", "an id", "--all"],
    ],
    ids=lambda words: ascii(" ".join(words))[:40],
)
def test_words_and_numbers_nobody_can_mean(words, capsys):
    assert answer(words, capsys) == 2


@pytest.mark.parametrize(
    "name", ["", "a\0b", "\ud800", "no", "/dev/zero", "/etc", "..", "x" * 5000]
)
@pytest.mark.parametrize("words", [["plan", "a fox"], ["bench", "speed", "a fox"]], ids=" ".join)
def test_a_model_that_is_none(words, name, capsys):
    assert answer([*words, "--model", name], capsys) in (1, 2)

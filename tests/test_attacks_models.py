"""Hostile names, reasons and recorded downloads on the line of `mlx-wan models`."""

import json
import shutil

import pytest

from mlx_wan.cli.main import run
from mlx_wan.home import home, models_folder
from mlx_wan.loading import embedded_model

EVIL = "\x1b[2J\x07\u202e\u2028"
NAMES = ["", "/", "..", "a\0b", f"a{EVIL}b", "é" * 150, "x" * 10_000, "\ud800", "x\u200by"]


def refused(arguments, capsys) -> str:
    """The error's one line; a hint follows, nothing of a terminal's codes and no traceback."""
    before = sorted(home().rglob("*"))
    code = run(arguments)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert code in (1, 2) and not out.strip(), (code, out)
    assert len(lines) == 2 and lines[1].startswith("hint: "), err
    assert lines[0].startswith("error: ") and len(lines[0]) < 1000, err
    assert all(line.isprintable() for line in lines), err
    assert [path for path in home().rglob("*") if path not in before] in (
        [],
        [home() / "registry.lock"],
        [home(), home() / "registry.lock"],
    )
    return lines[0]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:12]))
@pytest.mark.parametrize("command", ["show", "activate", "remove", "verify"])
def test_a_name_that_can_be_none(command, name, capsys):
    refused(["models", command, "--", name], capsys)


@pytest.mark.parametrize("name", ["", "/", "..", "é" * 150, "\ud800", "\u2028"], ids=ascii)
def test_what_cannot_become_a_name_is_told(name, capsys):
    assert "gives a model no name" in refused(["models", "add", "--", name], capsys)


@pytest.mark.parametrize(
    ("flag", "value", "named"),
    [
        ("--quality-score", "nan", "quality_score"),
        ("--quality-score", "1e999", "quality_score"),
        ("--version", "x" * 100_000, "version"),
        ("--license", "\ud800", "license"),
    ],
)
def test_a_description_that_cannot_be_kept_is_named(flag, value, named, capsys):
    assert named in refused(["models", "add", "mine", flag, value], capsys)


@pytest.mark.parametrize("reason", ["", "  ", EVIL, "one\ntwo", "x" * 5000, "\ud800"], ids=ascii)
def test_a_reason_is_one_line_that_prints(reason, capsys):
    error = refused(["models", "activate", "wan-mini", "--force", reason], capsys)
    assert "the reason to force it" in error


def test_names_of_folders_and_of_recorded_files_do_not_reach_the_terminal(capsys, tmp_path):
    shutil.copytree(embedded_model(), models_folder() / f"m{EVIL}")
    refused(["models", "verify", f"m{EVIL}"], capsys)
    folder = tmp_path / f"d{EVIL}"
    folder.mkdir()
    file = {"path": f"../{EVIL}", "size": 1, "sha256": "0" * 64}
    about = {"repo": f"a/{EVIL}", "revision": "0" * 40, "time": "2026-01-01T00:00:00Z"}
    entry = {"about": {"license": EVIL, "architecture": EVIL}, "benchmarks": [{EVIL: EVIL}]}
    entry |= {"download": about | {"folder": str(folder), "files": [file]}}
    step = {"time": about["time"], "action": "forced", "model": "wan-mini"}
    state = {"format": "mlx-wan-registry", "version": 2, "active": None, "models": {"m": entry}}
    state |= {"evidence": [], "history": [step | {"previous": None, "reason": EVIL}]}
    (home() / "registry.json").write_text(json.dumps(state))
    for words in (["verify", "m"], ["show", "m"], ["list"], ["history"]):
        assert run(["models", *words]) in (0, 1)
        out, err = capsys.readouterr()
        assert all(line.isprintable() for line in (out + err).split("\n")), (words, out, err)

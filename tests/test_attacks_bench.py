"""Hostile result folders on the terminal: labels, votes and runs as a stranger may leave them."""

import json
import os

import pytest
from ab_folders import METRICS, make_folder

from mlx_wan.bench import metrics
from mlx_wan.cli.main import run

EVIL = "\x1b[2J\x07\u202e[/red]\ud800<script>"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", METRICS)
    return make_folder(tmp_path / "ab", prompts=2, seeds=1, num_frames=5)


def told(capsys) -> str:
    """All that was printed: no terminal codes in it, and no mistake of our own."""
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n")), (out, err)
    assert "a mistake of mlx-wan" not in err and "Traceback" not in err
    return err


def change(folder, key, value) -> None:
    file = folder / "experiment.json"
    data = json.loads(file.read_text())
    data["variants"]["a"][key] = value
    file.write_text(json.dumps(data))


def test_a_label_is_neither_markup_nor_a_terminal_code(folder, capsys):
    change(folder, "label", EVIL)
    assert run(["bench", "report", str(folder)]) == 0
    told(capsys)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_votes_that_are_no_file_have_a_way_out(folder, kind, capsys):
    votes = folder / "votes.jsonl"
    {
        "pipe": lambda: os.mkfifo(votes),
        "link": lambda: votes.symlink_to("/etc/passwd"),
        "folder": votes.mkdir,
    }[kind]()
    assert run(["bench", "report", str(folder)]) == 1
    lines = told(capsys).splitlines()
    assert lines[0].startswith("error: ") and lines[1].startswith("hint: ") and len(lines) == 2

"""The README's commands exist, with the flags it shows."""

import re
import shlex
from pathlib import Path

import pytest

from mlx_wan.cli.main import run

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def readme_commands() -> list[list[str]]:
    lines = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("mlx-wan ")]
    assert words
    return words


@pytest.mark.parametrize("words", readme_commands(), ids=" ".join)
def test_commands_use_real_flags(words, capsys):
    groups = ("library", "brand", "models", "bench")  # these have commands of their own
    depth = 2 if words[1] in groups else 1
    assert run([*words[1 : 1 + depth], "--help"]) == 0
    shown = capsys.readouterr().out
    for word in words[1 + depth :]:
        if word.startswith("--"):
            assert word in shown


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^make ([\w-]+)", "\n".join(BLOCKS), re.M))
    assert {"demo", "test"} <= named <= targets
    assert "make test" in (ROOT / ".ci" / "run").read_text()

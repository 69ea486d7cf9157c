"""Ctrl-C and `kill` in each stage of the studio's commands, closed outputs, disks that fill."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_wan import library
from mlx_wan.cli import deliver
from mlx_wan.cli.main import run
from mlx_wan.studio.formats import FORMATS, Box

STAGES = ("encode", "denoise", "decode", "contrast", "video")
QUICK = ("--steps", "1", "--quality", "low", "--model", "wan-mini")
COMMANDS = {
    "linkedin": ("linkedin", "Hi", "--duration", "1", *QUICK),
    "youtube": ("youtube", "--hook", "Hi", "--duration", "1", *QUICK),
    "batch": ("batch", "b.json"),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Small formats, a folder to work in, and a batch of two."""
    for name in ("square", "shorts"):
        small = replace(FORMATS[name], width=320, height=320, fps=12, safe=Box(16, 16, 304, 288))
        monkeypatch.setitem(FORMATS, name, small)
    monkeypatch.chdir(tmp_path)
    item = {"kind": "linkedin", "duration": 1, "steps": 1, "quality": "low", "model": "wan-mini"}
    items = [item | {"topic": topic, "seed": 1} for topic in ("One", "Two")]
    Path("b.json").write_text(json.dumps(items))
    return tmp_path


@pytest.fixture
def stop(monkeypatch):
    """A signal to this process as soon as a stage is at work (for the `count`-th video)."""
    handler = signal.default_int_handler  # as `main` does
    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    progress = deliver.progress

    def at(stage: str, number: int, count: int = 1) -> None:
        started = [0]

        @contextmanager
        def stopping():
            with progress() as report:

                def told(event):
                    report(event)
                    started[0] += event.stage == stage and event.done == 0
                    is_there = event.stage == stage and started[0] == count
                    if is_there and event.done > 0.9 * event.total:
                        os.kill(os.getpid(), number)

                yield told

        monkeypatch.setattr(deliver, "progress", stopping)

    yield at
    for number, handler in before.items():
        signal.signal(number, handler)


def files(folder: Path) -> list[str]:
    """All files of the library but its index and lock, hidden ones too."""
    found = (p for p in folder.rglob("*") if p.is_file() and folder / ".library" not in p.parents)
    return sorted(p.name for p in found)


CASES = [
    *(("linkedin", stage, signal.SIGTERM, 1) for stage in STAGES),
    ("youtube", "denoise", signal.SIGINT, 1),
    ("youtube", "video", signal.SIGINT, 1),
    ("batch", "video", signal.SIGTERM, 2),
    ("batch", "denoise", signal.SIGINT, 1),
]


def test_stopped_when_much_of_the_file_is_on_the_disk(stop, monkeypatch):
    """An encoder holds back dozens of frames: only a longer video is half written at all."""
    seen = []
    stop("video", signal.SIGTERM)
    kill = os.kill

    def looked(process, number):
        if process == os.getpid() and number == signal.SIGTERM:
            seen.extend(files(library.library_root()))
        kill(process, number)

    monkeypatch.setattr(os, "kill", looked)
    assert run(["linkedin", "Hi", "--duration", "8", *QUICK]) == 130
    assert len(seen) == 1 and seen[0].endswith(".partial")
    assert files(library.library_root()) == []


@pytest.mark.parametrize(("command", "stage", "number", "count"), CASES)
def test_stopped_it_exits_130_with_nothing_half_made(command, stage, number, count, stop, capsys):
    stop(stage, number, count)
    assert run([*COMMANDS[command]]) == 130
    err = capsys.readouterr().err
    assert "error: interrupted" in err and "goes on where it stopped" in err
    assert "Traceback" not in err
    whole = ["linkedin_one_1s.json", "linkedin_one_1s.mp4", "linkedin_one_1s.png"]
    assert files(library.library_root()) == (whole if count == 2 else [])


def test_the_same_command_finishes_what_was_stopped(stop, capsys, monkeypatch):
    progress = deliver.progress
    stop("video", signal.SIGTERM, 2)
    assert run(["batch", "b.json"]) == 130
    capsys.readouterr()
    monkeypatch.setattr(deliver, "progress", progress)
    assert run(["batch", "b.json", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)["items"]
    assert [row["state"] for row in rows] == ["done", "made"], err
    assert len(list(library.stage_folder("processed").glob("*.mp4"))) == 2


def test_a_disk_that_fills_while_a_video_is_made_leaves_nothing(here, capsys):
    """A real full disk: a library of 60 KB."""
    folder = library.library_root()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        from mlx_wan.studio import produce

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(produce, "_check_disk", lambda *_: None)
            code = run([*COMMANDS["linkedin"], "--seed", "1"])
        err = capsys.readouterr().err
        assert code == 1 and "cannot be written" in err and "Traceback" not in err, err
        assert files(folder) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert run([*COMMANDS["linkedin"], "--seed", "1"]) == 0  # there is room again
    assert len(list(library.stage_folder("processed").glob("*.mp4"))) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["linkedin", "Waves", "--dry-run"],
        ["linkedin", "Waves", "--print-storyboard"],
        ["linkedin", "Waves", "--dry-run", "--json"],
        ["youtube", "--storyboard-schema"],
        ["batch", "b.json", "--dry-run", "--json"],
        ["library", "list"],
        ["library", "list", "--json"],
        ["brand", "show"],
    ],
)
def test_a_reader_that_goes_away_is_no_mistake_of_ours(arguments):
    """As in `| head -1`: the pipe is closed before anything is printed."""
    code = "from mlx_wan.cli.main import main; main()"
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], stdout=theirs, stderr=subprocess.PIPE
        )
    finally:
        os.close(theirs)
    assert b"Traceback" not in done.stderr and b"mistake of mlx-wan" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode in (0, 1)

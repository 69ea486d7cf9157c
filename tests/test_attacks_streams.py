"""Benchmarks whose output goes nowhere, whose disk is full, or that are stopped."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ab_folders import make_folder

SCRIPT = "from mlx_wan.cli.main import main; main()"
QUIET = {
    "report": ["bench", "report", "ab"],
    "report json": ["bench", "report", "ab", "--json"],
    "dry run": ["bench", "ab", "wan-mini", "--matrix", "steps=2,3", "--dry-run"],
    "kernels": ["bench", "kernels", "--only", "norm", "--runs", "1"],
    "cost": ["cost"],
    "plan": ["plan", "a fox"],
}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    make_folder(folder / "ab", prompts=2, seeds=1, num_frames=5)
    return folder


def start(words, here, **more) -> subprocess.Popen[bytes]:
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE} | more
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *words], cwd=here, **streams)


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit code and what was said; never a traceback."""
    _, err = process.communicate(timeout=120)
    told = err.decode()
    assert "Traceback" not in told and "a mistake of mlx-wan" not in told, told
    assert told.count("error: ") <= 1, told
    return process.returncode, told


@pytest.mark.parametrize("name", QUIET)
def test_nobody_reads_it(name, here):
    reading, writing = os.pipe()
    os.close(reading)
    process = start(QUIET[name], here, stdout=writing)
    os.close(writing)
    assert finished(process)[0] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", ["report", "cost", "plan"])
def test_the_disk_of_the_output_is_full(name, here):
    with Path("/dev/full").open("wb") as full:
        code, told = finished(start(QUIET[name], here, stdout=full))
    assert code == 1 and "No space left" in told


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_voting_ends_with_what_comes_next(name, here):
    process = start(["bench", "vote", "ab"], here, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline().startswith(b"http://127.0.0.1")
    process.send_signal(name)
    code, told = finished(process)
    assert code == 0 and "mlx-wan bench report ab" in told


def test_a_disk_that_fills_leaves_the_report_before(here):
    """A limit on the size of files fails a write in the middle, as a full disk does."""
    folder = here / "ab"
    assert finished(start(QUIET["report"], here, stdout=subprocess.DEVNULL))[0] == 0
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    code, told = finished(start(QUIET["report"], here, stdout=subprocess.DEVNULL, preexec_fn=small))
    assert code == 1 and "cannot be written" in told
    after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert before.keys() == after.keys()
    html = folder / "report.html"
    assert after[html] == before[html] and json.loads(after[folder / "report.json"])

"""A video gets its name together with poster and record, or not at all, whatever happens."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_wan import library, outputs
from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.outputs import free_output, into_library, keep, unchecked_file
from mlx_wan.studio.names import file_stem

STEPS = 12  # more than the links and unlinks of one video


def made(video: Path) -> list[Path]:
    """Video and poster as they are before they have their names."""
    hidden = unchecked_file(video)
    files = [hidden, hidden.with_suffix(".png")]
    for file in files:
        file.write_text(f"the {file.suffix}")
    return files


def record(path: Path) -> dict[str, str]:
    return {"video": path.name}


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def kept(folder: Path) -> None:
    """Keep one video in `folder`."""
    video = free_output(str(folder / "a.b.mp4"), "", "raw", ".json", ".png")
    keep(made(video), video, record)


WHOLE = ["a.b.json", "a.b.mp4", "a.b.png"]


def stop_at(step: int, stop) -> list[int]:
    """Call `stop` after the `step`-th time a name is made or taken away."""
    done = [0]

    def counted(real):
        def call(*args, **kwargs):
            try:
                return real(*args, **kwargs)
            finally:
                done[0] += 1
                if done[0] == step:
                    stop()

        return call

    os.link, os.rename = counted(os.link), counted(os.rename)
    setattr(Path, "unlink", counted(Path.unlink))  # noqa: B010
    setattr(Path, "rename", counted(Path.rename))  # noqa: B010
    return done


@pytest.mark.parametrize("step", range(1, STEPS))
def test_killed_between_two_names_it_is_whole_or_the_next_run_undoes_it(step, tmp_path):
    code = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_outputs import kept, stop_at
stop_at({step}, lambda: os.kill(os.getpid(), signal.SIGKILL))
kept(Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    if "a.b.mp4" in visible(tmp_path):
        assert visible(tmp_path) == WHOLE
        assert json.loads((tmp_path / "a.b.json").read_text()) == {"video": "a.b.mp4"}
        with pytest.raises(UsageError, match="exists already"):
            kept(tmp_path)
    else:
        kept(tmp_path)  # under the same name: nothing of the first try is in the way
    assert visible(tmp_path) == WHOLE
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("step", range(1, STEPS))
def test_interrupted_between_two_names_it_is_whole_or_not_there(step, tmp_path, monkeypatch):
    for place, name in ((os, "link"), (os, "rename"), (Path, "unlink"), (Path, "rename")):
        monkeypatch.setattr(place, name, getattr(place, name))  # put back at the end
    video = tmp_path / "a.b.mp4"
    files = made(video)

    def interrupt():
        raise KeyboardInterrupt

    stop_at(step, interrupt)
    try:
        keep(files, video, record)
    except KeyboardInterrupt:
        assert visible(tmp_path) in ([], WHOLE)


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
def test_a_name_taken_meanwhile_is_not_overwritten(has_links, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    video = tmp_path / "a.mp4"
    files = made(video)
    (tmp_path / "a_2.json").write_text("mine")
    real = outputs.free_name

    def late(path, *beside):
        free = real(path, *beside)
        if not video.exists():
            video.write_text("theirs")  # after the look, before the link
        return free

    monkeypatch.setattr(outputs, "free_name", late)
    final, about = keep(files, video, record)
    assert (final.name, about) == ("a_3.mp4", {"video": "a_3.mp4"})
    assert (video.read_text(), (tmp_path / "a_2.json").read_text()) == ("theirs", "mine")
    assert visible(tmp_path) == ["a.mp4", "a_2.json", "a_3.json", "a_3.mp4", "a_3.png"]


def test_somebody_elses_files_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in ("a.json", "a.png", f".a.{dead.pid}.unchecked.json"):
        (tmp_path / name).write_text(name)
    with pytest.raises(UsageError, match=r"a\.json exists already"):
        free_output(str(tmp_path / "a.mp4"), "", "raw", ".json", ".png")
    assert visible(tmp_path) == ["a.json", "a.png"]


def test_a_video_the_index_refuses_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise MlxWanError("the library's index: disk is full")

    monkeypatch.setattr(library, "add", full)
    with pytest.raises(
        MlxWanError, match=r"a\.mp4 is made, but not in the library's index"
    ) as told:
        into_library(tmp_path / "a.mp4", tmp_path / "a.json", "raw")
    assert "library rebuild" in str(told.value)


def test_prompts_of_any_script_give_names():
    assert file_stem("A fox, running!") == "a_fox_running"
    assert file_stem("Städte im Café") == "stadte_im_cafe"
    assert file_stem("雪の中の狐") == "雪の中の狐"
    assert file_stem("лиса на снегу") == "лиса_на_снегу"
    assert file_stem("../../etc/passwd") == "etc_passwd"
    assert file_stem("🦊 \ud800 …") == "video"
    assert len(file_stem("word " * 500).encode()) <= 120

"""Small files from outside, and files that are whole or absent."""

import errno
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.files import MissingFileError, locked, read_small, write_json
from mlx_wan.studio.clips import read_clip, write_clip
from mlx_wan.studio.video_io import save_video


def test_a_small_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(BadFileError, match=r"^the list is too large; accepted: up to 4 bytes"):
        read_small(path, 4, what="the list")


def test_what_is_no_file_is_told_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UsageError, match="the list is not a file"):
            read_small(tmp_path / path, 5, what="the list")
    for path in ("missing", "pipe/inside"):
        with pytest.raises(MissingFileError, match="does not exist"):
            read_small(tmp_path / path, 5, hint="make one")
    for path in ("loop", "a\0b"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_small(tmp_path / path, 5)
    assert len(list(Path("/dev/fd").iterdir())) < 100  # none was left open


def frames(count: int, error: OSError | None = None):
    """One frame at a time, then an error of what they are made from."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 64, 96, 3), np.uint8)
    for frame in noise:
        yield frame[None]
    if error is not None:
        raise error


WRITERS = {
    "mp4": lambda chunks, path: save_video(chunks, path, fps=16),
    "mkv": lambda chunks, path: write_clip(chunks, path, 16),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_cannot_be_read_is_not_told_as_what_cannot_be_written(kind, tmp_path):
    lost = OSError(errno.EIO, "Input/output error", "weights.safetensors")
    with pytest.raises(OSError, match="Input/output") as told:
        WRITERS[kind](frames(3, lost), tmp_path / f"a.{kind}")
    assert told.value.filename == "weights.safetensors"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_fills_while_a_video_is_written_is_told(kind, tmp_path):
    """A limit on the size of files fails a write in the middle, as a full disk does."""
    path = tmp_path / f"a.{kind}"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(MlxWanError, match=rf"a\.{kind} cannot be written"):
            WRITERS[kind](frames(60), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_is_damaged_is_named(tmp_path):
    clip = write_clip(frames(5), tmp_path / "a.mkv", 16)
    data = bytearray(clip.path.read_bytes())
    data[len(data) // 2 :: 7] = bytes(len(data[len(data) // 2 :: 7]))
    clip.path.write_bytes(data)
    with pytest.raises(BadFileError, match=r"a\.mkv"):
        list(read_clip(clip))


def lock(path, **more):
    with locked(path, **more):
        pass


def test_one_at_a_time_has_a_lock(tmp_path):
    busy = MlxWanError("it is being written")
    for path in (tmp_path / "lock", tmp_path):  # a file made for it, a folder that is there
        with locked(path), pytest.raises(MlxWanError, match="being written"):
            lock(path, busy=busy)
        with locked(path, busy=busy) as number:
            assert os.path.samestat(os.fstat(number), path.stat())
    assert len(list(Path("/dev/fd").iterdir())) < 100


@pytest.mark.parametrize("busy", [None, MlxWanError("it is being written")], ids=["ever", "long"])
def test_a_lock_is_waited_for(busy, tmp_path):
    order, held = [], threading.Event()

    def hold():
        with locked(tmp_path / "lock"):
            held.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with locked(tmp_path / "lock", busy=busy, seconds=60):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_whose_file_its_owner_removed_or_renamed_is_none(tmp_path):
    """Who waited for it would be alone with a file nobody else can find."""
    path, held = tmp_path / "lock", threading.Event()

    def hold():
        with locked(path):
            held.set()
            time.sleep(0.2)
            path.rename(tmp_path / "done")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with locked(path), pytest.raises(MlxWanError, match="being written"):
        lock(path, busy=MlxWanError("it is being written"))
    thread.join()


@pytest.mark.parametrize("what", ["link", "link to nothing", "pipe", "in no folder"])
def test_what_cannot_be_locked_is_told(what, tmp_path):
    path, mine = tmp_path / "lock", tmp_path / "mine"
    mine.write_text("mine")
    if what == "link":
        path.symlink_to(mine)
    elif what == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path = tmp_path / "missing/lock"
    with pytest.raises(MlxWanError, match="cannot be locked") as told:
        lock(path, hint="give another")
    assert told.value.hint == "give another"
    assert mine.read_text() == "mine" and not (tmp_path / "nothing").exists()


def test_json_is_written_whole_and_not_through_a_link(tmp_path):
    path, mine = tmp_path / "a.json", tmp_path / "mine"
    mine.write_text("mine")
    path.symlink_to(mine)
    assert write_json(path, {"path": "é\ud800"}) == path
    assert json.loads(path.read_bytes()) == {"path": "é\ud800"}
    assert mine.read_text() == "mine"
    with pytest.raises(TypeError):
        write_json(path, {"path": object()})
    assert json.loads(path.read_bytes())["path"][0] == "é"
    assert sorted(tmp_path.iterdir()) == [path, mine]

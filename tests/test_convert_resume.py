"""Interrupted conversions: nothing under the final name, and only unfinished shards done again."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
from checkpoints import build

from mlx_wan.cli.main import run
from mlx_wan.convert import convert, verify, work
from mlx_wan.convert import write as writing
from mlx_wan.errors import BadFileError, ModelError

MODEL = "wan2.1-t2v-1.3b"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(writing, "SHARD_BYTES", 300_000)


@pytest.fixture
def source(tmp_path):
    build(tmp_path / "source", MODEL)
    return tmp_path / "source"


def stop_after(monkeypatch, pieces, error):
    """Make the conversion fail at its n-th piece."""
    plain, count = work.convert_piece, iter(range(10**9))

    def failing(piece):
        if next(count) == pieces:
            raise error
        return plain(piece)

    monkeypatch.setattr(work, "convert_piece", failing)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def finished_shards(partial):
    return set(json.loads((partial / "journal.json").read_text())["shards"])


@pytest.mark.parametrize("pieces", [0, 1, 30, 90, 200, 250])
@pytest.mark.parametrize("options", [{}, {"quantize": 8}], ids=["bf16", "q8"])
def test_an_interrupted_conversion_goes_on(pieces, options, source, tmp_path, monkeypatch):
    whole = convert(source, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        stop_after(patch, pieces, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            convert(source, tmp_path / "made", **options)
    partial = tmp_path / "made.partial"
    assert not (tmp_path / "made").exists() and partial.is_dir()
    done = finished_shards(partial)
    times = {name: (partial / name).stat().st_mtime_ns for name in done}
    made = convert(source, tmp_path / "made", **options)
    assert not partial.exists()
    assert {name: (made / name).stat().st_mtime_ns for name in done} == times  # not again
    assert contents(made) == contents(whole)
    assert verify(made) == []
    if pieces == 250:
        assert len(done) > 3


def test_a_killed_conversion_goes_on(source, tmp_path):
    script = f"""
import os, signal
from mlx_wan.convert import convert, work, write
write.SHARD_BYTES = 300_000
plain, count = work.convert_piece, iter(range(10**9))
def kill(piece):
    if next(count) == 120:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(piece)
work.convert_piece = kill
convert({str(source)!r}, {str(tmp_path / "made")!r})
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "made").exists()
    assert finished_shards(tmp_path / "made.partial")
    convert(source, tmp_path / "made")
    assert contents(tmp_path / "made") == contents(convert(source, tmp_path / "whole"))


def test_interrupting_the_command_exits_130_and_says_that_it_can_go_on(
    source, tmp_path, monkeypatch, capsys
):
    arguments = ["convert", str(source), str(tmp_path / "made")]
    with monkeypatch.context() as patch:
        stop_after(patch, 100, KeyboardInterrupt())
        assert run(arguments) == 130
    told = capsys.readouterr()
    assert "interrupted" in told.err and "Traceback" not in told.err and told.out == ""
    assert "goes on where it stopped" in told.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made.partial", "source"]
    assert run(arguments) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "source"]


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_a_clear_error_and_no_loss(kind, source, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        plain, count = writing.Writer._write, iter(range(10**9))

        def full(self, data):
            if next(count) == 100:
                raise OSError(kind, os.strerror(kind))
            plain(self, data)

        patch.setattr(writing.Writer, "_write", full)
        with pytest.raises(ModelError, match="is full") as error:
            convert(source, tmp_path / "made")
        assert "goes on" in error.value.hint
    assert not (tmp_path / "made").exists()
    assert finished_shards(tmp_path / "made.partial")
    convert(source, tmp_path / "made")
    assert verify(tmp_path / "made") == []


def interrupt(source, dest, monkeypatch, pieces=150, **options):
    with monkeypatch.context() as patch:
        stop_after(patch, pieces, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            convert(source, dest, **options)


@pytest.mark.parametrize("options", [{"dtype": "fp16"}, {"quantize": 8}, {"quantize": 4}])
def test_work_done_with_other_settings_is_not_taken(options, source, tmp_path, monkeypatch):
    interrupt(source, tmp_path / "made", monkeypatch)
    with pytest.raises(ModelError, match="other settings") as error:
        convert(source, tmp_path / "made", **options)
    assert "made.partial" in error.value.hint
    convert(source, tmp_path / "made")


def test_work_done_from_another_source_is_not_taken(source, tmp_path, monkeypatch):
    interrupt(source, tmp_path / "made", monkeypatch)
    build(tmp_path / "other", MODEL, seed=5)
    with pytest.raises(ModelError, match="another source"):
        convert(tmp_path / "other", tmp_path / "made")
    build(source, MODEL, seed=5)  # the same files with other contents
    with pytest.raises(ModelError, match="another source"):
        convert(source, tmp_path / "made")


def test_a_folder_of_somebody_else_is_left_alone(source, tmp_path):
    (tmp_path / "made.partial").mkdir()
    (tmp_path / "made.partial" / "mine.txt").touch()
    with pytest.raises(ModelError, match="no interrupted conversion"):
        convert(source, tmp_path / "made")
    assert (tmp_path / "made.partial" / "mine.txt").exists()


@pytest.mark.parametrize("journal", [b"", b"{", b"[]", b"{}", b'{"fingerprint": 1, "shards": 2}'])
def test_a_damaged_journal_is_named(journal, source, tmp_path, monkeypatch):
    interrupt(source, tmp_path / "made", monkeypatch)
    (tmp_path / "made.partial" / "journal.json").write_bytes(journal)
    with pytest.raises(BadFileError, match=r"journal\.json is damaged"):
        convert(source, tmp_path / "made")


def test_a_finished_shard_that_was_cut_is_written_again(source, tmp_path, monkeypatch):
    interrupt(source, tmp_path / "made", monkeypatch, pieces=250)
    partial = tmp_path / "made.partial"
    shard = partial / sorted(finished_shards(partial))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    convert(source, tmp_path / "made")
    assert verify(tmp_path / "made") == []


def test_hashes_of_finished_sources_are_not_computed_again(source, tmp_path, monkeypatch):
    interrupt(source, tmp_path / "made", monkeypatch, pieces=250)
    state = json.loads((tmp_path / "made.partial" / "journal.json").read_text())
    assert str(source / "diffusion_pytorch_model.safetensors") in state["sources"]
    assert str(source / "Wan2.1_VAE.pth") not in state["sources"]
    opened = []
    plain = work.read_pieces

    def watching(file, jobs, ring, digest=None):
        opened.append((file.name, digest is not None))
        return plain(file, jobs, ring, digest)

    monkeypatch.setattr(work, "read_pieces", watching)
    convert(source, tmp_path / "made")
    assert ("diffusion_pytorch_model.safetensors", True) not in opened
    assert ("Wan2.1_VAE.pth", True) in opened


def test_a_source_that_changes_meanwhile_is_noticed(source, tmp_path, monkeypatch):
    plain = work.write_shards

    def changing(*arguments):
        plain(*arguments)
        os.utime(source / "Wan2.1_VAE.pth", (1, 1))

    monkeypatch.setattr("mlx_wan.convert.write_shards", changing)
    with pytest.raises(ModelError, match="changed while it was converted"):
        convert(source, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_source_that_becomes_shorter_is_noticed(source, tmp_path, monkeypatch):
    file = source / "models_t5_umt5-xxl-enc-bf16.pth"
    plain, count = work.convert_piece, iter(range(10**9))

    def cutting(piece):
        if next(count) == 5:
            os.truncate(file, 5000)
        return plain(piece)

    monkeypatch.setattr(work, "convert_piece", cutting)
    with pytest.raises(BadFileError, match="became shorter"):
        convert(source, tmp_path / "made")


def test_a_second_conversion_to_the_same_place_waits_for_nobody(source, tmp_path, monkeypatch):
    plain = work.write_shards

    def meanwhile(*arguments):
        monkeypatch.undo()
        with pytest.raises(ModelError, match="another conversion is writing"):
            convert(source, tmp_path / "made")
        plain(*arguments)

    monkeypatch.setattr("mlx_wan.convert.write_shards", meanwhile)
    convert(source, tmp_path / "made")
    assert verify(tmp_path / "made") == []


def test_a_stop_between_the_last_shard_and_the_end_goes_on(source, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("mlx_wan.convert.folder_config", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert(source, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    stop_after(monkeypatch, 0, AssertionError("nothing is left to convert"))
    assert verify(convert(source, tmp_path / "made")) == []

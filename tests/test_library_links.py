"""Links inside the library's folders lead nowhere they should not, and a library that cannot be
written is told before the work."""

import json
import os
import subprocess

import pytest
from library_files import add_video, files_below, record_of, write_video

from mlx_wan import library
from mlx_wan.cli.main import run
from mlx_wan.files import complete_or_absent
from mlx_wan.library.places import write_whole

MINE = "not of the library"


@pytest.fixture
def mine(tmp_path):
    """A file outside that nothing may change."""
    file = tmp_path / "mine"
    file.write_text(MINE)
    yield file
    assert file.read_text() == MINE


def told(capsys, *arguments: str) -> tuple[int, str]:
    code = run(["library", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err and "mistake of mlx-wan" not in err
    return code, out + err


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".json"])
@pytest.mark.parametrize("where", ["mine", "/dev/zero", "itself", "nowhere"])
def test_a_file_that_became_a_link(suffix, where, mine, capsys):
    entry = add_video("waves")
    file = entry.video.with_suffix(suffix)
    file.unlink()
    target = {"mine": str(mine), "itself": file.name}.get(where, where)
    file.symlink_to(target)
    for command in (
        *(["list"], ["show", entry.id], ["search", "waves"], ["verify"]),
        *(["tag", entry.id, "new"], ["promote", entry.id], ["archive", entry.id], ["rebuild"]),
    ):
        code, text = told(capsys, *command)
        if command[0] in ("verify", "promote", "archive"):
            link_was_replaced = suffix == ".json" and not file.is_symlink()
            assert code == 1 or link_was_replaced, (command, text)
    told(capsys, "delete", "waves", "--yes")


def test_deleting_a_link_leaves_what_it_leads_to(mine, capsys):
    entry = add_video("waves")
    entry.video.unlink()
    entry.video.symlink_to(mine)
    assert told(capsys, "delete", entry.id, "--yes")[0] == 0
    assert not os.path.lexists(entry.video)


def test_a_link_under_the_name_of_a_partial_file_is_not_written_through(mine, tmp_path, capsys):
    entry = add_video("waves")
    partial = entry.record_path.with_name(f".{entry.record_path.name}.partial")
    partial.symlink_to(mine)
    assert told(capsys, "tag", entry.id, "new")[0] == 0
    assert record_of(entry)["tags"] == ["new"] and not entry.record_path.is_symlink()
    (tmp_path / ".a.json.partial").symlink_to(mine)
    write_whole(tmp_path / "a.json", b"{}")
    assert not (tmp_path / "a.json").is_symlink()
    (tmp_path / f".b.json.{os.getpid()}.partial").symlink_to(mine)
    with complete_or_absent(tmp_path / "b.json") as file:
        file.write_text("{}")
    assert not (tmp_path / "b.json").is_symlink() and (tmp_path / "b.json").read_text() == "{}"


def test_a_stage_on_another_volume(tmp_path, library_folders, capsys):
    (tmp_path / "volume").mkdir()
    library.stage_folder("published").symlink_to(tmp_path / "volume")
    entry = add_video("waves", "processed")
    assert told(capsys, "promote", entry.id)[0] == 0
    assert sorted(path.name for path in (tmp_path / "volume").iterdir()) == [
        "waves.json",
        "waves.mp4",
        "waves.png",
    ]
    assert told(capsys, "rebuild") == (0, "videos in the index: 1\n")
    assert told(capsys, "verify")[0] == 0
    assert told(capsys, "archive", entry.id)[0] == 0
    assert files_below(tmp_path / "volume") == []


def test_folders_that_lead_to_themselves_are_read_once(library_folders, capsys):
    entry = add_video("waves")
    (entry.video.parent / "again").symlink_to(entry.video.parent)
    library.stage_folder("processed").symlink_to(library.stage_folder("raw"))
    code, text = told(capsys, "rebuild")
    assert code == 0 and "videos in the index: 1" in text


@pytest.mark.parametrize("target", ["processed", "nowhere/at/all", "/dev/null"])
def test_a_stage_that_leads_nowhere_is_told_before_the_work(target, capsys):
    library.stage_folder("processed").symlink_to(target)
    code = run(["linkedin", "Waves", "--duration", "1", "--dry-run"])
    err = capsys.readouterr().err
    assert code == 2 and "cannot be written" in err and "Traceback" not in err


def test_a_record_that_is_no_file_blocks_nothing(capsys):
    add_video("waves")
    os.mkfifo(library.stage_folder("raw") / "pipe.json")
    (library.stage_folder("raw") / "folder.json").mkdir()
    (write_video("zero").with_suffix(".json")).unlink()
    (library.stage_folder("raw") / "zero.json").symlink_to("/dev/zero")
    assert "videos in the index: 1" in told(capsys, "rebuild")[1]
    assert told(capsys, "verify")[0] == 1


def test_a_library_on_a_volume_that_cannot_be_written(capsys):
    root = library.library_root()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        entry = add_video("waves", "processed")
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        for command in (["list"], ["search", "waves"], ["show", entry.id], ["verify"]):
            assert told(capsys, *command)[0] == 0
        for command in (
            *(["promote", entry.id], ["delete", entry.id, "--yes"], ["tag", entry.id, "a"]),
            *(["archive", entry.id], ["rebuild"]),
        ):
            code, text = told(capsys, *command)
            assert code == 1 and "cannot be written" in text, (command, text)
        for command in (["linkedin", "Waves"], ["generate", "waves"]):
            assert run([*command, "--dry-run"]) == 2
            assert "cannot be written" in capsys.readouterr().err
        code, text = told(capsys, "list", "--json")
        assert json.loads(text)["total"] == 1
    finally:
        subprocess.run(["umount", str(root)], check=True)

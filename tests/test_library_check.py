"""Verify, rebuild, a damaged index, a library that cannot be written."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from library_files import add_video, files_below, record_of, write_video

from mlx_wan import library
from mlx_wan.errors import MlxWanError
from mlx_wan.files import file_sha256
from mlx_wan.library import Filters, actions, open_library
from mlx_wan.library.rebuild import rebuild
from mlx_wan.library.verify import verify


def problems() -> list[tuple[str, str]]:
    with open_library() as shelf:
        return [(found.kind, Path(found.path).name) for found in verify(shelf).problems]


def names() -> list[str]:
    with open_library() as shelf:
        return sorted(entry.video.name for entry in shelf.index.select(Filters()))


def archive(entry):
    with open_library() as shelf:
        return actions.archive(shelf, entry)


def index_file() -> Path:
    return library.library_root() / ".library" / "index.db"


# --- verify


def test_a_sound_library_has_no_problems():
    add_video("waves")
    archive(add_video("clouds", "published"))
    with open_library() as shelf:
        seen = []
        findings = verify(shelf, lambda done, total: seen.append((done, total)))
    assert findings.problems == []
    assert findings.checked == 2
    assert seen[-1][0] == seen[-1][1] > 0


def test_every_kind_of_damage_is_reported(monkeypatch):
    gone, changed, bare, torn, posterless, unread = (add_video(f"v{n}") for n in range(6))
    stored = archive(add_video("stored"))
    gone.video.unlink()
    changed.video.write_bytes(changed.video.read_bytes()[:-1] + b"?")
    bare.record_path.unlink()
    torn.record_path.write_text("{")
    posterless.poster.write_bytes(b"")
    stored.video.write_bytes(b"rotten")
    (library.stage_folder("raw") / "stray.mp4").write_bytes(b"film")
    write_video("stray2", "published")

    def failing_disk(path):
        if path == unread.video:
            raise OSError(errno.EIO, "Input/output error")
        return file_sha256(path)

    monkeypatch.setattr("mlx_wan.library.verify.file_sha256", failing_disk)
    assert sorted(problems()) == [
        ("changed", "stored.mp4"),
        ("changed", "v1.mp4"),
        ("changed", "v3.json"),
        ("changed", "v4.png"),
        ("changed", "v5.mp4"),
        ("missing", "v0.mp4"),
        ("missing", "v2.json"),
        ("unknown", "stray.mp4"),
        ("unknown", "stray2.json"),
        ("unknown", "stray2.mp4"),
        ("unknown", "stray2.png"),
    ]


def test_a_record_changed_by_hand_is_reported_until_the_rebuild():
    entry = add_video("waves")
    entry.record_path.write_text(json.dumps(record_of(entry) | {"tags": ["new"]}))
    assert problems() == [("changed", "waves.json")]
    with open_library() as shelf:
        assert rebuild(shelf) == 1
    assert problems() == []
    assert library.find("waves").tags == ("new",)


def test_broken_videos_kept_for_a_look_are_no_problem():
    add_video("waves")
    write_video("storm.rejected", poster=False)
    assert problems() == []
    with open_library() as shelf:
        assert [Path(path).suffix for path in verify(shelf).rejected] == [".json", ".mp4"]
        assert rebuild(shelf) == 1


def test_archived_videos_are_missing_without_their_archive(library_folders):
    archive(add_video("waves"))
    (library_folders / "archive").rename(library_folders / "unplugged")
    assert problems() == [("missing", "waves.mp4")]


# --- rebuild


def everything() -> list[library.Entry]:
    with open_library() as shelf:
        return shelf.index.select(Filters())


def test_the_index_comes_back_from_the_records_alone():
    add_video("waves", tags=["sea"], plan={"prompt": "calm", "model": "wan-mini", "fps": 16})
    add_video("clouds", "processed", storyboard={"texts": [{"text": "Hello"}]}, duration=5)
    archive(add_video("old", "published", created="2019-01-01T00:00:00Z"))
    before = everything()
    shutil.rmtree(library.library_root() / ".library")
    assert everything() == before
    assert len(before) == 3
    with open_library() as shelf:
        assert [e.video.stem for e in shelf.index.select(Filters(text="hello"))] == ["clouds"]
        assert rebuild(shelf) == 3
    assert everything() == before


def test_what_cannot_be_used_is_noted():
    original = add_video("waves")
    for suffix in (".mp4", ".json"):
        shutil.copy(original.video.with_suffix(suffix), original.video.parent / f"a copy{suffix}")
    write_video("alone").unlink()
    write_video("torn").with_suffix(".json").write_text("{")
    write_video("nameless", id="none")
    (library.stage_folder("raw") / "notes.json").write_text('{"mine": 1}')
    (looped := write_video("looped")).unlink()
    looped.symlink_to(looped.name)
    with open_library() as shelf:
        assert rebuild(shelf) == 1
        notes = "\n".join(shelf.notes)
    assert library.find(original.id) == original  # and not its copy, though "a" comes first
    for words in (
        "same id as",
        "alone.json has no video",
        "torn.json",
        "nameless.json has no id",
        "looped.json cannot",
    ):
        assert words in notes
    assert "notes.json" not in notes


def test_archived_videos_are_kept_while_the_archive_is_away(library_folders):
    stored = archive(add_video("waves"))
    (library_folders / "archive").rename(library_folders / "unplugged")
    with open_library() as shelf:
        assert rebuild(shelf) == 1
        assert "(1) is kept" in shelf.notes[0]
    assert library.find("waves") == stored


# --- a damaged index


def test_an_index_that_is_no_database_is_set_aside_and_made_anew():
    before = add_video("waves")
    index_file().write_bytes(b"this is no database" * 500)
    with open_library() as shelf:
        assert "was damaged" in shelf.notes[0] and "index.damaged-1.db" in shelf.notes[0]
    assert library.find("waves") == before
    assert index_file().with_name("index.damaged-1.db").read_bytes().startswith(b"this is no")


@pytest.mark.parametrize("table", ["entries", "words"])
def test_an_index_without_a_table_is_made_anew(table):
    before = add_video("waves")
    with sqlite3.connect(index_file()) as connection:
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    assert library.find("waves") == before


def test_an_empty_file_is_filled_again():
    before = add_video("waves")
    for file in index_file().parent.glob("index.db*"):
        file.unlink()
    index_file().touch()
    assert library.find("waves") == before


def test_damage_found_later_is_told_and_the_next_run_mends_it():
    before = [add_video(f"v{number}", plan={"prompt": "x" * 3000}) for number in range(30)]
    data = bytearray(index_file().read_bytes())
    size = 4096
    for page in range(len(data) // size // 2, len(data) // size):
        data[page * size : page * size + 200] = b"\xff" * 200
    index_file().write_bytes(data)
    with pytest.raises(MlxWanError, match="index was damaged") as caught, open_library() as shelf:
        shelf.index.check()
    assert "run the command again" in caught.value.hint
    assert sorted(everything(), key=lambda e: e.id) == before


def test_an_index_of_a_newer_version_is_left_alone():
    add_video("waves")
    with sqlite3.connect(index_file()) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(MlxWanError, match="made by a newer mlx-wan"):
        library.find("waves")
    assert not list(index_file().parent.glob("*damaged*"))


def test_an_index_of_an_older_version_is_made_anew():
    before = add_video("waves")
    with sqlite3.connect(index_file()) as connection:
        connection.execute("PRAGMA user_version = 1000000000")
        connection.execute("PRAGMA user_version = -1")
    connection.close()
    assert library.find("waves") == before


def test_the_index_is_kept_safe_against_power_cuts():
    add_video("waves")
    with open_library() as shelf:
        settings = {
            name: shelf.index._run(f"PRAGMA {name}")[0][0]
            for name in ("journal_mode", "synchronous", "fullfsync", "checkpoint_fullfsync")
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "fullfsync": 1,
        "checkpoint_fullfsync": 1,
    }


# --- a library that cannot be written


def as_a_reader(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from mlx_wan.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "library", *arguments]
    if os.geteuid() == 0:  # to whom permissions mean nothing, unless told
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write")
@pytest.mark.parametrize("index", ["kept", "gone", "unfinished"])
def test_a_library_of_somebody_else_can_be_read(library_folders, index):
    library_folders.chmod(0o755)
    entry = add_video("waves", plan={"prompt": "calm sea"})
    held = None
    if index == "gone":
        shutil.rmtree(index_file().parent)
    if index == "unfinished":  # what is in the log alone is not in the index file
        held = open_library()
        shelf = held.__enter__()
        shelf.index.put(entry)
    folders = [library_folders / "videos", *(library_folders / "videos").rglob("*/")]
    for folder in folders:
        if folder.is_dir():
            folder.chmod(0o555)
    try:
        found = as_a_reader("search", "calm", "--json")
        assert found.returncode == 0, found.stderr
        assert [one["id"] for one in json.loads(found.stdout)["videos"]] == [entry.id]
        assert as_a_reader("verify").returncode == 0
        for command in (["promote", "waves"], ["delete", "waves", "--yes"], ["rebuild"]):
            refused = as_a_reader(*command)
            assert refused.returncode == 1, refused.stdout
            assert "cannot be written" in refused.stderr
            assert "Traceback" not in refused.stderr
        assert len(files_below(library_folders)) == 3
    finally:
        for folder in folders:
            if folder.is_dir():
                folder.chmod(0o755)
        if held is not None:
            held.__exit__(None, None, None)


def test_names_in_the_library_with_dots_and_letters_of_all_kinds():
    for name in ("v1.2 final", "ünï 人工", "-x", "[bold]", "a'b\"c", "%20_"):
        entry = add_video(name)
        assert library.find(name) == entry
        assert archive(entry).video.name == f"{name}.mp4"
    assert problems() == []
    assert list(library.stage_folder("raw").iterdir()) == []

"""Promote, archive, restore, delete: nothing lost, nothing half done, whatever happens."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from library_files import add_video, files_below, record_of, write_video

from mlx_wan import library
from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.library import Filters, actions, copying, moves, open_library, places, placing


def archive(entry):
    with open_library() as shelf:
        return actions.archive(shelf, entry)


def restore(entry):
    with open_library() as shelf:
        return actions.restore(shelf, entry)


def promote(entry, stage=None):
    with open_library() as shelf:
        return actions.promote(shelf, entry, stage)


def delete(entry):
    with open_library() as shelf:
        actions.delete(shelf, entry)


def indexed() -> list[str]:
    """Where the index says the videos are, below the library's and the archive's parent."""
    with open_library() as shelf:
        shelf.index.check()
        return sorted(
            f"{e.root.name}/{e.path}" for e in shelf.index.select(Filters()) if e.video.exists()
        )


@pytest.fixture
def base(library_folders) -> Path:
    return library_folders


@pytest.fixture
def copies(monkeypatch):
    """As if library and archive were on two disks."""
    monkeypatch.setattr(copying, "_link", lambda source, copy: False)


# --- what the commands do


def test_promote_goes_from_raw_to_published():
    entry = add_video("waves", title="Calm")
    bytes_before = entry.video.read_bytes(), entry.poster.read_bytes(), record_of(entry)
    for stage in ("processed", "published"):
        entry = promote(entry)
        assert (entry.stage, entry.video.parent) == (stage, library.stage_folder(stage))
    assert (entry.video.read_bytes(), entry.poster.read_bytes(), record_of(entry)) == bytes_before
    assert files_below(library.library_root()) == [
        f"published/waves{suffix}" for suffix in (".json", ".mp4", ".png")
    ]
    with pytest.raises(UsageError, match="is published already"):
        promote(entry)
    assert promote(entry, "raw").stage == "raw"


def test_a_taken_name_gets_a_number_and_nothing_is_replaced():
    first = add_video("waves", "processed")
    second = promote(add_video("waves", "raw"))
    assert second.video.name == "waves_2.mp4"
    assert record_of(second)["video"] == "waves_2.mp4"
    assert record_of(second)["id"] == second.id
    assert first.video.read_bytes() == b"waves in processed " * 1000
    assert second.video.read_bytes() == b"waves in raw " * 1000
    assert library.find(first.id) == first


@pytest.mark.parametrize("taken", [".png", ".json"])
def test_a_poster_or_record_alone_takes_a_name_too(taken):
    other = library.stage_folder("processed") / f"waves{taken}"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert promote(add_video("waves")).video.name == "waves_2.mp4"
    assert other.read_text() == "mine"


def test_a_folder_below_the_stage_stays():
    video = write_video("waves", folder=library.stage_folder("raw") / "2026" / "may")
    entry = promote(library.find(library.add(video)))
    assert entry.path == "processed/2026/may/waves.mp4"


def test_archive_and_restore_there_and_back(base, copies):
    entry = add_video("waves", "published", plan={"prompt": "calm waves"}, tags=["sea"])
    before = [(base / "videos" / name).read_bytes() for name in files_below(base / "videos")]
    stored = archive(entry)
    assert stored.archived and stored.stage == "published"
    assert files_below(base / "videos") == []
    assert files_below(base / "archive") == [
        f"published/waves{suffix}" for suffix in (".json", ".mp4", ".png")
    ]
    with open_library() as shelf:
        assert shelf.index.select(Filters(text="calm", tags=("sea",))) == [stored]
    assert archive(stored) == stored  # done already
    back = restore(library.find(entry.id))
    assert back == entry
    assert files_below(base / "archive") == []
    after = [(base / "videos" / name).read_bytes() for name in files_below(base / "videos")]
    assert [json.loads(a) if a[:1] == b"{" else a for a in after] == [
        json.loads(b) if b[:1] == b"{" else b for b in before
    ]


def test_archived_videos_are_tagged_in_the_archive_and_not_promoted():
    stored = archive(add_video("waves"))
    with open_library() as shelf:
        stored = actions.tag(shelf, stored, ["old"])
    assert record_of(stored)["tags"] == ["old"]
    with pytest.raises(UsageError, match="is in the archive"):
        promote(stored)


def test_only_old_videos_are_archived_by_age():
    add_video("new", created="2100-01-01T00:00:00Z")
    for name, year in (("older", 2019), ("oldest", 2018)):
        add_video(name, created=f"{year}-01-01T00:00:00Z")
    archive(add_video("gone", created="2017-01-01T00:00:00Z"))
    with open_library() as shelf:
        assert [e.video.stem for e in actions.old_entries(shelf, "90d")] == ["oldest", "older"]
        assert actions.old_entries(shelf, "90d", "published") == []


def test_delete_removes_the_three_files_and_the_entry():
    kept, gone = add_video("waves", "processed"), add_video("waves")
    delete(gone)
    assert files_below(library.library_root()) == [
        f"processed/waves{suffix}" for suffix in (".json", ".mp4", ".png")
    ]
    assert library.find("waves") == kept
    stored = archive(kept)
    delete(stored)
    assert files_below(library.archive_root()) == []
    assert indexed() == []


# --- what is not as the record says


@pytest.mark.parametrize("part", ["video", "poster"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_changed_file_is_not_moved(base, monkeypatch, part, linked):
    if not linked:
        monkeypatch.setattr(copying, "_link", lambda source, copy: False)
    entry = add_video("waves")
    file = getattr(entry, part)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    before = files_below(base)
    with pytest.raises(copying.ChangedFileError, match="not what its record says"):
        archive(entry)
    assert files_below(base) == before
    assert library.find(entry.id) == entry


def test_a_file_changed_in_the_archive_does_not_come_back(base):
    stored = archive(add_video("waves"))
    stored.video.write_bytes(b"rotten")
    before = files_below(base)
    with pytest.raises(copying.ChangedFileError):
        restore(stored)
    assert files_below(base) == before


def test_a_copy_that_reads_back_differently_is_refused(base, copies, monkeypatch):
    entry = add_video("waves")
    monkeypatch.setattr(copying, "_read_back", lambda copy: "0" * 64)
    with pytest.raises(MlxWanError, match="reads back differently"):
        archive(entry)
    assert files_below(base / "archive") == []
    assert library.find(entry.id) == entry


def test_one_bad_video_does_not_stop_the_others():
    entries = [add_video(name) for name in ("a", "b", "c", "d")]
    entries[1].video.write_bytes(b"rotten")
    entries[2].video.unlink()
    with open_library() as shelf:
        results = list(actions.each(shelf, entries, actions.archive))
    failed = [isinstance(result, actions.Failure) for result in results]
    assert failed == [False, True, True, False]
    assert [archived for archived in indexed() if archived.startswith("archive")] == [
        "archive/raw/a.mp4",
        "archive/raw/d.mp4",
    ]


def test_a_link_is_not_moved(base):
    entry = add_video("waves")
    elsewhere = base / "elsewhere.mp4"
    entry.video.rename(elsewhere)
    entry.video.symlink_to(elsewhere)
    with pytest.raises(MlxWanError, match="is a link"):
        archive(entry)


def test_a_record_of_another_video_is_not_moved():
    entry, other = add_video("waves"), add_video("clouds")
    entry.record_path.write_bytes(other.record_path.read_bytes())
    with pytest.raises(MlxWanError, match=f"has the id '{other.id}'"):
        archive(entry)


# --- the archive is not there


def test_a_missing_archive_moves_nothing(base):
    entry, stored = add_video("here"), archive(add_video("there"))
    (base / "archive").rename(base / "unplugged")
    for (action, on), empty in [
        (one, empty)
        for one in ((archive, entry), (restore, stored), (delete, stored))
        for empty in (False, True)
    ]:
        if empty:
            (base / "archive").mkdir()  # what a mount point looks like without its volume
        with pytest.raises(MlxWanError, match=r"archive .* is not there"):
            action(on)
        if empty:
            assert list((base / "archive").iterdir()) == []
            (base / "archive").rmdir()
    assert library.find("there") == stored  # found all the same
    (base / "unplugged").rename(base / "archive")
    assert indexed() == ["archive/raw/there.mp4", "videos/raw/here.mp4"]


def test_an_archive_a_person_named_is_theirs_to_make(base):
    (base / "archive").rmdir()
    with pytest.raises(MlxWanError, match="is not there") as caught:
        archive(add_video("waves"))
    assert "make the folder once" in caught.value.hint
    assert not (base / "archive").exists()


def test_the_archive_beside_the_library_is_made(base, monkeypatch, tmp_path):
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path))
    monkeypatch.delenv("MLX_WAN_ARCHIVE")
    (base / "archive").rmdir()
    assert archive(add_video("waves")).video == base / "archive/raw/waves.mp4"


# --- no space


def half_a_copy(source: Path, copy: Path):
    copy.write_bytes(source.read_bytes()[:500])
    raise OSError(errno.ENOSPC, "No space left on device")


def no_record(path: Path, data: bytes):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("module", "name", "full"),
    [(copying, "_copy_bytes", half_a_copy), (placing, "write_whole", no_record)],
)
def test_a_full_archive_moves_nothing(base, copies, monkeypatch, module, name, full):
    entry = add_video("waves")
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(MlxWanError, match=r"no space left below .*archive") as caught:
            archive(entry)
    assert caught.value.hint.startswith("free some space")
    assert files_below(base / "archive") == []
    assert library.find(entry.id) == entry
    assert archive(entry).archived


def test_a_file_size_limit_is_told_like_a_full_disk(base, copies):
    video = write_video("large", sha256={})
    video.write_bytes(os.urandom(3_000_000))
    entry = library.find(library.add(video))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(MlxWanError, match="no space left"):
            archive(entry)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_below(base / "archive") == []
    assert archive(entry).archived


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_really_full_disk(base):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(base / "archive")]
    )
    if mounted.returncode:
        pytest.skip("not allowed to mount")
    try:
        entries = [add_video(f"v{number}") for number in range(12)]
        with open_library() as shelf, pytest.raises(MlxWanError, match="no space left") as caught:
            list(actions.each(shelf, entries, actions.archive))
        assert "archive" in caught.value.message
        where = indexed()
        assert len(where) == 12
        stored = [place for place in where if place.startswith("archive")]
        assert 0 < len(stored) < 12
        assert len(files_below(base / "archive")) == 3 * len(stored)
        for entry in map(library.find, [entry.id for entry in entries]):
            assert entry.video.read_bytes() == f"{entry.video.stem} in raw ".encode() * 1000
    finally:
        subprocess.run(["umount", str(base / "archive")], check=True)


def test_a_full_library_can_still_be_emptied(base, monkeypatch):
    entry = add_video("waves")
    real, calls = moves.write_journal, []

    def full_until_the_video_is_gone(journal, root):
        calls.append(entry.video.exists())
        if calls[-1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(journal, root)

    monkeypatch.setattr(moves, "write_journal", full_until_the_video_is_gone)
    delete(entry)
    assert calls == [True, False]
    assert files_below(base) == []


# --- killed: what the journal says is finished or undone


class Killed(BaseException):
    pass


def killed(*_):
    raise Killed


def test_killed_while_copying_it_stays_where_it_was(base, copies, monkeypatch):
    entry = add_video("waves")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(moves, "sync_folder", killed)
        patch.setattr(moves, "_undo", lambda *_: None)  # nobody is left to tidy up
        archive(entry)
    assert any(".moving" in name for name in files_below(base / "archive"))
    assert indexed() == ["videos/raw/waves.mp4"]
    assert files_below(base / "archive") == []


@pytest.mark.parametrize("point", ["place", "_read_entry", "is_same", "remove_journal"])
def test_killed_later_it_is_finished_by_the_next_one(base, copies, monkeypatch, point):
    entry = add_video("waves")
    real_is_same = moves.is_same
    with monkeypatch.context() as patch, pytest.raises(Killed):
        if point == "is_same":  # it is asked before the journal says "placing" as well
            calls = iter(range(100))
            patch.setattr(
                moves, point, lambda *a: killed() if next(calls) == 4 else real_is_same(*a)
            )
        else:
            patch.setattr(moves, point, killed)
        archive(entry)
    assert indexed() == ["archive/raw/waves.mp4"]
    assert files_below(base) == [f"archive/raw/waves{s}" for s in (".json", ".mp4", ".png")]


def test_an_unfinished_move_waits_for_its_archive(base, copies, monkeypatch):
    entry, other = add_video("waves"), add_video("clouds")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(moves, "_read_entry", killed)
        archive(entry)
    (base / "archive").rename(base / "unplugged")
    with open_library() as shelf:
        assert any(entry.id in note and "has to wait" in note for note in shelf.notes)
    for action in (promote, delete):
        with pytest.raises(MlxWanError, match="has to wait"):
            action(entry)
    assert promote(other).stage == "processed"
    (base / "unplugged").rename(base / "archive")
    assert indexed() == ["archive/raw/waves.mp4", "videos/processed/clouds.mp4"]


def test_a_new_video_of_the_old_name_is_not_taken_for_the_old_one(base, monkeypatch):
    entry = add_video("waves")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(moves, "remove_journal", killed)
        archive(entry)
    write_video("waves", poster=False).write_bytes(b"a new one")
    new = library.find(library.add(library.stage_folder("raw") / "waves.mp4"))
    assert new.video.read_bytes() == b"a new one"
    assert indexed() == ["archive/raw/waves.mp4", "videos/raw/waves.mp4"]


def test_a_name_taken_at_the_last_moment_gets_a_number(base, copies, monkeypatch):
    entry = add_video("waves")
    rival = base / "archive/raw/waves.png"
    real = moves.write_journal

    def taken_then(journal, root):
        real(journal, root)
        if journal.phase == "placing":
            rival.write_text("mine")

    monkeypatch.setattr(moves, "write_journal", taken_then)
    stored = archive(entry)
    assert rival.read_text() == "mine"
    assert stored.path == "raw/waves_2.mp4"
    assert record_of(stored)["video"] == "waves_2.mp4"
    assert files_below(base / "archive") == [
        "raw/waves.png",
        *(f"raw/waves_2{suffix}" for suffix in (".json", ".mp4", ".png")),
    ]


def test_a_disk_without_hard_links(base, monkeypatch):
    entry = add_video("waves")

    def refuses(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    stored = archive(entry)
    assert files_below(base) == [f"archive/raw/waves{s}" for s in (".json", ".mp4", ".png")]
    assert restore(stored) == entry


@pytest.mark.parametrize(
    "journal",
    [
        "",
        "[]",
        '{"id": "aaaaaaaaaaaa"}',
        '{"id": "aaaaaaaaaaaa", "kind": "delete", "phase": "placing", "target": null, '
        '"files": {".mp4": [1, 1]}, "source": {"archived": false, "path": "raw/../../mine.mp4"}}',
    ],
)
def test_a_damaged_journal_is_not_obeyed(base, journal):
    add_video("waves")
    folder = base / "videos/.library/moves"
    folder.mkdir(exist_ok=True)
    (folder / "aaaaaaaaaaaa.json").write_text(journal)
    (base / "mine.mp4").write_bytes(b"1")
    with pytest.raises(MlxWanError, match=r"aaaaaaaaaaaa\.json is damaged"):
        library.find("waves")
    assert (base / "mine.mp4").exists()


def test_kill_nine_costs_no_video():
    """A few of the trials that `bench/library_kills.py` runs by the hundred."""
    done = subprocess.run(
        [sys.executable, "-m", "mlx_wan.bench.library_kills", "--json", "--trials", "12"],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(Path(os.environ["MLX_WAN_LIBRARY"]).parent)},
        check=False,
    )
    told = json.loads(done.stdout)
    assert told["faults"] == []
    assert told["rows"][-1]["kills"] >= 8, done.stderr
    assert done.returncode == 0


def test_one_changes_the_library_at_a_time_and_all_may_look(base, monkeypatch):
    entry = add_video("waves")
    monkeypatch.setattr(places, "LOCK_SECONDS", 0.0)
    changes = (archive, promote, delete, lambda _: add_video("another"))
    with places.locked(base / "videos/.library"):
        for change in changes:
            with pytest.raises(places.BusyLibraryError, match="another mlx-wan is changing"):
                change(entry)
        assert library.find("waves") == entry
    assert files_below(base / "archive") == []
    assert archive(entry).archived


def test_two_archive_at_once(base):
    entries = [add_video(f"v{number}", created="2019-01-01T00:00:00Z") for number in range(8)]
    script = "import sys; from mlx_wan.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "library", "archive"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert indexed() == [f"archive/raw/v{number}.mp4" for number in range(8)]
    assert len(files_below(base)) == 3 * len(entries)

"""Videos put into the library and found again; where the library is."""

import json
import os
import re
import subprocess
import sys

import pytest
from library_files import add_video, files_below, record_of, write_video

from mlx_wan import library
from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.library import Filters, actions, open_library
from mlx_wan.library.rebuild import rebuild
from mlx_wan.record import ID_PATTERN, new_id


def found(text="", **filters) -> list[str]:
    """Names of the videos a search finds, in its order."""
    with open_library() as shelf:
        return [e.video.stem for e in shelf.index.select(Filters(text=text, **filters))]


# --- ids and places


def test_ids_sort_by_time():
    ids = [new_id() for _ in range(200)]
    assert all(ID_PATTERN.fullmatch(one) for one in ids)
    assert [one[:8] for one in ids] == sorted(one[:8] for one in ids)
    assert len(set(ids)) == 200


def test_the_time_of_an_id_is_its_first_eight_letters(monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: 1_735_689_600_001_999_999)
    assert new_id()[:8] == "00000001"
    monkeypatch.setattr("time.time_ns", lambda: 1_735_689_601_000_000_000)
    assert new_id()[:8] == "000000z8"  # 1000 in base 32


def test_places_come_from_the_environment_then_the_config_then_home(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path))
    monkeypatch.setenv("MLX_WAN_LIBRARY", str(tmp_path / "here"))
    assert library.library_root() == tmp_path / "here"
    monkeypatch.delenv("MLX_WAN_LIBRARY")
    monkeypatch.delenv("MLX_WAN_ARCHIVE")
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    assert library.library_root() == tmp_path / "person/mlx-wan/videos"
    assert library.archive_root() == tmp_path / "person/mlx-wan/archive"
    (tmp_path / "config.toml").write_text('library = "~/films"\narchive = "/Volumes/Old/films"')
    assert library.library_root() == tmp_path / "person/films"
    assert str(library.archive_root()) == "/Volumes/Old/films"


@pytest.mark.parametrize("config", ['library = "films"', "library = 3", "library = ", 'library=""'])
def test_a_config_that_names_no_folder_is_refused(tmp_path, monkeypatch, config):
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path))
    monkeypatch.delenv("MLX_WAN_LIBRARY")
    (tmp_path / "config.toml").write_text(config)
    with pytest.raises(UsageError, match=r"config\.toml|whole path"):
        library.library_root()


@pytest.mark.parametrize("archive", ["videos", "videos/raw/old", "."])
def test_an_archive_inside_the_library_is_refused(library_folders, monkeypatch, archive):
    monkeypatch.setenv("MLX_WAN_ARCHIVE", str(library_folders / archive))
    if archive == ".":
        monkeypatch.setenv("MLX_WAN_LIBRARY", str(library_folders / "raw"))
    with pytest.raises(UsageError, match="one is inside the other"):
        library.find("anything")


def test_an_unknown_stage_is_refused():
    with pytest.raises(UsageError, match="stage is 'done'"):
        library.stage_folder("done")


def test_looking_makes_no_library(library_folders, monkeypatch):
    monkeypatch.setenv("MLX_WAN_LIBRARY", str(library_folders / "none"))
    assert found() == []
    assert not (library_folders / "none").exists()


# --- adding and finding


def test_what_is_added_is_found_by_id_prefix_and_name():
    entry = add_video("waves", plan={"prompt": "calm waves", "model": "wan-mini"})
    for name in (entry.id, entry.id[:5], entry.id.upper(), "waves", "waves.mp4", "raw/waves.mp4"):
        assert library.find(name) == entry
    assert entry.model == "wan-mini"
    assert entry.video == library.stage_folder("raw") / "waves.mp4"


def test_what_is_not_there_or_not_one_is_said():
    add_video("waves", id="aaaaaaaaaaaa")
    add_video("clouds", id="aaaaaaaaaaab")
    with pytest.raises(UsageError, match="no video 'nothing'"):
        library.find("nothing")
    with pytest.raises(UsageError, match="'aaaa' could be aaaaaaaaaaa"):
        library.find("aaaa")
    assert library.find("aaaaaaaaaaab").video.stem == "clouds"


@pytest.mark.parametrize("name", ["", " ", "%", "_ea", "s%", "'; DROP TABLE entries; --", "\0"])
def test_names_are_no_patterns(three, name):
    with pytest.raises(UsageError, match="no video"):
        library.find(name)


def test_adding_fills_in_what_the_record_lacks():
    video = write_video("old", poster=True)
    record = json.loads(video.with_suffix(".json").read_text())
    del record["id"], record["sha256"]
    video.with_suffix(".json").write_text(json.dumps(record | {"kept": [1, "ä"]}))
    entry = library.find(library.add(video))
    assert record_of(entry)["id"] == entry.id
    assert record_of(entry)["sha256"] == {"video": entry.sha256, "poster": entry.poster_sha256}
    assert len(entry.sha256) == len(entry.poster_sha256) == 64
    assert record_of(entry)["kept"] == [1, "ä"]


def test_adding_twice_is_adding_once():
    video = write_video("waves")
    assert library.add(video) == library.add(video)
    assert found() == ["waves"]


def test_a_video_from_elsewhere_is_copied_with_its_record_and_poster(library_folders):
    video = write_video("waves", folder=library_folders / "elsewhere", title="Calm")
    add_video("waves", "published")
    entry = library.find(library.add(video, stage="published"))
    assert entry.video == library.stage_folder("published") / "waves_2.mp4"
    assert entry.video.read_bytes() == video.read_bytes()
    assert not entry.video.samefile(video)  # a change to one must not be one to the other
    assert entry.poster.read_bytes() == video.with_suffix(".png").read_bytes()
    assert record_of(entry)["video"] == "waves_2.mp4"
    assert record_of(entry)["title"] == entry.title == "Calm"
    with pytest.raises(UsageError, match="in the library already"):
        library.add(video)
    assert len(files_below(library_folders / "videos")) == 6


def test_a_video_without_a_record_gets_one(tmp_path):
    (tmp_path / "found.mp4").write_bytes(b"film")
    entry = library.find(library.add(tmp_path / "found.mp4"))
    assert entry.title == "found"
    assert record_of(entry)["id"] == entry.id
    assert not (tmp_path / "found.json").exists()


def test_what_is_no_video_or_has_a_wrong_record_is_refused(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    (tmp_path / "film.txt").write_bytes(b"film")
    (tmp_path / "film.json").write_text('{"format": "another"}')
    for path in ("film.txt", "none.mp4", "film.mp4"):
        with pytest.raises(UsageError):
            library.add(tmp_path / path)
    with pytest.raises(UsageError, match="does not exist"):
        library.add(tmp_path / "film.mp4", tmp_path / "none.json")
    assert found() == []


def test_a_video_that_changed_since_its_record_is_not_taken_in(tmp_path, library_folders):
    video = write_video("waves", folder=tmp_path)
    video.write_bytes(b"something else")
    with pytest.raises(MlxWanError, match="not what its record says"):
        library.add(video)
    assert files_below(library_folders) == []


HOSTILE = {
    "id": "../../etc",
    "created": "yesterday",
    "title": {"a": 1},
    "tags": ["Fine", 7, None, "x" * 500, " two  words ", "\ud800"],
    "plan": {"prompt": "evil \0 \ud800 [bold]", "model": ["m"], "fps": -3, "num_frames": 1e308},
    "plans": "none",
    "storyboard": {"shots": [1, {"prompt": None}], "texts": {"text": "no list"}, "duration": "x"},
    "sha256": {"video": 5, "poster": ["short"]},
    "width": True,
    "fps": 10**400,
}


def test_a_hostile_record_gives_a_harmless_entry():
    entry = add_video("evil", **HOSTILE)
    assert ID_PATTERN.fullmatch(entry.id)
    assert entry.created.startswith("20") and entry.created.endswith("Z")
    assert entry.tags == ("fine", "two words", "x" * 50)
    assert (entry.model, entry.fps, entry.width, entry.duration) == ("", 0, 0, 0)
    assert "evil" in entry.prompts and "\0" not in entry.prompts
    assert found("evil") == ["evil"]
    assert record_of(entry)["plan"] == HOSTILE["plan"]


def test_a_hostile_record_beside_an_import_is_no_obstacle(tmp_path):
    video = write_video("evil", folder=tmp_path, **HOSTILE)
    entry = library.find(library.add(video))
    assert entry.poster.read_bytes() == video.with_suffix(".png").read_bytes()
    assert re.fullmatch("[0-9a-f]{64}", entry.poster_sha256)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such file names")
def test_a_name_that_is_no_unicode_is_refused_and_blocks_nothing(tmp_path):
    for folder in (tmp_path, library.stage_folder("raw")):
        video = write_video("odd", folder=folder)
        for suffix in (".mp4", ".json", ".png"):
            video.with_suffix(suffix).rename(folder / f"\udcff{suffix}")
        with pytest.raises(UsageError, match="not valid Unicode"):
            library.add(folder / "\udcff.mp4")
    with open_library() as shelf:
        assert rebuild(shelf) == 0
        (note,) = shelf.notes  # of the one in the folder; nothing of the other was begun
        assert "not valid Unicode" in note
    assert add_video("fine").stage == "raw"


def test_a_production_is_found_by_what_it_shows_and_says():
    entry = add_video(
        "short",
        "processed",
        storyboard={
            "title": "Skills",
            "shots": [{"prompt": "ink in water"}, {"prompt": "slow clouds"}],
            "texts": [{"text": "earn 56% more"}, {"text": "Connect with Arthur Dell"}],
            "duration": 30.0,
        },
        plans=[{"prompt": "ink in water", "model": "wan2.2-t2v-a14b", "width": 832, "height": 480}],
        width=1080,
        height=1920,
        fps=30,
    )
    assert (entry.width, entry.height, entry.fps, entry.duration) == (1080, 1920, 30, 30.0)
    assert entry.prompts == "ink in water\nslow clouds"
    for text in ("clouds", "arthur", "56%", "a14b", "skills", "short", "2026-11-20"):
        assert found(text) == ["short"], text


# --- searching


@pytest.fixture(scope="module")
def three_made(tmp_path_factory):
    """A library of three videos that no test changes."""
    base = tmp_path_factory.mktemp("three")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLX_WAN_LIBRARY", str(base / "videos"))
        patch.setenv("MLX_WAN_ARCHIVE", str(base / "archive"))
        add_three()
    return base / "videos"


@pytest.fixture
def three(three_made, monkeypatch):
    monkeypatch.setenv("MLX_WAN_LIBRARY", str(three_made))


def add_three():
    add_video(
        "red_fox",
        plan={"prompt": "A red fox runs", "model": "wan2.2-t2v-a14b"},
        tags=["animals", "new"],
        created="2026-01-02T10:00:00Z",
    )
    add_video(
        "sea",
        "processed",
        plan={"prompt": "Café am Meer, 人工智能改变工作", "model": "wan-mini"},
        tags=["animals"],
        created="2026-03-01T00:00:00Z",
    )
    add_video(
        "robots",
        "published",
        plan={"prompt": "robots run a factory", "model": "wan-mini"},
        created="2025-12-31T23:59:59Z",
    )


def test_newest_first(three):
    assert found() == ["sea", "red_fox", "robots"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("fox", ["red_fox"]),
        ("FOX red", ["red_fox"]),
        ("run", ["red_fox", "robots"]),
        ("robot", ["robots"]),
        ("fox robots", []),
        ('"red fox"', ["red_fox"]),
        ('"fox red"', []),
        ("cafe", ["sea"]),
        ("智能", ["sea"]),
        ("工作", ["sea"]),
        ("能智", []),
        ("animals", ["sea", "red_fox"]),
        ("mini factory", ["robots"]),
        ("2025-12", ["robots"]),
        ("red_fox", ["red_fox"]),
        ("   ", ["sea", "red_fox", "robots"]),
    ],
)
def test_search(three, text, names):
    assert found(text) == names


SYNTAX = ['"', '""', "'", "*", "fox*", "AND", "fox AND", "NOT fox", "fox OR", "NEAR(fox red, 2)"]
SYNTAX += ["title:fox", "^fox", "(", "fox)", "{a b}: fox", "-fox", "+", "\\", "%", "fox\0", '"fox']
SYNTAX += ["!!!", "\ud800", "a" * 5000, "é́", "👍", "; DROP TABLE words", "fox - red", "--json"]


@pytest.mark.parametrize("text", SYNTAX)
def test_search_syntax_means_nothing(three, text):
    assert set(found(text)) <= {"red_fox", "sea", "robots"}
    if text in ("fox*", "^fox", "fox)", "-fox", '"fox', "fox\0", "fox - red"):
        assert found(text) == ["red_fox"]


def test_filters(three):
    assert found(model="A14B") == ["red_fox"]
    assert found(model="%") == []
    assert found(tags=("animals",)) == ["sea", "red_fox"]
    assert found(tags=("animals", "new")) == ["red_fox"]
    assert found(tags=("anim",)) == []
    assert found(since="2026-01-02") == ["sea", "red_fox"]
    assert found(until="2026-01-02") == ["robots"]
    assert found(since="2026-01-01", until="2026-02-01") == ["red_fox"]
    assert found(stage="published") == ["robots"]
    assert found(archived=True) == []
    assert found("run", model="mini", stage="published", archived=False) == ["robots"]


@pytest.mark.parametrize("age", ["", "soon", "90", "d", "-3d", "2026-13-01", "1e3d", "2026-1-1"])
def test_an_age_that_is_none_is_refused(age):
    with pytest.raises(UsageError, match="is no time"):
        actions.before(age)


def test_ages_and_dates(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_790_000_000.0)  # 2026-09-21T14:13:20Z
    assert actions.before("0d") == "2026-09-21T14:13:20Z"
    assert actions.before("90d") == "2026-06-23T14:13:20Z"
    assert actions.before("2w") == actions.before("14D") == "2026-09-07T14:13:20Z"
    assert actions.before("2026-02-28") == "2026-02-28"


# --- tags


def test_tags_are_kept_in_the_record_as_well():
    add_three()
    with open_library() as shelf:
        entry = actions.tag(shelf, library.find("robots"), ["Launch", " big  day "])
        assert entry.tags == ("big day", "launch")
        assert record_of(entry)["tags"] == ["big day", "launch"]
        entry = actions.tag(shelf, entry, ["launch", "never"], remove=True)
    assert library.find("robots").tags == entry.tags == ("big day",)
    assert record_of(entry)["tags"] == ["big day"]
    assert found("day") == ["robots"]
    assert found("launch") == []
    with pytest.raises(UsageError, match="no tag"), open_library() as shelf:
        actions.tag(shelf, entry, ["  "])


# --- several processes, and none that may write

ADD_MANY = """
import sys
sys.path.insert(0, sys.argv[1])
from library_files import add_video
for number in range(10):
    add_video(f"{sys.argv[2]}{number}")
"""


def test_two_processes_add_at_once():
    command = [sys.executable, "-c", ADD_MANY, os.path.dirname(__file__)]  # noqa: PTH120
    both = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [one.wait() for one in both] == [0, 0]
    assert sorted(found()) == sorted(f"{name}{n}" for name in "ab" for n in range(10))

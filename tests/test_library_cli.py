"""`mlx-wan library ...` as a person or a script uses it."""

import json
import os
import plistlib
import subprocess
import sys

import pytest
from library_files import add_video, files_below, write_video

from mlx_wan import library
from mlx_wan.cli.main import run


@pytest.fixture
def told(capsys):
    """Runs `mlx-wan library ARGUMENTS`; exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["library", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


@pytest.fixture
def three():
    add_video("fox", plan={"prompt": "a [bold]red[/bold] fox", "model": "wan-mini"}, tags=["new"])
    add_video("sea", "processed", plan={"prompt": "sea"}, created="2019-05-01T00:00:00Z")
    add_video("sky", "published", plan={"prompt": "sky\x1b[31m"}, created="2018-05-01T00:00:00Z")


def test_list_and_search_print_tables(told, three):
    code, out, err = told("list")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["id", "made", "where", "model", "size", "tags", "title"]
    assert [line.split()[0] for line in lines[1:]] == [
        library.find(name).id for name in ("fox", "sea", "sky")
    ]
    assert "a [bold]red[/bold] fox" in lines[1]
    assert "\x1b" not in out
    code, out, _ = told("search", "red", "fox")
    assert len(out.splitlines()) == 2
    assert told("list", "--limit", "2")[2] == "2 of 3; --limit 0 shows all\n"
    assert told("list", "--limit", "0")[2] == ""
    assert told("search", "nothing")[1:] == ("", "no video fits\n")


def test_an_empty_library_says_so(told):
    assert told("list") == (0, "", "the library is empty\n")
    assert json.loads(told("list", "--json")[1]) == {"ok": True, "total": 0, "videos": []}


def test_a_phrase_the_shell_has_unquoted_stays_a_phrase(told, three):
    write_video("other", plan={"prompt": "fox a red"})
    library.add(library.stage_folder("raw") / "other.mp4")
    assert json.loads(told("search", "red", "fox", "--json")[1])["total"] == 2
    assert json.loads(told("search", "fox a", "--json")[1])["total"] == 1


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--stage", "published"], ["sky"]),
        (["--model", "mini"], ["fox"]),
        (["--tag", "NEW"], ["fox"]),
        (["--tag", "new", "--tag", "old"], []),
        (["--since", "2019-05-01"], ["fox", "sea"]),
        (["--until", "90d"], ["sea", "sky"]),
        (["--archived"], []),
        (["--not-archived", "--limit", "1"], ["fox"]),
    ],
)
def test_filters(told, three, arguments, names, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_795_000_000.0)  # November 2026
    code, out, _ = told("list", "--json", *arguments)
    assert code == 0
    assert [os.path.basename(one["video"]) for one in json.loads(out)["videos"]] == [  # noqa: PTH119
        f"{name}.mp4" for name in names
    ]


MISUSED = [
    (["list", "--stage", "done"], "stage is 'done'"),
    (["list", "--since", "soon"], "'soon' is no time"),
    (["list", "--limit", "-1"], "limit"),
    (["search"], "Missing argument"),
    (["show", "none"], "no video 'none'"),
    (["open", "none"], "no video 'none'"),
    (["tag", "fox"], "Missing argument"),
    (["tag", "fox", " "], "no tag was given"),
    (["promote", "sky"], "is published already"),
    (["promote", "fox", "--to", "heaven"], "stage is 'heaven'"),
    (["promote", "fox", "sky"], "is published already"),
    (["archive", "--older-than", "old"], "'old' is no time"),
    (["archive", "fox", "--older-than", "1d"], "ids together with"),
    (["archive", "--launchd", "--stage", "done"], "stage is 'done'"),
    (["archive", "--launchd", "fox"], "a job for every night"),
    (["show", "\udcff"], "is not valid Unicode"),
    (["list", "--model", "\udcff"], "is not valid Unicode"),
    (["tag", "fox", "\udcff"], "no tag was given"),
    (["restore", "fox"], "is not in the archive"),
    (["delete", "fox"], "nobody is there to be asked"),
    (["delete", "fox", "--json"], "nobody is there to be asked"),
    (["add", "none.mp4"], "is not a video"),
    (["add", "none.mp4", "--stage", "done"], "stage is 'done'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISUSED)
def test_misuse_gets_a_line_and_changes_nothing(told, three, arguments, message):
    before = files_below(library.library_root())
    code, _, err = told(*arguments)
    assert code == 2
    assert err.startswith("error: ") and message in err
    assert files_below(library.library_root()) == before


def test_show_and_open(told, three, monkeypatch, tmp_path):
    entry = library.find("fox")
    code, out, _ = told("show", entry.id[:-1])
    assert code == 0
    for text in (entry.id, str(entry.video), entry.sha256, "a [bold]red[/bold] fox", "new"):
        assert text in out
    assert json.loads(told("show", "fox", "--json")[1])["record"]["plan"]["model"] == "wan-mini"
    entry.record_path.write_text("{")  # a torn record is verify's to report
    assert told("show", "fox")[0] == 0
    assert told("open", "fox", "--print") == (0, f"{entry.video}\n", "")
    monkeypatch.setenv("PATH", str(tmp_path))  # no player
    assert told("open", "fox")[1] == f"{entry.video}\n"
    player = tmp_path / ("open" if sys.platform == "darwin" else "xdg-open")
    player.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    player.chmod(0o755)
    assert told("open", "fox") == (0, "", "")
    assert (tmp_path / "opened").read_text() == f"{entry.video}\n"
    player.write_text("#!/bin/sh\nexit 3\n")
    code, out, err = told("open", "fox")
    assert (code, out) == (1, f"{entry.video}\n") and "no player" in err


def test_the_life_of_a_video(told, tmp_path):
    write_video("waves", folder=tmp_path, title="Calm waves")
    code, out, _ = told("add", str(tmp_path / "waves.mp4"), "--tag", "sea", "--json")
    id = json.loads(out)["videos"][0]["id"]
    assert told("tag", id, "Launch")[1] == f"{id}  launch, sea\n"
    assert told("tag", id, "launch", "--remove")[1] == f"{id}  sea\n"
    code, out, _ = told("promote", id)
    assert out == f"promoted  {id}  {library.stage_folder('processed') / 'waves.mp4'}\n"
    code, out, err = told("archive", id)
    assert (code, err.strip()) == (0, "archived: 1 of 1, 13.0 kB")
    assert json.loads(told("search", "calm", "--archived", "--json")[1])["total"] == 1
    assert told("restore", id)[0] == 0
    assert told("verify") == (0, "", "1 read, problems: 0\n")
    assert told("rebuild")[1] == "videos in the index: 1\n"
    assert told("delete", id, "--yes")[0] == 0
    assert files_below(library.library_root(), library.archive_root()) == []
    assert (tmp_path / "waves.mp4").exists()


def test_archive_by_age_with_a_dry_run(told, three):
    before = files_below(library.library_root())
    out = told("archive", "--dry-run")[1]
    assert [line.split()[0:2] for line in out.splitlines()] == [["would", "archive"]] * 2
    assert files_below(library.library_root()) == before
    out = told("archive", "--stage", "processed", "--json")[1]
    assert [one["id"] for one in json.loads(out)["videos"]] == [library.find("sea").id]
    assert told("archive")[0] == 0
    assert [library.find(name).archived for name in ("fox", "sea", "sky")] == [False, True, True]
    assert told("archive")[2].strip() == "archived: 0 of 0, 0 bytes"


def test_one_that_cannot_be_archived_is_told_at_the_end(told, three):
    library.find("sea").video.write_bytes(b"rotten")
    code, out, err = told("archive")
    assert code == 1
    assert "sky" in out and "sea" not in out
    assert "sea.mp4 is not what its record says" in err
    code, out, _ = told("archive", "--json")
    answer = json.loads(out)
    assert (code, answer["ok"], answer["videos"]) == (1, False, [])
    assert answer["failed"][0]["id"] == library.find("sea").id


def test_verify_exits_with_1(told, three):
    library.find("sea").video.unlink()
    code, out, err = told("verify")
    assert code == 1
    assert out.startswith("missing ") and "sea.mp4" in out
    assert err == "3 read, problems: 1\n"
    code, out, _ = told("verify", "--json")
    answer = json.loads(out)
    assert (code, answer["ok"], answer["checked"]) == (1, False, 3)
    assert [one["what"] for one in answer["missing"]] == ["the file is gone"]
    assert answer["changed"] == answer["unknown"] == answer["rejected"] == []


def test_delete_asks(told, three, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    code, _, err = told("delete", "fox", "sea")
    assert code == 1 and "nothing was deleted" in err
    assert library.find("fox").video.exists()
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert told("delete", "fox", "sea")[0] == 0
    assert [name.split(".")[0] for name in files_below(library.library_root())] == [
        "published/sky"
    ] * 3


def test_a_job_for_launchd(told):
    code, out, _ = told("archive", "--launchd", "--older-than", "30d")
    job = plistlib.loads(out.encode())
    assert job["ProgramArguments"][1:] == ["library", "archive", "--older-than", "30d"]
    assert job["EnvironmentVariables"]["MLX_WAN_LIBRARY"] == str(library.library_root())
    assert job["StartCalendarInterval"] == {"Hour": 3, "Minute": 0}
    assert code == 0


def test_notes_go_to_stderr(told, three):
    for file in (library.library_root() / ".library").glob("index.db*"):
        file.write_bytes(b"broken" * 1000)
    code, out, err = told("list", "--json")
    assert (code, json.loads(out)["total"]) == (0, 3)
    assert err.startswith("note: the index was damaged")


def test_listing_imports_no_mlx():
    add_video("waves")
    script = (
        "import sys; from mlx_wan.cli.main import run; run(['library', 'list', '--json']);"
        "sys.exit(any(name in sys.modules for name in ('mlx.core', 'numpy', 'av', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

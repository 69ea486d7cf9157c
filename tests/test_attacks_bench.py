"""Hostile result folders on the terminal: labels, votes and runs as a stranger may leave them."""

import json
import os

import pytest
from ab_folders import METRICS, make_folder

from mlx_wan.bench import metrics
from mlx_wan.bench.report.serve import VoteServer
from mlx_wan.cli.main import run

EVIL = "\x1b[2J\x07\u202e[/red]\ud800<script>"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", METRICS)
    return make_folder(tmp_path / "ab", prompts=2, seeds=1, num_frames=5)


def told(capsys) -> str:
    """All that was printed: no terminal codes in it, and no mistake of our own."""
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n")), (out, err)
    assert "a mistake of mlx-wan" not in err and "Traceback" not in err
    return err


def change(folder, key, value) -> None:
    file = folder / "experiment.json"
    data = json.loads(file.read_text())
    data["variants"]["a"][key] = value
    file.write_text(json.dumps(data))


def test_a_label_is_neither_markup_nor_a_terminal_code(folder, capsys):
    change(folder, "label", EVIL)
    assert run(["bench", "report", str(folder)]) == 0
    told(capsys)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_votes_that_are_no_file_have_a_way_out(folder, kind, capsys):
    votes = folder / "votes.jsonl"
    {
        "pipe": lambda: os.mkfifo(votes),
        "link": lambda: votes.symlink_to("/etc/passwd"),
        "folder": votes.mkdir,
    }[kind]()
    assert run(["bench", "report", str(folder)]) == 1
    lines = told(capsys).splitlines()
    assert lines[0].startswith("error: ") and lines[1].startswith("hint: ") and len(lines) == 2


def refused(arguments, capsys, code) -> str:
    """The error's line; a hint may follow, nothing else."""
    assert run([str(word) for word in arguments]) == code
    err = told(capsys)
    lines = err.splitlines()
    assert [line[:6] for line in lines] in (["error:"], ["error:", "hint: "]), err
    return lines[0]


WRONG = [None, True, EVIL, -1, 10**300, 1e308, [], {}, "x" * 100_000, {"a": None}, "../../etc"]


@pytest.mark.parametrize("file", ["experiment.json", "runs/a-p00-0/run.json", "votes.jsonl"])
def test_any_value_of_a_strangers_folder_is_taken_or_refused_in_one_line(file, folder, capsys):
    """Nothing is half written either way."""
    vote = {"pair": "p00-0", "left": "a", "right": "b", "choice": "left", "rater": "x", "time": "t"}
    sound = vote if file == "votes.jsonl" else json.loads((folder / file).read_text())
    places = [(name,) for name in sound]
    if file == "experiment.json":
        places += [("variants", "a", name) for name in sound["variants"]["a"]]
    for place in places:
        for value in WRONG:
            data = json.loads(json.dumps(sound))
            table = data
            for name in place[:-1]:
                table = table[name]
            table[place[-1]] = value
            (folder / file).write_text(json.dumps(data))
            code = run(["bench", "report", str(folder)])
            err = told(capsys)
            assert (code == 0) == ("error: " not in err) and code in (0, 1), (place, value, err)
            assert err.count("error: ") == code
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"[" * 100_000, b'{"a": NaN}'])
@pytest.mark.parametrize("file", ["experiment.json", "runs/a-p00-0/run.json"])
def test_damaged_files_are_named(file, content, folder, capsys):
    (folder / file).write_bytes(content)
    assert file in refused(["bench", "report", folder], capsys, 1)


@pytest.mark.parametrize(("key", "value"), [("model", EVIL), ("model", ""), ("fingerprint", "")])
def test_what_is_compared_must_be_able_to_be_evidence(key, value, folder, capsys):
    """Found before a report is written, not after."""
    change(folder, key, value)
    assert "no sound variant a" in refused(["bench", "report", folder], capsys, 1)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("file", ["experiment.json", "run.json", "runs", "video.mp4"])
def test_what_may_not_be_read_is_not_taken_for_damaged(file, folder, monkeypatch, capsys):
    """It is the person's to mend, and no fault of the model."""
    import av

    def closed(function):
        def ask(path, *more, **named):
            if str(path).endswith(f"/{file}"):
                raise PermissionError(13, "Permission denied", path)
            return function(path, *more, **named)

        return ask

    for module, name in ((os, "open"), (os, "scandir"), (av, "open")):
        monkeypatch.setattr(module, name, closed(getattr(module, name)))
    assert run(["bench", "report", str(folder), "--again"]) == 1
    *_, error, hint = told(capsys).splitlines()
    assert error.startswith("error: ") and f"{file} cannot be read" in error
    assert hint.startswith("hint: check its permissions")
    monkeypatch.undo()
    assert "readable" not in json.loads((folder / "runs/a-p00-0/run.json").read_text())["gates"]


def test_a_folder_that_cannot_keep_votes_asks_for_none(folder, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(VoteServer, "serve_forever", lambda self: None)
    assert "votes cannot be stored" in refused(["bench", "vote", folder], capsys, 1)


AB = ["bench", "ab", "wan-mini:steps=2", "wan-mini:steps=3", "--dry-run"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", "", "no list of prompts"),
        ("a.txt", " \n\n# only a note\n", "no list of prompts"),
        ("a.txt", "a fox\n\na  fox \n", "prompts 1 and 2 are the same"),
        ("a.txt", "a\0fox", "NUL"),
        ("a.txt", b"caf\xe9", "not UTF-8"),
        ("a.txt", bytes(range(256)) * 20, "not UTF-8"),
        ("a.txt", "x" * 100_000, "100,000 characters"),
        ("a.txt", b"x" * 3_000_000, "too large"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '[{"text": NaN}]', "NaN"),
        ("a.json", "[1]", "prompt 1 is 1"),
        ("a.json", '["a fox", {"text": "a fox"}]', "are the same"),
        ("a.json", '[{"id": "../x", "text": "x"}]', "has the id"),
        ("a.json", '[{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]', "the id a"),
        ("a.json", '[{"text": "x", "density": "huge"}]', "density"),
        ("a.json", '["\\ud800"]', "not valid Unicode"),
        ("a.yaml", "&a [*a]", "aliases"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a.yaml", "- 2026-01-01", "prompt 1 is"),
        ("pipe", None, "not a file"),
        ("loop", None, "cannot be read"),
        ("folder", None, "not a file"),
        ("missing", None, "does not exist"),
    ],
)
def test_prompts_that_are_none(name, content, problem, tmp_path, capsys):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "loop":
        path.symlink_to("loop")
    elif name == "folder":
        path.mkdir()
    code = 1 if problem == "too large" else 2
    assert problem in refused([*AB, "--prompts", path], capsys, code)


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["--seeds", text]
            for text in ("", "a", "-1", "1,,2", "1,1", "1.5", "²", "9" * 19, "nan")
        ),
        *(["--repeats", text] for text in ("0", "-1", "101", "9" * 30, "x")),
        *(["--timeout", text] for text in ("nan", "inf", "-1", "0", "1e300")),
        *(["--num-prompts", text] for text in ("0", "-1", "25", "9" * 30)),
        *(["--width", text] for text in ("0", "-64", "9" * 40, "x")),
        *(["--memory-limit", text] for text in ("0", "-1", "nan", "9" * 400, "1KB")),
        *(["--shift", text] for text in ("nan", "-1", "1e308")),
        *(["--guidance-scale", text] for text in ("nan", "1e999", "x", "nowhere=3")),
        *(["--quality", text] for text in ("", "huge", EVIL[:4])),
        *(["--fps", text] for text in ("0", "nan", "9" * 10)),
        ["--solver", "x"],
        ["--report", "a\0b"],
    ],
    ids=" ".join,
)
def test_numbers_and_words_nobody_can_mean(words, capsys):
    refused([*AB, *words], capsys, 2)


@pytest.mark.parametrize(
    "words",
    [
        *(["steps"], ["steps="], ["=4"], [""], ["steps=x,2"], ["steps=4,4"], ["steps=4=5,2"]),
        *(["steps=4", "steps=5"], ["nonsense=1,2"], ["seed=1,2"], ["width=8,16"], ["model=a,b"]),
        *(["steps=-1,2"], ["steps=nan,2"], ["steps=1e9,2"], ["steps=1_0,2"], ["steps=٣,2"]),
        *(["shift=inf,1"], ["guidance_scale=nan,1"], ["guidance_scale.nowhere=3,4"]),
        *(["solver=\x1b,euler"], ["quant=3,8"], ["cache=off,easy"], ["a:b=c,d"]),
        *(["steps=" + ",".join(map(str, range(1, 200)))],),
    ],
    ids=lambda words: ascii(" ".join(words))[:30],
)
def test_a_matrix_that_makes_no_sense(words, capsys):
    refused(["bench", "ab", "wan-mini", "--dry-run", "--matrix", *words], capsys, 2)

"""Hostile input to the studio and the library: one clear line, exit code 1 or 2, nothing left.

Tables of what was given; every case goes through the command line as a person's would.
"""

import json
import os
import signal
import struct
import zlib
from pathlib import Path

import pytest
from library_files import add_video, files_below, write_video

from mlx_wan import library
from mlx_wan.cli.main import run

SHOT = "{prompt: a, duration: 2}"
BOARD = "format: square\nduration: 2\nshots: [" + SHOT + "]\n"
TITLE = BOARD + "texts: [{role: title, text: a, start: 0, end: 2}]\n"
BIG_HEX = "0x" + "f" * 5000  # Python refuses to print such a number
SIXTIES = "1" + ":1" * 5000


@pytest.fixture(autouse=True)
def no_hang():
    """A pipe that is opened waits for ever: end the test instead."""

    def end(*_) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(here, capsys):
    """Runs a command that must fail; its first line. Nothing may appear, here or in the library."""

    def call(*arguments: str, code: tuple[int, ...] = (1, 2)) -> str:
        def now() -> list[str]:
            roots = (library.library_root(), library.archive_root())
            return sorted(str(p) for p in here.rglob("*")) + files_below(*roots)

        before = now()
        found = run([*map(str, arguments)])
        err = capsys.readouterr().err
        assert found in code, err
        lines = [line for line in err.splitlines() if not line.startswith("note: ")]
        assert lines and lines[0].startswith("error: "), err
        assert all(line.startswith(("error: ", "hint: ")) for line in lines), err
        assert "a mistake of mlx-wan" not in err and "Traceback" not in err, err
        assert all(line.isprintable() and len(line) < 1100 for line in lines), err
        assert now() == before
        return lines[0]

    return call


STORYBOARDS = {
    "empty": "",
    "null": "null",
    "list": "[]",
    "text": "words",
    "bomb": "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "merge": BOARD + "<<: {title: x}\n",
    "merged twice": "format: square\n<<: {format: wide}\nduration: 2\nshots: [" + SHOT + "]\n",
    "python tag": "!!python/object/apply:os.system ['touch owned']",
    "python name": "format: !!python/name:os.system ''",
    "own tag": "format: !x y",
    "bool tag": "format: !!bool perhaps",
    "int tag": "duration: !!int ''",
    "int of words": "duration: !!int x",
    "float tag": "duration: !!float x",
    "time tag": "duration: !!timestamp x",
    "no such day": "duration: 2026-99-99",
    "binary tag": "format: !!binary '***'",
    "set": "!!set {a, b}",
    "omap": "!!omap [a: b]",
    "pairs": "!!pairs x",
    "date": BOARD.replace("duration: 2\n", "duration: 2026-01-01\n"),
    "hex": BOARD.replace("duration: 2\n", f"duration: {BIG_HEX}\n"),
    "digits": BOARD.replace("duration: 2\n", f"duration: {'9' * 5000}\n"),
    "sixties": BOARD.replace("duration: 2\n", f"duration: {SIXTIES}\n"),
    "sixties float": BOARD.replace("duration: 2\n", f"duration: {SIXTIES}.5\n"),
    "hex format": BOARD.replace("square", BIG_HEX),
    "hex shots": f"format: square\nduration: 2\nshots: {BIG_HEX}\n",
    "hex shot": f"format: square\nduration: 2\nshots: [{BIG_HEX}]\n",
    "hex prompt": BOARD.replace("prompt: a", f"prompt: {BIG_HEX}"),
    "hex name": BOARD + f"{BIG_HEX}: 1\n",
    "nan": BOARD.replace("duration: 2\n", "duration: .nan\n"),
    "inf": BOARD.replace("duration: 2\n", "duration: .inf\n"),
    "minus": BOARD.replace("duration: 2\n", "duration: -2\n"),
    "true": BOARD.replace("duration: 2\n", "duration: true\n"),
    "nan shot": BOARD.replace("duration: 2}", "duration: .nan}"),
    "tiny shot": BOARD.replace("duration: 2}", "duration: 1.0e-300}"),
    "sum": BOARD.replace("duration: 2}", "duration: 1}"),
    "no shots": "format: square\nduration: 2\nshots: []\n",
    "shots a map": "format: square\nduration: 2\nshots: {a: b}\n",
    "10,000 shots": f"format: square\nduration: 600\nshots: [{', '.join([SHOT] * 10_000)}]\n",
    "deep": "shots: " + "[" * 5000,
    "deep map": "{a: " * 5000,
    "twice": BOARD + "format: wide\n",
    "unknown": BOARD + "run: rm\n",
    "number name": BOARD + "1: a\n~: b\n",
    "map name": "? {a: b}\n: c\n",
    "nul": BOARD + "title: 'a\0b'\n",
    "controls": BOARD + "title: 'a\x07b'\n",
    "escaped nul": BOARD + 'title: "a\\0b"\n',
    "half": BOARD + 'title: "\\ud800"\n',
    "half prompt": BOARD.replace("prompt: a", 'prompt: "\\udfff"'),
    "escape": BOARD + "name: ../../owned\n",
    "root": BOARD + "name: /tmp/owned\n",
    "hidden": BOARD + "name: .owned\n",
    "lines": BOARD + 'name: "a\\nb"\n',
    "long name": BOARD + f"name: {'x' * 300}\n",
    "transition": BOARD.replace("duration: 2}", "duration: 2, transition: [cut]}"),
    "image": BOARD.replace("duration: 2}", "duration: 2, image: [a]}"),
    "image nul": BOARD.replace("duration: 2}", 'duration: 2, image: "a\\0"}'),
    "image zero": BOARD.replace("duration: 2}", "duration: 2, image: /dev/zero}"),
    "long prompt": BOARD.replace("prompt: a", f"prompt: {'a' * 100_000}"),
    "texts": BOARD + "texts: 5\n",
    "text of 5": BOARD + "texts: [5]\n",
    "text alone": BOARD + "texts: [{role: title}]\n",
    "role": TITLE.replace("role: title", "role: [title]"),
    "backwards": TITLE.replace("start: 0, end: 2", "start: 2, end: 0"),
    "outside": TITLE.replace("end: 2}", "end: 3}"),
    "nan start": TITLE.replace("start: 0", "start: .nan"),
    "inf end": TITLE.replace("end: 2}", "end: .inf}"),
    "text number": TITLE.replace("text: a", "text: 5"),
    "text blank": TITLE.replace("text: a", "text: ' '"),
    "text joiners": TITLE.replace("text: a", 'text: "\\u200d\\u200b"'),
    "text half": TITLE.replace("text: a", 'text: "\\ud83d"'),
    "text private": TITLE.replace("text: a", 'text: "\\U0010FFFD"'),
    "text long": TITLE.replace("text: a", f"text: {'a ' * 5000}"),
    "many texts": BOARD + "texts: [" + "{role: title, text: a, start: 0, end: 2}, " * 5000 + "]\n",
}


@pytest.mark.parametrize("text", STORYBOARDS.values(), ids=STORYBOARDS)
def test_storyboards(text, here, refused):
    (here / "board.yaml").write_text(text, encoding="utf-8")
    refused("linkedin", "--storyboard", "board.yaml", "--dry-run")


JSONS = {
    "nan": '{"duration": NaN}',
    "inf": '{"duration": 1e999}',
    "digits": '{"duration": ' + "9" * 5000 + "}",
    "twice": '{"format": "wide", "format": "square"}',
    "deep": "[" * 100_000,
    "deep maps": '{"a":' * 50_000,
    "half": '{"title": "\\ud800"}',
    "huge": " " * 1_000_001,
}
BYTES = {
    "binary": bytes(range(256)) * 4,
    "utf-16": BOARD.encode("utf-16"),
    "latin": "title: ä".encode("latin-1"),
    "gzip": b"\x1f\x8b\x08" + bytes(100),
}


@pytest.mark.parametrize("text", JSONS.values(), ids=JSONS)
@pytest.mark.parametrize("kind", ["linkedin", "batch"])
def test_json(kind, text, here, refused):
    (here / "a.json").write_text(text)
    command = ["batch", "a.json"] if kind == "batch" else [kind, "--storyboard", "a.json"]
    refused(*command, "--dry-run")


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("suffix", ["yaml", "json", "csv"])
def test_bytes(suffix, data, here, refused):
    (here / f"a.{suffix}").write_bytes(data)
    refused("batch", f"a.{suffix}", "--dry-run")
    refused("linkedin", "--storyboard", f"a.{suffix}", "--dry-run")


@pytest.mark.parametrize("what", ["folder", "fifo", "zero", "loop", "none", "nul", "home"])
@pytest.mark.parametrize(
    "command",
    [
        ["linkedin", "--storyboard"],
        ["batch"],
        ["linkedin", "a", "--brand"],
        ["generate", "--config"],
        ["generate", "--from-record"],
        ["library", "add"],
    ],
    ids=lambda command: "-".join(command[::2]),
)
def test_what_is_no_file(command, what, here, refused):
    (here / "folder").mkdir()
    os.mkfifo(here / "fifo")
    (here / "zero").symlink_to("/dev/zero")
    (here / "loop").symlink_to("loop")
    name = {"nul": "a\0b", "home": "~nobody-known/x"}.get(what, what)
    refused(*command, name, *([] if command[0] == "library" else ["--dry-run"]))


ITEM = "{kind: linkedin, topic: a, duration: 2"
BATCHES = {
    "empty": "",
    "map": "a: b",
    "mixed names": "1: a\nb: c\n~: d\n",
    "hex name": f"{BIG_HEX}: a\n",
    "hex": BIG_HEX,
    "hex item": f"[{BIG_HEX}]",
    "hex kind": f"[{{kind: {BIG_HEX}}}]",
    "hex duration": f"[{ITEM.replace('2', BIG_HEX)}}}]",
    "hex seed": f"[{ITEM}, seed: {BIG_HEX}}}]",
    "hex tags": f"[{ITEM}, tags: {BIG_HEX}}}]",
    "hex defaults": f"defaults: {BIG_HEX}\nvideos: []",
    "kind list": "[{kind: [linkedin]}]",
    "kind map": "[{kind: {a: b}}]",
    "kind convert": "[{kind: convert}]",
    "unknown": f"[{ITEM}, run: x}}]",
    "two names": f"[{ITEM}, Topic: b, dry-run: true}}]",
    "config": "[{kind: generate, config: /etc/passwd}]",
    "nan": f"[{ITEM.replace('2', '.nan')}}}]",
    "seed": f"[{ITEM}, seed: -1}}]",
    "seed float": f"[{ITEM}, seed: 1.5}}]",
    "output list": f"[{ITEM}, output: [a]}}]",
    "output nul": f'[{ITEM}, output: "a\\0.mp4"}}]',
    "output kind": f"[{ITEM}, output: a.txt}}]",
    "output both": f"[{ITEM}, output: a.mp4}}, {{kind: linkedin, topic: b, output: ./a.mp4}}]",
    "topic half": f'[{ITEM.replace("topic: a", "topic: chr")}, model: "\\ud800"}}]',
    "tags": f"[{ITEM}, tags: [1]}}]",
    "alias": f"[&a {ITEM}}}, *a]",
    "bool tag": "[{kind: !!bool x}]",
    "deep": "[" * 5000,
}


@pytest.mark.parametrize("text", BATCHES.values(), ids=BATCHES)
def test_batches(text, here, refused):
    (here / "batch.yaml").write_text(text, encoding="utf-8")
    refused("batch", "batch.yaml", "--dry-run")


TABLES = {
    "empty": "",
    "no kind": "topic\na\n",
    "twice": "kind,kind\nlinkedin,a\n",
    "quotes": 'kind,topic\nlinkedin,"a\n',
    "quote after": 'kind,topic\nlinkedin,"a"b\n',
    "more cells": "kind,topic\nlinkedin,a,b,c\n",
    "huge field": "kind,topic\nlinkedin," + "a" * 200_000 + "\n",
    "no name": "kind,\nlinkedin,a\n",
    "digits": "kind,topic,seed\nlinkedin,a," + "9" * 5000 + "\n",
    "nan": "kind,topic,duration\nlinkedin,a,nan\n",
    "far": "kind,topic,duration\nlinkedin,a,1e309\n",
    "bool": "kind,topic,fast\nlinkedin,a,perhaps\n",
    "controls": "kind,topic\n\x1b[31m,a\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_tables(text, here, refused):
    (here / "batch.csv").write_text(text, encoding="utf-8")
    refused("batch", "batch.csv", "--dry-run")


@pytest.mark.parametrize(
    "state", ["{", "[]", '{"done": 5}', '{"done": {"a": [5]}}', "[" * 100_000, "fifo", "folder"]
)
def test_the_state_of_a_batch_is_not_trusted(state, here, capsys):
    from mlx_wan.studio.batch import Progress

    (here / "batch.yaml").write_text(f"[{ITEM}}}]")
    path = Progress(here / "batch.yaml").path
    path.parent.mkdir(parents=True, exist_ok=True)
    if state == "fifo":
        os.mkfifo(path)
    elif state == "folder":
        path.mkdir()
    else:
        path.write_text(state)
    assert run(["batch", "batch.yaml", "--dry-run"]) == 0, capsys.readouterr().err


BRANDS = {
    "torn": "name = ",
    "binary": "\x00\x01",
    "name": "name = 5",
    "blank": "name = ' '",
    "long": f"name = '{'a' * 61}'",
    "unseen": 'name = "\\u200b"',
    "private": 'name = "\\U0010FFFD"',
    "colours": "colours = 5",
    "colour": "[colours]\ntext = '#12345'",
    "colour digits": "[colours]\ntext = '#１２３４５６'",
    "same colour": "[colours]\ntext = '#000000'\nbackground = '#000000'",
    "nan": "opacity = nan",
    "inf": "opacity = inf",
    "true": "opacity = true",
    "hex": f"opacity = {BIG_HEX}",
    "hex name": f"name = {BIG_HEX}",
    "hex colour": f"[colours]\ntext = {BIG_HEX}",
    "position": "position = ['top-left']",
    "unknown": "run = 'x'",
    "twice": "name = 'a'\nname = 'b'",
    "deep": "a = " + "[" * 5000,
    "dots": ".".join(["a"] * 5000) + " = 1",
    "huge": "#" * 70_000,
    "no font": "font = 'none.ttf'",
    "font text": "font = 'brand.toml'",
    "font folder": "font = '.'",
    "font zero": "font = '/dev/zero'",
    "font fifo": "font = 'fifo'",
    "font nul": 'font = "a\\u0000"',
    "font torn": "font = 'torn.ttf'",
    "font png": "font = 'bomb.png'",
    "no logo": "logo = 'none.png'",
    "logo text": "logo = 'brand.toml'",
    "logo folder": "logo = '.'",
    "logo zero": "logo = '/dev/zero'",
    "logo fifo": "logo = 'fifo'",
    "logo nul": 'logo = "a\\u0000"',
    "logo bomb": "logo = 'bomb.png'",
    "logo torn": "logo = 'torn.png'",
    "logo svg": "logo = 'logo.svg'",
    "logo loop": "logo = 'loop'",
}


def _png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("text", BRANDS.values(), ids=BRANDS)
def test_brands(text, here, refused):
    os.mkfifo(here / "fifo")
    (here / "loop").symlink_to("loop")
    (here / "bomb.png").write_bytes(_png(60_000, 60_000, zlib.compress(bytes(1_000_000))))
    (here / "torn.png").write_bytes(_png(64, 64, zlib.compress(bytes(1000))))
    (here / "torn.ttf").write_bytes(b"\x00\x01\x00\x00\x00\x0f" + bytes(500))
    (here / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (here / "brand.toml").write_text(text, encoding="utf-8")
    refused("linkedin", "a", "--duration", "2", "--brand", "brand.toml", "--dry-run")


VALUES = [
    *[("--duration", v) for v in ("0", "-1", "1e309", "nan", "inf", "", "600.0001", "x", "0x5")],
    *[("--format", v) for v in ("SQUAREX", "\udcff", "a\nb", "a" * 100_000)],
    *[("--quality", v) for v in ("", "best", "\0")],
    *[("--interpolate", v) for v in ("on", "\x1b[2J")],
    *[("--seed", v) for v in ("-1", "1.5", "", "nan", str(2**64), "9" * 5000)],
    *[("--steps", v) for v in ("0", "-1", "1e3", "", "100000000")],
    *[("--shift", v) for v in ("nan", "inf", "-1", "1e309", "")],
    *[("--guidance-scale", v) for v in ("nan", "inf", "", "=", "high_noise=", "1,2", "a=1")],
    *[("--memory-limit", v) for v in ("nan", "0", "-1", "")],
    *[("--solver", v) for v in ("", "os.system")],
    *[("--model", v) for v in ("", "../..", "/dev/zero", "\0", "\udcff", "a" * 5000)],
    *[("--image", v) for v in ("none.png", "/dev/zero", "\0", ".")],
]


@pytest.mark.parametrize(("name", "value"), VALUES, ids=lambda v: ascii(v)[:24])
def test_values(name, value, refused):
    refused("linkedin", "a", "--duration", "2", f"{name}={value}", "--dry-run")


OUTPUTS = [
    ".",
    "a.txt",
    "a\0.mp4",
    "/dev/full",
    "a" * 300 + ".mp4",
    "/proc/a.mp4",
    "/dev/full/a.mp4",
]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda v: ascii(v)[:24])
def test_outputs_are_refused_before_the_work(output, refused, monkeypatch):
    from mlx_wan.studio import produce

    monkeypatch.setattr(produce, "render_shots", lambda *_, **__: pytest.fail("work began"))
    refused("linkedin", "a", "--duration", "2", f"--output={output}")


@pytest.mark.parametrize("llm", ["", "none", "/dev/zero", "\0", "\udcff", "../..", "a" * 5000])
def test_llms(llm, refused):
    refused("linkedin", "a", "--expand", f"--llm={llm}", "--dry-run")


TOPICS = {
    "blank": " \t\n",
    "half": "\udcff",
    "nul": "a\0b",
    "joiners": "\u200d\u200b\ufeff",
    "megabyte": "a " * 500_000,
    "one word": "a" * 1_000_000,
    "stacked": "e" + "\u0301" * 5000,
    "private": "\U0010fffd",
}


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_topics(topic, refused):
    refused("linkedin", topic, "--duration", "2", "--dry-run")
    refused("youtube", "--hook", topic, "--content", "a", "--cta", "b", "--dry-run")


CONFIGS = [
    "library = 5",
    "library = ''",
    "library = [",
    'library = "a\\u0000"',
    f"library={BIG_HEX}",
]


@pytest.mark.parametrize("text", [*CONFIGS, "[" * 5000, "a=" + "[" * 5000, "\x00", "fifo"])
def test_config_toml(text, refused, monkeypatch, library_folders):
    (library_folders / "home").mkdir()
    file = library_folders / "home/config.toml"
    _ = os.mkfifo(file) if text == "fifo" else file.write_text(text)
    monkeypatch.setattr(library, "library_root", lambda: library_folders / "videos")
    monkeypatch.setattr(library, "archive_root", lambda: library_folders / "archive")
    monkeypatch.delenv("MLX_WAN_LIBRARY")
    monkeypatch.delenv("MLX_WAN_ARCHIVE")
    assert "library" in refused("library", "list") or "config.toml" in refused("library", "list")


@pytest.mark.parametrize("command", ["linkedin a", "library list", "brand show", "plan a"])
@pytest.mark.parametrize("kind", ["file", "loop", "nobody"])
def test_a_home_that_is_none(command, kind, here, monkeypatch, capsys):
    (here / "file").write_text("x")
    (here / "loop").symlink_to("loop")
    monkeypatch.setenv("MLX_WAN_HOME", str(here / kind) if kind != "nobody" else "~nobody-x/a")
    dry = ["--dry-run"] if command == "linkedin a" else []
    run([*command.split(), *dry])
    assert "a mistake of mlx-wan" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "5", '{"models": 5}', "[" * 100_000, '{"active": ["a"]}', "\x00", "folder", "fifo"],
)
def test_registry_json(text, library_folders, capsys):
    (library_folders / "home").mkdir()
    file = library_folders / "home/registry.json"
    {"folder": file.mkdir, "fifo": lambda: os.mkfifo(file)}.get(
        text, lambda: file.write_text(text)
    )()
    assert run(["plan", "a"]) == 1
    run(["doctor"])
    assert "a mistake of mlx-wan" not in capsys.readouterr().err


ODD = [
    "'",
    '"',
    "*",
    "a* OR b",
    "NEAR(a b)",
    "prompts:a",
    "^a",
    'a\n"b',
    "\0",
    "-",
    "()",
    "{x}",
    "%",
]


@pytest.mark.parametrize("text", ODD, ids=lambda v: ascii(v))
def test_search_takes_any_words(text, capsys):
    add_video("fox", plan={"prompt": "fox"})
    assert run(["library", "search", "--", text]) in (0, 1, 2)
    assert "a mistake of mlx-wan" not in capsys.readouterr().err


IDS = ["../../etc/passwd", "'; DROP TABLE videos", "*", "[a", "%", "\n", "\0", "", "/", "-"]


@pytest.mark.parametrize("id", IDS, ids=lambda v: ascii(v))
@pytest.mark.parametrize("command", ["show", "delete", "promote", "archive", "from-record"])
def test_ids(command, id, refused, here):
    add_video("fox", plan={"prompt": "fox"})
    if command == "from-record":
        refused("generate", f"--from-record={id}", "--dry-run")
        return
    more = {"delete": ["--yes"]}.get(command, [])
    refused("library", command, *more, "--", id)


JOURNALS = [
    "{",
    "[]",
    '{"files": {".mp4": [1e999, 1]}}',
    '{"files": {".mp4": [NaN, 1]}}',
    '{"files": {"/../../x": [1, 1]}}',
    '{"source": {"archived": false, "path": "raw/../../x.mp4"}}',
    '{"source": {"archived": false, "path": 5}}',
    '{"source": {"archived": false, "path": "raw/a\\u0000.mp4"}}',
    '{"target": {"archived": false, "path": "/etc/x.mp4"}}',
    '{"kind": ["move"]}',
    '{"target": null}',
    '{"kind": "tag"}',
    '{"id": "../../x"}',
    "[" * 100_000,
    "folder",
    "fifo",
]


@pytest.mark.parametrize("text", JOURNALS, ids=range(len(JOURNALS)))
def test_journals(text, capsys):
    entry = add_video("fox")
    moves = library.library_root() / ".library/moves"
    moves.mkdir(exist_ok=True)
    file = moves / f"{entry.id}.json"
    whole = {"id": entry.id, "kind": "move", "phase": "copying", "files": {}}
    whole |= {"source": {"archived": False, "path": "raw/fox.mp4"}}
    whole |= {"target": {"archived": False, "path": "processed/fox.mp4"}}
    if text == "folder":
        file.mkdir()
    elif text == "fifo":
        os.mkfifo(file)
    elif text.startswith("{") and text != "{":
        file.write_text(json.dumps(whole | json.loads(text)))
    else:
        file.write_text(text)
    assert run(["library", "list"]) == 1
    err = capsys.readouterr().err
    assert "is damaged" in err and "a mistake" not in err
    assert entry.video.is_file()


RECORDS = [
    {"video": "../../x.mp4"},
    {"video": ["x"]},
    {"tags": [["a"], 5, "\ud800"]},
    {"created": "x'; DROP TABLE videos"},
    {"title": {"a": 1}},
    {"plan": [1], "plans": {"a": 1}, "storyboard": [5]},
    {"fps": float("nan"), "width": 1e308, "height": -1, "duration": "x"},
    {"fps": 10**400, "width": 10**400},
    {"storyboard": {"shots": [5, {"prompt": ["a"]}], "texts": {"a": 1}}},
    {"sha256": {"video": "0" * 64, "poster": 5}},
    {"sha256": [1]},
    {"id": "../../../x"},
    {"format": ["mlx-wan-record"]},
    {"version": float("inf")},
]


@pytest.mark.parametrize("change", RECORDS, ids=range(len(RECORDS)))
def test_records_in_the_library(change, capsys):
    add_video("fox")
    write_video("odd", **change)
    record = json.loads((library.stage_folder("raw") / "odd.json").read_text())
    (library.stage_folder("raw") / "odd.json").write_text(json.dumps(record | change))
    for command in (["rebuild"], ["verify"], ["list"], ["search", "fox"], ["show", "odd"]):
        run(["library", *command])
    run(["library", "add", str(library.stage_folder("raw") / "odd.mp4")])
    assert "a mistake of mlx-wan" not in capsys.readouterr().err
    assert library.find("fox").video.is_file()
    outside = library.library_root().parent
    assert not list(outside.parent.glob("x*.mp4")) and not list(outside.glob("x*.mp4"))


@pytest.mark.parametrize("what", ["garbage", "empty", "folder", "fifo", "zero", "loop"])
def test_an_index_that_is_none(what, capsys):
    add_video("fox")
    index = library.library_root() / ".library/index.db"
    for file in index.parent.glob("index.db*"):
        file.unlink()
    if what == "folder":
        index.mkdir()
    elif what == "fifo":
        os.mkfifo(index)
    elif what in ("zero", "loop"):
        index.symlink_to({"zero": "/dev/zero", "loop": "index.db"}[what])
    else:
        index.write_bytes(b"garbage" * 1000 if what == "garbage" else b"")
    code = run(["library", "list"])
    err = capsys.readouterr().err
    assert code in (0, 1) and "a mistake of mlx-wan" not in err
    assert files_below(library.library_root()) == ["raw/fox.json", "raw/fox.mp4", "raw/fox.png"]


@pytest.mark.parametrize("archive", ["", "raw", "raw/deep", ".."])
def test_roots_in_one_another(archive, monkeypatch, refused):
    add_video("fox")
    root = library.library_root()
    monkeypatch.setenv("MLX_WAN_ARCHIVE", str(root / archive))
    if archive == "..":
        monkeypatch.setenv("MLX_WAN_LIBRARY", str(root / "raw"))
        monkeypatch.setenv("MLX_WAN_ARCHIVE", str(root))
    refused("library", "list")


PLANS = [
    {"storyboard": None},
    {"storyboard": {"format": "square"}},
    {"storyboard": [1]},
    {"plans": 5},
    {"plan": []},
    {"format": "x"},
    {"version": 99},
    {"version": float("nan")},
    {"plan": {"seed": 10**400}},
]


@pytest.mark.parametrize("option", ["--config", "--from-record"])
@pytest.mark.parametrize("change", PLANS, ids=range(len(PLANS)))
def test_records_to_make_again(option, change, here, refused):
    record = {"format": "mlx-wan-record", "version": 1} | change
    (here / "record.json").write_text(json.dumps(record))
    refused("generate", option, "record.json", "--dry-run")

"""`registry.json` under hostile contents, and under writers that are killed."""

import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_wan.cli.main import run
from mlx_wan.errors import BadFileError, MlxWanError
from mlx_wan.hub import Listing, RemoteFile, Snapshot
from mlx_wan.registry import add_model, read_registry, record_downloads, registry_file, repair
from mlx_wan.registry.content import FORMAT, ContentError, from_json, is_plain
from mlx_wan.registry.metadata import ModelRegistry
from mlx_wan.registry.store import write_registry

SHA, COMMIT, TIME = "0" * 64, "1" * 40, "2026-11-23T00:00:00Z"
DOWNLOAD = {
    "repo": "o/n",
    "revision": COMMIT,
    "folder": "/nowhere",
    "files": [{"path": "a", "size": 1, "sha256": SHA}],
    "time": TIME,
}
SIDE = {"model": "a", "fingerprint": SHA}
WHOLE = {
    "format": FORMAT,
    "version": 3,
    "active": "one",
    "models": {
        "one": {"about": {"license": "MIT"}, "downloads": [DOWNLOAD], "benchmarks": [{"x": 1.5}]}
    },
    "evidence": [
        {"a": SIDE, "b": SIDE, "verdict": "PASS", "path": "/r", "sha256": SHA, "finished": TIME}
    ],
    "history": [
        {"time": TIME, "action": "forced", "model": "one", "previous": None, "reason": "because"}
    ],
}

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["", "..", "a/b", "\0", "\ud800", "PASS", SHA, COMMIT, TIME, "one", 2**80]),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.sampled_from([*WHOLE, "one", "about", "downloads"])),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@st.composite
def mutated(draw):
    """A whole registry in which one place holds something else."""
    data = json.loads(json.dumps(WHOLE))
    places, todo = [], [data]
    while todo:
        place = todo.pop()
        for key in place if isinstance(place, dict) else range(len(place)):
            places.append((place, key))
            if isinstance(place[key], dict | list):
                todo.append(place[key])
    place, key = draw(st.sampled_from(places))
    place[key] = draw(values)
    return data


contents = st.one_of(
    st.binary(max_size=200),
    mutated().map(lambda data: json.dumps(data).encode()),
    values.map(lambda data: json.dumps({**WHOLE, "models": data}).encode()),
    st.builds(lambda data: json.dumps(data).encode(), values),
)


def read_and_list(content):
    """Everything that reads the file: either it works, or it ends in one of our errors."""
    registry_file().parent.mkdir(parents=True, exist_ok=True)
    registry_file().write_bytes(content)
    try:
        registry = read_registry()
        write_registry(registry)
        assert read_registry() == registry
        for model in ModelRegistry():
            assert model.name
    except MlxWanError as error:
        assert error.message and len(error.message) < 2000
    for path in registry_file().parent.glob("registry.*damaged*"):
        path.unlink()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents)
def test_no_content_is_a_traceback(content):
    read_and_list(content)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents)
def test_no_content_is_a_traceback_10000(content):
    read_and_list(content)


def test_what_is_whole_is_read_and_written_again():
    registry = from_json(json.loads(json.dumps(WHOLE)))
    assert registry.to_json() == WHOLE


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("active",), "../x"),
        (("models",), []),
        (("models", "one", "downloads", 0, "revision"), "main"),
        (("models", "one", "downloads", 0, "files"), [{"path": "a", "size": -1, "sha256": SHA}]),
        (("models", "one", "about"), {"x": float("inf")}),
        (("evidence", 0, "verdict"), "pass"),
        (("evidence", 0, "a"), {"model": "a"}),
        (("history", 0, "action"), "hacked"),
        (("history", 0, "time"), "now"),
    ],
)
def test_each_value_is_checked(path, value):
    data = json.loads(json.dumps(WHOLE))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ContentError):
        from_json(data)


def test_plain_is_finite_and_bounded():
    assert is_plain({"a": [1, 2.5, None, "x", True]})
    for value in (float("nan"), 2**60, "\ud800", "x" * 5000, [[[[[[[1]]]]]]]):
        assert not is_plain(value)


def test_repair_keeps_the_damaged_file_and_the_active_model(capsys):
    registry_file().parent.mkdir(parents=True, exist_ok=True)
    damaged = json.dumps({**WHOLE, "models": 7}).encode()
    registry_file().write_bytes(damaged)
    with pytest.raises(BadFileError, match="models"):
        read_registry()
    assert run(["models", "list"]) == 1
    assert "models repair" in capsys.readouterr().err
    kept = repair()
    assert kept is not None and kept.read_bytes() == damaged
    assert read_registry().active == "one" and read_registry().models == {}
    assert repair() is None
    registry_file().write_bytes(b"\0")
    assert run(["models", "repair"]) == 0
    assert read_registry().active is None


def test_what_could_not_be_read_again_is_never_written():
    add_model("one", {"license": "MIT"})
    before = registry_file().read_bytes()
    long = {f"{number}": "x" * 4000 for number in range(2500)}
    wrong = RemoteFile("a", 1, "0" * 40)  # its sha256 was never worked out
    here = registry_file().parent
    for refused in (
        lambda: add_model("two", long),
        lambda: record_downloads("mochi-1", [Snapshot(Listing("o/n", COMMIT, (wrong,)), here)]),
        lambda: record_downloads("mochi-1", [Snapshot(Listing("o/n", "main", ()), here)]),
    ):
        with pytest.raises(MlxWanError, match="left as it was"):
            refused()
        assert registry_file().read_bytes() == before


def test_a_narrow_terminal_cuts_no_number(monkeypatch, capsys):
    for columns in ("80", "100", "160"):
        monkeypatch.setenv("COLUMNS", columns)
        assert run(["models"]) == 0
        shown = capsys.readouterr().out
        assert "28.6 B" in shown and "84.7" in shown and "known" in shown and "…" not in shown


def test_two_killed_writers_lose_nothing(tmp_path):
    command = [sys.executable, "-m", "mlx_wan.bench.registry_kills", "--kills", "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kills" in done.stdout and "0 lost" in done.stdout and "0 damaged" in done.stdout

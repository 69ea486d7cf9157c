"""Models whose files lie in several repositories: one download, one check, one conversion."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkpoints import build
from hub_server import ALWAYS, FILES, QUICK, REPO, Fault, git_sha1, sha256

from mlx_wan import Request, make_plan
from mlx_wan.cli.main import run
from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.files import locked
from mlx_wan.home import home, models_folder
from mlx_wan.hub import (
    Listing,
    RemoteFile,
    Snapshot,
    cache,
    choose,
    download_all,
    list_files,
    transport,
)
from mlx_wan.hub.staging import staged
from mlx_wan.registry import catalogue, downloaded, record_downloads
from mlx_wan.registry.catalogue import License, Source, SourceFile
from mlx_wan.registry.content import from_json

pytest_plugins = ["hub_fixtures"]
ID = "wan2.1-t2v-1.3b"
OTHER = "Else/Encoder"
OTHER_FILES = {"config.json": b"{}", "encoder.safetensors": bytes(range(256)) * 200}
ENCODER = len(OTHER_FILES["encoder.safetensors"])
APACHE = License("Apache-2.0", "https://example.org/apache", "")
STRICT = License("Strict", "https://example.org/strict", "Not on Sundays.")


@pytest.fixture
def two(hub, monkeypatch):
    """A model of two repositories, the second under a licence with restrictions."""
    hub.repos = {REPO: FILES, OTHER: OTHER_FILES}
    publish(hub, monkeypatch)
    return hub


def publish(hub, monkeypatch, pins=((), ()), gated=False, pinned=True):
    sources = (
        Source(REPO, hub.commit(REPO), pins[0]),
        Source(OTHER, hub.commit(OTHER) if pinned else None, pins[1], STRICT, gated),
    )
    model = replace(catalogue.known_models()[ID], sources=sources, license=APACHE)
    twin = replace(model, id="twin", sources=sources[1:])
    monkeypatch.setattr(catalogue, "known_models", lambda: {ID: model, "twin": twin})
    monkeypatch.setattr(transport, "PATIENCE", QUICK)


def told(capsys, *words, code=0):
    assert run(["models", *words]) == code
    out, err = capsys.readouterr()
    assert "canary" not in out + err and "Traceback" not in out + err
    return out, err


def place(hub, repo):
    return cache.snapshot_folder(repo, hub.commit(repo))


def fetched_of(hub, repo):
    return [a.path for a in hub.asked if a.where in ("file", "cdn") and f"/{repo}/" in a.path]


def test_both_are_shown_fetched_checked_and_noted(two, capsys):
    _, err = told(capsys, "download", ID, "--dry-run")
    for words in (REPO, OTHER, two.commit(OTHER), "encoder.safetensors", "4 files of 2 repos"):
        assert words in err
    assert f"licence of {REPO}: Apache-2.0" in err and f"licence of {OTHER}: Strict" in err
    assert "Not on Sundays." in err and "122 kB to come" in err and two.count("file") == 0
    answer = json.loads(told(capsys, "download", ID, "--json")[0])
    assert answer["fetched"] == answer["size"] == 70_902 + 2 + ENCODER
    assert answer["licenses"] == ["Apache-2.0", "Strict"]
    assert [source["repo"] for source in answer["sources"]] == [REPO, OTHER]
    for source in answer["sources"]:
        for file in source["files"]:
            data = (Path(source["folder"]) / file["path"]).read_bytes()
            assert sha256(data) == file["sha256"]
            assert data == two.repos[source["repo"]][file["path"]]
    assert [one.repo for one in downloaded(ID)] == [REPO, OTHER]
    out, _ = told(capsys, "download", ID)
    assert out.splitlines() == [str(place(two, REPO)), str(place(two, OTHER))]
    assert told(capsys, "verify", ID)[0].count("is whole") == 2
    shown = " ".join(told(capsys, "show", ID)[0].split())
    assert f"Strict https://example.org/strict ({OTHER})" in shown and "Not on Sundays." in shown
    assert "restricted" in " ".join(told(capsys, "list")[0].split())


def test_the_disk_must_hold_all_of_them_together(two, capsys, monkeypatch):
    spare = 64_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=spare + 100_000))
    for flags in ([], ["--dry-run"]):
        _, err = told(capsys, "download", ID, *flags, code=1)
        assert f"{REPO} and {OTHER} needs 0.00 GB more" in err
    assert two.count("file") == 0
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=spare + 123_000))
    told(capsys, "download", ID)


def test_one_progress_for_all(two):
    events = []
    listings = [choose(list_files(repo)) for repo in (REPO, OTHER)]
    download_all(listings, events.append, connections=1)
    total = sum(listing.size for listing in listings)
    done = [event.done for event in events]
    assert {event.total for event in events} == {total} and done == sorted(done)
    assert done[-1] == total and {event.detail for event in events} >= {"encoder.safetensors"}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("flip", "cdn", at=9), "has sha256"),
        (Fault("zeros", "cdn"), "has sha256"),
        (Fault("long", "cdn"), "would have"),
        (Fault("html", "cdn"), "web page"),
        (Fault("cut", "cdn", at=9), "again and again"),
        (Fault("status", "cdn", at=500), "has a fault"),
        (Fault("wrong commit", "file"), "answers for commit"),
    ],
)
def test_a_fault_in_the_second_names_it_and_keeps_the_first(two, capsys, fault, says):
    told(capsys, "download", ID, "--include", "model.safetensors", "--include", "*config.json")
    before = {path.name for path in cache.repo_folder(REPO).rglob("*")}
    assert sha256(FILES["model.safetensors"]) in before
    two.asked.clear()
    two.faults = [replace(fault, times=ALWAYS)]
    out, err = told(capsys, "download", ID, code=1)
    last = err.strip().splitlines()[-2:]
    assert out == "" and f"encoder.safetensors of {OTHER}" in last[0] and says in last[0]
    assert last[1].startswith("hint: ") and downloaded(ID) == ()
    assert not (place(two, OTHER) / "encoder.safetensors").exists()
    two.faults = []
    told(capsys, "download", ID)
    assert fetched_of(two, REPO) == []
    told(capsys, "verify", ID)


def test_what_was_cut_in_the_second_is_taken_up_there(two, capsys):
    two.faults = [Fault("cut", "cdn", ALWAYS, at=9_000)]
    told(capsys, "download", ID, "--include", "encoder*", code=1)
    kept = next(cache.repo_folder(OTHER).glob("blobs/*.incomplete")).stat().st_size
    assert 0 < kept < ENCODER
    two.faults = []
    two.asked.clear()
    told(capsys, "download", ID, "--include", "encoder*")
    assert [a.range for a in two.asked if a.where == "cdn"] == [f"bytes={kept}-"]


def test_one_that_is_missing_is_told_before_anything_is_fetched(two, capsys):
    two.repos = {REPO: FILES}
    _, err = told(capsys, "download", ID, code=1)
    assert OTHER in err and "no such repository" in err and two.count("file") == 0


def test_one_that_is_gated_is_told_before_anything_is_fetched(two, capsys):
    two.gated = {OTHER}
    page = f"{two.url}/{OTHER}"
    _, err = told(capsys, "download", ID, "--dry-run")
    assert f"{OTHER} is gated: accept its terms at {page}" in err and "HF_TOKEN" in err
    _, err = told(capsys, "download", ID, code=1)
    last = err.strip().splitlines()[-2:]
    assert OTHER in last[0] and "terms accepted" in last[0] and page in last[1]
    assert two.count("file") == 0
    two.gated = set()
    two.change_listing = lambda listing: listing | {"gated": "manual"}  # and this token may
    told(capsys, "download", ID)
    assert any("auth-check" in asked.path for asked in two.asked)
    two.gated = {OTHER}
    told(capsys, "download", ID)  # what is here needs no permission


def test_the_catalogue_can_say_that_one_is_gated(hub, monkeypatch, capsys):
    hub.repos = {REPO: FILES, OTHER: OTHER_FILES}
    publish(hub, monkeypatch, gated=True)
    assert f"{OTHER} is gated" in told(capsys, "download", ID, "--dry-run")[1]
    assert f"{hub.commit(OTHER)}, gated" in " ".join(told(capsys, "show", ID)[0].split())


def test_include_is_over_all_and_a_revision_is_of_the_first(two, capsys):
    out, _ = told(capsys, "download", ID, "--include", "enc*")
    assert out.split() == [str(place(two, OTHER))] and downloaded(ID) == ()
    out, _ = told(capsys, "download", ID, "--include", "*.json")
    assert len(out.split()) == 2
    _, err = told(capsys, "download", ID, "--include", "*.gguf", code=1)
    assert "no file of" in err and REPO in err and OTHER in err
    asked = len(two.asked)
    told(capsys, "download", ID, "--revision", "v1", "--dry-run")
    paths = [a.path for a in two.asked[asked:]]
    assert any(f"{REPO}/revision/v1" in path for path in paths)
    assert any(f"{OTHER}/revision/{two.commit(OTHER)}" in path for path in paths)


def test_pins_of_the_second_hold_with_a_revision_of_the_first(hub, monkeypatch, capsys):
    hub.repos = {REPO: FILES, OTHER: OTHER_FILES}
    wrong = (SourceFile("encoder.safetensors", ENCODER, "0" * 64),)
    publish(hub, monkeypatch, pins=((), wrong), pinned=False)  # a hash without a commit, as Glyph's
    _, err = told(capsys, "download", ID, "--revision", "main", code=1)
    assert f"encoder.safetensors of {OTHER} is not the file that is known" in err


def test_verify_and_offline_are_about_all(two, capsys):
    told(capsys, "download", ID)
    two.asked.clear()
    assert len(told(capsys, "download", ID, "--offline")[0].split()) == 2
    (place(two, OTHER) / "encoder.safetensors").resolve().write_bytes(b"damaged")
    out, _ = told(capsys, "verify", ID, code=1)
    assert f"encoder.safetensors has 7 bytes instead of {ENCODER:,}" in out and OTHER in out
    _, err = told(capsys, "download", ID, "--offline", code=1)
    assert OTHER in err and not two.asked
    shutil.rmtree(place(two, OTHER))
    out, _ = told(capsys, "verify", ID, code=1)
    assert "encoder.safetensors is missing" in out
    shutil.rmtree(place(two, REPO))
    _, err = told(capsys, "verify", ID, code=1)
    assert "nothing of" in err


def test_a_terminal_is_asked_about_restrictions(two, capsys, monkeypatch):
    asked = []
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(
        "mlx_wan.cli.models_offer.sys", SimpleNamespace(stdin=terminal, stderr=terminal)
    )
    answer = SimpleNamespace(yes=False)
    monkeypatch.setattr("typer.confirm", lambda text, err: asked.append(text) or answer.yes)
    _, err = told(capsys, "download", ID, code=1)
    assert "nothing was downloaded" in err and len(asked) == 1 and two.count("file") == 0
    answer.yes = True
    told(capsys, "download", ID)
    told(capsys, "download", ID, "--accept-license")
    assert len(asked) == 2


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    build(folder, ID)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_two_repositories_become_one_model(hub, published, monkeypatch, capsys):
    """With another version of the transformer beside it, as HunyuanVideo's repository has."""
    own = {name: data for name, data in published.items() if name.startswith(("config", "diff"))}
    encoders = {name: data for name, data in published.items() if name not in own}
    assert own and encoders
    weights = next(name for name in own if name.endswith(".safetensors"))
    hub.repos = {REPO: own | {"other/version.safetensors": own[weights]}, OTHER: encoders}
    pins = [tuple(SourceFile(name) for name in files) for files in (own, encoders)]
    publish(hub, monkeypatch, pins)
    told(capsys, "download", ID, "--include", "other/*")  # lies in the same folder from now on
    told(capsys, "download", "twin")
    out, err = told(capsys, "download", ID, "--convert", "--delete-source")
    made = models_folder() / ID
    assert out == f"{made}\n" and not (home() / "sources" / ID).exists()
    source = json.loads((made / "config.json").read_text())["source"]
    assert (source["path"], source["revision"]) == (REPO, hub.commit(REPO))
    assert source["besides"] == f"{OTHER}@{hub.commit(OTHER)}"
    there = {f"{REPO}/{name}" for name in own} | {f"{OTHER}/{name}" for name in encoders}
    assert there >= set(source["files"])
    assert told(capsys, "verify", ID)[0] == f"{made} is whole\n"
    # what was asked for besides, and what the twin is made of, stays
    assert f"{len(encoders)} files stay" in err and not (place(hub, REPO) / weights).exists()
    assert (place(hub, REPO) / "other/version.safetensors").exists()
    told(capsys, "verify", "twin")


def test_a_distilled_model_keeps_its_own_defaults(hub, published, monkeypatch, capsys):
    """The tensors of FastWan are those of Wan; only its entry knows that it runs in 3 steps."""
    hub.repos = {REPO: published}
    fast = catalogue.known_models()["fastwan2.1-t2v-1.3b"]
    fast = replace(fast, sources=(Source(REPO, hub.commit(REPO)),))
    monkeypatch.setattr(catalogue, "known_models", lambda: {fast.id: fast})
    told(capsys, "download", fast.id, "--convert")
    plan = make_plan(Request("a fox", model=fast.id, width=64, height=48, num_frames=9))
    assert (plan.steps, plan.solver, plan.shift) == (3, "dmd", 8.0)
    assert plan.timesteps[0] == 1000 and plan.experts[0].guidance_scale == 1.0


def snapshot(folder, name="a.bin", data=b"data", repo=REPO):
    folder.mkdir(exist_ok=True)
    (folder / "a.bin").write_bytes(data)
    file = RemoteFile(name, len(data), git_sha1(data), sha256(data))
    return Snapshot(Listing(repo, "1" * 40, (file,)), folder)


def test_staging_is_links_at_the_same_place_each_time(tmp_path):
    folder = tmp_path / "sources" / "m"
    for _ in range(2):
        with staged([snapshot(tmp_path / "s")], folder) as place:
            assert place == folder and (folder / REPO / "a.bin").read_bytes() == b"data"
            (folder / "left").mkdir()
        assert not folder.exists() and (tmp_path / "s" / "a.bin").exists()
    folder.mkdir()
    (folder / "stale").symlink_to(tmp_path)  # of one that was killed
    with staged([snapshot(tmp_path / "s")], folder):
        assert [path.name for path in folder.iterdir()] == [REPO.split("/")[0]]
    folder.mkdir()
    with locked(folder), pytest.raises(ModelError, match="being converted"), staged([], folder):
        pass


@pytest.mark.parametrize(
    ("repo", "name"), [(REPO, "../../../out.bin"), ("../..", "a.bin"), (REPO, "/etc/passwd")]
)
def test_staging_leaves_its_folder_for_no_name(tmp_path, repo, name):
    hostile = [snapshot(tmp_path / "s", name, repo=repo)]
    with pytest.raises(BadFileError, match="no name"), staged(hostile, tmp_path / "a" / "b"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "s"]


def test_a_registry_of_one_repository_per_model_is_read():
    only = {
        "repo": "o/n",
        "revision": "1" * 40,
        "folder": "/nowhere",
        "files": [],
        "time": "2026-11-23T00:00:00Z",
    }
    old = {
        "format": "mlx-wan-registry",
        "version": 2,
        "active": None,
        "models": {
            "a": {"about": None, "download": only, "benchmarks": []},
            "b": {"about": None, "download": None, "benchmarks": []},
        },
        "evidence": [],
        "history": [],
    }
    models = from_json(old).models
    assert models["a"]["downloads"] == [only] and models["b"]["downloads"] == []
    record_downloads("mochi-1", [])
    assert downloaded("mochi-1") == ()

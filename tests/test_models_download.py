"""`mlx-wan models download` and `verify`, from the command line to the cache and the registry."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkpoints import build
from hub_server import ALWAYS, FILES, QUICK, REPO, SIZE, Fault, sha256

from mlx_wan.cli.main import run
from mlx_wan.home import models_folder
from mlx_wan.hub import cache, transport
from mlx_wan.registry import catalogue
from mlx_wan.registry.catalogue import License, Source, SourceFile

pytest_plugins = ["hub_fixtures"]
ID = "wan2.1-t2v-1.3b"
APACHE = License("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", "")
TENCENT = License("Tencent Community", "https://example.org/licence", "Not in the EU, UK or Korea.")


def publish(monkeypatch, hub, files, pins=(), revision=None, **changes):
    """Make the fake hub's repository a known model; returns its commit."""
    hub.repos = {REPO: files}
    source = Source(REPO, revision or hub.commit(REPO), pins)
    known = {"license": APACHE, **changes}
    model = replace(catalogue.known_models()[ID], sources=(source,), **known)
    monkeypatch.setattr(catalogue, "known_models", lambda: {ID: model})
    monkeypatch.setattr(transport, "PATIENCE", QUICK)
    return hub.commit(REPO)


@pytest.fixture
def known(hub, monkeypatch):
    publish(monkeypatch, hub, FILES)
    return hub


def told(capsys, *words, code=0):
    """What a command says: stdout, stderr."""
    assert run(["models", *words]) == code
    out, err = capsys.readouterr()
    assert "canary" not in out + err and "SIGNED" not in out + err and "Traceback" not in out + err
    return out, err


def test_download_shows_sizes_and_licence_fetches_and_checks(known, capsys):
    out, err = told(capsys, "download", ID)
    folder = Path(out.strip())
    assert folder == cache.snapshot_folder(REPO, known.commit(REPO))
    for words in (
        REPO,
        known.commit(REPO),
        "70.0 kB",
        "free in",
        "Apache-2.0",
        "2 files",
        "fetched",
    ):
        assert words in err
    assert "README.md" not in err
    out, err = told(capsys, "verify", ID)
    assert out == f"{folder} is whole\n"
    (entry,) = [m for m in json.loads(told(capsys, "list", "--json")[0])["models"] if m["id"] == ID]
    assert entry["state"] == "downloaded"
    out, err = told(capsys, "download", ID)
    assert "0 bytes to come" in err and "here" in err


def test_what_a_script_reads(known, capsys):
    out, _ = told(capsys, "download", ID, "--json")
    answer = json.loads(out)
    (source,) = answer["sources"]
    assert source["repo"] == REPO and source["revision"] == known.commit(REPO)
    assert answer["ok"] and answer["fetched"] == 70_902
    assert {file["path"]: (file["size"], file["sha256"]) for file in source["files"]} == {
        name: (len(FILES[name]), sha256(FILES[name]))
        for name in ("config.json", "model.safetensors")
    }
    assert json.loads(told(capsys, "verify", ID, "--json")[0])["ok"]


def test_dry_run_fetches_nothing(known, capsys):
    out, err = told(capsys, "download", ID, "--dry-run")
    assert out == "" and "to come" in err and known.count("file") == 0
    assert json.loads(told(capsys, "download", ID, "--dry-run", "--json")[0])["fetched"] == 70_902
    assert not cache.cache_root().exists()


def test_a_branch_is_printed_as_its_commit(known, capsys):
    _, err = told(capsys, "download", ID, "--revision", "main")
    assert f"commit {known.commit(REPO)} (main, as it is now)" in err


def test_only_what_is_included(known, capsys):
    out, err = told(capsys, "download", ID, "--include", "*.md")
    assert [path.name for path in Path(out.strip()).iterdir()] == ["README.md"] and "1 file," in err
    told(capsys, "download", ID, "--include", "*.gguf", code=1)
    told(capsys, "verify", ID, code=1)  # a part is no downloaded model
    folder = told(capsys, "download", ID)[0]
    told(capsys, "download", ID, "--include", "*.md")
    assert told(capsys, "download", ID, "--offline")[0] == folder  # still the whole one


def test_the_catalogue_says_what_the_files_are(hub, monkeypatch, capsys):
    right = SourceFile("model.safetensors", SIZE["cdn"], sha256(FILES["model.safetensors"]))
    publish(monkeypatch, hub, FILES, pins=(right,))
    _, err = told(capsys, "download", ID)
    assert "config.json" not in err
    publish(monkeypatch, hub, FILES, pins=(replace(right, sha256="0" * 64),))
    _, err = told(capsys, "download", ID, code=1)
    assert "is not the file that is known" in err and "hint:" in err
    # another commit, asked for knowingly, has other files
    publish(monkeypatch, hub, FILES, pins=(replace(right, sha256="0" * 64),), revision="0" * 40)
    told(capsys, "download", ID, "--revision", "main")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("status", "info", at=401), "token given was refused"),
        (Fault("status", "info", at=403, value={"X-Error-Code": "GatedRepo"}), "terms accepted"),
        (Fault("status", "info", at=404), "no such repository"),
        (Fault("status", "file", at=429, value={"Retry-After": "900"}), "too many requests"),
        (Fault("status", "info", at=500), "has a fault"),
        (Fault("cut", "cdn", at=9), "again and again"),
        (Fault("flip", "cdn", at=9), "it was not used"),
        (Fault("html", "cdn"), "web page"),
        (Fault("redirect", "file"), "in circles"),
        (Fault("reset", "info"), "again and again"),
    ],
)
def test_failures_are_one_line_and_a_hint(known, capsys, fault, says):
    known.faults = [replace(fault, times=ALWAYS)]
    out, err = told(capsys, "download", ID, code=1)
    last = err.strip().splitlines()[-2:]
    assert out == "" and last[0].startswith("error: ") and says in last[0]
    assert last[1].startswith("hint: ")
    assert told(capsys, "verify", ID, code=1)[0] == ""
    known.faults = []
    told(capsys, "download", ID)


def test_misuse(known, capsys, monkeypatch):
    for words in (
        ["download", "no-such-model"],
        ["download", "wan-mini"],
        ["download", ID, "--delete-source"],
        ["download", ID, "--quantize", "8"],
        ["download", ID, "--offline", "--revision", "main"],
        ["download", ID, "--convert", "--include", "*.md"],
        ["download", ID, "--revision", "../.."],
        ["download"],
        ["verify"],
        ["verify", "../etc"],
        ["verify", "no-such-model"],
    ):
        told(capsys, *words, code=2)
    assert not known.asked


def test_too_small_a_disk(known, capsys, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    for flags in ([], ["--dry-run"]):
        _, err = told(capsys, "download", ID, *flags, code=1)
        assert "0.01 GB free" in err and "HF_HOME" in err
    assert known.count("file") == 0


def test_the_disk_must_hold_the_download_and_what_is_made_of_it(hub, monkeypatch, capsys):
    publish(monkeypatch, hub, FILES, parameters=10**9)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_500_000_000))
    _, err = told(capsys, "download", ID, "--convert", code=1)
    assert "downloaded and converted, needs 2.00 GB more" in err and hub.count("file") == 0
    told(capsys, "download", ID, "--convert", "--quantize", "8", code=1)  # fits, but is no model
    assert hub.count("file") == 2


def test_offline_checks_what_is_here(known, capsys, monkeypatch):
    _, err = told(capsys, "download", ID, "--offline", code=1)
    assert "nothing was downloaded" in err
    folder = Path(told(capsys, "download", ID)[0].strip())
    known.asked.clear()
    assert told(capsys, "download", ID, "--offline")[0].strip() == str(folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert told(capsys, "download", ID)[0].strip() == str(folder)
    (folder / "config.json").resolve().write_bytes(b"damaged")
    _, err = told(capsys, "download", ID, "--offline", code=1)
    assert "config.json has 7 bytes" in err and not known.asked
    out, err = told(capsys, "verify", ID, code=1)
    assert "config.json has 7 bytes instead of 901" in out and "damaged" in err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    _, err = told(capsys, "download", ID)
    assert f"config.json of {REPO} was damaged here and was fetched again" in err
    told(capsys, "verify", ID)


def test_a_licence_with_restrictions_is_shown_before_the_first_byte(hub, monkeypatch, capsys):
    publish(monkeypatch, hub, FILES, license=TENCENT, preset=None)
    hub.faults = [Fault("status", "file", at=500)]
    _, err = told(capsys, "download", ID, code=1)
    assert "Not in the EU, UK or Korea." in err and "example.org/licence" in err
    hub.faults = []
    _, err = told(capsys, "download", ID)  # a script goes on
    assert "cannot be converted yet" in err
    shown = told(capsys, "show", ID)[0]
    assert "Not in the EU, UK or Korea." in " ".join(shown.split())
    _, err = told(capsys, "download", ID, "--accept-license", "--convert", code=2)
    assert "cannot be converted yet" in err


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    build(folder, ID)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_from_the_hub_to_a_video(hub, published, monkeypatch, capsys, tmp_path):
    """download --convert, list, generate: an original checkpoint, tiny, of random numbers."""
    commit = publish(monkeypatch, hub, published | {"README.md": b"x"})
    hub.faults = [Fault("cut", "cdn", 2, at=20_000), Fault("flip", "file", 1, at=3)]
    out, err = told(capsys, "download", ID, "--convert", "--delete-source")
    made = models_folder() / ID
    assert out == f"{made}\n" and "deleted the source" in err
    source = json.loads((made / "config.json").read_text())["source"]
    assert (source["path"], source["revision"]) == (REPO, commit)
    assert not cache.snapshot_folder(REPO, commit).exists()
    models = json.loads(told(capsys, "list", "--json")[0])["models"]
    (entry,) = [model for model in models if model["id"] == ID]
    assert entry["state"] == "active"
    assert told(capsys, "verify", ID)[0] == f"{made} is whole\n"
    _, err = told(capsys, "download", ID, "--convert", code=2)
    assert "exists already" in err
    video = tmp_path / "fox.mp4"
    words = ["generate", "a fox", "--width", "64", "--height", "48", "--num-frames", "9"]
    assert run([*words, "--steps", "2", "--seed", "1", "--output", str(video)]) == 0
    assert capsys.readouterr().out == f"{video}\n" and video.stat().st_size > 1000


SCRIPT = """
import sys
from dataclasses import replace
from mlx_wan.registry import catalogue
from mlx_wan.registry.catalogue import Source
model = replace(catalogue.known_models()[{id!r}], sources=(Source({repo!r}, {commit!r}),))
catalogue.known_models = lambda: {{{id!r}: model}}
from mlx_wan.cli.main import main
sys.argv = ["mlx-wan", "models", "download", {id!r}, *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_stopped_in_the_middle_it_goes_on_there(known, capsys, how, library_folders):
    known.faults = [Fault("stall", "cdn", ALWAYS, at=30_000, value=30)]
    script = SCRIPT.format(id=ID, repo=REPO, commit=known.commit(REPO))
    environment = os.environ | {
        "HF_ENDPOINT": known.url,
        "HF_HUB_CACHE": str(cache.cache_root()),
        "HF_TOKEN": "hf_canary",
    }
    child = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True
    )
    begun = cache.repo_folder(REPO) / "blobs" / f"{sha256(FILES['model.safetensors'])}"
    begun = begun.with_name(begun.name + ".mlx-wan.incomplete")
    deadline = time.monotonic() + 60
    while not (begun.is_file() and begun.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(how)
    _, err = child.communicate(timeout=60)
    assert child.returncode == (-9 if how == signal.SIGKILL else 130), err
    if how != signal.SIGKILL:
        assert "the same command goes on there" in err and "interrupted" in err
    assert "canary" not in err and "Traceback" not in err
    kept = begun.stat().st_size
    assert 0 < kept <= 30_000
    known.faults = []
    known.asked.clear()
    told(capsys, "download", ID)
    assert [a.range for a in known.asked if a.where == "cdn"] == [f"bytes={kept}-"]

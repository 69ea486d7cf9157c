"""What a hub may answer about a repository, and what we make of it: checked, or refused."""

import json

import pytest
from hub_server import ALWAYS, FILES, QUICK, REPO, SIZE, FakeHub, Fault

from mlx_wan.errors import BadFileError, MlxWanError, ModelError, UsageError
from mlx_wan.hub import Pin, cache, choose, download, list_files
from mlx_wan.hub.listing import Listing, RemoteFile

pytest_plugins = ["hub_fixtures"]

HASH = "0" * 40


def listed(*paths: str) -> Listing:
    return Listing(REPO, HASH, tuple(RemoteFile(path, 3, HASH) for path in paths))


def test_a_branch_is_resolved_to_its_commit(hub):
    listing = list_files(REPO)
    assert listing.commit == hub.commit(REPO) and listing.revision == "main"
    at_commit = list_files(REPO, listing.commit)
    assert (at_commit.commit, at_commit.revision) == (listing.commit, None)
    assert list_files(REPO, "v1").revision == "v1"
    small, large, _ = listing.files
    assert (len(small.etag), small.sha256, small.size) == (40, None, SIZE["file"])
    assert large.etag == large.sha256 and len(large.etag) == 64
    assert listing.size == sum(map(len, FILES.values()))
    assert all(len(asked.path.split("?")[0].split("/")[-1]) for asked in hub.asked)


def test_a_branch_that_moves_while_it_is_downloaded_changes_nothing(hub):
    listing = choose(list_files(REPO))
    first = download(listing, patience=QUICK)
    hub.repos = {REPO: {**FILES, "config.json": b"moved on"}}
    hub.asked.clear()
    assert download(listing, patience=QUICK).folder == first.folder and not hub.asked
    moved = download(choose(list_files(REPO)), patience=QUICK)
    assert moved.folder != first.folder
    assert (moved.folder / "config.json").read_bytes() == b"moved on"
    assert (first.folder / "config.json").read_bytes() == FILES["config.json"]


UNSAFE = [
    "../x.safetensors",
    "a/../../x.safetensors",
    "/etc/x.safetensors",
    "a//x.safetensors",
    "./x.safetensors",
    "a/./x.safetensors",
    "..\\x.safetensors",
    "C:\\x.safetensors",
    "c:x.safetensors",
    "x\0.safetensors",
    "x\n.safetensors",
    "\x1b[31m.safetensors",
    "x\u202e.safetensors",
    "a" * 300 + ".safetensors",
    "a/" * 600 + "x.safetensors",
    "\ud800.safetensors",
    "../../../blobs/x.safetensors",
]


@pytest.mark.parametrize("path", UNSAFE, ids=range(len(UNSAFE)))
def test_unsafe_names_are_refused(hub, path, library_folders):
    hub.change_listing = lambda listing: listing["siblings"].append(
        {"rfilename": path, "size": 1, "blobId": HASH}
    )
    with pytest.raises(BadFileError, match="unsafe name") as error:
        choose(list_files(REPO))
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value)
    assert hub.count("file") == 0 and not (library_folders / "cache").exists()


@pytest.mark.parametrize(
    "paths",
    [
        ("x.safetensors", "x.safetensors"),
        ("x.safetensors", "X.safetensors"),
        ("caf\u00e9.safetensors", "cafe\u0301.safetensors"),
        ("stra\u00dfe.safetensors", "STRASSE.safetensors"),
        ("a.safetensors", "a.safetensors/b.safetensors"),
        ("a.safetensors/b.safetensors", "A.safetensors"),
    ],
)
def test_names_that_share_a_place_are_refused(paths):
    with pytest.raises(BadFileError, match=r"twice|inside a file"):
        choose(listed(*paths))


def test_what_is_not_wanted_may_be_called_anything():
    listing = listed("config.json", "../evil.png", "demo/CON", "a\\b.txt")
    assert [file.path for file in choose(listing).files] == ["config.json"]


NO_INT = ["5", 5.0, -1, True, None, [], 1 << 45, 10**40, float("inf")]
SPOILED = {
    **{f"size {value!r:.12}": {"size": value} for value in NO_INT},
    "no name": {"rfilename": None},
    "empty name": {"rfilename": ""},
    "number as name": {"rfilename": 7},
    "no hash": {"blobId": None, "lfs": None},
    "short hash": {"blobId": "abc", "lfs": None},
    "path as hash": {"blobId": "../../../../tmp/x", "lfs": None},
    "hash in capitals": {"blobId": "A" * 40, "lfs": None},
    "lfs is a list": {"lfs": []},
    "lfs is a word": {"lfs": "yes"},
    "lfs without hash": {"lfs": {"size": 3}},
    "lfs with a path": {"lfs": {"sha256": "../" * 20 + "etc", "size": 3}},
    "lfs with a number": {"lfs": {"sha256": 5, "size": 3}},
    "lfs of another size": {"size": 3, "lfs": {"sha256": "0" * 64, "size": 4}},
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_file_that_is_not_described_is_refused(hub, name):
    which = 1 if "lfs" in SPOILED[name] else 0
    hub.change_listing = lambda listing: listing["siblings"][which].update(SPOILED[name])
    with pytest.raises(BadFileError, match="hub's answer"):
        list_files(REPO)


ANSWERS = {
    "no json": b"<html>log in</html>",
    "cut": b'{"sha": "' + b"0" * 40,
    "empty": b"",
    "not utf-8": b'{"sha": "\xff"}',
    "deep": b"[" * 100_000,
    "nan": b'{"sha": NaN}',
    "name twice": b'{"sha": "%s", "sha": "%s", "siblings": []}' % (b"0" * 40, b"1" * 40),
    "list": b"[]",
    "null": b"null",
    "number": b"1e999",
    "no commit": b'{"siblings": []}',
    "branch as commit": b'{"sha": "main", "siblings": []}',
    "path as commit": b'{"sha": "../../../../../../../../../../tmp/evil", "siblings": []}',
    "number as commit": b'{"sha": 7, "siblings": []}',
    "no files": b'{"sha": "%s"}' % (b"0" * 40),
    "files as table": b'{"sha": "%s", "siblings": {}}' % (b"0" * 40),
    "file as word": b'{"sha": "%s", "siblings": ["x"]}' % (b"0" * 40),
    "endless": b'{"sha": "%s", "siblings": [%s0]}' % (b"0" * 40, b"0," * 20_001),
    "too large": b" " * 20_000_001,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_are_no_listing(hub, name):
    hub.change_listing = lambda _: ANSWERS[name]
    with pytest.raises(BadFileError) as error:
        list_files(REPO, patience=QUICK)
    assert "Maker/Model" in error.value.message and len(error.value.message) < 300
    assert ("is larger than" in error.value.message) == (name == "too large")


def test_another_commit_than_asked_for_is_refused(hub):
    commit = hub.commit(REPO)
    hub.change_listing = lambda listing: listing.update(sha="1" * 40)
    with pytest.raises(BadFileError, match="is about commit 1111"):
        list_files(REPO, commit)


@pytest.mark.parametrize("kind", ["cut", "reset", "garbage", "cut chunked", "status", "stall"])
@pytest.mark.parametrize("times", [1, 2, ALWAYS])
def test_a_listing_that_fails_on_the_way(hub, kind, times, monkeypatch):
    from huggingface_hub import constants

    if kind == "stall":
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    value = {} if kind == "status" else 0.6 if kind == "stall" else None
    hub.faults = [Fault(kind, "info", times, at=503 if kind == "status" else 9, value=value)]
    if times < QUICK.tries:
        assert list_files(REPO, patience=QUICK).commit == hub.commit(REPO)
    else:
        with pytest.raises(ModelError) as error:
            list_files(REPO, patience=QUICK)
        assert error.value.hint


@pytest.mark.parametrize(
    "repo", ["x", "a/b/c", "../..", "a/..", "a b/c", "a/b?x", "a/b#x", "", "é/x"]
)
def test_impossible_repositories_are_misuse(hub, repo):
    with pytest.raises(UsageError, match="no repository"):
        list_files(repo)
    assert not hub.asked


@pytest.mark.parametrize(
    "revision", ["..", "a/../b", "a b", "-x", "/x", "x\n", "x?y", "é", "x" * 300]
)
def test_impossible_revisions_are_misuse(hub, revision):
    with pytest.raises(UsageError, match="no revision"):
        list_files(REPO, revision)
    assert not hub.asked


def test_unknown_repositories_and_revisions(hub):
    with pytest.raises(ModelError, match="no such repository"):
        list_files("Maker/Other")
    with pytest.raises(ModelError, match="no such revision"):
        list_files(REPO, "v9")


def test_offline_is_told_soon(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="cannot be reached") as error:
        list_files(REPO, patience=QUICK)
    assert "--offline" in error.value.hint


def test_hf_hub_offline_is_honoured(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        list_files(REPO)
    assert not hub.asked


@pytest.mark.parametrize(
    "token", ["hf_canary\x01", "hf canary", "hf_canary\u00e9", "hf_canary\x7f"]
)
def test_a_token_that_cannot_be_one_is_not_shown(hub, token, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelError, match="token holds characters") as error:
        list_files(REPO)
    assert "canary" not in str(error.value) and not hub.asked


def test_private_repositories_want_the_token(hub, monkeypatch):
    hub.token = "hf_right"
    with pytest.raises(ModelError, match="token given was refused") as error:
        list_files(REPO)
    assert "canary" not in str(error.value) and "hf_right" not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert download(choose(list_files(REPO)), patience=QUICK).fetched
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    with pytest.raises(ModelError, match="terms accepted"):
        list_files(REPO)


def test_only_what_is_needed_is_chosen():
    names = (
        "config.json",
        "high_noise_model/config.json",
        "high_noise_model/diffusion_pytorch_model-00001-of-00006.safetensors",
        "high_noise_model/diffusion_pytorch_model.safetensors.index.json",
        "Wan2.1_VAE.pth",
        "models_t5_umt5-xxl-enc-bf16.pth",
        "google/umt5-xxl/spiece.model",
        "README.md",
        "assets/demo.png",
        "google/umt5-xxl/tokenizer.json",
        "models_clip_open-clip.pth",
    )
    assert [file.path for file in choose(listed(*names)).files] == list(names[:7])
    assert [f.path for f in choose(listed(*names), ["*.md", "assets/*"]).files] == [
        "README.md",
        "assets/demo.png",
    ]
    pins = [Pin("config.json"), Pin("Wan2.1_VAE.pth", 3)]
    assert [f.path for f in choose(listed(*names), pins=pins).files] == [names[0], names[4]]
    with pytest.raises(ModelError, match=r"has no 'vae\.pth'"):
        choose(listed(*names), pins=[Pin("vae.pth")])
    with pytest.raises(ModelError, match="no file that matches"):
        choose(listed(*names), ["*.gguf"])


def test_the_disk_is_checked_before_the_first_byte(hub, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=64_000_100))
    listing = choose(list_files(REPO))
    with pytest.raises(MlxWanError, match=r"needs 0\.00 GB more; .* has 0\.06 GB free") as error:
        download(listing)
    assert "HF_HOME" in error.value.hint and hub.count("file") == 0
    monkeypatch.undo()


def test_what_is_here_already_needs_no_room(hub, monkeypatch):
    from types import SimpleNamespace

    listing = choose(list_files(REPO))
    download(listing)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert download(listing).fetched == 0


def test_forgetting_a_commit_leaves_what_others_use(hub):
    first = download(choose(list_files(REPO)))
    hub.repos = {REPO: {**FILES, "config.json": b"moved on"}}
    second = download(choose(list_files(REPO)))
    assert cache.forget(first.listing) == SIZE["file"]  # the large one is shared
    assert not first.folder.exists()
    assert (second.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    cache.forget(second.listing)
    assert not any(path.is_file() for path in cache.repo_folder(REPO).rglob("*"))


def test_the_fake_hub_is_like_the_real_one():
    """Its answers satisfy the hub's own client: what the tests stand on is no invention."""
    from huggingface_hub import HfApi

    with FakeHub({REPO: FILES}) as fake:
        info = HfApi(endpoint=fake.url, token=False).model_info(REPO, files_metadata=True)
        assert info.sha == fake.commit(REPO)
        sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
        assert sizes == {name: len(data) for name, data in FILES.items()}
        url = f"{fake.url}/{REPO}/resolve/{info.sha}/model.safetensors"
        meta = HfApi(endpoint=fake.url, token=False).get_hf_file_metadata(url=url)
        assert meta.size == SIZE["cdn"] and meta.commit_hash == info.sha
        assert meta.location.startswith(fake.cdn) and len(meta.etag) == 64
        assert json.loads(json.dumps(fake.listing(REPO)))["siblings"][1]["lfs"]["size"] == meta.size

"""Downloads through a hub that fails in every way we could think of: no wrong file is accepted.

Each case must end in the right files or in one clear error with nothing wrong in the cache; and
once the hub is well again, the same call succeeds.
"""

import os
import random
import re
import threading
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hub_server import ALWAYS, FILES, NAME, QUICK, REPO, SIZE, Fault, git_sha1, sha256

from mlx_wan import hub as hub_package
from mlx_wan.errors import MlxWanError, ModelError
from mlx_wan.hub import cache, choose, list_files

pytest_plugins = ["hub_fixtures"]


def fetch(revision=None, connections=1, **choice):
    """One file after the other, so that a fault meets the one it is meant for."""
    listing = choose(list_files(REPO, revision, QUICK), **choice)
    return hub_package.download(listing, patience=QUICK, connections=connections)


def check_cache():
    """Whatever is in the cache under a final name is right."""
    root = cache.repo_folder(REPO)
    for blob in (root / "blobs").glob("*"):
        if not blob.name.endswith(".incomplete"):
            assert blob.name in (sha256(blob.read_bytes()), git_sha1(blob.read_bytes()))
    for path in (root / "snapshots").rglob("*"):
        if path.is_file():  # not a folder, nor a link whose file was thrown away
            assert path.read_bytes() == FILES[path.relative_to(root / "snapshots").as_posix()[41:]]


def check_files(done):
    names = sorted(p.relative_to(done.folder).as_posix() for p in done.folder.rglob("*"))
    assert names == ["config.json", "model.safetensors"]
    for file in done.listing.files:
        assert (done.folder / file.path).read_bytes() == FILES[file.path]
        assert file.sha256 == sha256(FILES[file.path])


def ranges(hub) -> list[tuple[str, str | None]]:
    """What was asked of the hub: name and range."""
    return [(Path(a.path).name, a.range) for a in hub.asked if a.where == "file"]


def put_partial(name: str, data: bytes) -> None:
    listing = list_files(REPO, None, QUICK)
    file = next(file for file in listing.files if file.path == name)
    path = cache.partial(listing, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# what spoils an answer -> what is said when it never stops; None: it does no harm
CUT = "again and again"
NOT_USED = "it was not used"
SPOILERS: list[tuple[str, dict, str | None]] = [
    *(("cut", {"at": at}, CUT) for at in (0, 1, 100, 500, 899)),
    *(("cut chunked", {"at": at}, CUT) for at in (0, 1, 500)),
    *(("cut silently", {"at": at}, CUT) for at in (0, 1, 500)),
    *(("reset", {"at": at}, CUT) for at in (0, 300)),
    ("garbage", {}, CUT),
    ("garbage", {"value": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"}, "."),
    ("garbage", {"value": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000}, CUT),
    ("not packed", {}, CUT),
    *(("short", {"at": at}, NOT_USED) for at in (0, 100)),
    *(("long", {"at": at}, NOT_USED) for at in (0, 1000)),
    ("endless", {}, NOT_USED),
    *(("flip", {"at": at}, NOT_USED) for at in (0, 77, -1)),
    ("zeros", {}, NOT_USED),
    ("swapped", {}, NOT_USED),
    ("html", {}, "web page.*it was not used"),
    ("html", {"value": ""}, "web page.*it was not used"),
    ("empty", {}, NOT_USED),
    ("empty", {"at": 204}, "HTTP 204"),
    ("empty", {"at": 304}, "HTTP 304"),
    ("packed", {}, None),
    ("packed", {"at": 9_000_000}, NOT_USED),
    ("whole", {}, None),
    ("slow", {}, None),
    *(("other range", {"value": value}, None) for value in ("all", "none")),
    *(("status", {"at": at}, f"HTTP {at}") for at in (408, 500, 502, 503, 504)),
    ("status", {"at": 418}, "HTTP 418"),
    ("status", {"at": 416}, "less of it"),
    ("status", {"at": 429, "value": {"Retry-After": "0"}}, "too many requests"),
    ("status", {"at": 429, "value": {"RateLimit": '"api";r=0;t=0'}}, "too many requests"),
    ("no location", {}, "HTTP 302"),
    ("redirect", {"value": "http://[::bad/"}, "."),
]
FINAL = ("empty204", "empty304", "status418", "no location0")  # no second try mends these


def _faulty():
    cases = []
    for where, (kind, values, told) in product(("file", "cdn"), SPOILERS):
        for times, begun in product((1, ALWAYS), (False, True)):
            words = [where, kind, *(str(value)[:20] for value in values.values())]
            words += ["once" if times == 1 else "always", "begun" if begun else "fresh"]
            often = begun == (times == 1)  # the other half runs with the slow ones
            case = (where, kind, values, told, times, begun)
            marks = [] if often else [pytest.mark.slow]
            cases.append(pytest.param(*case, id="-".join(words), marks=marks))
    return cases


@pytest.mark.parametrize(("where", "kind", "values", "told", "times", "begun"), _faulty())
def test_a_spoiled_answer_gives_the_right_file_or_a_clear_error(
    hub, where, kind, values, told, times, begun
):
    if begun:
        put_partial(NAME[where], FILES[NAME[where]][: SIZE[where] // 3])
    hub.faults = [Fault(kind, where, times, **values)]
    once_is_enough = f"{kind}{values.get('at', 0)}" in FINAL
    try:
        check_files(fetch())
        assert times == 1 or told is None
    except ModelError as error:
        assert told is not None and (times > 1 or once_is_enough or told == "."), error
        assert error.hint and "canary" not in str(error) and "SIGNED" not in str(error)
        assert re.search(told, error.message), error.message
    check_cache()
    hub.faults = []
    check_files(fetch())


@pytest.mark.parametrize("begun", ["wrong", "too long", "empty", "all", "all but one", "all wrong"])
@pytest.mark.parametrize("where", ["file", "cdn"])
@pytest.mark.parametrize("fault", [None, "whole", "other range", "flip", "cut"])
def test_what_an_earlier_run_left_is_never_trusted(hub, begun, where, fault):
    data = FILES[NAME[where]]
    left = {
        "wrong": bytes(len(data) // 2),
        "too long": data + b"more",
        "empty": b"",
        "all": data,
        "all but one": data[:-1],
        "all wrong": bytes(len(data)),
    }
    put_partial(NAME[where], left[begun])
    if fault:
        hub.faults = [Fault(fault, where, 1, at=50, value="all")]
    try:
        check_files(fetch())
    except ModelError as error:
        assert "it was not used" in error.message and fault == "flip"
        check_cache()
        check_files(fetch())


@pytest.mark.parametrize("where", ["file", "cdn"])
@pytest.mark.parametrize("cut", [1, 250, 800])
def test_a_cut_file_is_taken_up_where_it_was(hub, where, cut):
    size = SIZE[where]
    hub.faults = [Fault("cut", where, at=cut)]
    with pytest.raises(ModelError, match="again and again") as error:
        fetch()
    assert "goes on where it stopped" in error.value.hint
    assert [range for name, range in ranges(hub) if name == NAME[where]][0::9] == [None]
    hub.faults, hub.asked = [], []
    done = fetch()
    check_files(done)
    asked = [range for name, range in ranges(hub) if name == NAME[where]]
    assert asked == ([f"bytes={3 * cut}-"] if 3 * cut < size else [])


@pytest.mark.parametrize(
    ("status", "headers", "told", "hint"),
    [
        (401, {}, "token given was refused", "hf auth login"),
        (403, {}, "token given was refused", "HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, "terms accepted", "accept them"),
        (401, {"X-Error-Code": "GatedRepo"}, "terms accepted", "accept them"),
        (404, {"X-Error-Code": "EntryNotFound"}, "no such file", "--revision"),
        (404, {"X-Error-Code": "RepoNotFound"}, "no such repository", "hf auth login"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "no such revision", "commit"),
        (404, {}, "no such repository", "check the name"),
        (429, {"Retry-After": "3000"}, "too many requests", "in 50 min"),
        (429, {"Retry-After": "99999999999"}, "too many requests", "later"),
        (429, {"RateLimit": '"api";r=0;t=90'}, "too many requests", "in 90 s"),
        (429, {"Retry-After": "-5"}, "too many requests", "later"),
    ],
)
@pytest.mark.parametrize(("where", "place"), [("file", "info"), ("file", "file"), ("cdn", "file")])
def test_refusals_say_what_to_do(hub, where, status, headers, told, hint, place):
    hub.faults = [Fault("status", place, at=status, value=headers, skip=int(where == "cdn"))]
    with pytest.raises(ModelError, match=told) as error:
        fetch()
    assert hint in error.value.hint and "canary" not in str(error.value)
    check_cache()
    hub.faults = []
    check_files(fetch())


@pytest.mark.parametrize("status", [401, 403])
def test_a_signed_address_that_expired_is_asked_for_again(hub, status):
    hub.faults = [Fault("status", "cdn", 1, at=status)]
    check_files(fetch())
    hub.faults = []


@pytest.mark.parametrize(
    "target", ["ftp://127.0.0.1/x", "file:///etc/passwd", "data:,x", "gopher://a/", "", "//"]
)
@pytest.mark.parametrize("where", ["file", "cdn", "info"])
def test_redirects_to_what_is_no_web_address(hub, target, where):
    hub.faults = [Fault("redirect", where, value=target)]
    with pytest.raises(ModelError) as error:
        fetch()
    assert error.value.hint and "passwd" not in str(error.value)
    check_cache()


@pytest.mark.parametrize("where", ["file", "cdn", "info"])
def test_redirects_in_circles_end(hub, where):
    hub.faults = [Fault("redirect", where)]
    with pytest.raises(ModelError, match="in circles"):
        fetch()
    assert len(hub.asked) < 60


@pytest.mark.parametrize("where", ["file", "info", "cdn"])
def test_the_token_goes_to_the_hub_alone(hub, where):
    hub.faults = [
        Fault("redirect", "file", value=f"{hub.stranger}/{REPO}/config.json", times=1)
        if where == "file"
        else Fault("redirect", where, times=1, value=f"{hub.stranger}/{REPO}/model.safetensors")
    ]
    try:
        check_files(fetch())
    except ModelError:
        assert where == "info"
    shown = {(asked.where, asked.authorization) for asked in hub.asked}
    assert ("info", "Bearer hf_canary") in shown and hub.count("stranger") == 1
    assert {given for place, given in shown if place in ("cdn", "stranger")} == {None}
    check_cache()


@pytest.mark.parametrize("kind", ["flip", "short", "html", "cut", "zeros"])
def test_a_strange_host_is_believed_no_more_than_the_hub(hub, kind):
    target = f"{hub.stranger}/{REPO}/model.safetensors"
    hub.faults = [
        Fault("redirect", "cdn", value=target),
        Fault(kind, "stranger", at=30),
    ]
    with pytest.raises(ModelError):
        fetch()
    check_cache()


@pytest.mark.parametrize("times", [1, ALWAYS])
@pytest.mark.parametrize(
    ("kind", "skip"),  # of the small file (0) or the large one; a size has only the large one's
    [
        *[(kind, skip) for kind in ("wrong etag", "wrong commit") for skip in (0, 1)],
        ("wrong size", 1),
    ],
)
def test_headers_that_contradict_the_listing(hub, kind, times, skip):
    hub.faults = [Fault(kind, "file", times, skip=skip)]
    try:
        check_files(fetch())
        assert times == 1 and kind != "wrong commit"
    except ModelError as error:
        told = "answers for commit" if kind == "wrong commit" else "it was not used"
        assert told in error.message
        begun = cache.repo_folder(REPO).rglob("*.incomplete")
        assert not any(path.stat().st_size for path in begun)  # nothing of it was read
    check_cache()
    hub.faults = []
    check_files(fetch())


@pytest.mark.parametrize("where", ["file", "cdn", "info"])
@pytest.mark.parametrize("times", [1, pytest.param(ALWAYS, marks=pytest.mark.slow)])
def test_a_server_that_says_nothing_more(hub, where, times, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.4)
    hub.faults = [Fault("stall", where, times, at=10, value=0.8)]
    try:
        check_files(fetch())
        assert times == 1
    except ModelError as error:
        assert "too long" in error.message
    check_cache()


@pytest.mark.parametrize("seed", range(40))
def test_several_faults_after_each_other(hub, seed):
    chance = random.Random(seed)
    kinds = ["cut", "reset", "cut chunked", "flip", "whole", "packed", "status", "other range"]
    hub.faults = [
        Fault(
            kind := chance.choice(kinds),
            chance.choice(["file", "cdn"]),
            chance.randint(1, 2),
            at=503 if kind == "status" else chance.randint(0, 900),
            value={} if kind == "status" else "all",
            skip=chance.randint(0, 1),
        )
        for _ in range(chance.randint(2, 4))
    ]
    for _ in range(6):  # each run brings it forward, or fails clearly
        try:
            check_files(fetch(connections=1 + seed % 2))
            break
        except ModelError:
            check_cache()
    else:
        pytest.fail("never done, though the faults are finite")


@pytest.mark.parametrize("where", ["file", "cdn"])
def test_a_server_without_ranges_sends_it_once_more_and_no_oftener(hub, where):
    put_partial(NAME[where], FILES[NAME[where]][:99])
    hub.asked.clear()
    hub.faults = [Fault("whole", where)]
    check_files(fetch())
    assert [range for name, range in ranges(hub) if name == NAME[where]] == ["bytes=99-"]


MANY = {f"part-{n:02}.safetensors": random.Random(n).randbytes(20_000 + n) for n in range(9)}
MANY |= {
    "twin.safetensors": MANY["part-03.safetensors"],
    "config.json": b"{}",
    "empty_VAE.pth": b"",
}


def check_many(done):
    assert {file.path for file in done.listing.files} == set(MANY)
    for path, data in MANY.items():
        assert (done.folder / path).read_bytes() == data


@pytest.mark.parametrize("seed", range(12))
def test_many_files_at_a_time(hub, seed):
    hub.repos = {REPO: MANY}
    chance = random.Random(seed)
    hub.faults = [
        Fault(kind, chance.choice(["file", "cdn"]), 1, at=chance.randint(0, 900), skip=skip)
        for kind, skip in zip(("cut", "reset", "flip", "cut silently"), (0, 2, 3, 1), strict=True)
    ]
    events = []
    listing = choose(list_files(REPO))
    for _ in range(4):
        try:
            done = hub_package.download(listing, events.append, patience=QUICK, connections=5)
            break
        except ModelError as error:
            assert "it was not used" in error.message or "again and again" in error.message
    check_many(done)
    assert max(event.done for event in events) <= listing.size == events[-1].total
    asked = {Path(a.path.partition("?")[0]).name for a in hub.asked if a.where == "cdn"}
    assert len(asked & {"part-03.safetensors", "twin.safetensors"}) == 1  # one content, once


def test_the_first_failure_ends_the_others(hub):
    hub.repos = {REPO: MANY}
    hub.faults = [Fault("status", "file", 1, at=404, skip=2), Fault("slow", "cdn", value=0.4)]
    with pytest.raises(ModelError, match="no such repository"):
        hub_package.download(choose(list_files(REPO)), patience=QUICK, connections=3)
    count = len(hub.asked)
    time.sleep(0.1)
    assert len(hub.asked) == count < 12  # nothing goes on behind the caller's back
    blobs = cache.repo_folder(REPO) / "blobs"
    assert all(blob.name.endswith(".incomplete") for blob in blobs.iterdir())
    assert not [t for t in threading.enumerate() if "worker" in t.name and t.is_alive()]
    hub.faults = []
    check_many(hub_package.download(choose(list_files(REPO)), patience=QUICK))


def test_two_downloads_of_one_file_do_not_mix(hub):
    import fcntl

    listing = choose(list_files(REPO, None, QUICK))
    path = cache.partial(listing, listing.files[1])
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another download"):
            fetch()
    check_files(fetch())


def test_a_file_that_another_download_finishes_meanwhile_is_not_written(hub, monkeypatch):
    """The lock may be had only after the other has given its partial file the final name."""
    import fcntl

    listing = choose(list_files(REPO, None, QUICK))
    file = listing.files[1]
    path, final = cache.partial(listing, file), cache.blob(listing, file)
    path.parent.mkdir(parents=True)
    path.write_bytes(FILES[file.path])
    lock = fcntl.flock

    def late(number, how):
        if path.exists() and path.stat().st_ino == os.fstat(number).st_ino and not final.exists():
            path.rename(final)
        lock(number, how)

    monkeypatch.setattr(fcntl, "flock", late)
    check_files(fetch())
    check_cache()


@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_a_partial_file_that_is_something_else(hub, what, tmp_path):
    listing = choose(list_files(REPO, None, QUICK))
    path = cache.partial(listing, listing.files[1])
    path.parent.mkdir(parents=True)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    if what == "link":
        path.symlink_to(mine)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(MlxWanError, match=r"locked|is a folder"):
        fetch()
    assert mine.read_text() == "mine"
    check_cache()


def test_a_full_disk_keeps_what_came(hub, monkeypatch):
    import errno

    from mlx_wan.hub import fetch as module

    real, room = module._write, [30_000]

    class Full:
        def __init__(self, stream):
            self.stream = stream

        def write(self, chunk):
            if room[0] <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = self.stream.write(bytes(chunk)[: max(room[0], 1)])
            room[0] -= written
            return written

    monkeypatch.setattr(module, "_write", lambda stream, chunk: real(Full(stream), chunk))
    with pytest.raises(ModelError, match="disk of the cache is full"):
        fetch()
    check_cache()
    monkeypatch.setattr(module, "_write", real)
    hub.asked.clear()
    check_files(fetch())
    assert next(a.range for a in hub.asked if a.where == "cdn") is not None


@pytest.mark.parametrize("link", ["dangling", "elsewhere", "file", "loop"])
def test_a_wrong_link_in_the_snapshot_is_replaced(hub, link, tmp_path):
    done = fetch()
    path = done.folder / "model.safetensors"
    path.unlink()
    mine = tmp_path / "mine"
    mine.write_bytes(bytes(SIZE["cdn"]))
    if link == "file":
        path.write_bytes(bytes(SIZE["cdn"]))
    else:
        path.symlink_to({"dangling": tmp_path / "no", "elsewhere": mine, "loop": path}[link])
    check_files(fetch())
    assert mine.read_bytes() == bytes(SIZE["cdn"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "short", "long", "empty"])
def test_a_damaged_blob_of_the_cache_is_fetched_again(hub, name, damage):
    done = fetch()
    blob = (done.folder / name).resolve()
    data = FILES[name]
    spoiled = {"flip": bytes([data[0] ^ 1]) + data[1:], "short": data[:-1], "long": data + b"x"}
    blob.write_bytes(spoiled.get(damage, b""))
    hub.faults = [Fault("status", "file", at=503)]
    with pytest.raises(ModelError, match="503"):
        fetch()
    check_cache()  # it is gone, or the next program would use it
    hub.faults = []
    again = fetch()
    check_files(again)
    assert again.mended == () and again.fetched == len(data)
    (again.folder / name).resolve().write_bytes(spoiled.get(damage, b""))
    assert fetch().mended == (name,)
    assert fetch().fetched == 0


def test_pins_are_checked_against_the_hub(hub):
    right = sha256(FILES["model.safetensors"])
    pin = hub_package.Pin
    done = fetch(pins=[pin("model.safetensors", SIZE["cdn"], right)])
    assert [file.path for file in done.listing.files] == ["model.safetensors"]
    for wrong in (pin("model.safetensors", 5), pin("model.safetensors", None, "0" * 64)):
        with pytest.raises(ModelError, match="is not the file that is known"):
            fetch(pins=[wrong])
    with pytest.raises(ModelError, match="has git hash"):
        hub.faults = [Fault("flip", "file")]
        fetch(pins=[pin("config.json", None, sha256(FILES["config.json"]))])
    hub.faults = []
    with pytest.raises(ModelError, match="instead of 0000"):  # the hub's hash fits, the pin's not
        fetch(pins=[pin("config.json", None, "0" * 64)])
    check_cache()


def test_the_hubs_own_client_finds_the_files(hub):
    from huggingface_hub import hf_hub_download, snapshot_download

    done = fetch()
    where = {"cache_dir": str(cache.cache_root()), "local_files_only": True}
    assert snapshot_download(REPO, revision="main", **where) == str(done.folder)
    for file in done.listing.files:
        found = Path(hf_hub_download(REPO, file.path, revision=done.listing.commit, **where))
        assert found == done.folder / file.path


def test_files_of_the_hubs_own_client_are_checked_and_used(hub, monkeypatch):
    from huggingface_hub import constants, hf_hub_download

    address = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    commit = hub.commit(REPO)
    where = str(cache.cache_root())
    found = hf_hub_download(REPO, "config.json", revision=commit, cache_dir=where)
    hub.asked.clear()
    done = fetch(commit)
    check_files(done)
    assert done.folder == Path(found).parent and hub.count("file") == 1  # the large one's
    assert replace(done.listing, files=()).revision is None

"""Votes: kept whole, counted once, blind, and given only by our own page."""

import json
import os
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from ab_folders import METRICS, make_folder

from mlx_wan.bench.report import serve_votes
from mlx_wan.bench.report.serve import VoteServer
from mlx_wan.bench.report.votes import (
    Vote,
    add_vote,
    check_rater,
    preference,
    read_votes,
    strengths,
)
from mlx_wan.bench.report.write import write_report
from mlx_wan.errors import BadFileError, MlxWanError, UsageError


def vote(prompt: int, choice: str, rater: str = "ada", sides: tuple[str, str] = ("a", "b")) -> Vote:
    return Vote(f"p{prompt:02}-0", *sides, choice, rater, "2026-11-23T01:00:00Z")


def test_votes_are_read_as_they_were_given_and_the_last_answer_counts(tmp_path):
    add_vote(tmp_path, "p1-0", "a", "b", "left", "Ada")
    add_vote(tmp_path, "p1-0", "b", "a", "left", "Bob")
    add_vote(tmp_path, "p1-0", "b", "a", "tie", "Ada")
    votes, unreadable = read_votes(tmp_path)
    assert [(v.rater, v.choice) for v in votes] == [("Bob", "left"), ("Ada", "tie")]
    assert unreadable == 0


def test_a_line_that_was_cut_costs_only_itself(tmp_path):
    add_vote(tmp_path, "p1-0", "a", "b", "left", "Ada")
    with (tmp_path / "votes.jsonl").open("ab") as file:
        file.write(b'{"pair": "p2-0", "le')
    add_vote(tmp_path, "p3-0", "a", "b", "left", "Ada")
    votes, unreadable = read_votes(tmp_path)
    assert [v.pair for v in votes] == ["p1-0", "p3-0"] and unreadable == 1


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"\xff\xfe",
        b"{" * 5000,
        json.dumps(vote(1, "left").__dict__ | {"choice": "both"}).encode(),
        json.dumps(vote(1, "left").__dict__ | {"pair": "../x-0"}).encode(),
        json.dumps(vote(1, "left").__dict__ | {"left": "b"}).encode(),
        json.dumps(vote(1, "left").__dict__ | {"rater": "x" * 50}).encode(),
        json.dumps(vote(1, "left").__dict__ | {"rater": "a\u0000"}).encode(),
        json.dumps(vote(1, "left").__dict__ | {"time": 3}).encode(),
    ],
)
def test_lines_that_are_no_votes_are_counted_and_left_out(tmp_path, line):
    (tmp_path / "votes.jsonl").write_bytes(line + b"\n")
    assert read_votes(tmp_path) == ([], 1)


def test_a_votes_file_that_is_none_of_its_own_is_refused(tmp_path):
    os.mkfifo(tmp_path / "votes.jsonl")
    with pytest.raises(BadFileError):
        read_votes(tmp_path)
    (tmp_path / "votes.jsonl").unlink()
    (tmp_path / "other").write_text("")
    (tmp_path / "votes.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(MlxWanError):
        add_vote(tmp_path, "p1-0", "a", "b", "left", "Ada")
    assert (tmp_path / "other").read_text() == ""


def test_many_writers_lose_no_vote(tmp_path):
    def write(rater: int) -> None:
        for number in range(25):
            add_vote(tmp_path, f"p{number}-0", "a", "b", "tie", f"rater {rater}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    votes, unreadable = read_votes(tmp_path)
    assert len(votes) == 100 and unreadable == 0


@pytest.mark.parametrize("name", [None, 3, "", "  ", "x" * 41, "a\nb", "a\u202eb", ["x"]])
def test_names_that_are_none(name):
    with pytest.raises(UsageError):
        check_rater(name)


def test_a_prompt_counts_once_and_a_tie_half():
    votes = [vote(0, "right", rater=f"r{n}") for n in range(9)]  # nine for B, all of one prompt
    votes += [vote(1, "left"), vote(2, "tie"), vote(3, "left", sides=("b", "a"))]
    votes += [vote(4, "right"), vote(4, "left", rater="bob")]  # they disagree: a tie
    found = preference(votes, "a", "b")
    assert (found.wins, found.losses, found.ties) == (2, 1, 2)
    assert found.mean_win_rate == pytest.approx((1 + 0 + 0.5 + 1 + 0.5) / 5)
    assert (found.votes, found.raters) == (14, 11)
    assert found.sign_p == 1
    assert preference(votes, "a", "c") is None


def test_strengths_of_several_variants():
    votes = [vote(n, "right") for n in range(8)]  # b beats a
    votes += [vote(n, "left", sides=("a", "c")) for n in range(8)]  # a beats c
    found = strengths(votes, ["a", "b", "c", "d"])
    assert found["b"].mean > found["a"].mean > found["c"].mean
    assert found["d"] is None


@pytest.fixture
def server(tmp_path) -> Iterator[VoteServer]:
    folder = make_folder(tmp_path / "ab", prompts=2, seeds=1, num_frames=5, text="<b>{number}")
    with VoteServer(folder) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


class Asking:
    """A client that says what it is told to."""

    def __init__(self, server: VoteServer):
        self.port = server.server_port
        self.own = {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, raw, sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.headers["Content-Type"] == "application/json":
            content = json.loads(content)
        return answer.status, content, answer.headers

    def post(self, path: str, body: Any) -> Any:
        return self("POST", path, body, **self.own)


def folder_of(server: VoteServer) -> Path:
    return server.voting._folder


def test_it_listens_on_this_machine_only(server):
    assert server.server_address[0] == "127.0.0.1" and server.server_port > 0


def test_a_vote_is_stored_with_the_sides_the_server_chose(server):
    ask = Asking(server)
    status, told, _ = ask.post("/next", {"rater": "Ada"})
    question = told["question"]
    assert status == 200 and (told["done"], told["total"]) == (0, 2)
    assert question["prompt"].startswith("<b>")  # as text: the page puts it nowhere else
    assert "wan-mini" not in json.dumps(told) and question.keys() == {
        "id",
        "prompt",
        "left",
        "right",
    }
    shown = [ask("GET", question[side])[1] for side in ("left", "right")]
    assert ask.post("/next", {"rater": "Ada"})[1]["question"] == question  # the same one again
    status, after, _ = ask.post("/vote", {"id": question["id"], "choice": "left"})
    assert status == 200 and after["done"] == 1
    (stored,), _ = read_votes(folder_of(server))
    videos = {
        id: (folder_of(server) / "runs" / f"{id}-{stored.prompt}-0" / "video.mp4").read_bytes()
        for id in "ab"
    }
    assert shown == [videos[stored.left], videos[stored.right]] and videos["a"] != videos["b"]
    assert stored.choice == "left" and stored.rater == "Ada"
    assert ask("GET", question["left"])[0] == 404  # its words are worth nothing any more
    assert ask.post("/vote", {"id": question["id"], "choice": "left"})[0] == 400


def test_sides_are_drawn_anew(tmp_path):
    folder = make_folder(tmp_path / "ab", prompts=40, seeds=1, num_frames=5)
    with VoteServer(folder) as server:
        told = server.voting.next_question("Ada")
        while told["question"]:
            told = server.voting.answer(told["question"]["id"], "left")
    votes, _ = read_votes(folder)
    assert len(votes) == 40
    assert 5 <= sum(one.left == "a" for one in votes) <= 35
    assert [one.pair for one in votes] != sorted(one.pair for one in votes)


def test_another_day_goes_on_where_a_rater_stopped(server):
    ask = Asking(server)
    question = ask.post("/next", {"rater": "Ada"})[1]["question"]
    ask.post("/vote", {"id": question["id"], "choice": "tie"})
    with VoteServer(folder_of(server)) as later:
        told = later.voting.next_question(" Ada ")
        assert told["done"] == 1 and told["question"]["prompt"] != question["prompt"]
        assert later.voting.next_question("Bob")["done"] == 0
        assert later.voting.answer(told["question"]["id"], "right")["question"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_other_pages_and_names_get_nothing(server, headers):
    ask = Asking(server)
    assert ask("GET", "/", **headers)[0] == 403
    assert ask("POST", "/next", {"rater": "x"}, **(ask.own | headers))[0] == 403


def test_only_json_of_our_own_page_is_taken(server):
    ask = Asking(server)
    body = {"rater": "Ada"}
    assert ask("POST", "/next", body, Content_Type="application/json")[0] == 403  # no Origin
    form = ask.own | {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask("POST", "/next", body, **form)[0] == 415
    assert ask("POST", "/next", body, **(ask.own | {"Content-Type": "text/plain"}))[0] == 415
    for raw in (b"", b"[1]", b"{", b"\xff", b"[" * 4000, b'{"rater": NaN}'):
        assert ask.post("/next", raw)[0] == 400
    assert ask.post("/next", b" " * 5000)[0] == 413
    assert ask.post("/next", {"rater": "\u202e"})[0] == 400
    assert ask.post("/vote", {"id": None, "choice": "left"})[0] == 400
    assert ask.post("/vote", {"id": ["x"], "choice": ["left"]})[0] == 400
    assert not (folder_of(server) / "votes.jsonl").exists()


@pytest.mark.parametrize(
    "path",
    ["/votes.jsonl", "/../experiment.json", "/video/", "/video/../../experiment.json", "//x",
     "/video/%2e%2e%2fexperiment.json", "/runs/a-p00-0/video.mp4", "/?x", "/video/%e9"],
)  # fmt: skip
def test_no_path_of_a_request_leads_anywhere(server, path):
    ask = Asking(server)
    ask.post("/next", {"rater": "Ada"})
    assert ask("GET", path)[0] == 404


def test_parts_of_a_video(server):
    ask = Asking(server)
    url = ask.post("/next", {"rater": "Ada"})[1]["question"]["left"]
    _, whole, headers = ask("GET", url)
    assert headers["Accept-Ranges"] == "bytes" and headers["X-Content-Type-Options"] == "nosniff"
    for given, expected in (
        ("bytes=0-3", whole[:4]),
        ("bytes=100-", whole[100:]),
        (f"bytes=5-{len(whole) * 9}", whole[5:]),
    ):
        status, part, headers = ask("GET", url, Range=given)
        assert (status, part) == (206, expected)
        assert headers["Content-Range"].endswith(f"/{len(whole)}")
    assert ask("GET", url, Range=f"bytes={len(whole)}-")[0] == 416
    assert ask("GET", url, Range="bytes=5-2")[0] == 416
    assert ask("GET", url, Range="bytes=0-1,3-4")[1] == whole
    assert ask("HEAD", url)[1] == b""


def test_a_folder_without_pairs_and_a_taken_port_are_told(server, tmp_path):
    folder = make_folder(tmp_path / "none", prompts=1, seeds=1, num_frames=5)
    (folder / "runs").rename(folder / "elsewhere")
    with pytest.raises(UsageError, match="no two videos"):
        serve_votes(folder)
    with pytest.raises(UsageError, match="cannot be used"):
        VoteServer(folder_of(server), server.server_port)
    with pytest.raises(UsageError, match="accepted: 0 to 65535"):
        VoteServer(folder_of(server), 70_000)


def test_votes_decide_where_nothing_else_does(tmp_path):
    folder = make_folder(tmp_path / "ab", prompts=12, seeds=1, num_frames=5)
    for number in range(12):
        for rater in ("Ada", "Bob"):
            add_vote(folder, f"p{number:02}-0", "b", "a", "left", rater)
    told = write_report(folder, metrics=METRICS)
    assert told["verdict"] == "PASS" and told["reasons"][0] == "people clearly prefer B"
    found = told["comparisons"][0]["preference"]
    assert (found["wins"], found["losses"]) == (12, 0)
    assert told["strengths"]["b"]["mean"] > 0.9
    page = (folder / "report.html").read_text()
    assert "is preferred to A in 100 %" in page and "sign test p = 0.00049" in page


def test_of_several_candidates_each_needs_more_evidence(tmp_path):
    """8 prompts won of 8 are enough for the only candidate, and too few for one of two."""
    for variants, verdict in ((2, "PASS"), (3, "NOT ENOUGH EVIDENCE")):
        folder = make_folder(
            tmp_path / str(variants), variants=variants, prompts=12, seeds=1, num_frames=5
        )
        for number in range(8):
            add_vote(folder, f"p{number:02}-0", "b", "a", "left", "Ada")
        assert write_report(folder, metrics=METRICS)["comparisons"][0]["verdict"] == verdict

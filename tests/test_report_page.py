"""Result folders become pages, JSON and CSV; damaged ones an error, hostile ones plain text."""

import csv
import html
import json
import os
import re
from typing import Any

import pytest
from ab_folders import HASHES, METRICS, fails, make_folder

from mlx_wan.bench.report import write_report
from mlx_wan.bench.report.build import fingerprint
from mlx_wan.bench.report.markup import script_json, tag, text
from mlx_wan.errors import BadFileError, UsageError

HOSTILE = '</script><script>alert(1)</script><b onclick="x">\'&{number}'


def faster(variant: str, run: dict[str, Any]) -> None:
    if variant == "b":
        run["seconds"] = {stage: value / 2 for stage, value in run["seconds"].items()}


def test_the_json_is_the_evidence_an_activation_asks_for(tmp_path):
    folder = make_folder(tmp_path / "ab", change=faster, with_videos=True, num_frames=5)
    told = write_report(folder, metrics=METRICS)
    assert told == json.loads((folder / "report.json").read_text())
    assert (told["format"], told["version"], told["candidate"]) == ("mlx-wan-ab", 1, "b")
    assert told["a"] == {"model": "wan-mini", "fingerprint": HASHES["a"]}
    assert told["b"] == {"model": "wan-mini", "fingerprint": HASHES["b"]}
    assert told["verdict"] == "PASS" and told["reasons"][0].startswith(
        "time is clearly better: −50"
    )
    assert told["path"] == str(folder / "report.json")
    assert told["sha256"] == fingerprint(told)
    assert fingerprint(told | {"verdict": "FAIL"}) != told["sha256"]
    assert told["finished"] == "2026-11-23T01:00:10Z", "the last run's, however late it is written"


@pytest.mark.parametrize(
    ("factor", "verdict"), [(0.98, "NOT ENOUGH EVIDENCE"), (0.92, "PASS"), (1.08, "FAIL")]
)
def test_a_time_must_differ_by_more_than_a_machine_from_itself(tmp_path, factor, verdict):
    """2 % is seen in every pair, and still no claim."""

    def change(variant: str, run: dict[str, Any]) -> None:
        seconds = 10 * factor if variant == "b" else 10
        run["seconds"] = dict.fromkeys(run["seconds"], seconds / 4)

    told = write_report(make_folder(tmp_path / "ab", change=change, num_frames=5), metrics=METRICS)
    assert told["verdict"] == verdict
    time = next(f for f in told["comparisons"][0]["figures"] if f["name"] == "time")
    assert time["p"] < 0.01 and time["difference"] == pytest.approx(factor - 1)


def test_failed_runs_are_counted_at_the_gates_and_stop_a_pass(tmp_path):
    def change(variant: str, run: dict[str, Any]) -> None:
        faster(variant, run)
        if variant == "b" and (run["prompt"], run["seed"]) == ("p02", 1):
            fails(run)

    told = write_report(make_folder(tmp_path / "ab", change=change), metrics=METRICS)
    assert told["verdict"] == "NOT ENOUGH EVIDENCE"
    assert told["reasons"][0] == "finished: failed by 1 of B's 16 pairs and 0 of A's"
    comparison = told["comparisons"][0]
    assert (comparison["prompts"], comparison["pairs"]) == (8, 15)
    assert told["failed"][0]["error"] == "killed by signal 9"


def test_a_candidate_whose_videos_all_break_fails(tmp_path):
    def change(variant: str, run: dict[str, Any]) -> None:
        faster(variant, run)
        run["gates"]["moving"] = variant == "a"

    told = write_report(make_folder(tmp_path / "ab", prompts=4, change=change), metrics=METRICS)
    assert told["verdict"] == "FAIL"
    assert told["reasons"] == [
        "every video of B broke and none of A",
        "moving: failed by 8 of B's 8 pairs and 0 of A's",
    ]


def test_runs_that_were_not_made_yet_keep_the_verdict_open(tmp_path):
    folder = make_folder(tmp_path / "ab", change=faster, num_frames=5)
    (folder / "runs" / "b-p07-1").rename(folder / "runs" / ".b-p07-1.12.partial")
    told = write_report(folder, metrics=METRICS)
    assert told["verdict"] == "NOT ENOUGH EVIDENCE"
    assert told["reasons"] == ["planned runs that were not made yet: 1"]


def test_warmups_and_repeats(tmp_path):
    """A warm-up is in no figure; of repeats the median time counts."""
    folder = make_folder(tmp_path / "ab", num_frames=5)
    run = json.loads((folder / "runs" / "b-p00-0" / "run.json").read_text())
    run |= {"repeat": 0, "warmup": True, "seconds": dict.fromkeys(run["seconds"], 1e6)}
    place = folder / "runs" / "b-p00-0-warmup"
    place.mkdir()
    (place / "video.mp4").write_bytes((folder / "runs" / "b-p00-0" / "video.mp4").read_bytes())
    (place / "run.json").write_text(json.dumps(run))
    told = write_report(folder, metrics=METRICS)
    time = next(f for f in told["comparisons"][0]["figures"] if f["name"] == "time")
    assert abs(time["difference"]) < 0.02
    assert "warmup" not in (folder / "runs.csv").read_text()


def test_a_matrix_is_judged_variant_by_variant(tmp_path):
    folder = make_folder(tmp_path / "ab", variants=3, prompts=9, change=faster, num_frames=5)
    told = write_report(folder, metrics=METRICS)
    assert [c["candidate"] for c in told["comparisons"]] == ["b", "c"]
    assert [c["verdict"] for c in told["comparisons"]] == ["PASS", "NOT ENOUGH EVIDENCE"]
    page = (folder / "report.html").read_text()
    assert page.count("May B replace A?") == page.count("May C replace A?") == 1


def test_hostile_text_stays_text(tmp_path):
    def change(variant: str, run: dict[str, Any]) -> None:
        if (variant, run["prompt"]) == ("b", "p00"):
            fails(run, '=cmd()<img src="x">\u0007')
        else:
            run["metrics"]['<i>"m"</i>'] = 1.0
            run["gates"]["</td><script>"] = True

    folder = make_folder(tmp_path / "ab", prompts=2, text=HOSTILE, change=change, num_frames=5)
    experiment = json.loads((folder / "experiment.json").read_text())
    experiment["variants"]["a"]["label"] = "<script>alert(2)</script>"
    experiment["machine"] = {"<b>": ["</style>"], "chip": None}
    experiment["plan_differences"] = {"<u>": ["<s>", {"x": "<q>"}], "odd": 3}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    write_report(folder, metrics=METRICS)
    page = (folder / "report.html").read_text()
    for bad in ("<script>alert", "<b onclick", "<img", "<i>", "<u>", "<s>", "<q>", "\u0007"):
        assert bad not in page, bad
    assert page.count("<script") == page.count("</script>") == 2
    assert page.count("<style") == page.count("</style>") == 1
    with (folder / "runs.csv").open() as file:
        errors = {row["error"] for row in csv.DictReader(file)}
    assert errors == {"", '\'=cmd()<img src="x">\u0007'}


def test_the_page_loads_nothing(tmp_path):
    folder = make_folder(tmp_path / "ab", num_frames=5)
    write_report(folder, metrics=METRICS)
    page = html.unescape((folder / "report.html").read_text())
    assert "default-src 'none'" in page and "connect-src 'none'" in page
    shown = page.partition('<script type="application/json"')[0]
    assert re.findall(r'(?:src|href)="([^"]*)"', shown) == ["data:,"]
    assert "http://" not in page and "https://" not in page
    assert page.count("data:video/mp4;base64,") == 32
    assert 'style="' not in page  # the policy would not let it count


def test_large_videos_lie_beside_the_page(tmp_path):
    folder = make_folder(tmp_path / "ab", prompts=2, num_frames=5)
    write_report(folder, metrics=METRICS, embedded_bytes=10_000)
    page = (folder / "report.html").read_text()
    assert "data:video" not in page and '"runs/b-p01-1/video.mp4"' in page


def test_metrics_csv_has_every_figure(tmp_path):
    folder = make_folder(tmp_path / "ab", prompts=1, seeds=1, num_frames=5)
    write_report(folder, metrics=METRICS)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (len(METRICS) + 2)
    assert {row["value"] for row in rows if row["kind"] == "gate"} == {"1"}


@pytest.mark.parametrize("value", [None, 1e308, -1e308])
def test_figures_that_are_none_or_huge_harm_nothing(tmp_path, value):
    def change(variant: str, run: dict[str, Any]) -> None:
        run["metrics"]["sharpness"] = value
        run["metrics"]["never heard of"] = 3

    told = write_report(make_folder(tmp_path / "ab", change=change, num_frames=5), metrics=METRICS)
    names = [figure["name"] for figure in told["comparisons"][0]["figures"]]
    assert "sharpness" not in names and names[-1] == "never heard of"


def test_no_comparison_and_a_damaged_one_are_told(tmp_path):
    with pytest.raises(UsageError):
        write_report(tmp_path, metrics=METRICS)
    folder = make_folder(tmp_path / "ab", num_frames=5)
    (folder / "runs" / "a-p00-0" / "run.json").write_text("{")
    with pytest.raises(BadFileError):
        write_report(folder, metrics=METRICS)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("kind", ["text", "pipe", "link"])
def test_a_video_that_is_none_is_not_shown(tmp_path, kind):
    folder = make_folder(tmp_path / "ab", prompts=1, seeds=2, num_frames=5)
    video = folder / "runs" / "a-p00-0" / "video.mp4"
    video.unlink()
    if kind == "text":
        video.write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    elif kind == "pipe":
        os.mkfifo(video)
    else:
        video.symlink_to("/etc/passwd")
    if kind != "text":
        with pytest.raises(BadFileError):
            write_report(folder, metrics=METRICS)
        return
    write_report(folder, metrics=METRICS)
    assert (folder / "report.html").read_text().count("data:video") == 3


def test_markup_escapes_what_is_not_markup():
    assert tag("p", "<b>", tag("i", '"')) == "<p>&lt;b&gt;<i>&quot;</i></p>"
    assert tag("a", class_="x", data_y='"', hidden=True, title=None) == (
        '<a class="x" data-y="&quot;" hidden></a>'
    )
    assert text("a\0b\x1b\ud800") == "ab"
    assert "<" not in script_json("</script><!--\u2028") and "\u2028" not in script_json("\u2028")

"""Runs of an A/B comparison: failures are counted, kills lose nothing, and two never mix."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_wan.bench.ab import compare as comparing
from mlx_wan.bench.ab import results, runner
from mlx_wan.bench.ab.experiment import Experiment, Plans
from mlx_wan.bench.ab.folder import locked, remove_unfinished
from mlx_wan.bench.ab.prompts import Prompt
from mlx_wan.bench.ab.summary import summarize, to_json
from mlx_wan.bench.ab.variants import build_variants
from mlx_wan.errors import MlxWanError, UsageError

CHILD = (sys.executable, "-S", str(Path(__file__).with_name("ab_child.py")))


def experiment(texts=("aurora", "waves"), seeds=(0,), variants=("steps=2", "steps=3"), **more):
    built = build_variants([f"wan-mini:{one}" for one in variants])
    prompts = tuple(Prompt(f"p{i}", text, "low") for i, text in enumerate(texts))
    return Experiment(tuple(built), prompts, tuple(seeds), **more)


def compare(made, folder, **more):
    return comparing.compare(made, folder, child=CHILD, **more)


def test_every_run_is_made_once_in_its_order(tmp_path):
    made, told = experiment(seeds=(0, 5), repeats=2), []
    stored = compare(made, tmp_path / "ab", report=told.append)
    assert [progress.run for progress in told] == made.runs
    assert [p.left for p in told] == list(range(len(told)))[::-1]
    everything = results.read_runs(stored, warmups=True)
    assert [one.run for one in everything] == made.runs
    counted = results.read_runs(stored)
    assert len(counted) == 2 * 2 * 2 * 2 and not any(one.run.warmup for one in counted)
    for one in counted:
        steps = {"a": 2, "b": 3}[one.run.variant]
        text = {"p0": "aurora", "p1": "waves"}[one.run.prompt]
        assert one.video.read_bytes().decode() == f"{text} {one.run.seed} {steps}"
        assert names(one.folder) == ["latents.npy", "run.json", "video.mp4"]
    again = []
    compare(made, tmp_path / "ab", report=again.append)
    assert not again


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("CRASH", "killed by SIGKILL (out of memory?)"),
        ("EXIT", "exit code 3: the last words"),
        ("ERROR", "NaN or infinite latents"),
        ("SILENT", "without a result"),
        ("GARBAGE", "without a result"),
        ("HANG", "longer than 0.5 s"),
    ],
)
def test_a_run_that_fails_is_counted_and_never_dropped(prompt, told, tmp_path):
    made = experiment(("aurora", prompt))
    stored = compare(made, tmp_path / "ab", timeout=0.5 if prompt == "HANG" else 60)
    runs = results.read_runs(stored)
    failed = [one for one in runs if not one.done]
    assert [one.run.prompt for one in failed] == ["p1", "p1"]
    for one in failed:
        assert told in one.error and one.video is None and one.latents is None
        assert not (one.folder / "video.mp4").exists(), "no half a result"
    for summary in summarize(stored, runs):
        assert (summary.done, summary.failed) == (1, 1) and told in summary.errors[0]
    assert json.dumps(to_json(summarize(stored, runs)), allow_nan=False)
    again = []
    compare(made, tmp_path / "ab", report=again.append)
    assert not again, "a failed run stays counted"


def test_a_failed_run_is_tried_again_when_asked_and_that_it_failed_is_kept(tmp_path):
    made, folder = experiment(("aurora", "EXIT")), tmp_path / "ab"
    compare(made, folder)
    told = []
    stored = compare(made, folder, retry_failed=True, report=told.append)
    assert [progress.run.prompt for progress in told] == ["p1", "p1"]
    runs = {one.run.name: one for one in results.read_runs(stored)}
    assert runs["a-p1-0"].earlier_errors == ("exit code 3: the last words",)
    summary = summarize(stored, list(runs.values()))[0]
    assert (summary.done, summary.failed, summary.failed_before) == (1, 1, 1)
    well = (sys.executable, "-S", "-c", WELL.format(CHILD[-1]))
    comparing.compare(made, folder, retry_failed=True, child=well)
    runs = {one.run.name: one for one in results.read_runs(stored)}
    assert runs["a-p1-0"].done and len(runs["a-p1-0"].earlier_errors) == 2
    assert names(runs["a-p1-0"].folder) == ["latents.npy", "run.json", "video.mp4"]
    assert len(names(folder / "runs")) == len(made.runs)


def test_a_kill_between_a_failed_run_and_its_better_one_does_not_forget_it(tmp_path):
    runs = tmp_path / "runs"
    aside, over = runs / ".a-p1-0.77.old.partial", runs / ".b-p1-0.77.old.partial"
    for folder in (aside, over, runs / "b-p1-0"):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(folder.name)
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in runs.iterdir()) == ["a-p1-0", "b-p1-0"]
    assert (runs / "a-p1-0" / "run.json").read_text() == aside.name
    assert (runs / "b-p1-0" / "run.json").read_text() == "b-p1-0"


WELL = """
import sys, pathlib
job = pathlib.Path(sys.argv[1]) / "job.json"
job.write_text(job.read_text().replace("EXIT", "sea"))
sys.argv[0:1] = ["child"]
exec(pathlib.Path("{}").read_text())
"""


def test_figures_leave_warmups_and_failures_out(tmp_path):
    stored = compare(experiment(), tmp_path / "ab")
    file = tmp_path / "ab" / "runs" / "a-p0-0-warmup" / "run.json"
    slow = json.loads(file.read_text())
    slow["seconds"]["denoise"] = 1000.0
    file.write_text(json.dumps(slow))
    a, b = summarize(stored, results.read_runs(stored, warmups=True))
    assert (a.seconds["denoise"].max, a.seconds["denoise"].n) == (1.0, 2)
    assert (b.seconds["denoise"].median, b.seconds_per_step.median) == (1.5, 0.5)
    assert a.peak_memory["denoise"] == 2000 and a.model_bytes > 9_000_000


def test_a_kill_at_any_time_loses_nothing(tmp_path):
    made, folder, dice = experiment(("aurora", "ERROR"), seeds=(0, 1)), tmp_path / "ab", None
    plans, dice = Plans(made), random.Random(4)
    begun = time.perf_counter()
    compare(made, tmp_path / "whole", plans=plans)
    whole, kills = time.perf_counter() - begun, 0
    kept: dict[str, tuple[int, bytes]] = {}
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                compare(made, folder, plans=plans)
            finally:
                os._exit(0)
        time.sleep(dice.random() * whole / 4)
        os.kill(pid, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        now = finished(folder)
        for name, about in kept.items():
            assert now[name] == about, "what was finished is kept"
        kept = now
    assert kills >= 5
    stored = compare(made, folder, plans=plans)
    assert len(results.read_runs(stored, warmups=True)) == len(made.runs)
    assert all(finished(folder)[name] == about for name, about in kept.items())
    assert names(folder / "runs") == sorted(run.name for run in made.runs), "nothing is left over"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def finished(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (folder / "runs").glob("[a-z]*/run.json")
    return {file.parent.name: (file.stat().st_ino, file.read_bytes()) for file in files}


def test_another_comparison_does_not_mix_in(tmp_path):
    folder = tmp_path / "ab"
    compare(experiment(), folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(UsageError, match=r"another comparison: variants\.b\.label"):
        compare(experiment(variants=("steps=2", "steps=4")), folder)
    with pytest.raises(UsageError, match="prompts is"):
        compare(experiment(("aurora",)), folder)
    with pytest.raises(UsageError, match=r"prompts\[1\].text is waves there and sea here"):
        compare(experiment(("aurora", "sea")), folder)
    assert sorted(folder.rglob("*")) == before


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"diary\.txt"):
        compare(experiment(), tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        compare(experiment(), tmp_path / "diary.txt")
    assert names(tmp_path) == ["diary.txt"]


def test_one_process_at_a_time(tmp_path):
    folder = tmp_path / "ab"
    with locked(folder), pytest.raises(MlxWanError, match="another process"):
        compare(experiment(), folder)
    assert not (folder / "experiment.json").exists()
    compare(experiment(), folder)


def test_a_full_disk_ends_it_and_blames_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_disk_is_full", lambda work: True)
    with pytest.raises(MlxWanError, match="is full"):
        compare(experiment(("aurora", "ERROR")), tmp_path / "ab")
    monkeypatch.undo()
    stored = compare(experiment(("aurora", "ERROR")), tmp_path / "ab")
    assert len(results.read_runs(stored)) == 4


def test_the_real_child_dies_with_its_parent(tmp_path):
    made = experiment(variants=("steps=1000,shift=1", "steps=2"))
    plan = Plans(made)[made.runs[0]]
    (tmp_path / "job.json").write_text(json.dumps(plan.to_dict()))
    child = subprocess.Popen([*runner.CHILD, str(tmp_path)], stdin=subprocess.PIPE)
    time.sleep(0.2)
    child.stdin.close()
    assert child.wait(60) == 1
    assert not (tmp_path / "result.json").exists()


def test_a_kill_before_the_first_run_leaves_a_folder_to_go_on_with(tmp_path):
    folder = tmp_path / "ab"
    folder.mkdir()
    (folder / ".experiment.json.123.partial").write_text("{")  # as of a process that was killed
    (folder / ".lock").touch()
    compare(experiment(), folder)
    assert names(folder) == [".lock", "experiment.json", "runs"]

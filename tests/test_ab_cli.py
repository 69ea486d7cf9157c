"""`mlx-wan bench` from the outside: what it prints, refuses and leaves behind."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_wan import registry
from mlx_wan.bench.ab import kernels, measuring, results, speed
from mlx_wan.bench.ab.compare import compare
from mlx_wan.bench.ab.experiment import Experiment
from mlx_wan.bench.ab.prompts import Prompt
from mlx_wan.bench.ab.runner import run_plan
from mlx_wan.bench.ab.variants import build_variants
from mlx_wan.bench.metrics import clip_score
from mlx_wan.cli.main import run
from mlx_wan.loading import embedded_model

CHILD = (sys.executable, "-S", str(Path(__file__).with_name("ab_child.py")))
SMALL = ["--num-prompts", "1", "--seeds", "0"]


def test_a_dry_run_tells_all_and_makes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "bench ab wan-mini --matrix steps=4,20 solver=unipc,euler --dry-run"
    assert run(shlex.split(words)) == 0
    told = capsys.readouterr().out
    assert "wan-mini:steps=20,solver=euler" in told and "24 (8 high, 8 low, 8 medium)" in told
    assert run([*shlex.split(words), "--json", "--quality", "low"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == 4 * (1 + 24 * 2) and list(told["variants"]) == list("abcd")
    assert told["plan_differences"]["steps"] == [4, 4, 20, 20]
    assert not list(tmp_path.iterdir())


def test_what_all_share_comes_from_flags(capsys):
    words = "bench ab wan-mini wan-mini:steps=2 --steps 5 --guidance-scale high_noise=2 --dry-run"
    assert run([*shlex.split(words), "--width", "80", "--height", "48", "--json"]) == 0
    a, b = json.loads(capsys.readouterr().out)["variants"].values()
    assert (a["settings"]["steps"], b["settings"]["steps"]) == (5, 2)
    assert (a["settings"]["width"], b["settings"]["height"]) == (80, 48)
    assert a["settings"]["high_noise.guidance_scale"] == 2.0
    assert a["settings"]["low_noise.guidance_scale"] == 4.0


def test_a_real_comparison(tmp_path, monkeypatch, capsys):
    """Videos, figures, quality and page, and nothing is made twice."""
    recorded = []
    monkeypatch.setattr(registry, "record_ab_report", recorded.append, raising=False)
    monkeypatch.setattr(clip_score, "_scorer", lambda: (None, "torch takes seconds to import"))
    folder = tmp_path / "ab"
    words = ["bench", "ab", "wan-mini:steps=1", "wan-mini:steps=3", *SMALL, "--report", str(folder)]
    assert run([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert "4 of 4" in err and "warm-up" in err
    assert told["verdict"] == told["report"]["verdict"]
    assert [one["done"] for one in told["variants"]] == [1, 1]
    stored = results.read_experiment(folder)
    a, b = sorted(results.read_runs(stored), key=lambda one: one.run.variant)
    for one, steps in ((a, 1), (b, 3)):
        assert one.error is None and len(one.step_seconds) == steps and one.health == "ok"
        assert set(one.seconds) == set(results.STAGES) and min(one.seconds.values()) > 0
        assert set(one.peak_memory) == {"encode", "denoise", "decode"}
        assert one.bytes_on_disk == one.video.stat().st_size
        assert one.gates["not_black"] and one.metrics["sharpness"] > 0
    assert a.metrics["psnr"] is None and b.metrics["psnr"] > 0, "a is the reference"
    assert a.metrics["latent_cosine"] is None and 0 < b.metrics["latent_cosine"] < 1
    assert a.seconds_per_step is None and b.seconds_per_step > 0, "first steps are not counted"
    assert a.hashes["latents"] != b.hashes["latents"]
    warm = [one for one in results.read_runs(stored, warmups=True) if one.run.warmup]
    assert {one.hashes["frames"] for one in warm} == {a.hashes["frames"], b.hashes["frames"]}
    assert not any(one.metrics for one in warm)
    latents = np.load(a.latents)
    assert latents.dtype == np.float32 and latents.shape == (1, 5, 8, 8, 16)
    assert (folder / "report.html").stat().st_size > 1000

    before = (a.folder / "run.json").stat().st_mtime_ns
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert "1 of 4" not in err and "measured" not in err
    assert told["verdict"] in out and "wan-mini:steps=3" in out
    assert (a.folder / "run.json").stat().st_mtime_ns == before
    assert not recorded, "they are settings of one model, no evidence between two"


def test_evidence_between_two_models_is_recorded(tmp_path, monkeypatch, capsys):
    recorded, folder = [], tmp_path / "ab"
    monkeypatch.setattr(registry, "record_ab_report", recorded.append, raising=False)
    monkeypatch.setattr(measuring, "measure_runs", lambda experiment, **more: 0)
    monkeypatch.setattr("mlx_wan.bench.report.write_report", lambda folder: {"verdict": "PASS"})
    other = tmp_path / "other"
    shutil.copytree(embedded_model(), other)
    config = json.loads((other / "config.json").read_text())
    one, two = (config["components"][name] for name in ("high_noise", "low_noise"))
    one["files"], two["files"] = two["files"], one["files"]
    (other / "config.json").write_text(json.dumps(config))
    built = tuple(build_variants(["wan-mini", str(other)]))
    made = Experiment(built, (Prompt("p", "sea", "low"),), (0,))
    compare(made, folder, child=CHILD)
    assert run(["bench", "report", str(folder)]) == 0
    assert recorded == [{"verdict": "PASS"}] and "verdict  PASS" in capsys.readouterr().out
    stored = results.read_experiment(folder)
    for setting, counts in (("steps", False), ("guidance_scale.low_noise", False), ("width", True)):
        other = replace(stored, data=stored.data | {"common": {setting: 2}})
        assert results.both_are_models(other) == counts, "for both, but not their own"


def test_a_variant_of_which_nothing_was_finished_is_an_error(tmp_path, capsys):
    built = tuple(build_variants(["wan-mini:steps=1", "wan-mini:steps=2"]))
    made = Experiment(built, (Prompt("p", "EXIT", "low"),), (0,))
    compare(made, tmp_path / "ab", child=CHILD)
    assert run(["bench", "report", str(tmp_path / "ab")]) == 1
    out, err = capsys.readouterr()
    assert "no run of wan-mini:steps=1 was finished: exit code 3" in err
    assert run(["bench", "report", str(tmp_path / "ab"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert "verdict" in out and (tmp_path / "ab" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("ab", 2, "Missing argument"),
        ("ab wan-mini", 2, "only one variant"),
        ("ab a b c", 2, "3 variants"),
        ("ab wan-mini nope", 1, "there is no model 'nope'"),
        ("ab wan-mini wan-mini:quant=8", 1, "--quantize 8"),
        ("ab wan-mini --matrix steps=4,20 quant=8,16 cache=off,easy", 2, "not built yet"),
        ("ab wan-mini wan-mini --seeds 0,x", 2, "seeds is '0,x'"),
        ("ab wan-mini wan-mini --seeds 0,0", 2, "different whole numbers"),
        ("ab wan-mini wan-mini --num-prompts 25", 2, "1 to 24"),
        ("ab wan-mini wan-mini --prompts nowhere.txt", 2, "nowhere.txt"),
        ("ab wan-mini wan-mini --quality best", 2, "auto, high"),
        ("ab wan-mini wan-mini --timeout nan", 2, "timeout"),
        ("ab wan-mini wan-mini --memory-limit 0.001", 1, "variant wan-mini: "),
        ("report nowhere", 2, "no A/B comparison"),
        ("vote nowhere", 2, "no A/B comparison"),
        ("kernels --only fft", 2, "matmul, attention"),
        ("kernels --size huge", 2, "small, real"),
        ("speed --runs 0", 2, "1 to 1000"),
    ],
)
def test_mistakes_are_told_in_one_line(words, code, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["bench", *shlex.split(words)]) == code
    out, err = capsys.readouterr()
    assert told in err and not out
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_ctrl_c_leaves_a_folder_to_go_on_with(tmp_path):
    folder = tmp_path / "ab"
    words = ["ab", "wan-mini:steps=1000,shift=1", "wan-mini:steps=2", *SMALL, "--report", folder]
    command = [Path(sys.executable).with_name("mlx-wan"), "bench", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(folder.glob("runs/.a-*/child.log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "goes on where it stopped" in told
    assert "Traceback" not in told
    assert (folder / "experiment.json").is_file()
    assert not list((folder / "runs").iterdir()), "no half run, and no child goes on"


def test_kernels_are_timed(capsys):
    assert run(["bench", "kernels", "--runs", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["kernel"] for row in told["kernels"]] == list(kernels.KERNELS)
    for row in told["kernels"]:
        assert 0 < row["seconds"]["min"] <= row["seconds"]["median"] <= row["seconds"]["max"]
        assert row["seconds"]["n"] == 2 and row["gflops"] > 0 and row["gbytes_per_second"] > 0
    assert told["machine"]["cores"] and told["versions"]["mlx"] and "commit" in told
    assert run(["bench", "kernels", "--only", "norm", "--runs", "1"]) == 0
    assert "norm" in capsys.readouterr().out


def test_operations_are_counted_right():
    assert kernels.matmul(3, 5).flops == 2 * 3 * 5 * 5
    assert kernels.self_attention(2, 3, 5, 64).flops == 2 * 2 * (2 * 3 * 5 * 64)
    assert kernels.conv3d(2, 4, 6, 8).flops == 2 * (2 * 4 * 6) * 27 * 8 * 8
    assert kernels.conv3d(2, 4, 6, 8).run().shape == (1, 2, 4, 6, 8)
    assert kernels.rotary(16, 256).run().shape == (1, 16, 256)


def test_speed_is_a_figure_of_several_runs(monkeypatch, capsys):
    monkeypatch.setattr(speed, "run_plan", lambda *given: run_plan(*given[:3], CHILD))
    words = "bench speed --model wan-mini --steps 3 --runs 2"
    assert run([*shlex.split(words), "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert "warm-up" in err and "run 2 of 2" in err
    assert told["seconds"]["denoise"] == {"median": 1.5, "min": 1.5, "max": 1.5, "n": 2}
    assert told["seconds"]["total"]["median"] == pytest.approx(1.9)
    assert told["same_latents"] and told["plan"]["steps"] == 3
    assert told["teraflops"] == pytest.approx(told["plan"]["flops"] / 1.5 / 1e12)
    assert {"machine", "versions", "commit", "peak_memory"} <= told.keys()
    kept = registry.read_registry().models["wan-mini"]["benchmarks"][0]
    assert kept["seconds_per_step"] == told["seconds_per_step"]["median"]
    assert (kept["steps"], kept["width"]) == (3, told["plan"]["width"]) and kept["machine"]["chip"]
    registry.registry_file().write_text("?")
    assert run(shlex.split(words)) == 0
    out, err = capsys.readouterr()
    assert "denoise" in out and "not kept" in err
    assert run(["bench", "speed", "CRASH", "--model", "wan-mini", "--steps", "3"]) == 1
    assert "killed by SIGKILL" in capsys.readouterr().err

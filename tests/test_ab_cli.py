"""`mlx-wan bench` from the outside: what it prints, refuses and leaves behind."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_wan.bench.ab import kernels, speed
from mlx_wan.bench.ab.runner import run_plan
from mlx_wan.cli.main import run

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
    assert run(shlex.split(words)) == 0
    assert "denoise" in capsys.readouterr().out
    assert run(["bench", "speed", "CRASH", "--model", "wan-mini", "--steps", "3"]) == 1
    assert "killed by SIGKILL" in capsys.readouterr().err

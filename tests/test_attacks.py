"""Hostile surroundings: edited config.json files, odd names, closed streams, signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlx_wan.cli.main import run

SMALL = ["--width", "32", "--height", "32", "--num-frames", "5", "--steps", "2"]
COMMAND = [sys.executable, "-c", "from mlx_wan.cli.main import main; main()"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def copy(here, tiny_models) -> Path:
    """A converted model that may be damaged."""
    return Path(shutil.copytree(tiny_models["t2v"], here / "copy"))


def refused(arguments, capsys) -> str:
    """The one error line of a command that fails and leaves nothing behind."""
    before = sorted(Path.cwd().rglob("*"))
    code = run(arguments)
    err = capsys.readouterr().err
    lines = err[err.index("error: ") :].splitlines()
    assert code in (1, 2), err
    assert len(lines) <= 2 and all(line.startswith("hint: ") for line in lines[1:]), err
    assert "a mistake of mlx-wan" not in err and lines[0].isprintable(), err
    assert sorted(Path.cwd().rglob("*")) == before
    return lines[0]


WRONG = (None, True, 0, -1, 1.5, 10**9, float("nan"), "x", "\x1b[31m\n", [], [[1]], {"a": 1})
SETTINGS = [
    ("model",),
    ("files",),
    ("components",),
    ("components", "high_noise"),
    ("components", "high_noise", "network"),
    ("components", "high_noise", "config"),
    ("components", "high_noise", "config", "dim"),
    ("components", "high_noise", "config", "num_heads"),
    ("components", "high_noise", "config", "num_layers"),
    ("components", "high_noise", "config", "patch_size"),
    ("components", "high_noise", "config", "eps"),
    ("components", "high_noise", "dtype"),
    ("components", "high_noise", "files"),
    ("components", "text_encoder", "config", "eps"),
    ("components", "text_encoder", "config", "vocab_size"),
    ("components", "vae", "config", "dim_mult"),
    ("components", "vae", "config", "latents_std"),
]


@pytest.mark.parametrize("path", SETTINGS, ids="/".join)
def test_every_value_of_config_json_is_checked(path, copy, capsys):
    file = copy / "config.json"
    whole = file.read_text()
    for value in WRONG:
        config = json.loads(whole)
        table = config
        for name in path[:-1]:
            table = table[name]
        table[path[-1]] = value
        file.write_text(json.dumps(config))
        refused(["plan", "a", "--model", str(copy), *SMALL], capsys)


@pytest.mark.parametrize(
    "quantization", [True, 8, {}, {"bits": 8}, {"bits": 5, "group_size": 64}, {"bits": 8.0}]
)
def test_quantization_is_checked(quantization, copy, capsys):
    config = json.loads((copy / "config.json").read_text())
    config["components"]["vae"]["quantization"] = quantization
    (copy / "config.json").write_text(json.dumps(config))
    assert "quantization" in refused(["plan", "a", "--model", str(copy), *SMALL], capsys)


@pytest.mark.parametrize(
    ("component", "settings", "told"),
    [
        ("high_noise", {"num_heads": 3}, "heads"),
        ("high_noise", {"text_dim": 32}, "text"),
        ("high_noise", {"in_dim": 36}, "36 channels"),
        ("high_noise", {"freq_dim": 5}, "freq_dim"),
        ("low_noise", {"text_len": 8}, "first expert"),
        ("vae", {"z_dim": 8, "latents_mean": [0] * 8, "latents_std": [1] * 8}, "its VAE has 8"),
    ],
)
def test_components_must_fit_each_other(component, settings, told, copy, capsys):
    config = json.loads((copy / "config.json").read_text())
    config["components"][component]["config"] |= settings
    (copy / "config.json").write_text(json.dumps(config))
    assert told in refused(["plan", "a", "--model", str(copy), *SMALL], capsys)


def test_a_component_is_what_its_name_says(copy, capsys):
    config = json.loads((copy / "config.json").read_text())
    config["components"]["vae"] = config["components"]["text_encoder"]
    (copy / "config.json").write_text(json.dumps(config))
    assert "as vae" in refused(["plan", "a", "--model", str(copy), *SMALL], capsys)


@pytest.mark.parametrize("dtype", ["F64", "I32", "U32"])
def test_weights_are_floats(dtype, copy, capsys):
    from mlx_wan.tensorfile import read_header

    file = copy / "text_encoder/model-00001-of-00001.safetensors"
    shapes = {name: info.shape for name, info in read_header(file).items()}
    size = {"F64": 8}.get(dtype, 4)
    header, position = {}, 0
    for name, shape in shapes.items():
        end = position + int(np.prod(shape)) * size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(position))
    config = json.loads((copy / "config.json").read_text())
    name = file.relative_to(copy).as_posix()
    config["files"][name]["size"] = file.stat().st_size
    (copy / "config.json").write_text(json.dumps(config))
    refused(["generate", "a", "--model", str(copy), *SMALL], capsys)


@pytest.mark.parametrize(
    "name", ["file:x.mp4", "~nobody-known/x.mp4", "%d.mp4", "http://[x]/y.mp4"]
)
def test_odd_names_are_just_names(name, here, tiny_models):
    assert run(["generate", "a", "--model", tiny_models["t2v"], *SMALL, "-o", name]) == 0
    made = here / name
    assert made.is_file() and made.with_suffix(".json").is_file()
    assert not list(here.rglob(".*"))


@pytest.mark.parametrize(
    "name", ["x" * 252 + ".mp4", "file/x.mp4", "/dev/null/x.mp4", "/proc/x.mp4"]
)
def test_a_name_that_cannot_be_written_is_refused_before_the_work(
    name, here, tiny_models, capsys, monkeypatch
):
    from mlx_wan import run as engine

    monkeypatch.setattr(engine, "generate", lambda *_, **__: pytest.fail("work began"))
    (here / "file").touch()
    refused(["generate", "a", "--model", tiny_models["t2v"], *SMALL, "-o", name], capsys)


def test_one_guidance_scale_for_an_expert(here, tiny_models, capsys):
    twice = ["--guidance-scale", "high_noise=1,high_noise=2"]
    refused(["plan", "a", "--model", tiny_models["t2v"], *twice], capsys)


@pytest.mark.parametrize("name", ["width", "notes", "experts", "seed", "tokens", "model", "memory"])
def test_every_value_of_a_recorded_plan_is_checked(name, here, tiny_models, capsys):
    assert run(["plan", "a", "--model", tiny_models["t2v"], *SMALL, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    for value in (None, True, 1.5, [1], [[1]], [{}], [{"a": 1}], float("nan")):
        record = {"format": "mlx-wan-record", "version": 1, "plan": plan | {name: value}}
        (here / "record.json").write_text(json.dumps(record))
        refused(["plan", "--config", "record.json"], capsys)


def test_a_number_that_no_float_holds_is_refused(here, tiny_models, capsys):
    assert run(["plan", "a", "--model", tiny_models["t2v"], *SMALL, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"] | {"shift": 10**400}
    record = {"format": "mlx-wan-record", "version": 1, "plan": plan}
    (here / "record.json").write_text(json.dumps(record))
    assert "shift" in refused(["plan", "--config", "record.json"], capsys)


def test_a_last_image_without_end_is_refused(here, tiny_models, capsys):
    Image.new("RGB", (48, 32), (200, 80, 40)).save("fox.png")
    images = ["--image", "fox.png", "--last-image", "/dev/zero"]
    told = refused(["plan", "a", "--model", tiny_models["i2v"], *SMALL, *images], capsys)
    assert "not a file" in told


def test_help_without_a_command_is_no_error(capsys):
    assert run([]) == 2
    assert "error" not in capsys.readouterr().err


def start(arguments, **kwargs) -> "subprocess.Popen[str]":
    def listen() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, preexec_fn=listen, **kwargs
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_run_cleanly(number, here, tiny_models):
    long = ["--width", "64", "--height", "64", "--num-frames", "81", "--steps", "2"]
    process = start(["generate", "a", "--model", tiny_models["t2v"], *long, "-o", "x.mp4"])
    deadline = time.monotonic() + 60
    while not list(here.glob(f"..x.*.{process.pid}.partial")):  # the video is being written
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.rstrip().endswith("error: interrupted") and "Traceback" not in err
    assert not list(here.iterdir())


def test_closed_streams_do_not_harm_the_video(here, tiny_models):
    arguments = ["generate", "a", "--model", tiny_models["t2v"], *SMALL, "-o", "x.mp4"]
    closing = "import os; [os.close(n) for n in (0, 1, 2)]; os.execv(*__import__('ast')"
    closing += f".literal_eval({(sys.executable, [*COMMAND, *arguments])!r}.__repr__()))"
    assert subprocess.run([sys.executable, "-c", closing]).returncode == 0
    assert (here / "x.mp4").read_bytes()[4:8] == b"ftyp"


def test_nobody_reads_the_output(here, tiny_models):
    reading, writing = os.pipe()
    os.close(reading)
    process = start(["plan", "a", "--model", tiny_models["t2v"], *SMALL], stdout=writing)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and not err


def test_letters_a_terminal_lacks_are_spelled_out(here, tiny_models):
    done = subprocess.run(
        [*COMMAND, "plan", "ein schöner 😀 Fuchs", "--model", tiny_models["t2v"], *SMALL],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert done.returncode == 0 and b"sch\\xf6ner \\U0001f600" in done.stdout


def test_a_prompt_without_end_is_refused(here, tiny_models):
    with Path("/dev/zero").open() as zeros:
        process = start(["plan", "-", "--model", tiny_models["t2v"]], stdin=zeros)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and err.startswith("error: prompt")

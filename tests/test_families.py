"""Mochi and HunyuanVideo as a person uses them, by command line, on tiny random networks: what the
studio makes of them, and from the authors' checkpoint to a comparison."""

import json
from dataclasses import replace
from pathlib import Path

import av
import checkpoints_hunyuan
import checkpoints_mochi
import numpy as np
import pytest
import tiny_hunyuan_text
import tiny_mochi
from PIL import Image

from mlx_wan import library
from mlx_wan.cli.main import run
from mlx_wan.loading import open_model
from mlx_wan.presets import PRESETS
from mlx_wan.studio.formats import FORMATS, Box, Format
from mlx_wan.studio.profiles import PROFILES
from mlx_wan.studio.shots import clip_lengths, render_size

SQUARE = Format("square", "Tiny Square", 320, 320, 12, Box(16, 16, 304, 288))
HUNYUAN, IMAGE = "hunyuanvideo-1.5-480p-t2v", "hunyuanvideo-1.5-480p-i2v"
MEAN_FLOW = f"{IMAGE}-step-distilled"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("families")
    made = {name: tiny_mochi.model(folder / name, name) for name in ("mochi-1", "fastmochi")}
    return made | {
        name: tiny_hunyuan_text.model(folder / name, name) for name in (HUNYUAN, IMAGE, MEAN_FLOW)
    }


@pytest.fixture
def small(monkeypatch) -> None:
    """A small format, and models that were made for small sizes and short clips."""
    monkeypatch.setitem(FORMATS, "square", SQUARE)
    for name in ("mochi-1", HUNYUAN, IMAGE):
        made_for = replace(PRESETS[name], sizes=((80, 48), (48, 80), (64, 64)), num_frames=25)
        monkeypatch.setitem(PRESETS, name, made_for)


@pytest.fixture
def picture(tmp_path) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "first.png")
    return str(tmp_path / "first.png")


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


# what the studio asks of them


@pytest.mark.parametrize(
    ("model", "quality", "shape", "size", "steps"),
    [
        (HUNYUAN, "high", (1920, 1080), (848, 480), 30),
        (HUNYUAN, "medium", (1080, 1920), (480, 848), 20),
        (HUNYUAN, "low", (1080, 1080), (640, 640), 15),
        (MEAN_FLOW, "high", (1080, 1080), (640, 640), 12),  # it was made for no more
        ("mochi-1", "high", (1920, 1080), (848, 480), 30),
        ("mochi-1", "low", (1080, 1920), (480, 848), 15),
        ("mochi-1", "medium", (1080, 1080), (640, 640), 20),
        ("fastmochi", "high", (1920, 1080), (848, 480), 8),
    ],
)
def test_densities_stay_within_what_a_model_was_made_for(
    models, picture, capsys, model, quality, shape, size, steps
):
    folder = open_model(models[model])
    assert render_size(folder, shape, PROFILES[quality].area) == size
    name = next(f.name for f in FORMATS.values() if (f.width, f.height) == shape)
    words = ["plan", "waves", "--model", models[model], "--format", name, "--quality", quality]
    words += ["--image", picture] if model == MEAN_FLOW else []
    assert run([*words, "--duration", "5", "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    assert (plan["width"], plan["height"], plan["steps"]) == (*size, steps)


def test_clips_are_as_long_as_a_model_makes_them(models):
    """5 s at the model's own rate, in its own kind of lengths; longer ones are of several clips."""
    mochi, hunyuan, image = (open_model(models[n]) for n in ("mochi-1", HUNYUAN, IMAGE))
    assert clip_lengths(mochi, 5.0) == [151] and clip_lengths(hunyuan, 5.0) == [121]
    assert clip_lengths(mochi, 10.0) == [163, 163] and clip_lengths(image, 10.0) == [121, 121]
    for folder, stride in ((mochi, 6), (hunyuan, 4), (image, 4)):
        for seconds in (0.5, 1.0, 3.3, 7.7, 12.0):
            lengths = clip_lengths(folder, seconds)
            assert all(n % stride == 1 and n <= folder.preset.num_frames for n in lengths)
            assert sum(lengths) >= seconds * folder.preset.fps


@pytest.mark.parametrize("model", ["mochi-1", HUNYUAN, IMAGE])
def test_a_finished_video(small, models, picture, tmp_path, capsys, model):
    """Rendered at the model's rate and size, delivered at the format's, with words over it; clips
    are joined, or continue each other where the model takes an image."""
    words = ["linkedin", "Skills pay", "--model", models[model], "--duration", "1.5"]
    words += ["--image", picture] if model == IMAGE else []
    words += ["--steps", "2", "--quality", "low", "--seed", "1", "--json"]
    assert run([*words, "-o", str(tmp_path / "made.mp4")]) == 0
    record = json.loads(capsys.readouterr().out)["record"]
    frames = frames_of(tmp_path / "made.mp4")
    assert frames.shape == (18, 320, 320, 3) and frames.std() > 5
    plan = record["plans"][0]
    assert (plan["width"], plan["height"], plan["fps"]) == (64, 64, PRESETS[model].fps)
    assert record["storyboard"]["texts"][0]["text"] == "Skills pay"
    assert len(record["plans"]) > 1, "of several clips"
    if model == IMAGE:
        assert record["production"]["first_frames"] == [["image", "previous"]]
    again = ["generate", "--from-record", str(tmp_path / "made.json"), "--json"]
    assert run([*again, "-o", str(tmp_path / "again.mp4")]) == 0
    made = json.loads(capsys.readouterr().out)["record"]
    assert made["sha256"]["frames"] == record["sha256"]["frames"]


def test_a_batch_of_both_families(small, models, picture, tmp_path, capsys):
    items = [
        {"kind": "generate", "prompt": "waves", "model": models["mochi-1"], "num_frames": 7},
        {"kind": "generate", "prompt": 'a "sign"', "model": models[IMAGE], "image": picture},
    ]
    sizes = {"width": 48, "height": 32, "steps": 2, "seed": 1}
    items[1]["num_frames"] = 5
    (tmp_path / "both.json").write_text(json.dumps([item | sizes for item in items]))
    assert run(["batch", str(tmp_path / "both.json")]) == 0, capsys.readouterr().err
    made = sorted(path.name for path in library.stage_folder("raw").glob("*.mp4"))
    assert len(made) == 2


@pytest.mark.parametrize("model", ["mochi-1", HUNYUAN])
def test_prompts_in_any_writing(models, tmp_path, model):
    for number, prompt in enumerate(
        ["غروب الشمس", "缓慢的海浪 “你好”", "🌊 waves 👩‍👩‍👧", '"', '""', "slow waves " * 300]
    ):
        words = ["generate", prompt, "--model", models[model], "--steps", "2", "--seed", "1"]
        words += ["--width", "32", "--height", "32", "--num-frames", "13"]
        assert run([*words, "-o", str(tmp_path / f"{number}.mp4")]) == 0, prompt


def test_what_has_no_room_is_refused_with_what_fits(models, capsys):
    for model in ("mochi-1", HUNYUAN):
        words = ["plan", "x", "--model", models[model], "--memory-limit"]
        assert run([*words, "0.3"]) == 1
        told = capsys.readouterr().err
        assert "needs" in told and "--width" in told
        size = told.split("--width ")[1].replace("--height", "").replace(",", "").split()[:2]
        assert run([*words, "0.3", "--width", size[0], "--height", size[1]]) == 0


def test_a_tokenizer_has_no_precision(models):
    for name in ("mochi-1", HUNYUAN):
        folder = open_model(models[name])
        weights = {n: replace(c, dtype="bfloat16") for n, c in folder.components.items()}
        weights["tokenizer"] = folder["tokenizer"]
        assert replace(folder, components=weights).precision == "bfloat16"


# from the authors' checkpoint to a comparison


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mochi", "hunyuan"])
def test_from_a_checkpoint_to_a_comparison(family, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    {"mochi": checkpoints_mochi, "hunyuan": checkpoints_hunyuan}[family].build(tmp_path / "source")
    home = tmp_path / "home"
    monkeypatch.setenv("MLX_WAN_HOME", str(home))
    assert run(["convert", "source", str(home / "models" / "tiny")]) == 0
    size = ["--width", "64", "--height", "64", "--num-frames", "13", "--steps", "2"]
    capsys.readouterr()
    licence = {"mochi": "Apache-2.0", "hunyuan": "Tencent Hunyuan Community License"}[family]
    assert run(["models", "show", "tiny"]) == 0
    assert licence in capsys.readouterr().out, "under whatever name"

    words = ["generate", 'a sign "OPEN"', "--model", "tiny", "--seed", "1", "--json"]
    assert run([*words, *size]) == 0
    told = json.loads(capsys.readouterr().out)
    assert frames_of(Path(told["path"])).shape == (13, 64, 64, 3)
    assert told["record"]["plan"]["model"] == {"mochi": "mochi-1", "hunyuan": HUNYUAN}[family]

    words = ["bench", "ab", "tiny", "wan-mini", "--num-prompts", "2", "--seeds", "0", *size]
    assert run([*words, "--report", "report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["done"] for one in told["variants"]] == [2, 2]
    assert told["verdict"] == "NOT ENOUGH EVIDENCE"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "wan-mini" in page and "tiny" in page and page.count("data:video/mp4") == 4

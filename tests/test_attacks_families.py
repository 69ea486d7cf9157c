"""Damaged and edited models of Mochi and HunyuanVideo: one line with the reason, exit code 1."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_hunyuan_text
import tiny_mochi
from PIL import Image

from mlx_wan.bench.networks_hunyuan_text import byte_bpe
from mlx_wan.bench.synthetic import spiece_model
from mlx_wan.cli.main import run

COMPONENTS = {
    "mochi-1": ("transformer", "text_encoder", "vae", "tokenizer"),
    "hunyuanvideo-1.5-480p-i2v": (
        *("transformer", "text_encoder", "text_encoder_2", "image_encoder", "vae", "tokenizer"),
    ),
}
PARTS = [(model, part) for model, parts in COMPONENTS.items() for part in parts]
Change = Callable[[Path], Any]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("families")
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "first.png")
    return {
        "mochi-1": tiny_mochi.model(folder / "mochi"),
        "hunyuanvideo-1.5-480p-i2v": tiny_hunyuan_text.model(
            folder / "hunyuan", "hunyuanvideo-1.5-480p-i2v"
        ),
    }


def said(models: dict[str, str], model: str, tmp_path: Path, capsys, change: Change) -> str:
    """What `generate` says of a model so changed, which it must refuse in one line and a hint."""
    folder = shutil.copytree(models[model], tmp_path / "damaged")
    change(folder)
    words = ["generate", 'a "sign"', "--model", str(folder), "-o", str(tmp_path / "no.mp4")]
    words += ["--width", "48", "--height", "32", "--num-frames", "13", "--steps", "2"]
    if model.endswith("i2v"):
        words += ["--image", str(Path(models[model]).parent / "first.png")]
    assert run(words) == 1
    told = capsys.readouterr().err
    assert not list(tmp_path.glob("no*"))
    lines = [line for line in told.splitlines() if line.startswith(("error:", "hint:"))]
    assert [line.split(":")[0] for line in lines] in (["error", "hint"], ["error"]), told
    assert len(lines[0]) < 900
    return lines[0]


def config(edit: Callable[[dict[str, Any]], Any]) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        edit(content)
        (folder / "config.json").write_text(json.dumps(content))

    return change


def replaced(file: str, content: bytes) -> Change:
    """Another file, of the size that config.json tells."""

    def change(folder: Path) -> None:
        (folder / file).write_bytes(content)
        config(lambda c: c["files"][file].update(size=len(content)))(folder)

    return change


def first_file(folder: Path, part: str) -> Path:
    return next(path for path in sorted((folder / part).iterdir()))


@pytest.mark.parametrize(("model", "part"), PARTS)
def test_a_part_that_is_not_there(models, tmp_path, capsys, model, part):
    told = said(models, model, tmp_path, capsys, lambda folder: shutil.rmtree(folder / part))
    assert part in told and "missing" in told
    shutil.rmtree(tmp_path / "damaged")
    told = said(models, model, tmp_path, capsys, config(lambda c: c["components"].pop(part)))
    assert f"lacks {part}" in told


@pytest.mark.parametrize(("model", "part"), PARTS)
def test_a_part_that_is_another(models, tmp_path, capsys, model, part):
    edit = config(lambda c: c["components"][part].update(network="umt5"))
    assert part in said(models, model, tmp_path, capsys, edit)


@pytest.mark.parametrize(("model", "part"), PARTS)
@pytest.mark.parametrize("kind", ["pipe", "link", "empty", "folder"])
def test_a_file_that_is_none(models, tmp_path, capsys, model, part, kind):
    def change(folder: Path) -> None:
        file = first_file(folder, part)
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "link":
            file.symlink_to("/dev/zero")
        elif kind == "folder":
            file.mkdir()
        else:
            file.touch()

    assert part in said(models, model, tmp_path, capsys, change)


@pytest.mark.parametrize(("model", "part"), [pair for pair in PARTS if pair[1] != "tokenizer"])
@pytest.mark.parametrize("value", [0, -1, 10**9, 10**30, 1.5, True, None, "x", [], {}])
def test_settings_that_are_nonsense(models, tmp_path, capsys, model, part, value):
    """The first whole number of its settings; what may be a number is tested where it is read."""

    def edit(content: dict[str, Any]) -> None:
        settings = content["components"][part]["config"]
        name = next(n for n, v in settings.items() if type(v) is int)
        settings[name] = value

    assert part in said(models, model, tmp_path, capsys, config(edit)).replace("VAE", "vae")


def test_a_tokenizer_of_the_other_family(models, tmp_path, capsys):
    hunyuan = replaced("tokenizer/tokenizer.json", spiece_model())
    told = said(models, "hunyuanvideo-1.5-480p-i2v", tmp_path / "a", capsys, hunyuan)
    assert "tokenizer.json is not Qwen's tokenizer" in told
    mochi = replaced("tokenizer/spiece.model", byte_bpe().encode())
    told = said(models, "mochi-1", tmp_path / "b", capsys, mochi)
    assert "spiece.model is not a sentencepiece model" in told


def test_a_tokenizer_with_more_tokens_than_its_encoder(models, tmp_path, capsys):
    larger = replaced("tokenizer/tokenizer.json", byte_bpe(400).encode())
    told = said(models, "hunyuanvideo-1.5-480p-i2v", tmp_path, capsys, larger)
    assert "its text encoder knows 340" in told

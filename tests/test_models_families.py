"""From the repositories of the catalogue, under its very names, to converted models of each family.

The files are tiny ones of random numbers; sizes and hashes of the published ones are left out.
"""

import json
from dataclasses import replace
from pathlib import Path

import checkpoints_hunyuan
import checkpoints_mochi
import pytest
from hub_server import QUICK

from mlx_wan.bench.synthetic import write_safetensors, write_sharded
from mlx_wan.cli.main import run
from mlx_wan.home import models_folder
from mlx_wan.hub import transport
from mlx_wan.loading import open_model
from mlx_wan.registry import catalogue
from mlx_wan.registry.catalogue import SourceFile

pytest_plugins = ["hub_fixtures"]
TENCENT, QWEN = "tencent/HunyuanVideo-1.5", "Qwen/Qwen2.5-VL-7B-Instruct"
COMFY, GOOGLE = "Comfy-Org/HunyuanVideo_1.5_repackaged", "google/siglip-so400m-patch14-384"
GENMO, FAST = "genmo/mochi-1-preview", "FastVideo/FastMochi"


def hunyuan(folder: Path, version: str) -> dict[str, Path]:
    """Repository -> a folder with what it has."""
    original, comfy, qwen = folder / "o", folder / "c", folder / "q"
    checkpoints_hunyuan.build(original, version)
    checkpoints_hunyuan.build(comfy / "split_files", version, "comfyui")
    texts = checkpoints_hunyuan.foreign_of("text_encoder", "original", version)
    write_sharded(qwen, "model", texts, 5, "F32")
    for name in ("config.json", "tokenizer.json"):
        (original / "text_encoder" / "llm" / name).rename(qwen / name)
    siglip = original / "vision_encoder" / "siglip" / "image_encoder"
    return {TENCENT: original, QWEN: qwen, COMFY: comfy, GOOGLE: siglip}


def mochi(folder: Path, fast: bool) -> dict[str, Path]:
    stem = "diffusion_pytorch_model"
    own, original = folder / "d", folder / "o"
    checkpoints_mochi.build(own, "diffusers")
    foreign = checkpoints_mochi.foreign_of("diffusers")
    write_sharded(
        own / "transformer", f"{stem}.bf16", foreign["transformer"], 3, "F32", index=False
    )
    write_safetensors(own / "vae" / f"{stem}.bf16.safetensors", foreign["vae"])
    write_sharded(own / "text_encoder", "model", foreign["text_encoder"], 4, "F32")
    checkpoints_mochi.build(original)
    return {GENMO: own, FAST: original} if fast else {GENMO: own}


def publish(hub, monkeypatch, id: str, folders: dict[str, Path]) -> None:
    """Exactly the files the catalogue lists; one that nobody publishes would raise."""
    model = catalogue.known_models()[id]
    hub.repos = {
        source.repo: {
            file.path: (folders[source.repo] / file.path).read_bytes() for file in source.files
        }
        for source in model.sources
    }
    sources = tuple(
        replace(
            source,
            revision=source.revision and hub.commit(source.repo),
            files=tuple(SourceFile(file.path) for file in source.files),
        )
        for source in model.sources
    )
    tiny = replace(model, sources=sources, parameters=None)
    monkeypatch.setattr(catalogue, "known_models", lambda: {id: tiny})
    monkeypatch.setattr(transport, "PATIENCE", QUICK)


@pytest.mark.parametrize(
    "id",
    [
        "hunyuanvideo-1.5-480p-t2v",
        "hunyuanvideo-1.5-720p-i2v",
        "hunyuanvideo-1.5-480p-i2v-step-distilled",
        "mochi-1",
        "fastmochi",
    ],
)
def test_one_command_downloads_and_converts(hub, monkeypatch, capsys, tmp_path, id):
    if id.startswith("hunyuan"):
        version = id.removeprefix("hunyuanvideo-1.5-").replace("-", "_")
        folders = hunyuan(tmp_path, version)
    else:
        folders = mochi(tmp_path, fast=id == "fastmochi")
    publish(hub, monkeypatch, id, folders)
    assert run(["models", "download", id, "--convert"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{models_folder() / id}\n"
    assert ("European Union" in err) == id.startswith("hunyuan")
    opened = open_model(models_folder() / id)
    assert opened.preset.id == id
    assert set(opened.components) == set(opened.preset.components)
    source = json.loads((models_folder() / id / "config.json").read_text())["source"]
    others = [one.repo for one in catalogue.known_models()[id].sources[1:]]
    assert [text.split("@")[0] for text in source.get("besides", "").split()] == others
    assert run(["models", "verify", id]) == 0

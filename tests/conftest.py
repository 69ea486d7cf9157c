"""Tiny converted models, made once: random weights in the original layout, through `convert`."""

import pytest
from checkpoints import build

from mlx_wan.convert import convert


def pytest_ignore_collect(collection_path, config):
    """The live parity tests import torch, which is only there with the `reference` extra."""
    unselected = "not reference" in config.option.markexpr
    return True if unselected and collection_path.name == "reference" else None


KINDS = {"t2v": "wan2.2-t2v-a14b", "i2v": "wan2.2-i2v-a14b", "ti2v": "wan2.2-ti2v-5b"}


@pytest.fixture(autouse=True)
def library_folders(tmp_path_factory, monkeypatch):
    """Every test has an empty library and archive of its own; nothing reaches the person's."""
    base = tmp_path_factory.mktemp("library")
    for variable, name in (("MLX_WAN_LIBRARY", "videos"), ("MLX_WAN_ARCHIVE", "archive")):
        (base / name).mkdir()
        monkeypatch.setenv(variable, str(base / name))
    return base


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory) -> dict[str, str]:
    """Folders of converted models: "t2v", "i2v" (two experts each) and "ti2v"."""
    root = tmp_path_factory.mktemp("models")
    for kind, model in KINDS.items():
        build(root / f"{kind}-original", model)
        convert(root / f"{kind}-original", root / kind, dtype="fp32")
    return {kind: str(root / kind) for kind in KINDS}

"""Tiny converted models, made once: random weights in the original layout, through `convert`."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from checkpoints import build

from mlx_wan.convert import convert


def pytest_configure():
    """Under nohup signals are ignored, and the children we signal would inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def pytest_ignore_collect(collection_path, config):
    """The live parity tests import torch, which is only there with the `reference` extra."""
    marks = config.option.markexpr
    selected = "reference" in marks and "not reference" not in marks
    return True if not selected and collection_path.name == "reference" else None


KINDS = {"t2v": "wan2.2-t2v-a14b", "i2v": "wan2.2-i2v-a14b", "ti2v": "wan2.2-ti2v-5b"}


_MEMORY = Path("/dev/shm")  # a file system that waits for no disk, where there is one


@pytest.fixture(autouse=True)
def library_folders(monkeypatch):
    """Every test has an empty home, library and archive of its own, not the person's."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mlx-wan-test-", dir=memory) as name:
        base = Path(name).resolve()
        for variable, folder in (("MLX_WAN_LIBRARY", "videos"), ("MLX_WAN_ARCHIVE", "archive")):
            (base / folder).mkdir()
            monkeypatch.setenv(variable, str(base / folder))
        monkeypatch.setenv("MLX_WAN_HOME", str(base / "home"))
        yield base


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory) -> dict[str, str]:
    """Folders of converted models: "t2v", "i2v" (two experts each) and "ti2v"."""
    root = tmp_path_factory.mktemp("models")
    for kind, model in KINDS.items():
        build(root / f"{kind}-original", model)
        convert(root / f"{kind}-original", root / kind, dtype="fp32")
    return {kind: str(root / kind) for kind in KINDS}

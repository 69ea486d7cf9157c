"""Which models are named to somebody who wrote a name that is none."""

import pytest

from mlx_wan.errors import ModelError, UsageError
from mlx_wan.loading import find_model
from mlx_wan.presets import PRESETS
from mlx_wan.presets.near import near_models
from mlx_wan.registry.recording import find_known


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("mochi", "mochi-1"),
        ("Mochi_1", "mochi-1"),
        ("genmo/mochi-1-preview", "mochi-1"),
        ("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "wan2.2-t2v-a14b"),
        ("hunyuanvideo-1.5", "hunyuanvideo-1.5-480p-t2v"),
        ("hunyuanvideo-1.5-480p-t2v-distiled", "hunyuanvideo-1.5-480p-t2v-distilled"),
        ("wan2.2-t2v-a14", "wan2.2-t2v-a14b"),
    ],
)
def test_a_name_that_is_nearly_one(name, first):
    assert near_models(name)[0] == first
    assert len(near_models(name)) <= 3


@pytest.mark.parametrize("name", ["", "/", "..", "x", "elsewhere", "my-models/2026-11", "q" * 9999])
def test_a_name_that_is_like_none(name):
    assert near_models(name) == []


def test_every_id_is_nearest_to_itself():
    assert all(near_models(id.upper())[0] == id for id in PRESETS)


def test_the_hint(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path))
    with pytest.raises(ModelError) as told:
        find_model("mochi")
    assert "did you mean mochi-1?" in told.value.hint and "mlx-wan models" in told.value.hint
    with pytest.raises(ModelError) as told:
        find_model("elsewhere")
    assert "mean" not in told.value.hint and "mlx-wan models" in told.value.hint
    with pytest.raises(UsageError) as asked:
        find_known("mochi")
    assert "did you mean mochi-1?" in asked.value.hint

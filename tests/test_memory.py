"""Predicted memory of the real models, from their sizes alone (Metal, 16 bit)."""

from dataclasses import replace
from pathlib import Path

import pytest

import mlx_wan.memory as memory
from mlx_wan import cpu
from mlx_wan.errors import MemoryPlanError
from mlx_wan.loading import Component, ModelFolder
from mlx_wan.models import vae_wan_stream
from mlx_wan.presets import PRESETS
from mlx_wan.published import published_folder

GIB = 2**30
A14B = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}
UMT5 = {
    **{"vocab_size": 256384, "dim": 4096, "dim_attn": 4096, "dim_ffn": 10240},
    **{"num_heads": 64, "num_layers": 24},
}


def component(name: str, network: str, config: dict, nbytes: float, dtype: str) -> Component:
    return Component(name, network, config, dtype, None, (), int(nbytes))


@pytest.fixture
def a14b(monkeypatch) -> ModelFolder:
    for module in (memory, cpu, vae_wan_stream):
        monkeypatch.setattr(module, "is_cpu", lambda: False)
    transformer = {**A14B, "in_dim": 16, "out_dim": 16, "text_dim": 4096}
    parts = [
        component("high_noise", "wan_transformer", transformer, 14.29e9 * 2, "bfloat16"),
        component("low_noise", "wan_transformer", transformer, 14.29e9 * 2, "bfloat16"),
        component("text_encoder", "umt5", UMT5, 11.36e9, "bfloat16"),
        component("vae", "wan_vae21", {}, 0.508e9, "float32"),
        component("tokenizer", "sentencepiece", {}, 4.5e6, "none"),
    ]
    preset = PRESETS["wan2.2-t2v-a14b"]
    return ModelFolder(Path(), preset, {part.name: part for part in parts}, "")


def plan(folder: ModelFolder, available: float, size=(1280, 720, 81)) -> memory.MemoryPlan:
    names = ["high_noise", "low_noise"]
    return memory.predict(folder, *size, names, int(available * GIB), False)


def test_a14b_at_720p(a14b):
    told = plan(a14b, 48)
    assert not told.both_experts
    assert 30 < told.denoise / GIB < 40  # one expert is 26.6
    assert 1.9 < told.encode / GIB < 4  # the text encoder, 10.6, is never whole
    assert 8 < told.decode / GIB < 16
    assert plan(a14b, 96).both_experts


def test_memory_grows_with_the_video(a14b):
    sizes = [(832, 480, 41), (832, 480, 81), (1280, 720, 81)]
    amounts = [plan(a14b, 48, size).denoise for size in sizes]
    assert amounts == sorted(set(amounts))
    decode = [plan(a14b, 48, size).decode for size in sizes]
    assert decode[1] - decode[0] < 0.01 * decode[0] < decode[2] - decode[1]  # none with frames


def test_what_does_not_fit_is_refused_with_sizes_that_do(a14b):
    names = ["high_noise", "low_noise"]
    size = (1280, 720, 81)
    with pytest.raises(memory.MemoryPlanError) as error:
        memory.check_fits(plan(a14b, 34), a14b, *size, names, False)
    words = error.value.hint.replace(",", "").split()
    width, height = (int(words[words.index(flag) + 1]) for flag in ("--width", "--height"))
    frames = int(words[words.index("--num-frames") + 1])
    assert 832 <= width < 1280 and abs(width / height - 16 / 9) < 0.1
    assert 41 <= frames < 81
    memory.check_fits(plan(a14b, 34, (width, height, 81)), a14b, width, height, 81, names, False)
    with pytest.raises(memory.MemoryPlanError, match=r"GiB to denoise") as error:
        memory.check_fits(plan(a14b, 20), a14b, *size, names, False)
    assert "--quantize" in error.value.hint


def test_tables_of_all_steps_have_to_fit():
    """Mochi keeps 3.5 MB for each step and prompt."""
    folder, size, names = published_folder(PRESETS["mochi-1"]), (256, 256, 7), ["transformer"]
    with cpu.counting_for_gpu():
        told = memory.predict(folder, *size, names, 10**12, False)
        told = replace(told, available=int(1.2 * told.peak))
        memory.check_fits(told, folder, *size, names, False, steps=64)
        with pytest.raises(MemoryPlanError, match="to denoise"):
            memory.check_fits(told, folder, *size, names, False, steps=1000)

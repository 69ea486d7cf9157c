"""Mochi's transformer against recorded forwards of diffusers (record_mochi.py), and its exact short
cuts against the plain form."""

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import tiny_mochi
from mlx.utils import tree_flatten
from peak_memory import peak

from mlx_wan import attention, cpu
from mlx_wan.errors import UsageError
from mlx_wan.models import mochi
from mlx_wan.models.mochi import (
    MochiConfig,
    MochiTransformer,
    denoise_memory,
    forward_flops,
    rotary_tables,
)

RECORDED = sorted((Path(__file__).parent / "recorded").glob("mochi_transformer_*.npz"))


def normal(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed))


def difference(a: mx.array, b: mx.array | np.ndarray) -> float:
    """The largest difference over the largest value."""
    return float(np.abs(np.array(a) - np.array(b)).max() / np.abs(np.array(b)).max())


def forward(model, latents, timestep, prompt, mask=None) -> mx.array:
    return model(latents, timestep, model.condition(prompt, model.grid(latents.shape), mask))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_recorded(path, device, monkeypatch):
    if device == "other":  # the code Metal runs, computed here
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    case = np.load(path)
    model = tiny_mochi.transformer(**json.loads(str(case["changes"])))
    prompt, mask = mx.array(case["prompt"]), mx.array(case["mask"])
    velocity = forward(model, mx.array(case["latents"]), case["timestep"], prompt, mask)
    assert velocity.dtype == mx.float32
    # diffusers takes the sine of up to 999 in float32, which alone is 1e-5 of the output
    assert difference(velocity, case["velocity"]) < 5e-5


def test_there_are_recorded_cases():
    assert len(RECORDED) == 5


# --- the prompt --------------------------------------------------------------------------------


def test_padding_changes_nothing():
    model, latents, prompt = tiny_mochi.transformer(), normal(1, 2, 4, 6, 12), normal(1, 7, 32)
    padded = mx.pad(prompt, [(0, 0), (0, 9), (0, 0)], constant_values=3.0)
    mask = mx.arange(16)[None] < 7
    plain = forward(model, latents, 600, prompt)
    assert mx.array_equal(forward(model, latents, 600, padded, mask), plain)


def test_prompts_of_several_lengths_in_a_batch():
    model, latents = tiny_mochi.transformer(), normal(3, 2, 4, 6, 12)
    prompt, valid = normal(3, 12, 32, seed=1), [12, 0, 5]
    mask = mx.arange(12)[None] < mx.array(valid)[:, None]
    times = np.array([900.0, 20.0, 400.0])
    together = forward(model, latents, times, prompt, mask)
    for i, n in enumerate(valid):
        alone = forward(model, latents[i : i + 1], times[i], prompt[i : i + 1, :n])
        assert difference(together[i : i + 1], alone) < 1e-5


def test_an_empty_prompt_is_no_tokens():
    """As the original has an empty negative prompt: nothing but the bias of the values is left."""
    model = tiny_mochi.transformer()
    condition = model.condition(mx.zeros((1, 0, 32)), (1, 2, 2))
    assert condition.text is None and condition.bias is None
    pool = model.t5_y_embedder
    assert difference(condition.pooled, pool.to_out(pool.to_v.bias)[None]) < 1e-6
    tokens = model.condition(normal(1, 1, 32), (1, 2, 2))
    assert difference(tokens.pooled, condition.pooled) > 0.1


def test_the_text_reaches_the_video():
    model, latents = tiny_mochi.transformer(), normal(1, 1, 4, 4, 12)
    outs = [forward(model, latents, 500, normal(1, 5, 32, seed=seed)) for seed in (1, 2)]
    assert difference(*outs) > 0.01


# --- tables of modulation ----------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("release", [False, True])
def test_precomputed_modulation_is_the_same(batch, release):
    model, latents = tiny_mochi.transformer(), normal(batch, 2, 4, 6, 12)
    grid, times = model.grid(latents.shape), (1000.0, 937.5, 21.25)
    conditionings = [
        model.condition(normal(batch, 5, 32, seed=1), grid),
        model.condition(mx.zeros((batch, 0, 32)), grid),
    ]
    expected = [[model(latents, t, c) for t in times] for c in conditionings]
    kept = model.precompute(conditionings, times, release)
    for condition, outs in zip(kept, expected, strict=True):
        for time, out in zip(times, outs, strict=True):
            assert difference(model(latents, time, condition), out) < 1e-5


def test_released_weights_are_gone_and_missed():
    model, latents = tiny_mochi.transformer(), normal(1, 2, 4, 6, 12)
    condition = model.condition(normal(1, 5, 32), (2, 2, 3))
    size = sum(value.size for _, value in tree_flatten(model.parameters()))
    (kept,) = model.precompute([condition], [500.0, 400.0], release=True)
    names = [name for name, _ in tree_flatten(model.parameters())]
    assert not [name for name in names if "mod_" in name or "scale" in name or "shift" in name]
    assert sum(value.size for _, value in tree_flatten(model.parameters())) < 0.85 * size
    model(latents, 400, kept)
    for timestep, given in ((400, condition), (450, kept)):
        with pytest.raises(UsageError, match="were let go"):
            model(latents, timestep, given)


def test_released_weights_are_never_all_in_memory(tmp_path):
    big = {"dim": 128, "num_layers": 16, "ffn_dim": 64, "text_dim": 16}
    model = tiny_mochi.transformer(**big)
    file = tmp_path / "model.safetensors"
    mx.save_safetensors(str(file), dict(tree_flatten(model.parameters())))
    modulation = sum(v.nbytes for k, v in tree_flatten(model.parameters()) if "mod_" in k)
    del model
    model = tiny_mochi.our_transformer(tiny_mochi.TRANSFORMER | big)
    model.load_weights(str(file))
    condition = model.condition(normal(1, 3, 16), (1, 1, 1))
    assert peak(lambda: model.precompute([condition], [500.0], release=True)) < modulation / 4


# --- positions, chunks, dtypes -----------------------------------------------------------------


def test_positions_are_centred_and_scaled_to_one_area():
    frequencies = np.ones((3, 2, 4), np.float32)
    table = rotary_tables((3, 4, 9), frequencies)
    scale = (192 * 192 / 36) ** 0.5
    row, column = scale * (1 - 1.5), scale * (7 - 4)
    rows = np.array(table.rows(slice(36 + 16, 36 + 17)))  # of the second frame
    assert rows.shape == (2, 1, 4)
    assert np.allclose(rows, np.exp(1j * (1 + row + column)), atol=1e-5)


def test_rotary_factors_are_the_whole_table(monkeypatch):
    frequencies = np.random.RandomState(0).standard_normal((3, 2, 4))
    whole = rotary_tables((3, 4, 5), frequencies).rows(slice(7, 55))
    monkeypatch.setattr(mochi, "ROTARY_BYTES", 0)
    factors = rotary_tables((3, 4, 5), frequencies)
    assert factors.frames is not None and len(factors.tokens) == 20
    assert difference(factors.rows(slice(7, 55)), whole) < 1e-6


@pytest.mark.parametrize("device", ["cpu", "other"])
def test_row_chunks_and_pieces_of_attention_change_nothing(device, monkeypatch):
    model, latents = tiny_mochi.transformer(num_heads=3), normal(2, 3, 10, 14, 12)
    prompt, mask = normal(2, 6, 32, seed=1), mx.array([[1] * 6, [1, 1, 0, 0, 0, 0]])
    if device == "other":
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    whole = forward(model, latents, 700, prompt, mask)
    monkeypatch.setattr(cpu, "LINEAR_ROWS", 64)
    monkeypatch.setattr(cpu, "WIDE_ROWS", 64)
    monkeypatch.setattr(attention, "LINEAR_ROWS", 64)
    monkeypatch.setattr(attention, "dispatch_budget", lambda: 1.0)  # one head x 64 rows
    assert difference(forward(model, latents, 700, prompt, mask), whole) < 1e-6


@pytest.mark.parametrize("size", [(1, 2, 2), (1, 2, 14), (5, 10, 2)])
def test_odd_sizes(size):
    model, latents = tiny_mochi.transformer(), normal(1, *size, 12)
    assert model.tokens(latents.shape) == size[0] * size[1] * size[2] // 4
    velocity = forward(model, latents, 500, normal(1, 3, 32))
    assert velocity.shape == latents.shape and bool(mx.isfinite(velocity).all())


def test_the_same_call_gives_the_same_bits_and_leaves_its_inputs_alone():
    model, latents = tiny_mochi.transformer(), normal(1, 2, 4, 4, 12)
    condition = model.condition(normal(1, 5, 32), (2, 2, 2))
    copies = [np.array(a) for a in (latents, condition.text, condition.pooled)]
    first = model(latents, 300, condition)
    assert mx.array_equal(model(latents, 300, condition), first)
    for a, copy in zip((latents, condition.text, condition.pooled), copies, strict=True):
        assert np.array_equal(np.array(a), copy)


@pytest.mark.parametrize(("dtype", "most"), [(mx.bfloat16, 0.05), (mx.float16, 0.01)])
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_16_bit_weights(dtype, most, device, monkeypatch):
    if device == "other":
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    model, latents, prompt = tiny_mochi.transformer(), normal(1, 2, 6, 6, 12), normal(1, 7, 32)
    full = forward(model, latents, 500, prompt)
    frequencies = model.pos_frequencies
    model.set_dtype(dtype)
    model.pos_frequencies = frequencies  # kept in float32, as the original asks
    velocity = forward(model, latents, 500, prompt)
    assert velocity.dtype == mx.float32
    assert 0 < difference(velocity, full) < most


def test_quantised_attention_and_feed_forward():
    model = tiny_mochi.transformer(dim=64, dim_y=32, ffn_dim=96, ffn_dim_y=64)
    latents, prompt = normal(1, 2, 6, 6, 12), normal(1, 7, 32)
    full = forward(model, latents, 500, prompt)

    def predicate(path: str, module: nn.Module) -> bool:
        return isinstance(module, nn.Linear) and (".attn." in path or ".mlp_" in path)

    nn.quantize(model, group_size=32, bits=8, class_predicate=predicate)
    assert 0 < difference(forward(model, latents, 500, prompt), full) < 0.1


# --- the real sizes ----------------------------------------------------------------------------


def test_published_size():
    """Tensors and parameters of the real model, made lazily: nothing is allocated."""
    before = mx.get_active_memory()
    model = MochiTransformer(MochiConfig())
    flat = dict(tree_flatten(model.parameters()))
    assert mx.get_active_memory() - before < 1 << 20
    assert sum(value.size for value in flat.values()) == 10_027_677_744
    modulation = sum(value.size for name, value in flat.items() if ".mod_" in name)
    assert 2.6e9 < modulation < 2.8e9
    assert model.tokens((1, 28, 60, 106, 12)) == 44_520
    # 1.667 PFLOP at 848x480 with 163 frames, 70 % of it attention
    assert forward_flops(model.config, 44_520) == pytest.approx(1.667e15, rel=0.01)
    assert denoise_memory(model.config, 44_520, steps=64, itemsize=2) < 5 << 30


def forward_peak(model, latents, condition):
    return peak(lambda: mx.eval(model(latents, 500, condition)))


def test_memory_is_as_estimated():
    model = tiny_mochi.transformer(dim=96, ffn_dim=256, num_layers=1)
    for side in (24, 40):  # 720 and 2000 tokens
        latents = normal(1, 5, side, side, 12)
        condition = model.condition(normal(1, 5, 32), model.grid(latents.shape))
        mx.eval(latents)
        peak = max(forward_peak(model, latents, condition) for _ in range(2))
        estimate = denoise_memory(model.config, model.tokens(latents.shape), steps=0)
        if cpu.is_cpu():
            assert 0.7 < estimate / peak < 1.3


def test_watch_sees_every_layer():
    model, latents, seen = tiny_mochi.transformer(), normal(1, 1, 4, 4, 12), {}
    condition = model.condition(normal(1, 5, 32), (1, 2, 2))
    model(latents, 500, condition, watch=seen.__setitem__)
    assert list(seen) == ["x_embedder", "blocks.0", "blocks.1", "blocks.2", "final_layer"]
    assert seen["blocks.1"].shape == (1, 4, 24)


@pytest.mark.parametrize(
    ("latents", "timestep", "rows", "said"),
    [
        ((1, 2, 5, 4, 12), 500, 5, "do not divide into patches"),
        ((2, 4, 4, 12), 500, 5, "do not divide into patches"),
        ((1, 2, 4, 4, 5), 500, 5, "5 channels"),
        ((1, 2, 4, 4, 12), np.zeros(3), 5, "accepted are one number or (1,)"),
        ((1, 2, 4, 4, 12), np.zeros((1, 8)), 5, "timestep has shape (1, 8)"),
        ((1, 2, 4, 4, 12), 500, 17, "at most 16 rows of 32"),
        ((1, 2, 4, 6, 12), 500, 5, "conditioning was made for (2, 2, 2)"),
    ],
)
def test_refusals_say_what_fits(latents, timestep, rows, said):
    model = tiny_mochi.transformer()
    with pytest.raises(UsageError) as refusal:
        model(normal(*latents), timestep, model.condition(normal(1, rows, 32), (2, 2, 2)))
    assert said in str(refusal.value)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(UsageError, match="the mask has shape"):
        tiny_mochi.transformer().condition(normal(1, 5, 32), (1, 2, 2), mx.ones((1, 4)))

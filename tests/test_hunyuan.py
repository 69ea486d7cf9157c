"""HunyuanVideo 1.5's transformer against recorded forwards of diffusers (record_hunyuan.py), and
what it leaves out or computes once against the plain form."""

import json
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import tiny_hunyuan
from mlx.utils import tree_flatten
from peak_memory import peak

from mlx_wan import attention, cpu
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.models.hunyuan import (
    HunyuanConfig,
    HunyuanPrompt,
    HunyuanTransformer,
    conditioning_memory,
    denoise_memory,
    forward_flops,
    forward_work,
    released_parameters,
)
from mlx_wan.roofline import work

RECORDED = sorted((Path(__file__).parent / "recorded").glob("hunyuan_transformer_*.npz"))
PARTS = ("text", "glyph", "vision", "text_mask", "glyph_mask")
GRID = (2, 3, 4)


def normal(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed))


def difference(a: mx.array, b: mx.array | np.ndarray) -> float:
    """The largest difference over the largest value."""
    return float(np.abs(np.array(a) - np.array(b)).max() / np.abs(np.array(b)).max())


def some_prompt(tokens: int = 5, glyph: int = 0, image: bool = False, seed: int = 1):
    return HunyuanPrompt(
        normal(1, tokens, 24, seed=seed),
        normal(1, glyph, 8, seed=seed + 1) if glyph else None,
        normal(1, 7, 12, seed=seed + 2) if image else None,
    )


def forward(model, latents, timestep, prompt, timestep_r=None) -> mx.array:
    condition = model.condition(prompt, model.grid(latents.shape))
    return model(latents, timestep, condition, timestep_r=timestep_r)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_recorded(path, device, monkeypatch):
    if device == "other":  # the code Metal runs, computed here
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    case = np.load(path)
    model = tiny_hunyuan.transformer(**json.loads(str(case["changes"])))
    prompt = HunyuanPrompt(**{name: mx.array(case[name]) for name in PARTS if name in case})
    times_r = case.get("timestep_r")
    velocity = forward(model, mx.array(case["latents"]), case["timestep"], prompt, times_r)
    assert velocity.dtype == mx.float32
    assert difference(velocity, case["velocity"]) < 5e-5


def test_there_are_recorded_cases():
    assert len(RECORDED) == 5


# --- the prompt --------------------------------------------------------------------------------


def test_padding_changes_nothing_wherever_it_is():
    model, latents, prompt = tiny_hunyuan.transformer(), normal(1, *GRID, 9), some_prompt(3, 2)
    plain = forward(model, latents, 600, prompt)
    used, rows = np.array([0, 1, 0, 1, 1, 0]), np.full((1, 6, 24), 3.0, np.float32)
    rows[:, used > 0] = np.array(prompt.text)
    padded = replace(
        prompt,
        text=mx.array(rows),
        text_mask=mx.array(used)[None],
        glyph=mx.pad(prompt.glyph, [(0, 0), (0, 3), (0, 0)], constant_values=9.0),
        glyph_mask=mx.array([[1, 1, 0, 0, 0]]),
    )
    condition = model.condition(padded, GRID)
    assert condition.bias is None and condition.prompt_bias is None
    assert mx.array_equal(model(latents, 600, condition), plain)


def test_prompts_of_several_lengths_in_a_batch():
    model, latents = tiny_hunyuan.transformer(), normal(3, *GRID, 9)
    text, valid, glyphs = normal(3, 12, 24, seed=1), [12, 1, 5], [0, 6, 2]
    glyph, vision = normal(3, 6, 8, seed=2), normal(3, 7, 12, seed=3)
    prompt = HunyuanPrompt(
        text,
        glyph,
        vision,
        mx.arange(12)[None] < mx.array(valid)[:, None],
        mx.arange(6)[None] < mx.array(glyphs)[:, None],
    )
    times = np.array([900.0, 20.0, 400.0])
    together = forward(model, latents, times, prompt)
    for i, (n, m) in enumerate(zip(valid, glyphs, strict=True)):
        own = slice(i, i + 1)
        alone = HunyuanPrompt(text[own, :n], glyph[own, :m], vision[own])
        assert difference(together[own], forward(model, latents[own], times[i], alone)) < 1e-5


@pytest.mark.parametrize(
    "nothing", [{"vision": mx.zeros((1, 7, 12))}, {"glyph": mx.zeros((1, 0, 8))}]
)
def test_no_image_and_no_quoted_text_are_no_tokens(nothing):
    model, latents, prompt = tiny_hunyuan.transformer(), normal(1, *GRID, 9), some_prompt()
    condition = model.condition(replace(prompt, **nothing), GRID)
    assert condition.others is None
    assert mx.array_equal(model(latents, 500, condition), forward(model, latents, 500, prompt))


def test_glyphs_that_are_all_masked_are_no_tokens():
    model, prompt = tiny_hunyuan.transformer(), some_prompt(glyph=4)
    masked = replace(prompt, glyph_mask=mx.zeros((1, 4)))
    assert model.condition(masked, GRID).others is None
    assert model.condition(prompt, GRID).others.shape == (1, 4, 32)


@pytest.mark.parametrize("part", ["text", "glyph", "vision"])
def test_every_part_reaches_the_video(part):
    model, latents = tiny_hunyuan.transformer(), normal(1, *GRID, 9)
    prompt = some_prompt(5, 3, True)
    other = replace(prompt, **{part: getattr(some_prompt(5, 3, True, seed=9), part)})
    a, b = (forward(model, latents, 500, each) for each in (prompt, other))
    assert difference(a, b) > 1e-3


def test_sources_are_told_apart_unless_the_network_does_not():
    model, latents = tiny_hunyuan.transformer(), normal(1, *GRID, 9)
    prompt = some_prompt(5, 3, True)
    plain = forward(model, latents, 500, prompt)
    marks = model.cond_type_embedding.weight
    for row in range(3):
        model.cond_type_embedding.weight = mx.where(mx.arange(3)[:, None] == row, 0.0, marks)
        assert difference(forward(model, latents, 500, prompt), plain) > 1e-4
    without = tiny_hunyuan.transformer(use_cond_type_embedding=False)
    assert "cond_type_embedding" not in without
    assert forward(without, latents, 500, prompt).shape == (1, *GRID, 4)


def test_the_refiner_is_told_the_time():
    model = tiny_hunyuan.transformer()
    condition = model.condition(some_prompt(), GRID)
    early, late = (model._text(np.array([time]), condition) for time in (900.0, 100.0))
    assert difference(early, late) > 0.01


# --- channels, time ----------------------------------------------------------------------------


def test_channels_left_out_are_zeros():
    model, latents, prompt = tiny_hunyuan.transformer(), normal(1, *GRID, 4), some_prompt()
    whole = mx.pad(latents, [(0, 0)] * 4 + [(0, 5)])
    out = forward(model, latents, 500, prompt)
    assert difference(out, forward(model, whole, 500, prompt)) < 1e-6


def test_mean_flow_needs_and_uses_the_second_time():
    model = tiny_hunyuan.transformer(use_meanflow=True)
    latents, prompt = normal(1, *GRID, 9), some_prompt()
    near, far = (forward(model, latents, 800, prompt, time) for time in (700, 0))
    assert difference(near, far) > 0.01
    with pytest.raises(UsageError, match="needs timestep_r"):
        forward(model, latents, 800, prompt)
    with pytest.raises(UsageError, match="told one timestep only"):
        forward(tiny_hunyuan.transformer(), latents, 800, prompt, 700)


@pytest.mark.parametrize("meanflow", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("release", [False, True])
def test_precomputed_modulation_is_the_same(meanflow, batch, release):
    model = tiny_hunyuan.transformer(use_meanflow=meanflow)
    latents, times = normal(batch, *GRID, 9), (1000.0, 937.5, 21.25)
    following = (*times[1:], 0.0)
    conditionings = [
        model.condition(HunyuanPrompt(normal(batch, n, 24, seed=n)), GRID) for n in (3, 8)
    ]

    def plain(time, next_time, condition):
        return model(latents, time, condition, timestep_r=next_time if meanflow else None)

    expected = [
        [plain(*pair, c) for pair in zip(times, following, strict=True)] for c in conditionings
    ]
    kept = model.precompute(conditionings, times, release)
    for condition, outs in zip(kept, expected, strict=True):
        for time, out in zip(times, outs, strict=True):
            assert difference(model(latents, time, condition), out) < 1e-5


def test_tables_are_not_used_for_another_second_time():
    model, latents = tiny_hunyuan.transformer(use_meanflow=True), normal(1, *GRID, 9)
    condition = model.condition(some_prompt(), GRID)
    expected = model(latents, 500, condition, timestep_r=123)
    (kept,) = model.precompute([condition], [500.0, 400.0], release=False)
    assert mx.array_equal(model(latents, 500, kept, timestep_r=123), expected)
    assert difference(model(latents, 500, kept), expected) > 1e-3


def test_released_weights_are_gone_and_missed():
    model, latents = tiny_hunyuan.transformer(), normal(1, *GRID, 9)
    condition = model.condition(some_prompt(), GRID)
    size = sum(value.size for _, value in tree_flatten(model.parameters()))
    (kept,) = model.precompute([condition], [500.0, 400.0], release=True)
    left = sum(value.size for _, value in tree_flatten(model.parameters()))
    assert size - left == released_parameters(model.config)
    model(latents, 400, kept)
    for timestep, given in ((400, condition), (450, kept)):
        with pytest.raises(UsageError, match="were let go"):
            model(latents, timestep, given)


def test_released_weights_are_never_all_in_memory(tmp_path):
    big = {"dim": 128, "num_layers": 16, "ffn_dim": 64, "rope_axes": (16, 24, 24)}
    model = tiny_hunyuan.transformer(**big)
    file = tmp_path / "model.safetensors"
    mx.save_safetensors(str(file), dict(tree_flatten(model.parameters())))
    modulation = sum(v.nbytes for k, v in tree_flatten(model.parameters()) if ".mod." in k)
    del model
    model = tiny_hunyuan.our_transformer(tiny_hunyuan.TRANSFORMER | big)
    model.load_weights(str(file))
    condition = model.condition(some_prompt(), GRID)
    assert peak(lambda: model.precompute([condition], [500.0], release=True)) < modulation / 4


# --- chunks, dtypes ----------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "other"])
def test_row_chunks_and_pieces_of_attention_change_nothing(device, monkeypatch):
    changes = {"dim": 48, "num_heads": 3}
    model, latents = tiny_hunyuan.transformer(**changes), normal(2, 3, 10, 7, 9)
    mask = mx.array([[1] * 6, [1, 1, 0, 0, 0, 0]])
    prompt = HunyuanPrompt(normal(2, 6, 24, seed=1), text_mask=mask)
    if device == "other":
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    whole = forward(model, latents, 700, prompt)
    monkeypatch.setattr(cpu, "LINEAR_ROWS", 64)
    monkeypatch.setattr(cpu, "WIDE_ROWS", 64)
    monkeypatch.setattr(attention, "LINEAR_ROWS", 64)
    monkeypatch.setattr(attention, "dispatch_budget", lambda: 1.0)  # one head x 64 rows
    assert difference(forward(model, latents, 700, prompt), whole) < 1e-6


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 7), (5, 9, 1)])
def test_odd_sizes(size):
    model, latents = tiny_hunyuan.transformer(), normal(1, *size, 9)
    assert model.tokens(latents.shape) == size[0] * size[1] * size[2]
    velocity = forward(model, latents, 500, some_prompt(3))
    assert velocity.shape == (1, *size, 4) and bool(mx.isfinite(velocity).all())


def test_the_same_call_gives_the_same_bits_and_leaves_its_inputs_alone():
    model, latents = tiny_hunyuan.transformer(), normal(1, *GRID, 9)
    condition = model.condition(some_prompt(5, 2, True), GRID)
    given = (latents, condition.prompt, condition.pooled, condition.others, condition.rotary)
    copies = [np.array(a) for a in given]
    first = model(latents, 300, condition)
    assert mx.array_equal(model(latents, 300, condition), first)
    for a, copy in zip(given, copies, strict=True):
        assert np.array_equal(np.array(a), copy)


@pytest.mark.parametrize(("dtype", "most"), [(mx.bfloat16, 0.05), (mx.float16, 0.01)])
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_16_bit_weights(dtype, most, device, monkeypatch):
    if device == "other":
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    model, latents = tiny_hunyuan.transformer(), normal(1, *GRID, 9)
    prompt = some_prompt(7, 3, True)
    full = forward(model, latents, 500, prompt)
    model.set_dtype(dtype)
    velocity = forward(model, latents, 500, prompt)
    assert velocity.dtype == mx.float32
    assert 0 < difference(velocity, full) < most


def test_quantised_blocks():
    model = tiny_hunyuan.transformer(dim=64, ffn_dim=96, rope_axes=(8, 12, 12))
    latents, prompt = normal(1, *GRID, 9), some_prompt(7, 3, True)
    full = forward(model, latents, 500, prompt)

    def predicate(path: str, module: nn.Module) -> bool:
        return isinstance(module, nn.Linear) and (".attn_" in path or ".mlp." in path)

    nn.quantize(model, group_size=32, bits=8, class_predicate=predicate)
    assert 0 < difference(forward(model, latents, 500, prompt), full) < 0.1


# --- the real sizes ----------------------------------------------------------------------------


def test_published_size():
    """Parameters of the real model, made lazily: nothing is allocated."""
    before = mx.get_active_memory()
    model = HunyuanTransformer(HunyuanConfig())
    flat = dict(tree_flatten(model.parameters()))
    assert mx.get_active_memory() - before < 1 << 20
    assert sum(value.size for value in flat.values()) == 8_326_608_160
    assert 2.7e9 < released_parameters(model.config) < 2.75e9
    assert model.tokens((1, 31, 30, 53, 32)) == 49_290
    config = model.config
    assert forward_flops(config, 111_600) == pytest.approx(6.22e15, rel=0.01)
    assert forward_flops(config, 49_290) == pytest.approx(1.392e15, rel=0.01)
    with_tables, without = (denoise_memory(config, 111_600, steps, 2) for steps in (50, 0))
    assert with_tables - without == pytest.approx(265e6, rel=0.01)
    assert without < 6 << 30
    # the text stream is refined again in every forward: a 2,000th of it at the smallest size
    alone = forward_work(replace(config, refiner_layers=0), 49_290, 300)
    refiner = work.flops(forward_work(config, 49_290, 300)) - work.flops(alone)
    assert refiner < forward_flops(config, 49_290) / 2000


def forward_peak(model, latents, condition):
    return peak(lambda: mx.eval(model(latents, 500, condition)))


def test_memory_is_as_estimated():
    model = tiny_hunyuan.transformer(
        dim=96, ffn_dim=384, num_layers=1, rope_axes=(16, 16, 16), text_len=5, vision_len=1
    )
    for side in (12, 20):  # 720 and 2000 tokens
        latents = normal(1, 5, side, side, 9)
        condition = model.condition(some_prompt(5), (5, side, side))
        (condition,) = model.precompute([condition], [500.0], release=False)
        mx.eval(latents)
        peak = max(forward_peak(model, latents, condition) for _ in range(2))
        estimate = denoise_memory(model.config, model.tokens(latents.shape), steps=0)
        if cpu.is_cpu():
            assert 0.7 < estimate / peak < 1.3
        kept = condition.rotary.nbytes + condition.prompt.nbytes
        assert kept <= conditioning_memory(model.config, 5 * side * side, 5) < 1.2 * kept


def test_watch_sees_every_layer():
    model, latents, seen = tiny_hunyuan.transformer(), normal(1, *GRID, 9), {}
    model(latents, 500, model.condition(some_prompt(), GRID), watch=seen.__setitem__)
    blocks = [f"double_blocks.{i}" for i in range(3)]
    assert list(seen) == ["img_in", *blocks, "final_layer"]
    assert seen["double_blocks.1"].shape == (1, 24, 32)


@pytest.mark.parametrize(
    ("latents", "timestep", "rows", "said"),
    [
        ((2, 3, 4, 9), 500, 5, "do not divide into patches"),
        ((1, 2, 3, 4, 5), 500, 5, "5 channels; this model takes 9, or 4"),
        ((1, 2, 3, 4, 9), np.zeros(3), 5, "accepted are one number or (1,)"),
        ((1, 2, 3, 4, 9), np.zeros((1, 8)), 5, "timestep has shape (1, 8)"),
        ((1, 2, 3, 4, 9), 500, 17, "at most 16 rows of 24"),
        ((1, 2, 3, 5, 9), 500, 5, "conditioning was made for (2, 3, 4)"),
    ],
)
def test_refusals_say_what_fits(latents, timestep, rows, said):
    model = tiny_hunyuan.transformer()
    with pytest.raises(UsageError) as refusal:
        model(normal(*latents), timestep, model.condition(some_prompt(rows), GRID))
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"glyph": mx.ones((1, 7, 8))}, "glyph has shape (1, 7, 8); this model takes at most 6"),
        ({"vision": mx.ones((1, 7, 8))}, "vision has shape (1, 7, 8)"),
        ({"vision": mx.ones((2, 7, 12))}, "rows of 12 for each of 1 prompts"),
        ({"text_mask": mx.ones((1, 4))}, "the mask has shape (1, 4), its tokens (1, 5)"),
        ({"text_mask": mx.zeros((1, 5))}, "no valid token"),
    ],
)
def test_prompts_that_do_not_fit(changes, said):
    with pytest.raises(UsageError) as refusal:
        tiny_hunyuan.transformer().condition(replace(some_prompt(), **changes), GRID)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_heads": 5},
        {"rope_axes": (3, 5, 8)},
        {"rope_axes": (2, 6, 6)},
        {"freq_dim": 7},
        {"rope_theta": 0.0},
    ],
)
def test_configs_that_fit_no_network(changes):
    with pytest.raises(ModelError, match="the transformer's config"):
        tiny_hunyuan.our_transformer(tiny_hunyuan.TRANSFORMER | changes)

"""The transformer against recorded forwards of diffusers, and its exact short cuts against the
plain form (recorded by record_wan.py)."""

import json
import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from peak_memory import peak
from tiny import wan_transformer

from mlx_wan import attention, cpu
from mlx_wan.errors import UsageError
from mlx_wan.models.wan import Conditioning, WanConfig, WanTransformer

RECORDED = sorted((Path(__file__).parent / "recorded").glob("wan_*.npz"))
PUBLISHED = {  # dim, ffn, heads, layers, in, out, tensors, parameters
    "t2v-a14b": (5120, 13824, 40, 40, 16, 16, 1095, 14_288_491_584),
    "i2v-a14b": (5120, 13824, 40, 40, 36, 16, 1095, 14_288_901_184),
    "ti2v-5b": (3072, 14336, 24, 30, 48, 48, 825, 4_999_787_712),
    "t2v-1.3b": (1536, 8960, 12, 30, 16, 16, 825, 1_418_996_800),
}


def normal(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed))


def difference(a: mx.array, b: mx.array | np.ndarray) -> float:
    """The largest difference over the largest value."""
    return float(np.abs(np.array(a) - np.array(b)).max() / np.abs(np.array(b)).max())


def forward(model: WanTransformer, latents: mx.array, timestep, prompt: mx.array) -> mx.array:
    return model(latents, timestep, model.condition(prompt, model.grid(latents.shape)))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_recorded(path, device, monkeypatch):
    if device == "other":  # the code Metal runs, computed here
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    case = np.load(path)
    model = wan_transformer(**json.loads(str(case["changes"])))
    prompt = mx.array(case["prompt"])
    velocity = forward(model, mx.array(case["latents"]), case["timestep"], prompt)
    assert velocity.dtype == mx.float32
    # diffusers takes the sine of up to 999 in float32, which alone is 1e-5 of the output
    assert difference(velocity, case["velocity"]) < 5e-5


def test_there_are_recorded_cases():
    assert len(RECORDED) == 9


def with_every_padding_row(model: WanTransformer, prompt: mx.array, grid) -> Conditioning:
    """Conditioning as the original has it: text_len keys, no bias."""
    rows = model.config.text_len - prompt.shape[1]
    text = mx.pad(prompt, [(0, 0), (0, rows), (0, 0)])
    text = model.text_embedding.fc2(nn.gelu_approx(model.text_embedding.fc1(text)))
    keys_values = [block.text_keys_values(text) for block in model.blocks]
    return Conditioning(grid, model.condition(prompt, grid).rotary, keys_values, None)


@pytest.mark.parametrize("rows", [0, 1, 9, 511, 512])
def test_one_weighted_key_is_all_padding_rows(rows):
    model, latents = wan_transformer(), normal(1, 2, 4, 6, 4)
    grid = model.grid(latents.shape)
    prompt = normal(1, rows, 16, seed=1)
    folded, plain = model.condition(prompt, grid), with_every_padding_row(model, prompt, grid)
    assert folded.text[0][0].shape[2] == min(rows + 1, 512)
    assert difference(model(latents, 700, folded), model(latents, 700, plain)) < 1e-5


def test_zero_rows_within_a_prompt_stay():
    model, latents, prompt = wan_transformer(), normal(1, 1, 4, 4, 4), normal(1, 9, 16, seed=1)
    prompt[:, 3:6] = 0
    grid = model.grid(latents.shape)
    out = forward(model, latents, 5, prompt)
    assert difference(out, model(latents, 5, with_every_padding_row(model, prompt, grid))) < 1e-5


def test_zero_rows_after_a_prompt_change_nothing():
    model, latents, prompt = wan_transformer(), normal(1, 1, 4, 4, 4), normal(1, 9, 16, seed=1)
    padded = mx.pad(prompt, [(0, 0), (0, 40), (0, 0)])
    assert mx.array_equal(forward(model, latents, 5, padded), forward(model, latents, 5, prompt))


def test_prompts_of_two_lengths_in_a_batch():
    model, latents = wan_transformer(), normal(2, 2, 4, 6, 4)
    prompt = normal(2, 12, 16, seed=1)
    prompt[1, 4:] = 0
    both = forward(model, latents, np.array([900, 20]), prompt)
    assert difference(both[:1], forward(model, latents[:1], 900, prompt[:1])) < 1e-5
    assert difference(both[1:], forward(model, latents[1:], 20, prompt[1:, :4])) < 1e-5


@pytest.mark.parametrize("batch", [1, 2])
def test_one_time_said_in_four_ways(batch):
    model, latents = wan_transformer(), normal(batch, 2, 4, 6, 4)
    conditioning = model.condition(normal(batch, 5, 16, seed=1), (2, 2, 3))
    expected = model(latents, 321.0, conditioning)
    for timestep in (321, np.full(batch, 321), mx.full((batch,), 321), np.full((batch, 12), 321)):
        assert mx.array_equal(model(latents, timestep, conditioning), expected)


def test_a_time_for_every_token_is_a_run_of_times():
    """Many changes take another path than few; both must agree."""
    model, latents = wan_transformer(), normal(1, 2, 4, 24, 4)
    conditioning = model.condition(normal(1, 5, 16, seed=1), (2, 2, 12))
    times = np.repeat([[0.0, 500.0]], 24, axis=1)
    times[0, :40:2] += 1e-9  # as many runs as tokens, the same times
    few = model(latents, np.repeat([[0.0, 500.0]], 24, axis=1), conditioning)
    assert difference(model(latents, times, conditioning), few) < 1e-5


@pytest.mark.parametrize("device", ["cpu", "other"])
def test_row_chunks_and_pieces_of_attention_change_nothing(device, monkeypatch):
    model, latents = wan_transformer(num_heads=3), normal(2, 3, 10, 14, 4)
    prompt = normal(2, 5, 16, seed=1)
    times = np.array([[0] * 35 + [800] * 70, [400] * 105])
    if device == "other":
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    whole = forward(model, latents, times, prompt)
    monkeypatch.setattr(cpu, "LINEAR_ROWS", 128)
    monkeypatch.setattr(cpu, "WIDE_ROWS", 64)
    monkeypatch.setattr(attention, "LINEAR_ROWS", 64)
    monkeypatch.setattr(attention, "dispatch_budget", lambda: 1.0)  # one head x 64 rows
    assert difference(forward(model, latents, times, prompt), whole) < 1e-6


@pytest.mark.parametrize("size", [(1, 2, 2), (1, 2, 14), (5, 10, 2), (2, 6, 6)])
def test_odd_sizes(size):
    model, latents = wan_transformer(), normal(1, *size, 4)
    assert model.tokens(latents.shape) == size[0] * size[1] * size[2] // 4
    velocity = forward(model, latents, 500, normal(1, 3, 16, seed=1))
    assert velocity.shape == latents.shape and bool(mx.isfinite(velocity).all())


def test_the_same_call_gives_the_same_bits():
    model, latents, prompt = wan_transformer(), normal(1, 3, 8, 8, 4), normal(1, 7, 16, seed=1)
    first = forward(model, latents, 500, prompt)
    assert mx.array_equal(forward(model, latents, 500, prompt), first)


@pytest.mark.parametrize(("dtype", "most"), [(mx.bfloat16, 0.05), (mx.float16, 0.01)])
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_16_bit_weights(dtype, most, device, monkeypatch):
    if device == "other":
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    model, latents, prompt = wan_transformer(), normal(1, 2, 6, 6, 4), normal(1, 7, 16, seed=1)
    full = forward(model, latents, 500, prompt)
    model.set_dtype(dtype)
    velocity = forward(model, latents, 500, prompt)
    assert velocity.dtype == mx.float32
    assert 0 < difference(velocity, full) < most


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_quantised_attention_and_ffn(dtype):
    model = wan_transformer(dim=64, ffn_dim=128)
    latents, prompt = normal(1, 2, 6, 6, 4), normal(1, 7, 16, seed=1)
    full = forward(model, latents, 500, prompt)
    model.set_dtype(dtype)
    is_block_linear = lambda path, m: path.startswith("blocks.") and isinstance(m, nn.Linear)  # noqa: E731
    nn.quantize(model, group_size=64, bits=8, class_predicate=is_block_linear)
    assert 0 < difference(forward(model, latents, 500, prompt), full) < 0.1


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    """Tensors and parameters of the real models, made lazily: nothing is allocated."""
    dim, ffn_dim, heads, layers, in_dim, out_dim, tensors, parameters = PUBLISHED[name]
    before = mx.get_active_memory()
    model = WanTransformer(WanConfig(dim, ffn_dim, heads, layers, in_dim, out_dim, text_dim=4096))
    flat = dict(tree_flatten(model.parameters()))
    assert mx.get_active_memory() - before < 1 << 20
    assert len(flat) == tensors
    assert sum(math.prod(value.shape) for value in flat.values()) == parameters
    assert flat["patch_embedding.weight"].shape == (dim, 4 * in_dim)
    assert flat["head.head.weight"].shape == (4 * out_dim, dim)
    assert flat["blocks.0.modulation"].shape == (1, 6, dim)
    assert model.tokens((1, 21, 90, 160, in_dim)) == 75_600


def forward_peak(model, latents, conditioning):
    """Bytes a forward adds. Too few, where memory of earlier work is freed while it is measured."""
    return peak(lambda: mx.eval(model(latents, 500, conditioning)))


def test_memory_grows_with_tokens_not_their_square():
    model = wan_transformer(dim=32)
    peaks = []
    for side in (16, 32, 64):  # 320, 1280 and 5120 tokens
        latents = normal(1, 5, side, side, 4)
        conditioning = model.condition(normal(1, 5, 16, seed=1), (5, side // 2, side // 2))
        mx.eval(latents)
        peaks.append(max(forward_peak(model, latents, conditioning) for _ in range(3)))
    assert peaks[1] < 4.2 * peaks[0] and peaks[2] < 4.2 * peaks[1]


def test_watch_sees_every_layer():
    model, latents = wan_transformer(), normal(1, 1, 4, 4, 4)
    conditioning = model.condition(normal(1, 5, 16, seed=1), (1, 2, 2))
    seen = {}
    model(latents, 500, conditioning, watch=seen.__setitem__)
    assert list(seen) == ["patch_embedding", "blocks.0", "blocks.1", "head"]
    assert seen["blocks.1"].shape == (1, 4, 24)


@pytest.mark.parametrize(
    ("latents", "timestep", "rows", "said"),
    [
        ((1, 2, 5, 4, 4), 500, 5, "do not divide into patches"),
        ((2, 4, 4, 4), 500, 5, "do not divide into patches"),
        ((1, 2, 4, 4, 5), 500, 5, "5 channels"),
        ((1, 2, 4, 4, 4), np.zeros((1, 7)), 5, "timestep has shape (1, 7)"),
        ((1, 2, 4, 4, 4), np.zeros(3), 5, "accepted are one number, (1,) or (1, 8)"),
        ((1, 2, 4, 4, 4), 500, 513, "at most 512 rows of 16"),
        ((1, 2, 4, 6, 4), 500, 5, "conditioning was made for (2, 2, 2)"),
    ],
)
def test_refusals_say_what_fits(latents, timestep, rows, said):
    model = wan_transformer()
    with pytest.raises(UsageError) as refusal:
        model(normal(*latents), timestep, model.condition(normal(1, rows, 16), (2, 2, 2)))
    assert said in str(refusal.value)

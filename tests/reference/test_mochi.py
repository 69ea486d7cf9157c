"""Mochi's networks against diffusers' and transformers', live, on tiny random weights."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import tiny_mochi
import torch
from mlx.utils import tree_flatten

from mlx_wan.bench.layouts import to_layout
from mlx_wan.bench.networks_mochi import (
    diffusers_transformer,
    diffusers_vae,
    diffusers_velocity,
    load,
    our_t5,
    our_transformer,
    our_vae,
    random_weights,
    run_diffusers_vae,
    transformers_t5,
)
from mlx_wan.linear_quadratic import linear_quadratic
from mlx_wan.models.t5 import encode
from mlx_wan.sampling import make_solver

pytestmark = pytest.mark.reference


def relative(ours: Any, theirs: np.ndarray) -> float:
    ours = np.array(ours)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def pair(std: float | None = None, seed: int = 0, **changes: Any) -> tuple[Any, Any]:
    """Our transformer and diffusers' with the same weights, all of them random."""
    config = tiny_mochi.TRANSFORMER | changes
    ours = our_transformer(config)
    weights = random_weights(ours, seed, std)
    load(ours, weights)
    return ours, diffusers_transformer(config, weights)


def inputs(batch: int, size: tuple[int, int, int], valid: list[int], seed: int) -> tuple[Any, ...]:
    random = np.random.RandomState(seed)
    latents = random.standard_normal((batch, *size, 12)).astype(np.float32)
    prompt = random.standard_normal((batch, 16, 32)).astype(np.float32)
    return latents, prompt, np.arange(16) < np.array(valid)[:, None]


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("std", [None, 0.05, 0.2])
@pytest.mark.parametrize(
    ("times", "valid"),
    [([1000.0], [16]), ([3.5], [1]), ([512.0, 512.0], [11, 4]), ([999.0, 20.0], [0, 16])],
)
def test_forward(heads, std, times, valid):
    ours, theirs = pair(std, num_heads=heads)
    latents, prompt, mask = inputs(len(times), (3, 6, 10), valid, seed=heads)
    expected = diffusers_velocity(theirs, latents, np.array(times), prompt, mask)
    grid = ours.grid(latents.shape)
    condition = ours.condition(mx.array(prompt), grid, mx.array(mask))
    out = ours(mx.array(latents), np.array(times), condition)
    assert relative(out, expected) <= 1e-4


@pytest.mark.parametrize("size", [(1, 2, 2), (7, 4, 2), (2, 12, 14)])
@pytest.mark.parametrize("release", [False, True])
def test_with_precomputed_modulation(size, release):
    ours, theirs = pair(seed=1)
    latents, prompt, mask = inputs(1, size, [9], seed=5)
    condition = ours.condition(mx.array(prompt), ours.grid(latents.shape), mx.array(mask))
    times = [1000.0, 640.0, 33.0]
    (condition,) = ours.precompute([condition], times, release)
    for time in times:
        expected = diffusers_velocity(theirs, latents, np.array([time]), prompt, mask)
        assert relative(ours(mx.array(latents), time, condition), expected) <= 1e-4


def test_original_names_through_diffusers_own_converter():
    """Its converter knows 48 blocks; that proves our table of the original's names."""
    from diffusers import MochiTransformer3DModel
    from diffusers.loaders.single_file_utils import (
        convert_mochi_transformer_checkpoint_to_diffusers,
    )

    config = tiny_mochi.TRANSFORMER | {"num_layers": 48}
    ours = our_transformer(config)
    weights = random_weights(ours, std=0.1)
    load(ours, weights)
    original = to_layout("mochi_transformer", "original", weights)
    theirs = MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=48,
        pooled_projection_dim=16,
        text_embed_dim=32,
        time_embed_dim=8,
        max_sequence_length=16,
    )
    state = {name: torch.tensor(array) for name, array in original.items()}
    theirs.load_state_dict(convert_mochi_transformer_checkpoint_to_diffusers(state))  # strict
    latents, prompt, mask = inputs(1, (2, 4, 6), [13], seed=2)
    expected = diffusers_velocity(theirs.eval(), latents, np.array([700.0]), prompt, mask)
    condition = ours.condition(mx.array(prompt), (2, 2, 3), mx.array(mask))
    assert relative(ours(mx.array(latents), 700, condition), expected) <= 1e-4


@pytest.mark.parametrize("empty", [False, True])
def test_six_steps_with_guidance(empty):
    """The whole loop with diffusers' scheduler as its pipeline runs it: guidance 4.5."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    ours, theirs = pair(0.1, seed=3)
    latents, prompt, mask = inputs(2, (2, 6, 8), [0 if empty else 5, 12], seed=7)
    latents = latents[:1]
    schedule = linear_quadratic(6)

    scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    scheduler.set_timesteps(sigmas=list(schedule.sigmas[:-1]))
    z = torch.tensor(latents).movedim(-1, 1).contiguous()
    for time in scheduler.timesteps:
        given = z.movedim(1, -1).numpy().repeat(2, 0)
        both = -diffusers_velocity(theirs, given, 1000 - np.full(2, float(time)), prompt, mask)
        guided = both[:1] + 4.5 * (both[1:] - both[:1])
        step = torch.tensor(guided).movedim(-1, 1)
        z = scheduler.step(step, time, z, return_dict=False)[0]

    grid = ours.grid(latents.shape)
    conditionings = [
        ours.condition(mx.array(prompt[i : i + 1]), grid, mx.array(mask[i : i + 1])) for i in (0, 1)
    ]
    uncond, cond = ours.precompute(conditionings, schedule.timesteps, release=True)
    x = mx.array(latents)
    solver = make_solver("euler", schedule)
    for i, time in enumerate(schedule.timesteps):
        without, with_text = ours(x, time, uncond), ours(x, time, cond)
        x = solver.step(i, without + 4.5 * (with_text - without), x)
    assert relative(x, z.movedim(1, -1).numpy()) <= 1e-3


# --- VAE ---------------------------------------------------------------------------------------

ODD_VAES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "original counts": {
        "encoder_dims": (32, 64, 96, 64),
        "decoder_dims": (32, 32, 64, 96),
        "num_blocks": (3, 3, 4, 6, 3),
    },
    "latents": {"z_dim": 4, "latents_mean": (0.5, -1.0, 0.0, 2.0), "latents_std": (2.0, 1, 0.5, 3)},
}


def vaes(changes: dict[str, Any], original: bool = True) -> tuple[Any, Any]:
    config = tiny_mochi.VAE | changes
    ours = our_vae(config)
    weights = random_weights(ours, seed=len(changes))
    load(ours, weights)
    return ours, diffusers_vae(config, weights, original)


@pytest.mark.parametrize(
    ("name", "frames", "batch"),
    [
        *(("tiny", frames, batch) for frames in (1, 7, 19) for batch in (1, 2)),
        ("original counts", 7, 1),
        ("latents", 13, 1),
    ],
)
def test_vae(name, frames, batch):
    ours, theirs = vaes(ODD_VAES[name])
    random = np.random.RandomState(frames)
    video = random.uniform(-1, 1, (batch, frames, 16, 24, 3)).astype(np.float32)
    expected = run_diffusers_vae(theirs, "encode", video)
    assert relative(ours.encode(mx.array(video)), expected) <= 1e-4
    latents = random.standard_normal(expected.shape).astype(np.float32)
    expected = run_diffusers_vae(theirs, "decode", latents)
    assert relative(ours.decode(mx.array(latents)), expected) <= 1e-4


def test_diffusers_decoder_is_another_one():
    """It drops the first frames at the end only: all of a clip's beginning is different there."""
    ours, theirs = vaes({}, original=False)
    latents = np.random.RandomState(1).standard_normal((1, 6, 2, 2, 12)).astype(np.float32)
    a, b = np.array(ours.decode(mx.array(latents))), run_diffusers_vae(theirs, "decode", latents)
    apart = np.abs(a - b).max(axis=(0, 2, 3, 4))
    assert a.shape == b.shape and apart[0] > 0.01 and apart[-1] < 1e-3


# --- T5 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1, 2, 129, 256])
@pytest.mark.parametrize("changes", [{}, {"num_buckets": 20, "max_distance": 50, "num_heads": 4}])
def test_t5(tokens, changes):
    config = tiny_mochi.T5 | changes
    ours = our_t5(config)
    load(ours, random_weights(ours, seed=tokens))
    weights = {name: np.array(value) for name, value in tree_flatten(ours.parameters())}
    theirs = transformers_t5(config, weights)
    ids = np.random.RandomState(tokens).randint(0, 60, (2, tokens))
    mask = np.arange(tokens) < np.array([[tokens], [max(1, tokens // 3)]])
    with torch.inference_mode():
        out = theirs(torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state.numpy()
    masked = np.array(ours(mx.array(ids), mx.array(mask)))
    assert relative(masked[mask], out[mask]) <= 1e-4
    rows = encode(ours, [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)])
    for row, whole, keep in zip(rows, out, mask, strict=True):
        assert relative(row[0], whole[keep]) <= 1e-4

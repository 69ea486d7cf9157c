"""HunyuanVideo 1.5's transformer against diffusers', live, on tiny random weights."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from mlx_wan.bench.networks_hunyuan import (
    diffusers_transformer,
    diffusers_velocity,
    our_transformer,
)
from mlx_wan.bench.networks_mochi import load, random_weights
from mlx_wan.conditioning.hunyuan_sr import small_video
from mlx_wan.models.hunyuan_text import HunyuanPrompt

pytestmark = pytest.mark.reference

Arrays = dict[str, Any]


def relative(ours: Any, theirs: np.ndarray) -> float:
    ours = np.array(ours)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def pair(std: float | None = None, seed: int = 0, **changes: Any) -> tuple[Any, Any]:
    """Our transformer and diffusers' with the same weights, all of them random."""
    config = tiny_hunyuan.TRANSFORMER | changes
    ours = our_transformer(config)
    weights = random_weights(ours, seed, std)
    load(ours, weights)
    return ours, diffusers_transformer(config, weights)


def inputs(
    config: Any,
    text: list[int],
    glyph: list[int] | None = None,
    image: bool = False,
    seed: int = 0,
) -> Arrays:
    """What both are given for so many valid tokens per item; all lengths are the longest."""
    random = np.random.RandomState(seed)
    batch = len(text)
    arrays: Arrays = {
        "text": random.standard_normal((batch, config.text_len, config.text_dim)),
        "text_mask": np.arange(config.text_len) < np.array(text)[:, None],
    }
    if glyph is not None:
        arrays["glyph"] = random.standard_normal((batch, config.glyph_len, config.glyph_dim))
        arrays["glyph_mask"] = np.arange(config.glyph_len) < np.array(glyph)[:, None]
    if image:
        arrays["vision"] = random.standard_normal((batch, config.vision_len, config.vision_dim))
    return {name: a.astype(np.float32) for name, a in arrays.items()}


def prompt(arrays: Arrays) -> HunyuanPrompt:
    return HunyuanPrompt(**{name: mx.array(a) for name, a in arrays.items()})


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


# number of tokens per item: text, glyph; and whether there is an image
PROMPTS: dict[str, tuple[list[int], list[int] | None, bool]] = {
    "text": ([16], None, False),
    "short": ([1], [0], False),
    "glyph": ([11], [6], False),
    "image": ([7], None, True),
    "all": ([9], [4], True),
    "batch": ([16, 5], None, False),
    "batch-glyph": ([3, 12], [0, 5], False),
    "batch-all": ([12, 12], [6, 2], True),
    "batch-same": ([8, 8], [3, 3], True),
}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("std", [None, 0.2])
@pytest.mark.parametrize("meanflow", [False, True])
def test_forward(name, std, meanflow):
    ours, theirs = pair(std, seed=len(name), use_meanflow=meanflow)
    text, glyph, image = PROMPTS[name]
    given = inputs(ours.config, text, glyph, image, seed=len(name))
    latents, times = normal(len(text), 3, 4, 5, 9), np.array([972.25, 21.5])[: len(text)]
    times_r = times * 0.75 if meanflow else None
    expected = diffusers_velocity(theirs, latents, times, **given, timestep_r=times_r)
    condition = ours.condition(prompt(given), ours.grid(latents.shape))
    out = ours(mx.array(latents), times, condition, timestep_r=times_r)
    assert relative(out, expected) <= 1e-4


@pytest.mark.parametrize("seed", range(12))
def test_random_configs(seed):
    random = np.random.RandomState(seed)
    heads, axes = int(random.randint(1, 5)), tuple(int(2 * n) for n in random.randint(1, 8, 3))
    changes: dict[str, Any] = {
        "dim": heads * sum(axes),
        "ffn_dim": heads * sum(axes) * int(random.randint(1, 5)),
        "num_heads": heads,
        "num_layers": int(random.randint(1, 5)),
        "refiner_layers": int(random.randint(1, 4)),
        "out_dim": int(random.randint(1, 9)),
        "text_dim": int(random.randint(4, 40)),
        "glyph_dim": int(random.randint(4, 40)),
        "vision_dim": int(random.randint(4, 40)),
        "rope_axes": axes,
        "rope_theta": float(random.choice([256.0, 10000.0])),
        "use_meanflow": bool(random.randint(2)),
    }
    whole, ones = [(2, 1), (3, 2)][random.randint(2)]  # super resolution reads more channels
    changes["in_dim"] = whole * changes["out_dim"] + ones
    ours, theirs = pair(float(random.uniform(0.05, 0.2)), seed, **changes)
    batch = int(random.randint(1, 4))
    given = inputs(
        ours.config,
        random.randint(1, 17, batch).tolist(),
        random.randint(0, 7, batch).tolist(),
        bool(random.randint(2)),
        seed,
    )
    size = tuple(int(n) for n in random.randint(1, 9, 3))
    latents = normal(batch, *size, changes["in_dim"], seed=seed)
    times = random.uniform(0, 1000, batch)
    times_r = random.uniform(0, 1000, batch) if changes["use_meanflow"] else None
    expected = diffusers_velocity(theirs, latents, times, **given, timestep_r=times_r)
    condition = ours.condition(prompt(given), size)
    out = ours(mx.array(latents), times, condition, timestep_r=times_r)
    assert relative(out, expected) <= 1e-4


@pytest.mark.parametrize("meanflow", [False, True])
@pytest.mark.parametrize("release", [False, True])
def test_with_precomputed_modulation(meanflow, release):
    ours, theirs = pair(seed=1, use_meanflow=meanflow)
    given = inputs(ours.config, [9], [2], True, seed=5)
    latents, times = normal(1, 2, 5, 3, 9), [1000.0, 640.0, 33.0]
    condition = ours.condition(prompt(given), (2, 5, 3))
    (condition,) = ours.precompute([condition], times, release)
    for time, next_time in zip(times, [*times[1:], 0.0], strict=True):
        times_r = np.array([next_time]) if meanflow else None
        expected = diffusers_velocity(
            theirs, latents, np.array([time]), **given, timestep_r=times_r
        )
        assert relative(ours(mx.array(latents), time, condition), expected) <= 1e-4


@pytest.mark.parametrize("layout", ["original", "comfyui"])
def test_weights_through_foreign_names(layout):
    """There and back, then compared with diffusers' forward: no share is mixed up on the way."""
    from mlx_wan.bench.layouts import from_layout, to_layout

    config = tiny_hunyuan.TRANSFORMER | {"use_meanflow": True}
    network = our_transformer(config)
    weights = random_weights(network, std=0.1)
    theirs = diffusers_transformer(config, weights)
    foreign = to_layout("hunyuan_transformer", layout, weights)
    load(network, from_layout("hunyuan_transformer", layout, foreign))  # strict
    given, latents = inputs(network.config, [13], [5], True), normal(1, 2, 4, 3, 9)
    times, times_r = np.array([700.0]), np.array([400.0])
    expected = diffusers_velocity(theirs, latents, times, **given, timestep_r=times_r)
    condition = network.condition(prompt(given), (2, 4, 3))
    out = network(mx.array(latents), times, condition, timestep_r=times_r)
    assert relative(out, expected) <= 1e-4


@pytest.mark.parametrize(("steps", "guidance", "meanflow"), [(6, 6.0, False), (4, 1.0, True)])
def test_a_whole_loop(steps, guidance, meanflow):
    """With diffusers' scheduler: guidance as two forwards, or mean flow."""
    ours, theirs = pair(0.1, seed=3, use_meanflow=meanflow)
    given, latents = inputs(ours.config, [5, 12], [0, 4], True, seed=7), normal(1, 2, 6, 5, 4)
    still = normal(1, 2, 6, 5, 5, seed=8)  # the image's latents and their mask
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, steps + 1)[:-1])
    times = [float(time) for time in scheduler.timesteps]
    z = torch.tensor(latents)
    for time, next_time in zip(times, [*times[1:], 0.0], strict=True):
        both = diffusers_velocity(
            theirs,
            np.concatenate([z.numpy(), still], axis=-1).repeat(2, 0),
            np.full(2, time),
            **given,
            timestep_r=np.full(2, next_time) if meanflow else None,
        )
        guided = both[:1] + guidance * (both[1:] - both[:1])
        z = scheduler.step(torch.tensor(guided), torch.tensor(time), z, return_dict=False)[0]

    conditionings = [
        ours.condition(prompt({name: a[i : i + 1] for name, a in given.items()}), (2, 6, 5))
        for i in (0, 1)
    ]
    uncond, cond = ours.precompute(conditionings, times, release=True)
    x, sigmas = mx.array(latents), [*(time / 1000 for time in times), 0.0]
    for i, time in enumerate(times):
        both = mx.concatenate([x, mx.array(still)], axis=-1)
        without, with_text = ours(both, time, uncond), ours(both, time, cond)
        velocity = without + guidance * (with_text - without)
        x = x + (sigmas[i + 1] - sigmas[i]) * velocity
    assert relative(x, z.numpy()) <= 1e-3


def test_a_whole_super_resolution():
    """Six steps with diffusers' scheduler and the original's channels, cut out as it cuts them."""
    channels, size = 4, (2, 6, 5)
    ours, theirs = pair(0.1, seed=4, in_dim=3 * channels + 2)
    given, key = inputs(ours.config, [7], None, True, seed=2), mx.random.key(5)
    small, image = normal(1, 2, 4, 3, channels, seed=1), normal(1, *size, channels + 1, seed=2)
    video = small_video(mx.array(small), *size[1:], lambda x: 2 * x, key, mx.array(image))

    frames = torch.tensor(small[0]).movedim(-1, 1)
    low = torch.nn.functional.interpolate(frames, size=size[1:], mode="bilinear")
    low = low.movedim(1, -1)[None].numpy() * 2
    low = 0.3 * low + 0.7 * np.array(mx.random.normal((1, *size, channels), key=key))
    told = np.concatenate([image, low, np.ones((1, *size, 1), np.float32)], axis=-1)
    zeroed = told.copy()
    zeroed[..., channels + 1 : 2 * channels + 1] = 0
    zeroed[..., 2 * channels + 1] = 0

    scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, 7)[:-1])
    times = [float(time) for time in scheduler.timesteps]
    z = torch.tensor(normal(1, *size, channels, seed=3))
    (condition,) = ours.precompute([ours.condition(prompt(given), size)], times, release=True)
    x, sigmas = mx.array(z.numpy()), [*(time / 1000 for time in times), 0.0]
    for i, time in enumerate(times):
        beside = told if time >= 700 else zeroed
        both = np.concatenate([z.numpy(), beside], axis=-1)
        v = torch.tensor(diffusers_velocity(theirs, both, np.array([time]), **given))
        z = scheduler.step(v, torch.tensor(time), z, return_dict=False)[0]
        read = mx.concatenate([x, video.channels(time)], axis=-1)
        x = x + (sigmas[i + 1] - sigmas[i]) * ours(read, time, condition)
    assert relative(x, z.numpy()) <= 1e-3

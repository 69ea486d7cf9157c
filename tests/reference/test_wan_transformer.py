"""Our transformer against diffusers', live, over head sizes, channels, texts, times and batches."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from tiny import WAN

from mlx_wan.bench.networks_wan import diffusers_model, diffusers_velocity, random_weights
from mlx_wan.models.wan import WanConfig, WanTransformer

pytestmark = pytest.mark.reference

VARIANTS: dict[str, dict[str, Any]] = {
    "t2v": {"in_dim": 16, "out_dim": 16},
    "i2v": {"in_dim": 36, "out_dim": 16},
    "ti2v": {"in_dim": 48, "out_dim": 48},
    "small": {"in_dim": 4, "out_dim": 4, "cross_attn_norm": False, "text_dim": 40, "freq_dim": 64},
}


def both(config: dict[str, Any], size, timestep, rows: int, seed: int) -> tuple[Any, Any]:
    """(ours, diffusers') velocity for random latents (B, *size, C) and a prompt of `rows` rows."""
    weights = random_weights(config, seed)
    random = np.random.RandomState(seed)
    times = np.array(timestep)
    latents = random.standard_normal((len(times), *size, config["in_dim"])).astype(np.float32)
    prompt = random.standard_normal((len(times), rows, config["text_dim"])).astype(np.float32)
    prompt[1:, max(1, rows // 3) :] = 0
    ours = WanTransformer(WanConfig(**config))
    ours.load_weights([(name, mx.array(value)) for name, value in weights.items()])
    conditioning = ours.condition(mx.array(prompt), ours.grid(latents.shape))
    theirs = diffusers_velocity(
        diffusers_model(config, weights), latents, times, prompt, ours.config.text_len
    )
    return np.array(ours(mx.array(latents), times, conditioning)), theirs


def agree(pair: tuple[np.ndarray, np.ndarray]) -> bool:
    ours, theirs = pair
    return ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head_dim", [12, 32, 64, 128])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("per_token", [False, True])
def test_forward(variant, head_dim, batch, per_token):
    config = WAN | VARIANTS[variant] | {"dim": 2 * head_dim}
    size = (3, 8, 6)
    timestep: Any = [999, 124][:batch]
    if per_token:  # an image's frame at time 0, as TI2V has it
        timestep = [[0] * 12 + [t] * 24 for t in timestep]
    assert agree(both(config, size, timestep, rows=9, seed=head_dim + batch))


@pytest.mark.parametrize(("text_len", "rows"), [(512, 512), (512, 1), (128, 128), (128, 40)])
def test_text_lengths(text_len, rows):
    config = WAN | {"text_len": text_len}
    assert agree(both(config, (2, 4, 4), [500, 7], rows, seed=rows))


@pytest.mark.parametrize("patch_size", [(1, 1, 1), (3, 2, 1), (1, 4, 2)])
def test_patch_sizes(patch_size):
    assert agree(both(WAN | {"patch_size": patch_size}, (3, 8, 6), [500], 9, seed=3))


def test_several_row_chunks_and_attention_tiles():
    """More tokens than one chunk of the hidden layer or one tile of scores has, on the CPU."""
    config = WAN | {"num_layers": 1}
    assert agree(both(config, (3, 54, 84), [[0] * 1134 + [900] * 2268], 9, seed=4))

"""HunyuanVideo 1.5's VAE against diffusers', live, on tiny random weights."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan_vae
import torch

from mlx_wan.bench.layouts import from_layout, to_layout
from mlx_wan.bench.networks_hunyuan_vae import diffusers_vae, our_vae, run_diffusers
from mlx_wan.bench.networks_mochi import load
from mlx_wan.bench.networks_vae import random_weights

pytestmark = pytest.mark.reference

CONFIGS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "original counts": {"num_res_blocks": 2, "block_out_channels": (8, 8, 16, 32, 32)},
    "narrow": {"block_out_channels": (8, 8, 16, 16, 16)},
    "one width": {"block_out_channels": (32,) * 5, "z_dim": 16, "scaling_factor": 0.4},
    "wide": {"block_out_channels": (8, 32, 32, 32, 128), "z_dim": 32},
    "stride 2x8x8": {
        "block_out_channels": (16, 32, 32, 32),
        "temporal_downsample": (False, False, True),
    },
    "stride 4x4x4": {"block_out_channels": (16, 32, 32), "temporal_downsample": (True, True)},
}


def relative(ours: Any, theirs: np.ndarray) -> float:
    ours = np.array(ours)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def pair(name: str, seed: int = 0) -> tuple[Any, Any]:
    """Our network and diffusers' with the same weights, all of them random."""
    config = tiny_hunyuan_vae.SIZES | CONFIGS[name]
    ours = our_vae(config)
    weights = random_weights(ours, seed)
    load(ours, weights)
    return ours, diffusers_vae(config, weights)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 5, 9, 13])
@pytest.mark.parametrize("name", CONFIGS)
def test_vae(name, frames):
    ours, theirs = pair(name, seed=frames)
    size = (32, 48) if name == "tiny" else (16, 32)
    video = normal(1, frames, *size, 3, seed=frames).clip(-1, 1)
    expected = run_diffusers(theirs, "encode", video)
    assert relative(ours.encode(mx.array(video)), expected) <= 1e-4
    latents = normal(*expected.shape, seed=frames)
    expected = run_diffusers(theirs, "decode", latents)
    assert relative(ours.decode(mx.array(latents)), expected) <= 1e-4


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (3, 5)])
def test_sizes(size):
    ours, theirs = pair("tiny", seed=3)
    latents = normal(1, 3, *size, 4)
    expected = run_diffusers(theirs, "decode", latents)
    assert relative(ours.decode(mx.array(latents)), expected) <= 1e-4


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [
        ((5, 6), 4, 1),  # 2 x 2, the last ones small
        ((9, 3), 4, 1),  # one column
        ((5, 8), 4, 2),  # the last column within what the one before it shows
        ((4, 4), 4, 1),  # no side is longer: whole
    ],
)
def test_tiled(size, tile, overlap):
    """diffusers' tile sizes are in pixels, of which a latent has 16."""
    ours, theirs = pair("narrow", seed=4)
    latents = normal(1, 2, *size, 4)
    theirs.enable_tiling(16 * tile, 16 * tile, tile, tile, overlap / tile)
    expected = run_diffusers(theirs, "decode", latents)
    assert relative(ours.decode(mx.array(latents), tile=tile, overlap=overlap), expected) <= 1e-4
    whole = np.array(ours.decode(mx.array(latents)))
    assert (np.abs(whole - expected).max() > 0.01) == (max(size) > tile)


def test_a_batch_is_its_videos():
    """diffusers' fails for batches; ours is compared with its single videos."""
    ours, theirs = pair("tiny", seed=5)
    video = normal(2, 5, 32, 32, 3).clip(-1, 1)
    encoded = ours.encode(mx.array(video))
    decoded = ours.decode(encoded)
    for i in range(2):
        expected = run_diffusers(theirs, "encode", video[i : i + 1])
        assert relative(encoded[i : i + 1], expected) <= 1e-4
        expected = run_diffusers(theirs, "decode", np.array(encoded[i : i + 1]))
        assert relative(decoded[i : i + 1], expected) <= 1e-4


def test_original_names():
    """diffusers has their tensors under other names only; the original's, written out here."""
    _, theirs = pair("original counts", seed=6)
    original = {original_name(name): a.numpy() for name, a in theirs.state_dict().items()}
    arrays = from_layout("hunyuan_vae", "original", original)
    assert len(arrays) == len(original)
    assert to_layout("hunyuan_vae", "original", arrays).keys() == original.keys()
    ours = our_vae(tiny_hunyuan_vae.SIZES | CONFIGS["original counts"])
    load(ours, arrays)
    video = normal(1, 5, 32, 32, 3).clip(-1, 1)
    expected = run_diffusers(theirs, "encode", video)
    assert relative(ours.encode(mx.array(video)), expected) <= 1e-4
    expected = run_diffusers(theirs, "decode", expected)
    assert relative(ours.decode(ours.encode(mx.array(video))), expected) <= 1e-4


def original_name(name: str) -> str:
    for theirs, original in (
        ("down_blocks.", "down."),
        ("up_blocks.", "up."),
        ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"),
        ("mid_block.attentions.0", "mid.attn_1"),
        (".resnets.", ".block."),
        (".downsamplers.0.", ".downsample."),
        (".upsamplers.0.", ".upsample."),
        (".to_q.", ".q."),
        (".to_k.", ".k."),
        (".to_v.", ".v."),
    ):
        name = name.replace(theirs, original)
    return name


def test_half_precision_is_close():
    """As published: float16 weights; the reference's in bfloat16 is no better."""
    ours, theirs = pair("tiny", seed=7)
    latents = normal(1, 3, 2, 3, 4)
    expected = run_diffusers(theirs, "decode", latents)
    ours.set_dtype(mx.bfloat16)
    halved = np.abs(np.array(ours.decode(mx.array(latents))) - expected).mean()
    z = torch.tensor(latents / theirs.config["scaling_factor"]).movedim(-1, 1)
    with torch.inference_mode():
        out = theirs.to(torch.bfloat16).decode(z.bfloat16()).sample.float().clamp(-1, 1)
    assert halved <= 2 * np.abs(out.movedim(1, -1).numpy() - expected).mean()

"""Both VAEs against diffusers' AutoencoderKLWan, live, on tiny random weights."""

from dataclasses import asdict

import mlx.core as mx
import numpy as np
import pytest

from mlx_wan.bench.networks_vae import diffusers_vae, our_vae, random_weights, run_diffusers

pytestmark = pytest.mark.reference

TINY_21 = {"base_dim": 8}
TINY_22 = {"base_dim": 8, "decoder_base_dim": 16}


def odd(z_dim, **options):
    rng = np.random.default_rng(z_dim)
    mean, std = rng.standard_normal(z_dim), rng.uniform(0.5, 2, z_dim)
    return options | {
        "z_dim": z_dim,
        "latents_mean": tuple(float(value) for value in mean),
        "latents_std": tuple(float(value) for value in std),
    }


ODD = [
    (21, odd(4, base_dim=6, dim_mult=(1, 2, 3), temporal_downsample=(False, True))),
    (21, odd(5, base_dim=8, num_res_blocks=1)),
    (21, odd(16, base_dim=4, num_res_blocks=3)),
    (22, odd(12, base_dim=4, decoder_base_dim=6, num_res_blocks=3)),
    (22, odd(2, base_dim=8, decoder_base_dim=4, num_res_blocks=1, dim_mult=(2, 2, 4, 4))),
]


def compare(vae, options, latent_frames, seed):
    """Relative largest differences of encode and decode."""
    ours = our_vae(vae, options)
    weights = random_weights(ours, seed)
    ours.load_weights([(name, mx.array(value)) for name, value in weights.items()])
    theirs = diffusers_vae(vae, asdict(ours.config), weights)
    rng = np.random.default_rng(seed)
    t, h, w = ours.config.stride
    frames = rng.uniform(-1, 1, (1, 1 + t * (latent_frames - 1), 5 * h, 3 * w, 3))
    latents = rng.standard_normal((1, latent_frames, 5, 3, ours.config.z_dim))
    errors = []
    for task, given in (("encode", frames), ("decode", latents)):
        given = given.astype(np.float32)
        a, b = np.array(getattr(ours, task)(mx.array(given))), run_diffusers(theirs, task, given)
        assert a.shape == b.shape
        errors.append(np.abs(a - b).max() / np.abs(b).max())
    return errors


@pytest.mark.parametrize(("vae", "options"), [(21, TINY_21), (22, TINY_22)])
@pytest.mark.parametrize("frames", [1, 5, 9, 13, 17])
def test_frames(vae, options, frames):
    assert max(compare(vae, options, 1 + (frames - 1) // 4, seed=frames)) <= 1e-4


@pytest.mark.parametrize(("vae", "options"), ODD)
def test_odd_configs(vae, options):
    assert max(compare(vae, options, latent_frames=3, seed=1)) <= 1e-4

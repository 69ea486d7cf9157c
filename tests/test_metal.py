"""What only Apple silicon can confirm: the forms for Metal give what the CPU backend gives."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_map

from mlx_wan.attention import dispatch_budget, plan_pieces
from mlx_wan.models.umt5 import UMT5Config, UMT5Encoder
from mlx_wan.models.vae_wan21 import WanVAE21, WanVAE21Config
from mlx_wan.models.wan import WanConfig, WanTransformer

pytestmark = pytest.mark.metal
CONFIG = WanConfig(
    dim=128, ffn_dim=256, num_heads=2, num_layers=2, in_dim=16, out_dim=16, text_dim=32
)


def on(device, work) -> np.ndarray:
    """What `work` computes with this as the default device."""
    before = mx.default_device()
    mx.set_default_device(device)
    try:
        return np.array(work().astype(mx.float32))
    finally:
        mx.set_default_device(before)


def relative(ours, expected) -> float:
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


def forward(network, timestep):
    def work() -> mx.array:
        prompt = mx.random.normal((1, 7, 32), key=mx.random.key(1))
        latents = mx.random.normal((1, 3, 8, 12, 16), key=mx.random.key(2))
        velocity = network(latents, timestep, network.condition(prompt, (3, 4, 6)))
        assert velocity.dtype == mx.float32
        return velocity

    return work


def widened(network):
    """The same weights in float32, for the CPU backend."""
    plain = WanTransformer(CONFIG)
    plain.update(tree_map(lambda value: value.astype(mx.float32), network.parameters()))
    return plain


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
def test_the_transformer_agrees_with_the_cpu(dtype, per_token):
    network = WanTransformer(CONFIG)
    network.set_dtype(dtype)
    timestep = np.repeat([[0.0, 700.0, 700.0]], 24, axis=1).reshape(1, -1) if per_token else 700.0
    expected = on(mx.cpu, forward(widened(network), timestep))
    most = 5e-3 if dtype == mx.float32 else 5e-2
    assert relative(on(mx.gpu, forward(network, timestep)), expected) < most


def test_a_quantised_transformer_agrees_with_what_it_stands_for():
    network = WanTransformer(CONFIG)
    network.set_dtype(mx.bfloat16)
    expected = on(mx.cpu, forward(widened(network), 700.0))

    def inside_blocks(path: str, module: nn.Module) -> bool:
        return path.startswith("blocks.") and isinstance(module, nn.Linear)

    nn.quantize(network, group_size=64, bits=8, class_predicate=inside_blocks)
    assert relative(on(mx.gpu, forward(network, 700.0)), expected) < 5e-2


def test_the_text_encoder_agrees_with_the_cpu():
    encoder = UMT5Encoder(UMT5Config(50, 64, 64, 128, num_heads=2, num_layers=2))
    ids = mx.array([list(range(1, 41))])
    assert relative(*(on(device, lambda: encoder(ids)) for device in (mx.gpu, mx.cpu))) < 5e-3


def test_the_vae_agrees_with_the_cpu():
    vae = WanVAE21(WanVAE21Config(base_dim=16))
    keys = iter(mx.random.split(mx.random.key(0), 1000))
    noisy = tree_map(
        lambda value: value + 0.1 * mx.random.normal(value.shape, key=next(keys)), vae.parameters()
    )
    vae.update(noisy)
    latents = mx.random.normal((1, 3, 4, 6, 16), key=mx.random.key(3))
    made = [on(device, lambda: vae.decode(latents)) for device in (mx.gpu, mx.cpu)]
    assert np.abs(made[0] - made[1]).mean() < 5e-3


def test_attention_at_720p_is_submitted_in_pieces():
    budget = dispatch_budget()
    assert budget is not None
    heads, rows = plan_pieces(1, 40, 75_600, 75_600, 128, budget)
    assert heads < 40 and rows < 75_600
    assert 4 * heads * rows * 75_600 * 128 <= budget

"""Both VAEs: recorded reference outputs, streaming against the whole sequence, memory, errors."""

import re
import zlib
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from peak_memory import decode_peak, encode_peak

from mlx_wan.cpu import conv_3x3, is_cpu
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.models import vae_wan21, vae_wan22, vae_wan_blocks, vae_wan_stream
from mlx_wan.models.vae_wan21 import WanVAE21, WanVAE21Config
from mlx_wan.models.vae_wan22 import WanVAE22, WanVAE22Config
from mlx_wan.models.vae_wan_blocks import (
    AttentionBlock,
    Downsample,
    ResidualBlock,
    Upsample,
    average_down,
    duplicate_up,
)

RECORDED = Path(__file__).parent / "recorded"
TINY = {
    "vae21": WanVAE21Config(base_dim=8),
    "vae22": WanVAE22Config(base_dim=8, decoder_base_dim=16),
    "vae21-odd": WanVAE21Config(
        base_dim=6,
        z_dim=4,
        dim_mult=(1, 2, 3),
        num_res_blocks=1,
        temporal_downsample=(True, False),
        latents_mean=(0.1, -0.2, 0.3, 0.0),
        latents_std=(1.0, 2.0, 0.5, 1.5),
    ),
    "vae22-odd": WanVAE22Config(
        base_dim=4,
        decoder_base_dim=6,
        z_dim=2,
        num_res_blocks=3,
        temporal_downsample=(True, False, False),  # where the decoder's width changes too
        latents_mean=(0.1, -0.2),
        latents_std=(1.0, 2.0),
    ),
}


def tiny_vae(name):
    """A tiny VAE whose weights depend on nothing but the tensors' names and shapes."""
    config = TINY[name]
    vae = WanVAE21(config) if name.startswith("vae21") else WanVAE22(config)
    weights = []
    for key, value in tree_flatten(vae.parameters()):
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        std = np.prod(value.shape[1:]) ** -0.5 if value.ndim > 1 else 0.2
        array = std * rng.standard_normal(value.shape) + key.endswith("gamma")
        weights.append((key, mx.array(array.astype(np.float32))))
    vae.load_weights(weights)
    return vae


def video(shape, seed=0):
    return mx.random.uniform(-1, 1, (*shape, 3), key=mx.random.key(seed))


def relative(a, b):
    assert a.shape == b.shape
    return float(mx.abs(a - b).max() / mx.abs(b).max())


# --- against the originals -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae21", "vae22"])
def test_recorded_reference_outputs(name):
    recorded = np.load(RECORDED / f"vae_{name}.npz")
    vae = tiny_vae(name)
    latents = vae.encode(mx.array(recorded["frames"].astype(np.float32)))
    assert relative(latents, mx.array(recorded["encoded"])) < 1e-4
    frames = vae.decode(mx.array(recorded["latents"]))
    assert relative(frames, mx.array(recorded["decoded"])) < 1e-4
    assert 0.01 < float((mx.abs(frames) == 1).mean()) < 0.9  # clamped, but not all of it


@pytest.mark.parametrize(
    ("vae", "tensors", "parameters"),
    [
        (WanVAE21(WanVAE21Config()), 194, 126_892_531),
        (WanVAE22(WanVAE22Config()), 196, 704_688_668),
    ],
)
def test_the_official_sizes(vae, tensors, parameters):
    sizes = [value.size for _, value in tree_flatten(vae.parameters())]
    assert (len(sizes), sum(sizes)) == (tensors, parameters)
    assert vae.config.stride == ((4, 8, 8) if tensors == 194 else (4, 16, 16))


# --- streaming against the whole sequence ---------------------------------------------------------


def whole_conv(layer, x):
    x = mx.pad(x, [(0, 0), (layer.weight.shape[1] - 1, 0), (0, 0), (0, 0), (0, 0)])
    return mx.conv3d(x, layer.weight, padding=(0, 1, 1)) + layer.bias


def whole_norm(layer, x):
    length = mx.sqrt(mx.sum(x * x, axis=-1, keepdims=True))
    return x / mx.maximum(length, 1e-12) * x.shape[-1] ** 0.5 * layer.gamma


def whole_time_conv(layer, x, stride=1):
    return mx.conv3d(x, layer.weight, stride=(stride, 1, 1)) + layer.bias


def whole_layer(layer, x):
    """One layer on the whole video with plain operations."""
    b, t, h, w, c = x.shape
    if isinstance(layer, ResidualBlock):
        y = whole_conv(layer.conv1, nn.silu(whole_norm(layer.norm1, x)))
        y = whole_conv(layer.conv2, nn.silu(whole_norm(layer.norm2, y)))
        if "shortcut" in layer:
            x = mx.conv3d(x, layer.shortcut.weight) + layer.shortcut.bias
        return x + y
    if isinstance(layer, AttentionBlock):
        rows = whole_norm(layer.norm, x).reshape(b * t, h * w, c)
        qkv = rows @ layer.to_qkv.weight.reshape(3 * c, c).T + layer.to_qkv.bias
        q, k, v = mx.split(qkv, 3, axis=-1)
        y = mx.softmax(q @ k.swapaxes(1, 2) * c**-0.5, axis=-1) @ v
        return x + (y @ layer.proj.weight.reshape(c, c).T + layer.proj.bias).reshape(x.shape)
    if isinstance(layer, Downsample):
        x = mx.pad(x.flatten(0, 1), [(0, 0), (0, 1), (0, 1), (0, 0)])
        x = mx.conv2d(x, layer.conv.weight, stride=2) + layer.conv.bias
        x = x.reshape(b, t, h // 2, w // 2, -1)
        if "time_conv" in layer and t > 1:
            x = mx.concatenate([x[:, :1], whole_time_conv(layer.time_conv, x, 2)], axis=1)
        return x
    if isinstance(layer, Upsample):
        if "time_conv" in layer and t > 1:
            later = mx.pad(x[:, 1:], [(0, 0), (2, 0), (0, 0), (0, 0), (0, 0)])
            later = whole_time_conv(layer.time_conv, later).reshape(b, t - 1, h, w, 2, c)
            later = later.transpose(0, 1, 4, 2, 3, 5).reshape(b, -1, h, w, c)
            x = mx.concatenate([x[:, :1], later], axis=1)
        x = mx.repeat(mx.repeat(x, 2, axis=2), 2, axis=3)
        y = mx.conv2d(x.flatten(0, 1), layer.conv.weight, padding=1) + layer.conv.bias
        return y.reshape(*x.shape[:4], -1)
    given = x
    for block in layer.blocks:
        x = whole_layer(block, x)
    if isinstance(layer, vae_wan22.DownStage):
        if given.shape[1] % layer.factors[0]:
            given = mx.pad(given, [(0, 0), (1, 0), (0, 0), (0, 0), (0, 0)])
        return x + average_down(given, layer.out_dim, *layer.factors)
    if layer.factors:
        beside = duplicate_up(given, layer.out_dim, *layer.factors, first=False)
        x = x + beside[:, layer.factors[0] - 1 :]
    return x


def whole_network(network, x):
    first, *layers, head = network.layers()
    x = whole_conv(first, x)
    for layer in layers:
        x = whole_layer(layer, x)
    return whole_conv(head.conv, nn.silu(whole_norm(head.norm, x)))


def whole_encode(vae, frames):
    moments = whole_network(vae.encoder, vae.to_patches(frames))
    mean = (mx.conv3d(moments, vae.conv1.weight) + vae.conv1.bias)[..., : vae.config.z_dim]
    return (mean - mx.array(vae.config.latents_mean)) / mx.array(vae.config.latents_std)


def whole_decode(vae, latents):
    z = latents * mx.array(vae.config.latents_std) + mx.array(vae.config.latents_mean)
    x = whole_network(vae.decoder, mx.conv3d(z, vae.conv2.weight) + vae.conv2.bias)
    return mx.clip(vae.from_patches(x), -1, 1)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("latent_frames", [1, 2, 4])
def test_streaming_is_the_whole(name, latent_frames):
    vae = tiny_vae(name)
    t, h, w = vae.config.stride
    frames = video((1, 1 + t * (latent_frames - 1), 2 * h, 3 * w))
    latents = vae.encode(frames)
    assert latents.shape == (1, latent_frames, 2, 3, vae.config.z_dim)
    assert relative(latents, whole_encode(vae, frames)) < 1e-5
    decoded = vae.decode(latents)
    assert decoded.shape == frames.shape
    assert relative(decoded, whole_decode(vae, latents)) < 1e-5


@pytest.mark.parametrize("name", ["vae21", "vae22"])
def test_any_portions_give_the_same(name, monkeypatch):
    vae = tiny_vae(name)
    frames = video((1, 13, 16, 32))
    latents = vae.encode(frames)
    parts = (np.array(frames[:, a:b]) for a, b in ((0, 3), (3, 4), (4, 12), (12, 13)))
    assert mx.array_equal(vae.encode(parts), latents)
    chunks = list(vae.decode_chunks(latents))
    assert [chunk.shape[1] for chunk in chunks] == [1, 4, 4, 4]
    decoded = mx.concatenate(chunks, axis=1)
    chunks = list(vae.decode_chunks(latents, group=2))
    assert [chunk.shape[1] for chunk in chunks] == [1, 8, 4]
    assert relative(mx.concatenate(chunks, axis=1), decoded) < 1e-5
    monkeypatch.setattr(
        vae_wan_stream, "WORKING_BYTES", 1
    )  # frames one by one where they are large
    assert relative(vae.encode(frames), latents) < 1e-5
    assert relative(vae.decode(latents), decoded) < 1e-5


def test_a_batch_is_its_videos():
    vae = tiny_vae("vae21")
    frames = video((2, 5, 16, 24))
    latents = vae.encode(frames)
    for i in (0, 1):
        assert relative(latents[i : i + 1], vae.encode(frames[i : i + 1])) < 1e-5
        decoded = vae.decode(latents)[i : i + 1]
        assert relative(decoded, vae.decode(latents[i : i + 1])) < 1e-5


# --- the same arithmetic on every device --------------------------------------------------------


@pytest.mark.parametrize("name", ["vae21", "vae22"])
def test_the_form_for_gpus_agrees_with_the_cpus(name, monkeypatch):
    vae = tiny_vae(name)
    frames = video((2, 5, 16, 32))
    latents = vae.encode(frames)
    decoded = vae.decode(latents)
    monkeypatch.setattr(vae_wan_blocks, "is_cpu", lambda: False)
    assert relative(vae.encode(frames), latents) < 1e-5
    assert relative(vae.decode(latents), decoded) < 3e-5


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (21, 30), (50, 64), (9, 200)])
@pytest.mark.parametrize(("channels", "out"), [(3, 8), (16, 3)])
def test_winograd_is_the_convolution(size, channels, out):
    keys = mx.random.split(mx.random.key(1), 4)
    x = mx.random.normal((2, 3, *size, channels), key=keys[0])
    past = mx.random.normal((2, 2, *size, channels), key=keys[1])
    weight = mx.random.normal((out, 3, 3, 3, channels), key=keys[2])
    bias = mx.random.normal((out,), key=keys[3])
    expected = mx.conv3d(mx.concatenate([past, x], axis=1), weight, padding=(0, 1, 1)) + bias
    assert relative(conv_3x3(x, weight, bias, past), expected) < 3e-6
    flat = mx.conv3d(x, weight[:, :1], padding=(0, 1, 1))
    assert relative(conv_3x3(x, weight[:, :1]), flat) < 3e-6


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 48)])
def test_upsample_conv_is_nearest_then_convolution(size, monkeypatch):
    x = mx.random.normal((2, *size, 6), key=mx.random.key(2))
    weight = mx.random.normal((4, 3, 3, 6), key=mx.random.key(3))
    enlarged = mx.repeat(mx.repeat(x, 2, axis=1), 2, axis=2)
    expected = mx.conv2d(enlarged, weight, padding=1)
    assert relative(vae_wan_blocks.upsample_conv(x, weight), expected) < 1e-5
    monkeypatch.setattr(vae_wan_blocks, "is_cpu", lambda: False)
    assert relative(vae_wan_blocks.upsample_conv(x, weight), expected) < 1e-5


def test_half_precision_weights_stay_so():
    vae = tiny_vae("vae21")
    frames = video((1, 5, 16, 24))
    latents, decoded = vae.encode(frames), vae.decode(vae.encode(frames))
    vae.set_dtype(mx.bfloat16)
    kept = vae_wan_blocks.History()
    vae.decoder(vae.conv2(latents[:, :1].astype(mx.bfloat16)), kept)
    assert {frame.dtype for frame in kept._frames.values()} == {mx.bfloat16}
    halved = vae.encode(frames)
    assert halved.dtype == mx.float32 and relative(halved, latents) < 0.1
    assert float(mx.abs(vae.decode(latents) - decoded).mean()) < 0.05


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae21", "vae22"])
def test_memory_is_flat_and_as_estimated(name):
    vae = tiny_vae(name)
    module = vae_wan21 if name == "vae21" else vae_wan22
    for measure, estimate in (
        (decode_peak, module.decode_memory(vae.config, 80, 80)),
        (encode_peak, module.encode_memory(vae.config, 80, 80)),
    ):
        short, long = measure(vae, 9, 80), measure(vae, 25, 80)
        assert long <= 1.15 * short
        if is_cpu():  # Metal frees a block's tensors when its commands have run, a little later
            assert 0.7 < estimate / long < 1.3


@pytest.mark.parametrize("limit", [12345, 8 << 30])
def test_a_pass_leaves_the_cache_limit_alone(limit):
    vae = tiny_vae("vae21")
    before = mx.set_cache_limit(limit)
    try:
        chunks = vae.decode_chunks(mx.zeros((1, 2, 2, 2, 16)))
        next(chunks)
        del chunks  # left half way
        vae.encode(video((1, 1, 8, 8)))
        assert mx.set_cache_limit(before) == limit
    finally:
        mx.set_cache_limit(before)


# --- what people get wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "message", "hint"),
    [
        ((1, 4, 16, 16, 3), "num_frames is 4; this model encodes 4n+1 frames", "try 1 or 5"),
        ((1, 8, 16, 16, 3), "num_frames is 8", "try 5 or 9"),
        ((1, 1, 20, 16, 3), "frames are 16x20; this model encodes multiples of 8x8", "try 16x16"),
        ((1, 1, 16, 9, 3), "frames are 9x16", "try 8x16"),
        ((1, 1, 4, 16, 3), "frames are 16x4", "try 16x8"),
        ((1, 1, 16, 16, 4), "frames have the shape (1, 1, 16, 16, 4)", "batch, frames"),
        ((1, 16, 16, 3), "frames have the shape (1, 16, 16, 3)", "batch, frames"),
        ((1, 0, 16, 16, 3), "num_frames is 0", "try 1 or 5"),
        ((1, 1, 0, 16, 3), "frames are 16x0", "try 16x8"),
    ],
)
def test_encode_refuses(shape, message, hint):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        tiny_vae("vae21").encode(mx.zeros(shape))
    assert hint in (caught.value.hint or "")


def test_encode_refuses_no_frames():
    with pytest.raises(UsageError, match="num_frames is 0"):
        tiny_vae("vae21").encode(iter([]))


@pytest.mark.parametrize("shape", [(1, 2, 2, 16), (1, 1, 2, 2, 4), (1, 0, 2, 2, 16)])
def test_decode_refuses(shape):
    with pytest.raises(UsageError, match="latents have the shape") as caught:
        tiny_vae("vae21").decode(mx.zeros(shape))
    assert "(batch, frames, height, width, 16)" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim_mult": (1, 2)},
        {"dim_mult": ()},
        {"z_dim": 4},
        {"base_dim": 0},
        {"num_res_blocks": -1},
        {"num_res_blocks": 10**9},  # would take forever to build
        {"base_dim": "8"},
        {"latents_std": (0.0,) * 16},
        {"dim_mult": (1, 2, 4, 4.5)},
    ],
)
def test_a_config_that_does_not_fit_together(wrong):
    with pytest.raises(ModelError, match="the VAE's config"):
        WanVAE21Config(**wrong)


def test_the_shortcuts_of_the_22_vae_need_widths_that_divide():
    with pytest.raises(ModelError, match="the VAE's config"):
        WanVAE22Config(dim_mult=(1, 2, 4, 8))

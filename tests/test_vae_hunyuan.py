"""HunyuanVideo 1.5's VAE: recorded outputs, streaming against the whole, tiles, memory, errors."""

import re
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import tiny_hunyuan_vae
from mlx.utils import tree_flatten
from peak_memory import decode_peak, encode_peak

from mlx_wan import attention, cpu
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.models import vae_mochi_blocks, vae_wan_blocks, vae_wan_stream
from mlx_wan.models.vae_hunyuan import (
    HunyuanVAE,
    HunyuanVAEConfig,
    decode_memory,
    decode_share,
    decode_work,
    encode_memory,
    encode_share,
    encode_work,
)
from mlx_wan.models.vae_hunyuan_blocks import CausalAttention, History, to_channels, to_pixels
from mlx_wan.models.vae_hunyuan_tiles import fade_in
from mlx_wan.roofline import work

RECORDED = Path(__file__).parent / "recorded"


def video(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.uniform(-1, 1, (*shape, 3), key=mx.random.key(seed))


def normal(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed))


def relative(a: mx.array, b: mx.array) -> float:
    assert a.shape == b.shape
    return float(mx.abs(a - b).max() / mx.abs(b).max())


# --- against diffusers -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hunyuan_vae", "hunyuan_vae_image"])
def test_recorded_reference_outputs(name):
    recorded = np.load(RECORDED / f"{name}.npz")
    vae = tiny_hunyuan_vae.vae()
    latents = vae.encode(mx.array(recorded["frames"].astype(np.float32)))
    assert relative(latents, mx.array(recorded["encoded"])) < 1e-4
    latents = mx.array(recorded["latents"])
    frames = vae.decode(latents)
    assert relative(frames, mx.array(recorded["decoded"])) < 1e-4
    assert 0.01 < float((mx.abs(frames) == 1).mean()) < 0.9  # clamped, but not all of it
    tiled = vae.decode(latents, tile=2, overlap=1)
    assert relative(tiled, mx.array(recorded["tiled"])) < 1e-4
    assert relative(tiled, frames) > 0.01  # the attention sees one tile only


def test_the_official_sizes():
    """Made lazily, nothing is allocated."""
    vae = HunyuanVAE(HunyuanVAEConfig())
    assert sum(value.size for _, value in tree_flatten(vae.parameters())) == 1_260_634_115
    assert vae.config.stride == (4, 16, 16) and vae.config.z_dim == 32
    assert abs(encode_share(vae.config) + decode_share(vae.config) - 1) < 1e-12
    assert 0.6 < decode_share(vae.config) < 0.8


# --- streaming against the whole sequence ------------------------------------------------------


def whole_conv(layer, x):
    x = mx.pad(x, [(0, 0), (2, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    return mx.conv3d(x, layer.weight) + layer.bias


def whole_norm(layer, x):
    return x / mx.linalg.norm(x, axis=-1, keepdims=True) * x.shape[-1] ** 0.5 * layer.gamma


def whole_block(layer, x):
    y = whole_conv(layer.conv1, nn.silu(whole_norm(layer.norm1, x)))
    return x + whole_conv(layer.conv2, nn.silu(whole_norm(layer.norm2, y)))


def whole_attention(layer, x):
    """With the mask that is never made there."""
    b, t, h, w, c = x.shape
    tokens = whole_norm(layer.norm, x).reshape(b, -1, c)
    q, k, v = (tokens @ p.weight.reshape(c, c).T + p.bias for p in (layer.q, layer.k, layer.v))
    frame = np.arange(t).repeat(h * w)
    mask = mx.array(np.where(frame[None] <= frame[:, None], 0, -1e9).astype(np.float32))
    scores = mx.softmax(q @ k.swapaxes(1, 2) * c**-0.5 + mask, axis=-1)
    return x + layer.proj_out((scores @ v).reshape(x.shape))


def whole_middle(layers, x):
    before, between, after = layers
    return whole_block(after, whole_attention(between, whole_block(before, x)))


def whole_down(layer, x):
    y = whole_conv(layer.conv, x)
    parts = [(y, x)]
    if layer.temporal:
        parts = [(y[:, :1], x[:, :1]), (y[:, 1:], x[:, 1:])]
    made = []
    for i, (part, beside) in enumerate(parts):
        if not part.size:
            continue
        frames = 2 if layer.temporal and i else 1
        part, beside = to_channels(part, frames), to_channels(beside, frames)
        if layer.temporal and not i:
            part = mx.concatenate([part, part], axis=-1)
        made.append(part + beside.reshape(*part.shape, -1).mean(axis=-1))
    return mx.concatenate(made, axis=1)


def whole_up(layer, x):
    y = whole_conv(layer.conv, x)
    if not layer.temporal:
        y = to_pixels(y, 1)
        return y + mx.repeat(to_pixels(x, 1), 4 * y.shape[-1] // x.shape[-1], axis=-1)
    dim = y.shape[-1] // 8
    first, beside = to_pixels(y[:, :1], 1)[..., :dim], to_pixels(x[:, :1], 1)
    made = [first + mx.repeat(beside, 4 * dim // x.shape[-1], axis=-1)]
    if x.shape[1] > 1:
        beside = mx.repeat(to_pixels(x[:, 1:], 2), 8 * dim // x.shape[-1], axis=-1)
        made.append(to_pixels(y[:, 1:], 2) + beside)
    return mx.concatenate(made, axis=1)


def whole_head(layer, x):
    return whole_conv(layer.conv, nn.silu(whole_norm(layer.norm, x)))


def whole_encode(vae, frames):
    x = whole_conv(vae.encoder.conv_in, frames)
    for stage in vae.encoder.down:
        for block in stage.blocks:
            x = whole_block(block, x)
        if "resample" in stage:
            x = whole_down(stage.resample, x)
    x = whole_middle(vae.encoder.middle, x)
    moments = whole_head(vae.encoder.head, x)
    moments = moments + x.reshape(*moments.shape, -1).mean(axis=-1)
    return moments[..., : vae.config.z_dim] * vae.config.scaling_factor


def whole_decode(vae, latents):
    z = latents / vae.config.scaling_factor
    x = whole_conv(vae.decoder.conv_in, z)
    x = whole_middle(vae.decoder.middle, x + mx.repeat(z, x.shape[-1] // z.shape[-1], axis=-1))
    for stage in vae.decoder.up:
        for block in stage.blocks:
            x = whole_block(block, x)
        if "resample" in stage:
            x = whole_up(stage.resample, x)
    return mx.clip(whole_head(vae.decoder.head, x), -1, 1)


@pytest.mark.parametrize("latent_frames", [1, 2, 4])
def test_streaming_is_the_whole(latent_frames, monkeypatch):
    """Like with like: the CPU's own convolutions err by a little more than MLX's."""
    monkeypatch.setattr(vae_mochi_blocks, "is_cpu", lambda: False)
    vae = tiny_hunyuan_vae.vae()
    frames = video(1, 1 + 4 * (latent_frames - 1), 32, 48)
    latents = vae.encode(frames)
    assert latents.shape == (1, latent_frames, 2, 3, 4)
    assert relative(latents, whole_encode(vae, frames)) < 1e-5
    decoded = vae.decode(latents)
    assert decoded.shape == frames.shape
    assert relative(decoded, whole_decode(vae, latents)) < 1e-5


def test_on_the_cpu_too():
    vae, frames = tiny_hunyuan_vae.vae(num_res_blocks=2), video(1, 9, 32, 32)
    latents = vae.encode(frames)
    assert relative(latents, whole_encode(vae, frames)) < 3e-5
    assert relative(vae.decode(latents), whole_decode(vae, latents)) < 3e-5


def test_any_portions_give_the_same(monkeypatch):
    vae, frames = tiny_hunyuan_vae.vae(), video(1, 13, 16, 32)
    latents = vae.encode(frames)
    parts = (np.array(frames[:, a:b]) for a, b in ((0, 3), (3, 4), (4, 12), (12, 13)))
    assert mx.array_equal(vae.encode(parts), latents)
    chunks = list(vae.decode_chunks(latents))
    assert [chunk.shape[1] for chunk in chunks] == [1, 4, 4, 4]
    decoded = mx.concatenate(chunks, axis=1)
    chunks = list(vae.decode_chunks(latents, group=2))
    assert [chunk.shape[1] for chunk in chunks] == [1, 8, 4]
    assert relative(mx.concatenate(chunks, axis=1), decoded) < 1e-5
    monkeypatch.setattr(vae_wan_stream, "WORKING_BYTES", 1)  # large frames one by one
    monkeypatch.setattr(cpu, "TILE", 1)  # and the attention's keys
    monkeypatch.setattr(cpu, "CONV_CHANNELS", 7)
    assert relative(vae.decode(latents), decoded) < 1e-5
    assert relative(vae.encode(frames), latents) < 1e-5


def test_other_strides():
    vae = tiny_hunyuan_vae.vae(
        block_out_channels=(16, 32, 64), temporal_downsample=(True, False), scaling_factor=0.3
    )
    frames = video(1, 5, 16, 12)
    latents = vae.encode(frames)
    assert latents.shape == (1, 3, 4, 3, 4)
    assert relative(latents, whole_encode(vae, frames)) < 3e-5
    assert relative(vae.decode(latents), whole_decode(vae, latents)) < 3e-5


def test_a_batch_is_its_videos():
    vae, frames = tiny_hunyuan_vae.vae(), video(2, 5, 16, 32)
    latents = vae.encode(frames)
    decoded = vae.decode(latents)
    for i in (0, 1):
        assert relative(latents[i : i + 1], vae.encode(frames[i : i + 1])) < 1e-5
        assert relative(decoded[i : i + 1], vae.decode(latents[i : i + 1])) < 1e-5


def test_later_frames_change_nothing_before_them():
    vae, latents = tiny_hunyuan_vae.vae(), normal(1, 4, 1, 2, 4)
    assert relative(vae.decode(latents)[:, :5], vae.decode(latents[:, :2])) < 1e-6
    frames = video(1, 9, 16, 32)
    assert relative(vae.encode(frames)[:, :2], vae.encode(frames[:, :5])) < 1e-6


def test_earlier_frames_reach_all_after_them():
    """Through the attention: the convolutions alone look back a bounded way."""
    block, x = CausalAttention(16), normal(1, 6, 2, 2, 16)
    weights = {name: 0.5 * normal(*a.shape) for name, a in tree_flatten(block.parameters())}
    block.load_weights(list(weights.items()))
    changed = mx.concatenate([x[:, :1] + 1, x[:, 1:]], axis=1)
    apart = mx.abs(block(x, History()) - block(changed, History())).max(axis=(0, 2, 3, 4))
    assert float(apart.min()) > 1e-3


def test_the_attention_in_pieces_for_gpus(monkeypatch):
    vae, latents = tiny_hunyuan_vae.vae(), normal(1, 3, 10, 9, 4)
    decoded = vae.decode(latents)
    monkeypatch.setattr(attention, "SCORE_BYTES", 1)
    monkeypatch.setattr(attention, "dispatch_budget", lambda: 1.0)
    assert relative(vae.decode(latents), decoded) < 1e-5


def test_the_way_for_gpus_agrees_with_the_cpus(monkeypatch):
    vae, frames = tiny_hunyuan_vae.vae(), video(1, 5, 16, 32)
    latents = vae.encode(frames)
    decoded = vae.decode(latents)
    for module in (vae_mochi_blocks, vae_wan_blocks, cpu):
        monkeypatch.setattr(module, "is_cpu", lambda: False)
    assert relative(vae.encode(frames), latents) < 1e-5
    assert relative(vae.decode(latents), decoded) < 3e-5


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_half_precision_weights_stay_so(dtype):
    vae, frames = tiny_hunyuan_vae.vae(), video(1, 5, 16, 32)
    latents = vae.encode(frames)
    decoded = vae.decode(latents)
    vae.set_dtype(dtype)
    kept = History()
    vae.decoder(latents[:, :1].astype(dtype), kept)
    assert {frame.dtype for frame in kept._frames.values()} == {dtype}
    halved = vae.encode(frames)
    assert halved.dtype == mx.float32 and relative(halved, latents) < 0.1
    frames = vae.decode(latents)
    assert frames.dtype == mx.float32 and float(mx.abs(frames - decoded).mean()) < 0.05


def test_channels_are_blocks_of_pixels_channel_fastest():
    x = mx.arange(2 * 2 * 4 * 3).reshape(1, 2, 2, 4, 3)
    channels = to_channels(x, 2)
    assert channels.shape == (1, 1, 1, 2, 24)
    for place, (t, row, column) in enumerate(np.ndindex(2, 2, 2)):
        expected = x[0, t, row, 2 + column]
        assert mx.array_equal(channels[0, 0, 0, 1, 3 * place : 3 * place + 3], expected)
    assert mx.array_equal(to_pixels(channels, 2), x)


# --- tiles -------------------------------------------------------------------------------------


def test_a_tile_fades_in_over_the_one_before():
    one, two = mx.zeros((1, 1, 1, 8, 3)), mx.ones((1, 1, 1, 6, 3))
    faded = fade_in(one, two, 4, axis=3)[0, 0, 0, :, 0]
    assert np.allclose(faded, [0, 0.25, 0.5, 0.75, 1, 1])
    assert np.allclose(fade_in(one, two[:, :, :, :2], 4, axis=3)[0, 0, 0, :, 0], [0, 0.5])
    assert mx.array_equal(fade_in(one, two, 0, axis=3), two)


def test_tiled_decoding_streams_and_joins_tiles_without_overlap_as_they_are():
    vae, latents = tiny_hunyuan_vae.vae(), normal(1, 3, 2, 5, 4)
    chunks = list(vae.decode_chunks(latents, tile=2, overlap=0))
    assert [chunk.shape[1] for chunk in chunks] == [1, 4, 4]
    frames = mx.concatenate(chunks, axis=1)
    parts = [vae.decode(latents[:, :, :, a : a + 2]) for a in (0, 2, 4)]
    assert mx.array_equal(frames, mx.concatenate(parts, axis=3))
    chunks = list(vae.decode_chunks(latents, group=2, tile=2, overlap=0))
    assert [chunk.shape[1] for chunk in chunks] == [1, 8]
    assert relative(mx.concatenate(chunks, axis=1), frames) < 1e-5
    chunks = list(vae.decode_chunks(latents, tile=5))
    assert relative(mx.concatenate(chunks, axis=1), vae.decode(latents)) < 1e-5  # no side is longer


@pytest.mark.parametrize(
    ("tile", "overlap"), [(0, 0), (4, 3), (4, -1), (2.0, 1), (-4, -2), (4, 1.0)]
)
def test_tiles_that_cannot_be_are_refused(tile, overlap):
    with pytest.raises(UsageError, match="at most half of it is shared"):
        tiny_hunyuan_vae.vae().decode(normal(1, 1, 5, 5, 4), tile=tile, overlap=overlap)


# --- memory ------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_video():
    """But for keys and values: 2 x 32 channels of 1 pixel in 256, of 16 latent frames more."""
    vae = tiny_hunyuan_vae.vae()
    short, long = decode_peak(vae, 21, 32), decode_peak(vae, 81, 32)
    prefix = decode_memory(vae.config, 32, 32, 4, 81) - decode_memory(vae.config, 32, 32, 4, 21)
    assert prefix == 15 * 2 * 32 * 4 * 4
    # and their copies while one grows; threads free a little sooner or later
    assert long - 3 * prefix <= 1.1 * short
    assert encode_peak(vae, 37, 32) - 2 * prefix <= 1.1 * encode_peak(vae, 13, 32)


@pytest.mark.parametrize("frames", [1, 9])
def test_memory_is_as_estimated(frames):
    if not cpu.is_cpu():  # Metal frees a block's tensors when its commands have run, a little later
        pytest.skip("measured on the CPU backend")
    vae = tiny_hunyuan_vae.vae(num_res_blocks=2)
    estimate = decode_memory(vae.config, 96, 96, num_frames=frames)
    assert 0.85 < estimate / decode_peak(vae, frames, 96) < 1.2
    estimate = encode_memory(vae.config, 96, 96, num_frames=frames)
    assert 0.85 < estimate / encode_peak(vae, frames, 96) < 1.3


def test_official_memory_and_work():
    """As the docstrings say, in half precision."""
    config = HunyuanVAEConfig()
    assert round(decode_memory(config, 480, 848, 2, 121) / 1e9, 1) == 6.5
    assert round(decode_memory(config, 720, 1280, 2, 121) / 1e9, 1) == 11.6
    assert encode_memory(config, 720, 1280, 2, 1) < 5e9  # the image of a video
    ops = decode_work(config, 720, 1280, 121)
    attention = [op for op in ops if op.kind == work.ATTENTION]
    pairs = 3600**2 * 31 * 32 / 2  # of a pixel with one in its frame or before
    assert work.flops(attention) == 4 * pairs * 1024
    assert work.flops(attention) < 0.01 * work.flops(ops)


@pytest.mark.parametrize("frames", [1, 9])
def test_work_is_that_of_the_layers(frames):
    """Multiplications of the convolutions, of each layer by hand."""
    config = tiny_hunyuan_vae.vae().config
    t = 1 + (frames - 1) // 4
    mid = 4 * 32 * 32 * t * 6
    sizes = [(6, t), (24, 2 * t - 1), (96, frames), (384, frames), (1536, frames)]
    decode = mid + 4 * 32 * t * 6 + 16 * 3 * frames * 1536
    encode = mid + 3 * 16 * frames * 1536 + 32 * 8 * t * 6
    dims, ups = (32, 32, 32, 16, 16), (8 * 32, 8 * 32, 4 * 16, 4 * 16, 0)
    downs = (0, 32 // 8, 32 // 8, 32 // 4, 16 // 4)
    for dim, up, down, (pixels, count) in zip(dims, ups, downs, sizes, strict=True):
        decode += (4 * dim + up) * dim * pixels * count
        encode += (2 * dim + down) * dim * pixels * count
    for ops, expected in (
        (decode_work(config, 32, 48, frames), decode),
        (encode_work(config, 32, 48, frames), encode),
    ):
        convs = [op for op in ops if op.kind == work.CONV3D]
        assert work.flops(convs) == pytest.approx(2 * 27 * expected)


# --- what people get wrong ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "message", "hint"),
    [
        ((1, 6, 16, 16, 3), "num_frames is 6; this model encodes 4n+1 frames", "try 5 or 9"),
        ((1, 1, 24, 16, 3), "frames are 16x24; this model encodes multiples of 16x16", "16x32"),
        ((1, 1, 16, 16, 4), "frames have the shape (1, 1, 16, 16, 4)", "batch, frames"),
    ],
)
def test_encode_refuses(shape, message, hint):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        tiny_hunyuan_vae.vae().encode(mx.zeros(shape))
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("shape", [(1, 2, 2, 4), (1, 1, 2, 2, 32), (1, 0, 2, 2, 4)])
def test_decode_refuses(shape):
    with pytest.raises(UsageError, match="latents have the shape"):
        tiny_hunyuan_vae.vae().decode(mx.zeros(shape))


@pytest.mark.parametrize(
    "wrong",
    [
        {"block_out_channels": (16, 16, 32, 32)},
        {"block_out_channels": (16, 16, 32, 32, 10**9)},
        {"block_out_channels": (16, 16, 32, 32, "32")},
        {"block_out_channels": (16, 16, 32, 4, 8)},  # no blocks of 8
        {"block_out_channels": (8, 64, 64, 64, 64)},  # wider than a block of 4 pixels
        {"block_out_channels": (16,), "temporal_downsample": ()},
        {"block_out_channels": (8,) * 20, "temporal_downsample": (False,) * 19},
        {"temporal_downsample": (False, False, 1, True)},
        {"num_res_blocks": 0},
        {"num_res_blocks": 10**9},  # would take forever to build
        {"z_dim": 5},
        {"z_dim": True},
        {"scaling_factor": 0.0},
        {"scaling_factor": float("nan")},
        {"scaling_factor": "1"},
    ],
)
def test_a_config_that_does_not_fit_together(wrong):
    with pytest.raises(ModelError, match="does not fit together"):
        HunyuanVAEConfig(**(tiny_hunyuan_vae.SIZES | wrong))

"""Mochi's VAE: recorded reference outputs, streaming against the whole, tiles, memory, errors."""

import re
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import tiny_mochi
from mlx.utils import tree_flatten
from peak_memory import decode_peak, encode_peak

from mlx_wan import cpu
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.models import vae_mochi, vae_mochi_blocks, vae_wan_stream
from mlx_wan.models.vae_mochi import MochiVAE, MochiVAEConfig, decode_memory, encode_memory
from mlx_wan.models.vae_mochi_blocks import History, TimeAttention, fourier_features

RECORDED = Path(__file__).parent / "recorded"


def video(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.uniform(-1, 1, (*shape, 3), key=mx.random.key(seed))


def normal(*shape: int, seed: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed))


def relative(a: mx.array, b: mx.array) -> float:
    assert a.shape == b.shape
    return float(mx.abs(a - b).max() / mx.abs(b).max())


# --- against the originals ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae", "vae_image"])
def test_recorded_reference_outputs(name):
    recorded = np.load(RECORDED / f"mochi_{name}.npz")
    vae = tiny_mochi.vae()
    latents = vae.encode(mx.array(recorded["frames"].astype(np.float32)))
    assert relative(latents, mx.array(recorded["encoded"])) < 1e-4
    frames = vae.decode(mx.array(recorded["latents"]))
    assert relative(frames, mx.array(recorded["decoded"])) < 1e-4
    assert 0.01 < float((mx.abs(frames) == 1).mean()) < 0.9  # clamped, but not all of it


def test_the_official_sizes():
    """Parameters of the original's two files; made lazily, nothing is allocated."""
    vae = MochiVAE(MochiVAEConfig())
    sizes = [
        sum(value.size for _, value in tree_flatten(half.parameters()))
        for half in (vae.encoder, vae.decoder)
    ]
    assert sizes == [97_222_016, 362_526_595]
    assert vae.config.stride == (6, 8, 8)


# --- streaming against the whole sequence ------------------------------------------------------


def whole_conv(layer, x):
    x = mx.pad(x, [(0, 0), (2, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    return mx.conv3d(x, layer.weight) + layer.bias


def whole_norm(layer, x):
    b, t, h, w, c = x.shape
    groups = x.reshape(b, t, h * w, 32, c // 32)
    groups = (groups - groups.mean(axis=(2, 4), keepdims=True)) / mx.sqrt(
        groups.var(axis=(2, 4), keepdims=True) + 1e-5
    )
    return groups.reshape(x.shape) * layer.weight + layer.bias


def whole_block(layer, x):
    y = whole_conv(layer.conv1, nn.silu(whole_norm(layer.norm1, x)))
    x = x + whole_conv(layer.conv2, nn.silu(whole_norm(layer.norm2, y)))
    if "attn" not in layer:
        return x
    b, t, h, w, c = x.shape
    normed = whole_norm(layer.attn.norm, x).transpose(0, 2, 3, 1, 4).reshape(b * h * w, t, c)
    q, k, v = (
        to(normed).reshape(b * h * w, t, c // 32, 32).swapaxes(1, 2)
        for to in (layer.attn.q, layer.attn.k, layer.attn.v)
    )
    q, k = (a / mx.linalg.norm(a, axis=-1, keepdims=True) for a in (q, k))
    scores = q @ k.swapaxes(-1, -2) * 32**-0.5 + mx.triu(mx.full((t, t), -1e9), k=1)
    out = (mx.softmax(scores, axis=-1) @ v).swapaxes(1, 2).reshape(b, h, w, t, c)
    return x + layer.attn.out(out.transpose(0, 3, 1, 2, 4))


def whole_encode(vae, frames):
    encoder = vae.encoder
    x = encoder.proj_in(fourier_features(frames))
    for block in encoder.block_in:
        x = whole_block(block, x)
    for stage in encoder.down:
        temporal = stage.conv.weight.shape[1]
        x = mx.pad(x, [(0, 0), (temporal - 1, 0), (0, 0), (0, 0), (0, 0)], mode="edge")
        x = mx.conv3d(x, stage.conv.weight, stride=(temporal, 2, 2)) + stage.conv.bias
        for block in stage.blocks:
            x = whole_block(block, x)
    for block in encoder.block_out:
        x = whole_block(block, x)
    mean = encoder.proj_out(nn.silu(whole_norm(encoder.norm_out, x)))[..., : vae.config.z_dim]
    return (mean - mx.array(vae.config.latents_mean)) / mx.array(vae.config.latents_std)


def whole_decode(vae, latents):
    decoder = vae.decoder
    x = latents * mx.array(vae.config.latents_std) + mx.array(vae.config.latents_mean)
    x = decoder.conv_in(x)
    for block in decoder.block_in:
        x = whole_block(block, x)
    for stage in decoder.up:
        for block in stage.blocks:
            x = whole_block(block, x)
        b, t, h, w, _ = x.shape
        x = stage.proj(x).reshape(b, t, h, w, -1, stage.temporal, 2, 2)
        x = x.transpose(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, t * stage.temporal, 2 * h, 2 * w, -1)
        x = x[:, stage.temporal - 1 :]
    for block in decoder.block_out:
        x = whole_block(block, x)
    return mx.clip(decoder.proj_out(nn.silu(x)), -1, 1)


@pytest.mark.parametrize("latent_frames", [1, 3])
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_streaming_is_the_whole(latent_frames, device, monkeypatch):
    most = 3e-5  # the CPU's convolutions are Winograd's, the whole's are not
    if device == "other":
        monkeypatch.setattr(vae_mochi_blocks, "is_cpu", lambda: False)
        most = 1e-5
    vae = tiny_mochi.vae()
    frames = video(1, 1 + 6 * (latent_frames - 1), 16, 24)
    latents = vae.encode(frames)
    assert latents.shape == (1, latent_frames, 2, 3, 12)
    assert relative(latents, whole_encode(vae, frames)) < most
    decoded = vae.decode(latents)
    assert decoded.shape == frames.shape
    assert relative(decoded, whole_decode(vae, latents)) < most


def test_any_portions_give_the_same(monkeypatch):
    vae, frames = tiny_mochi.vae(), video(1, 19, 8, 16)
    latents = vae.encode(frames)
    parts = (np.array(frames[:, a:b]) for a, b in ((0, 3), (3, 4), (4, 18), (18, 19)))
    assert mx.array_equal(vae.encode(parts), latents)
    chunks = list(vae.decode_chunks(latents))
    assert [chunk.shape[1] for chunk in chunks] == [1, 6, 6, 6]
    decoded = mx.concatenate(chunks, axis=1)
    chunks = list(vae.decode_chunks(latents, group=2))
    assert [chunk.shape[1] for chunk in chunks] == [1, 12, 6]
    assert relative(mx.concatenate(chunks, axis=1), decoded) < 1e-5
    monkeypatch.setattr(vae_wan_stream, "WORKING_BYTES", 1)  # large frames one by one
    assert relative(vae.decode(latents), decoded) < 1e-5
    monkeypatch.setattr(cpu, "TILE", 30)  # few pixels at a time in the attention
    assert relative(vae.encode(frames), latents) < 1e-5


def test_other_strides_in_time():
    vae = tiny_mochi.vae(temporal=(2, 1, 2))
    frames = video(1, 9, 16, 16)
    latents = vae.encode(frames)
    assert latents.shape == (1, 3, 2, 2, 12)
    assert relative(latents, whole_encode(vae, frames)) < 3e-5
    assert relative(vae.decode(latents), whole_decode(vae, latents)) < 3e-5


def test_a_batch_is_its_videos():
    vae, frames = tiny_mochi.vae(), video(2, 7, 8, 16)
    latents = vae.encode(frames)
    decoded = vae.decode(latents)
    for i in (0, 1):
        assert relative(latents[i : i + 1], vae.encode(frames[i : i + 1])) < 1e-5
        assert relative(decoded[i : i + 1], vae.decode(latents[i : i + 1])) < 1e-5


def test_later_frames_change_nothing_before_them():
    vae, latents = tiny_mochi.vae(), normal(1, 4, 2, 2, 12)
    assert relative(vae.decode(latents)[:, :7], vae.decode(latents[:, :2])) < 1e-6
    frames = video(1, 13, 16, 16)
    assert relative(vae.encode(frames)[:, :2], vae.encode(frames[:, :7])) < 1e-6


def test_attention_of_one_frame_is_its_value():
    block, x = TimeAttention(32), normal(1, 1, 2, 2, 32)
    assert relative(block(x, History()), x + block.out(block.v(block.norm(x)))) < 1e-6


def test_fourier_features_go_colour_by_colour():
    x = mx.array([[0.1, -0.3, 0.7]])
    out = np.array(fourier_features(x))[0]
    assert out.shape == (15,) and np.allclose(out[:3], [0.1, -0.3, 0.7])
    for colour, value in enumerate([0.1, -0.3, 0.7]):
        for wave, octave in enumerate((6, 7)):
            angle = 2 * np.pi * 2**octave * value
            assert abs(out[3 + 2 * colour + wave] - np.sin(angle)) < 1e-4
            assert abs(out[9 + 2 * colour + wave] - np.cos(angle)) < 1e-4


# --- the same arithmetic on every device -------------------------------------------------------


def test_the_form_for_gpus_agrees_with_the_cpus(monkeypatch):
    vae, frames = tiny_mochi.vae(), video(2, 13, 16, 24)
    latents = vae.encode(frames)
    decoded = vae.decode(latents)
    monkeypatch.setattr(vae_mochi_blocks, "is_cpu", lambda: False)
    monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    assert relative(vae.encode(frames), latents) < 1e-5
    assert relative(vae.decode(latents), decoded) < 3e-5


def test_half_precision_weights_stay_so():
    vae, frames = tiny_mochi.vae(), video(1, 7, 16, 24)
    latents = vae.encode(frames)
    decoded = vae.decode(latents)
    vae.set_dtype(mx.bfloat16)
    kept = History()
    vae.decoder(latents[:, :1], kept)
    assert {frame.dtype for frame in kept._frames.values()} == {mx.bfloat16}
    halved = vae.encode(frames)
    assert halved.dtype == mx.float32 and relative(halved, latents) < 0.1
    frames = vae.decode(latents)
    assert frames.dtype == mx.float32 and float(mx.abs(frames - decoded).mean()) < 0.05


# --- tiles -------------------------------------------------------------------------------------


def tiled(decode, latents, columns, rows, overlap=2):
    """The original's recursion on whole videos: halves sharing `overlap`, joined by a ramp."""
    if columns * rows == 1:
        return decode(latents)
    axis = 3 if columns > 1 else 2
    half = (columns // 2, rows) if columns > 1 else (columns, rows // 2)
    middle = latents.shape[axis] // 2
    x = np.array(latents)
    one = mx.array(x.take(range(middle + overlap // 2), axis))
    two = mx.array(x.take(range(middle - overlap // 2, x.shape[axis]), axis))
    one, two = (np.array(tiled(decode, part, *half, overlap)) for part in (one, two))
    shared = 8 * overlap
    ramp = np.linspace(1 / (shared + 1), shared / (shared + 1), shared)
    ramp = ramp.reshape([-1 if i == axis else 1 for i in range(5)])
    split = one.shape[axis] - shared
    before, after = one.take(range(split, one.shape[axis]), axis), two.take(range(shared), axis)
    parts = [one.take(range(split), axis), before * (1 - ramp) + after * ramp]
    parts.append(two.take(range(shared, two.shape[axis]), axis))
    return mx.array(np.concatenate(parts, axis=axis).astype(np.float32))


def test_tiles_are_the_originals(monkeypatch):
    monkeypatch.setattr(vae_mochi, "TILE_OVERLAP", 2)
    vae = tiny_mochi.vae(num_blocks=(1, 1, 1, 1, 1), decoder_dims=(32, 32, 32, 32))
    latents = normal(1, 2, 5, 9, 12)

    def unclamped(part):
        return mx.concatenate(list(vae._decode(part, 1)), axis=1)

    for tiles in ((1, 2), (4, 2)):
        frames = vae.decode(latents, tiles=tiles)
        assert frames.shape == (1, 7, 40, 72, 3)
        assert relative(frames, mx.clip(tiled(unclamped, latents, *tiles), -1, 1)) < 1e-5
    assert relative(frames, vae.decode(latents)) > 0.01  # norms see less of the picture


@pytest.mark.parametrize("tiles", [(3, 1), (0, 1), (1, -2), (4, 1), (1, 2), (2.0, 1)])
def test_tiles_that_cannot_be_are_refused(tiles):
    with pytest.raises(UsageError, match="power of 2"):
        tiny_mochi.vae().decode(normal(1, 1, 9, 17, 12), tiles=tiles)


# --- memory ------------------------------------------------------------------------------------


def test_decoding_memory_is_flat_and_as_estimated():
    vae = tiny_mochi.vae()
    short, long = decode_peak(vae, 7, 80), decode_peak(vae, 19, 80)
    assert long <= 1.15 * short
    if cpu.is_cpu():  # Metal frees a block's tensors when its commands have run, a little later
        assert 0.7 < decode_memory(vae.config, 80, 80) / long < 1.3


@pytest.mark.parametrize("frames", [1, 13])
def test_encoding_memory_is_as_estimated(frames):
    vae = tiny_mochi.vae()
    estimate = encode_memory(vae.config, 80, 80, num_frames=frames)
    if cpu.is_cpu():
        assert 0.7 < estimate / encode_peak(vae, frames, 80) < 1.5


def test_official_memory_is_bounded():
    """In bfloat16 at 848x480, whatever the length."""
    assert 2 << 30 < decode_memory(MochiVAEConfig(), 480, 848, 2) < 8 << 30


# --- what people get wrong ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "message", "hint"),
    [
        ((1, 6, 16, 16, 3), "num_frames is 6; this model encodes 6n+1 frames", "try 1 or 7"),
        ((1, 1, 20, 16, 3), "frames are 16x20; this model encodes multiples of 8x8", "try 16x16"),
        ((1, 1, 16, 16, 4), "frames have the shape (1, 1, 16, 16, 4)", "batch, frames"),
    ],
)
def test_encode_refuses(shape, message, hint):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        tiny_mochi.vae().encode(mx.zeros(shape))
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("shape", [(1, 2, 2, 12), (1, 1, 2, 2, 4), (1, 0, 2, 2, 12)])
def test_decode_refuses(shape):
    with pytest.raises(UsageError, match="latents have the shape"):
        tiny_mochi.vae().decode(mx.zeros(shape))


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder_dims": (32, 32, 64)},
        {"decoder_dims": (32, 32, 64, 48)},  # no groups of 32
        {"num_blocks": (1, 1, 1, 1)},
        {"num_blocks": (1, 1, 1, 1, 10**9)},  # would take forever to build
        {"temporal": (1, 2)},
        {"temporal": (1, 2, 1000)},
        {"z_dim": 4},
        {"encoder_dims": (32, 32, 64, "32")},
        {"latents_std": (0.0,) * 12},
        {"latents_mean": (float("nan"),) * 12},
    ],
)
def test_a_config_that_does_not_fit_together(wrong):
    with pytest.raises(ModelError, match="does not fit together"):
        MochiVAEConfig(**(tiny_mochi.VAE | wrong))

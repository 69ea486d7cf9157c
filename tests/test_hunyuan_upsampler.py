"""HunyuanVideo 1.5's latent upsamplers against plain NumPy, and what its super resolution reads.

With Tencent-Hunyuan/HunyuanVideo-1.5 itself (upsample.py at 60783e7, float32) our networks agreed
to 2e-6 when this was written; its code needs more than our tests install.
"""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_wan import cpu
from mlx_wan.bench.networks_mochi import load, random_weights
from mlx_wan.conditioning.hunyuan_sr import SmallVideo, larger_size, small_video
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.models import hunyuan_upsampler
from mlx_wan.models.hunyuan import HunyuanConfig
from mlx_wan.models.hunyuan_upsampler import (
    Upsampler720,
    Upsampler720Config,
    Upsampler1080,
    Upsampler1080Config,
    resize,
)

Weights = dict[str, np.ndarray]


def filled(network: Any, seed: int = 0) -> Any:
    load(network, random_weights(network, seed, std=0.1))
    return network


def small720(**changes: Any) -> Any:
    return filled(Upsampler720(Upsampler720Config(4, 6, 2, **changes)))


def small1080() -> Any:
    return filled(Upsampler1080(Upsampler1080Config((8, 8, 12), 4, 1)))


def weights_of(network: Any) -> Weights:
    parameters: Any = tree_flatten(network.parameters())
    return {name: np.array(value, np.float64) for name, value in parameters}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(shape)


def difference(a: Any, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(np.array(a) - b).max() / np.abs(b).max())


# --- plain forms -------------------------------------------------------------------------------


def convolved(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """The edge repeated on all sides in space and before the first frame."""
    weight, (_, t, h, width, _) = w[f"{name}.weight"], x.shape
    x = np.pad(x, [(0, 0), (2, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    out = w[f"{name}.bias"].astype(np.float64)
    for i, j, k in np.ndindex(3, 3, 3):
        out = out + x[:, i : i + t, j : j + h, k : k + width] @ weight[:, i, j, k].T
    return out


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def normed(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True) * x.shape[-1] ** 0.5 * w[f"{name}.gamma"]


def plain720(w: Weights, x: np.ndarray) -> np.ndarray:
    x = convolved(w, "in_conv", x)
    for i in range(2):
        h = silu(convolved(w, f"blocks.{i}.conv1", x))
        h = silu(convolved(w, f"blocks.{i}.conv2", h))
        x = x + convolved(w, f"blocks.{i}.conv3", h)
    return convolved(w, "out_conv", x)


def plain1080(w: Weights, x: np.ndarray) -> np.ndarray:
    x = convolved(w, "conv_in", x) + x.repeat(2, axis=-1)
    for place in (f"stages.{i}.{j}" for i in range(3) for j in range(2)):
        h = convolved(w, f"{place}.conv1", silu(normed(w, f"{place}.norm1", x)))
        h = convolved(w, f"{place}.conv2", silu(normed(w, f"{place}.norm2", h)))
        shortcut = w.get(f"{place}.shortcut.weight")
        if shortcut is not None:
            x = x @ shortcut.reshape(len(shortcut), -1).T + w[f"{place}.shortcut.bias"]
        x = x + h
    return convolved(w, "head.conv", silu(normed(w, "head.norm", x)))


@pytest.mark.parametrize("frames", [1, 4, 7])
@pytest.mark.parametrize("device", ["cpu", "other"])
@pytest.mark.parametrize("make", [small720, small1080])
def test_as_the_plain_form(make, device, frames, monkeypatch):
    if device == "other":  # the code Metal runs, computed here
        monkeypatch.setattr(cpu, "is_cpu", lambda: False)
    network, latents = make(), normal(2, frames, 5, 6, 4)
    plain = plain720 if make is small720 else plain1080
    out = network(mx.array(latents.astype(np.float32)))
    assert out.dtype == mx.float32
    assert difference(out, plain(weights_of(network), latents)) < 1e-4


def test_a_global_residual_is_added():
    latents = mx.array(normal(1, 2, 3, 4, 4).astype(np.float32))
    plain, added = small720()(latents), small720(global_residual=True)(latents)
    assert difference(added - plain, np.array(latents)) < 1e-5


@pytest.mark.parametrize("make", [small720, small1080])
@pytest.mark.parametrize("frames", [1, 3, 100])
def test_frames_in_any_number_at_a_time(make, frames, monkeypatch):
    network, latents = make(), mx.array(normal(1, 9, 4, 5, 4).astype(np.float32))
    expected = np.array(network(latents))
    monkeypatch.setattr(hunyuan_upsampler, "FRAMES", frames)
    assert difference(network(latents), expected) < 1e-6


def test_the_network_for_720p_has_the_size_of_the_published_file():
    parameters: Any = tree_flatten(Upsampler720(Upsampler720Config()).parameters())
    assert 0.085 < sum(value.size for _, value in parameters) * 4 / 1e9 < 0.095


@pytest.mark.parametrize("dims", [(), (12,)])
def test_stages_that_do_not_fit_the_latents(dims):
    with pytest.raises(ModelError, match="the first is a multiple of that"):
        Upsampler1080Config(dims, 8)


@pytest.mark.parametrize("shape", [(1, 2, 3, 4, 5), (2, 3, 4, 4)])
def test_latents_that_do_not_fit(shape):
    with pytest.raises(UsageError, match=r"takes \(B, T, H, W, 4\)"):
        small720()(mx.zeros(shape))


# --- resizing ----------------------------------------------------------------------------------


def test_resizing_is_linear_between_the_centres_of_pixels():
    row = mx.array([0.0, 1.0, 4.0]).reshape(1, 1, 1, 3, 1)
    # torch's interpolate (bilinear, align_corners=False) of the same
    expected = [0, 0.25, 0.75, 1.75, 3.25, 4]
    assert np.allclose(np.array(resize(row, 1, 6)).reshape(-1), expected)
    column = row.reshape(1, 1, 3, 1, 1)
    assert np.allclose(np.array(resize(column, 6, 1)).reshape(-1), expected)
    assert np.allclose(np.array(resize(row, 1, 2)).reshape(-1), [0.25, 3.25])
    assert mx.array_equal(resize(row, 1, 3), row)


# --- super resolution --------------------------------------------------------------------------


def test_the_small_video_is_told_until_the_noise_is_less_than_its_own():
    image, low = mx.full((1, 2, 3, 4, 5), 7.0), mx.full((1, 2, 3, 4, 4), 2.0)
    video = SmallVideo(image, low)
    for timestep, told in ((1000, 1), (700, 1), (699.9, 0), (10, 0)):
        channels = np.array(video.channels(timestep))
        assert channels.shape == (1, 2, 3, 4, 10)
        assert (channels[..., :5] == 7).all()
        assert (channels[..., 5:9] == 2 * told).all() and (channels[..., 9] == told).all()


def test_the_small_video_is_resized_upsampled_and_mixed_with_noise():
    latents, key = mx.array(normal(1, 2, 3, 4, 4).astype(np.float32)), mx.random.key(3)
    seen: list[tuple[int, ...]] = []

    def upsampler(x: mx.array) -> mx.array:
        seen.append(x.shape)
        return 10 * x

    video = small_video(latents, 5, 6, upsampler, key)
    assert seen == [(1, 2, 5, 6, 4)]
    noise = mx.random.normal((1, 2, 5, 6, 4), key=key)
    assert mx.allclose(video.low, 3 * resize(latents, 5, 6) + 0.7 * noise, atol=1e-5)
    assert video.image.shape == (1, 2, 5, 6, 5) and not mx.any(video.image)
    # beside the noisy latents: the published network reads 98 channels of latents with 32
    assert 4 + video.channels(900).shape[-1] == 3 * 4 + 2
    assert HunyuanConfig(in_dim=98).in_dim == 3 * HunyuanConfig().out_dim + 2


@pytest.mark.parametrize(
    ("size", "base", "larger"),
    [
        ((848, 480), "720p", (1280, 720)),
        ((480, 848), "720p", (720, 1280)),
        ((640, 640), "720p", (960, 960)),
        ((1280, 720), "1080p", (1904, 1072)),
        ((960, 960), "1080p", (1440, 1440)),
    ],
)
def test_larger_sizes(size, base, larger):
    assert larger_size(size, base) == larger

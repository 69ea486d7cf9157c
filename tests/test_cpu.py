"""The CPU's own forms against float64, and against the MLX ones other devices use."""

import threading

import mlx.core as mx
import numpy as np
import pytest
from peak_memory import peak
from test_attention import whole

from mlx_wan import cpu

BOTH = pytest.mark.parametrize("on_cpu", [True, False])


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed)) * scale


def relative(a: mx.array, b: np.ndarray) -> float:
    return float(np.abs(np.array(a) - b).max() / np.abs(b).max())


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@BOTH
@pytest.mark.parametrize(("ours", "plain"), [(cpu.silu, silu), (cpu.gelu_tanh, gelu_tanh)])
@pytest.mark.parametrize("shape", [(), (1,), (7, 3), (3, 70_000)])
def test_activations(ours, plain, shape, on_cpu, monkeypatch):
    monkeypatch.setattr(cpu, "is_cpu", lambda: on_cpu)
    x = normal(*shape, scale=4.0)
    assert np.abs(np.array(ours(x)) - plain(np.array(x, dtype=np.float64))).max() < 3e-6


@pytest.mark.parametrize("ours", [cpu.silu, cpu.gelu_tanh])
def test_activations_at_the_ends(ours):
    out = np.array(ours(mx.array([-1e30, -1e4, -100.0, 0.0, 100.0, 1e4, np.nan])))
    np.testing.assert_allclose(out[:6], [0, 0, 0, 0, 100, 1e4], atol=1e-6)
    assert np.isnan(out[6])


@pytest.mark.parametrize("ours", [cpu.silu, cpu.gelu_tanh])
def test_activations_leave_their_argument_alone_unless_told(ours):
    x = normal(5, 9)
    before = np.array(x)
    out = np.array(ours(x.T))
    assert np.array_equal(np.array(x), before)
    assert np.array_equal(np.array(ours(x.T, reuse=True)), out)
    assert ours(x.astype(mx.bfloat16)).dtype == mx.bfloat16


@BOTH
@pytest.mark.parametrize("scale_shape", [(48,), (1, 1, 48), (2, 1, 48), (2, 3000, 48)])
def test_layer_norm(scale_shape, on_cpu, monkeypatch):
    monkeypatch.setattr(cpu, "is_cpu", lambda: on_cpu)
    x = normal(2, 3000, 48, scale=3.0) + 5
    scale, shift = normal(*scale_shape, seed=1), normal(*scale_shape, seed=2)
    wide = np.array(x, dtype=np.float64)
    plain = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-6)
    plain = plain * np.array(scale) + np.array(shift)
    assert relative(cpu.layer_norm(x, scale, shift, 1e-6), plain) < 1e-6


@BOTH
@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_rms_norm_and_rotary(reuse, dtype, on_cpu, monkeypatch):
    monkeypatch.setattr(cpu, "is_cpu", lambda: on_cpu)
    x, weight = normal(2, 3000, 48, scale=3.0).astype(dtype), normal(48, seed=1).astype(dtype)
    angle = np.random.RandomState(0).standard_normal((3000, 1, 8))
    table = np.exp(1j * angle).astype(np.complex64)
    wide, gain = (np.array(a.astype(mx.float32), dtype=np.float64) for a in (x, weight))
    plain = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6) * gain
    # (B, L, heads, pairs, 2): channels 2i, 2i + 1 turn together
    pairs = plain.reshape(2, 3000, 3, 8, 2)
    a, b, cos, sin = pairs[..., 0], pairs[..., 1], np.cos(angle), np.sin(angle)
    turned = np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(plain.shape)
    out = cpu.rms_norm(mx.array(x), weight, 1e-6, reuse=reuse)
    assert out.dtype == mx.float32 and relative(out, plain) < 1e-6
    assert relative(cpu.rms_norm(x, weight, 1e-6, mx.array(table), reuse), turned) < 1e-6


def qkv(queries: int, keys: int, scale: float = 1.0, head_dim: int = 16) -> list[mx.array]:
    lengths = (queries, keys, keys)
    return [normal(2, 3, n, head_dim, seed=i, scale=scale) for i, n in enumerate(lengths)]


@BOTH
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (30, 7), (700, 1300), (1281, 78)])
@pytest.mark.parametrize("bias_shape", [None, (1,), (2, 1, 1, 1), (1, 3, 1, 1), "whole"])
def test_attention(queries, keys, bias_shape, on_cpu, monkeypatch):
    monkeypatch.setattr(cpu, "is_cpu", lambda: on_cpu)
    q, k, v = qkv(queries, keys)
    bias = None
    if bias_shape == "whole":
        bias = normal(1, 3, queries, keys, seed=4)
    elif bias_shape is not None:
        bias = normal(*bias_shape[:-1], keys, seed=4)
    out = cpu.softmax_attention(q, k, v, 0.25, bias)
    assert np.abs(np.array(out) - whole(q, k, v, 0.25, bias)).max() < 1e-5


def test_attention_of_scores_that_need_a_shift():
    """Scores of some hundreds: exp of them would not be a float32 without the row maximum."""
    q, k, v = qkv(700, 900, scale=12.0)
    out = cpu.softmax_attention(q, k, v, 0.25)
    assert np.isfinite(np.array(out)).all()
    assert relative(out, whole(q, k, v, 0.25)) < 1e-4  # the scores' own rounding


def test_attention_to_some_keys_only():
    q, k, v = qkv(600, 500)
    mask = mx.where(mx.arange(500) < 30, 0.0, mx.finfo(mx.float32).min)
    out = cpu.softmax_attention(q, k, v, 0.25, mask)
    assert np.abs(np.array(out) - whole(q, k[:, :, :30], v[:, :, :30], 0.25)).max() < 1e-5
    everywhere = np.array(v).mean(axis=2, keepdims=True)
    for shape in ((600, 500), (500,)):
        nowhere = mx.full(shape, mx.finfo(mx.float32).min)
        out = cpu.softmax_attention(q, k, v, 0.25, nowhere)
        assert np.abs(np.array(out) - everywhere).max() < 1e-5


def test_attention_passes_nan_on():
    q, k, v = qkv(600, 500)
    k[0, 0, 3, 2] = np.nan
    out = np.array(cpu.softmax_attention(q, k, v, 0.25))
    assert np.isnan(out[0, 0]).all() and np.isfinite(out[1]).all() and np.isfinite(out[0, 1]).all()


def test_attention_keeps_its_dtype_and_arguments():
    q, k, v = (x.astype(mx.bfloat16) for x in qkv(700, 800))
    assert cpu.softmax_attention(q, k, v, 0.25).dtype == mx.bfloat16
    arrays = qkv(700, 800)
    before = [np.array(x) for x in arrays]
    cpu.softmax_attention(*arrays, 0.25, mx.zeros(800))
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


def attention_peak(q, k, v):
    mx.eval(q, k, v)
    return peak(lambda: mx.eval(cpu.softmax_attention(q, k, v, 0.25)))


def test_memory_of_attention_grows_with_tokens_not_their_square():
    peaks = []
    for tokens in (1000, 4000):
        peaks.append(attention_peak(*qkv(tokens, tokens)))
    assert peaks[1] <= 4.1 * peaks[0]


@BOTH
def test_a_pair_gives_both_results_in_order(on_cpu, monkeypatch):
    monkeypatch.setattr(cpu, "is_cpu", lambda: on_cpu)
    x, threads = normal(300, 300), []
    mx.eval(x)

    def work(factor: float) -> dict[str, mx.array]:
        threads.append(threading.current_thread())
        return {"a": cpu.gelu_tanh(x @ x * factor)}

    for _ in range(3):
        first, second = cpu.run_pair(lambda: work(1.0), lambda: work(2.0))
        assert mx.array_equal(first["a"], cpu.gelu_tanh(x @ x))
        assert mx.array_equal(second["a"], cpu.gelu_tanh(x @ x * 2.0))
    assert len(set(threads)) == (2 if on_cpu else 1)


@pytest.mark.parametrize("which", [0, 1])
def test_a_failure_of_either_of_a_pair_is_raised(which):
    def fails():
        raise RuntimeError("this one")

    pair = [lambda: mx.ones(3)] * 2
    pair[which] = fails
    with pytest.raises(RuntimeError, match="this one"):
        cpu.run_pair(*pair)

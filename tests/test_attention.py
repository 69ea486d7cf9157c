"""Attention in pieces equals attention whole, and no piece is too much for a device."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_wan import attention as module
from mlx_wan.attention import SCORE_BYTES, SECONDS, attention, plan_pieces, row_chunks


def whole(q, k, v, scale, bias=None):
    """In float64, the scores whole."""
    q, k, v = (np.array(x, dtype=np.float64) for x in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) * scale
    scores = scores if bias is None else scores + np.array(bias, dtype=np.float64)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ v


@pytest.mark.parametrize("bias_shape", [None, (70,), (1, 1, 1, 70), (1, 5, 150, 70), (150, 70)])
@pytest.mark.parametrize("budget", [1.0, 2 * 4 * 2 * 70 * 12 * 64, 1e7, None])
def test_pieces_equal_the_whole(bias_shape, budget):
    q, k, v = (
        mx.random.normal((2, 5, length, 12), key=mx.random.key(i))
        for i, length in enumerate((150, 70, 70))
    )
    bias = None if bias_shape is None else mx.random.normal(bias_shape, key=mx.random.key(3))
    out = attention(q, k, v, scale=0.3, bias=bias, budget=budget)
    assert out.shape == q.shape
    np.testing.assert_allclose(np.array(out), whole(q, k, v, 0.3, bias), atol=2e-6)


@pytest.mark.parametrize("rate", [*module.RATES.values(), 20e12])
@pytest.mark.parametrize("tokens", [1_000, 32_760, 75_600])
@pytest.mark.parametrize(("heads", "head_dim"), [(40, 128), (24, 128), (12, 128), (8, 12)])
@pytest.mark.parametrize("batch", [1, 2])
def test_no_piece_is_over_budget(rate, tokens, heads, head_dim, batch):
    budget = SECONDS * rate
    group, rows = plan_pieces(batch, heads, tokens, tokens, head_dim, budget)
    assert 1 <= group <= heads and 1 <= rows <= tokens
    assert rows == tokens or rows % 64 == 0
    assert 4 * batch * group * rows * tokens * head_dim <= budget
    if head_dim == 12:  # not fused: the scores exist
        assert 4 * batch * group * rows * tokens <= SCORE_BYTES


def test_pieces_are_not_needlessly_small():
    """720p on an M4 Max: the measured optimum is 8 heads x 640 rows."""
    pieces = plan_pieces(1, 40, 75_600, 75_600, 128, SECONDS * module.RATES["Max"])
    assert pieces == (8, 640)
    assert plan_pieces(1, 40, 1_000, 1_000, 128, SECONDS * module.RATES["Max"]) == (40, 1_000)


@pytest.mark.parametrize(
    ("chip", "rate"),
    [
        ("Apple M1", 1.5e12),
        ("Apple M4 Pro", 3e12),
        ("Apple M5 Max", 6e12),
        ("Apple M3 Ultra", 12e12),
        ("", 1.5e12),
    ],
)
def test_budget_by_chip(chip, rate, monkeypatch):
    monkeypatch.setattr(module.cpu, "is_cpu", lambda: False)
    monkeypatch.setattr(module.mx, "device_info", lambda: {"device_name": chip})
    assert module.dispatch_budget() == pytest.approx(0.4 * rate)


def test_the_cpu_has_no_budget():
    assert module.dispatch_budget() is None


@pytest.mark.parametrize(("on_cpu", "wide"), [(True, False), (True, True), (False, True)])
@pytest.mark.parametrize("length", [1, 63, 64, 2048, 2049, 4096, 5120, 75_600])
def test_row_chunks_cover_every_token_once(length, on_cpu, wide, monkeypatch):
    monkeypatch.setattr(module.cpu, "is_cpu", lambda: on_cpu)
    chunks = row_chunks(length, wide)
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks[:-1])]
    assert chunks[-1].stop == length
    most = {(True, False): 8192, (True, True): 2048, (False, True): 4096}[on_cpu, wide]
    assert all(chunk.stop - chunk.start <= most for chunk in chunks)
    assert all(chunk.start % 64 == 0 for chunk in chunks)

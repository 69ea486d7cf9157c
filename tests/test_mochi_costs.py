"""What Mochi is said to cost, against what it does: operations, and bytes."""

import math

import mlx.core as mx
import mlx.nn as nn
import pytest
import tiny_mochi

from mlx_wan.models import mochi, vae_mochi, vae_mochi_blocks
from mlx_wan.roofline import work

MOCHI_1 = mochi.MochiConfig()


def of_kind(ops: list[work.Op], kind: str) -> float:
    return sum(op.amount * op.calls for op in ops if op.kind == kind)


def test_forward_work_is_the_published_one_and_grows_with_the_prompt():
    counted = work.flops(mochi.forward_work(MOCHI_1, 44_520, MOCHI_1.text_len))
    assert counted == pytest.approx(mochi.forward_flops(MOCHI_1, 44_520), rel=0.01)
    assert counted == pytest.approx(1.667e15, rel=0.01)
    without = mochi.forward_work(MOCHI_1, 44_520, 0)
    assert 0.98 < work.flops(without) / counted < 1
    assert work.calls(without) < work.calls(mochi.forward_work(MOCHI_1, 44_520, 1))


def test_conditioning_costs_what_its_matrices_have():
    text, dim = MOCHI_1.text_dim, MOCHI_1.dim
    nothing = of_kind(mochi.condition_work(MOCHI_1, 1000, 0), work.LINEAR)
    assert nothing == 2 * (3 * text**2 + text * dim)  # one key, value and query, and its output
    full = of_kind(mochi.condition_work(MOCHI_1, 1000, 9), work.LINEAR)
    assert full - nothing == 2 * 9 * (2 * text**2 + text * MOCHI_1.dim_y)
    once = work.flops(mochi.precompute_work(MOCHI_1, 1))
    assert once == pytest.approx(2 * mochi.released_parameters(MOCHI_1), rel=0.01)


@pytest.mark.parametrize("task", ["decode", "encode"])
def test_convolutions_and_linears_of_the_vae_are_those_it_runs(task, monkeypatch):
    vae, done = tiny_mochi.vae(), {work.CONV3D: 0.0, work.LINEAR: 0.0}

    def watch(owner, kind, rows):
        original = owner.__call__

        def call(self, x, *others):
            done[kind] += 2 * rows(self, x) * self.weight.size
            return original(self, x, *others)

        monkeypatch.setattr(owner, "__call__", call)

    def blocks(layer, x):
        return math.ceil(x.shape[1] / layer.weight.shape[1]) * x.shape[2] * x.shape[3] // 4

    watch(vae_mochi_blocks.CausalConv3d, work.CONV3D, lambda _, x: x.size // x.shape[-1])
    watch(nn.Linear, work.LINEAR, lambda _, x: x.size // x.shape[-1])
    watch(vae_mochi_blocks.Downsample, work.LINEAR, blocks)
    frames, (height, width) = 13, (32, 48)
    if task == "decode":
        mx.eval(vae.decode(mx.zeros((1, 3, height // 8, width // 8, 12))))
        counted = vae_mochi.decode_work(vae.config, height, width, frames)
    else:
        mx.eval(vae.encode(mx.zeros((1, frames, height, width, 3))))
        counted = vae_mochi.encode_work(vae.config, height, width, frames)
    assert of_kind(counted, work.CONV3D) == pytest.approx(done[work.CONV3D])
    assert of_kind(counted, work.LINEAR) == pytest.approx(done[work.LINEAR], rel=0.05)


def test_decoding_at_the_official_size():
    """Most of it in the convolutions of the last stages."""
    ops = vae_mochi.decode_work(vae_mochi.MochiVAEConfig(), 480, 848, 163)
    assert 0.9 < of_kind(ops, work.CONV3D) / work.flops(ops) < 1
    short = work.flops(vae_mochi.decode_work(vae_mochi.MochiVAEConfig(), 480, 848, 1))
    assert 90 < work.flops(ops) / short < 163  # fewer frames further up


def test_each_half_of_the_vae_is_its_share():
    config = vae_mochi.MochiVAEConfig()
    decoder, encoder = 362_526_595, 97_222_016  # numbers in the published files
    assert vae_mochi.decode_share(config) == pytest.approx(decoder / (decoder + encoder), rel=1e-4)
    assert vae_mochi.encode_share(config) + vae_mochi.decode_share(config) == 1


def test_a_prompt_keeps_its_rows_and_a_bounded_table():
    short = mochi.conditioning_memory(MOCHI_1, 44_520, 0)
    assert short == mochi.ROTARY_BYTES
    assert mochi.conditioning_memory(MOCHI_1, 44_520, 10) - short == 10 * MOCHI_1.dim_y * 4
    steps = (
        mochi.denoise_memory(MOCHI_1, 44_520, 64, 2),
        mochi.denoise_memory(MOCHI_1, 44_520, 0, 2),
    )
    assert steps[0] - steps[1] == pytest.approx(64 * 2 * 4 * 4608 * 48 * 4)  # for two prompts

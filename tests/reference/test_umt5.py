"""Our UMT5 encoder against transformers', live, over sizes, lengths, masks and batches."""

import mlx.core as mx
import numpy as np
import pytest
import torch

from mlx_wan.bench.networks_umt5 import random_weights, transformers_model
from mlx_wan.models.umt5 import UMT5Config, UMT5Encoder, encode

pytestmark = pytest.mark.reference

PLAIN = {"vocab_size": 50, "dim": 16, "dim_attn": 16, "dim_ffn": 24, "num_heads": 2}
WIDE = {"vocab_size": 90, "dim": 40, "dim_attn": 128, "dim_ffn": 72, "num_heads": 2}
MANY_BUCKETS = PLAIN | {"num_buckets": 64, "max_distance": 200}
FEW_BUCKETS = PLAIN | {"num_buckets": 6, "max_distance": 20, "num_heads": 4}


@pytest.mark.parametrize("config", [PLAIN, WIDE, MANY_BUCKETS, FEW_BUCKETS])
@pytest.mark.parametrize("tokens", [1, 2, 40, 129, 400, 512])
@pytest.mark.parametrize("lengths", [None, "full", "mixed"])
def test_agrees_with_transformers(config, tokens, lengths):
    config = config | {"num_layers": 3}
    weights = random_weights(config, seed=tokens)
    theirs = transformers_model(config, weights)
    ours = UMT5Encoder(UMT5Config(**config))
    ours.load_weights([(name, mx.array(array)) for name, array in weights.items()])

    rng = np.random.default_rng(tokens)
    ids = rng.integers(0, config["vocab_size"], (1 if lengths is None else 2, tokens))
    mask = np.ones_like(ids)
    if lengths == "mixed":
        mask[1, max(1, tokens // 3) :] = 0
    with torch.inference_mode():
        given = None if lengths is None else torch.tensor(mask)
        expected = theirs(torch.tensor(ids), attention_mask=given).last_hidden_state.numpy()
    out = np.array(ours(mx.array(ids), None if lengths is None else mx.array(mask)))
    assert np.abs(out - expected).max() / np.abs(expected).max() < 1e-5

    valid = mask.sum(axis=1)
    rows = encode(ours, [row[:n].tolist() for row, n in zip(ids, valid, strict=True)])
    for row, whole, n in zip(rows, expected, valid, strict=True):
        assert np.abs(np.array(row[0]) - whole[:n]).max() / np.abs(expected).max() < 1e-5

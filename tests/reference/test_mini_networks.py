"""The networks wan-mini is trained with are the engine's: same weights, same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mlx_wan.bench.mini.batches import TOKENIZER, Captions
from mlx_wan.bench.mini.model_umt5 import load_text_encoder
from mlx_wan.bench.mini.model_wan import load_transformer
from mlx_wan.bench.mini.original import write_original
from mlx_wan.convert import convert
from mlx_wan.loading import load_network, open_model

pytestmark = pytest.mark.reference


def test_trained_networks_agree_with_the_engine(tmp_path: Path) -> None:
    import mlx.core as mx  # after torch, which shares names with the BLAS that comes with it

    weights = tmp_path / "original"
    write_original(weights)
    captions = Captions(weights / TOKENIZER, text_len=128)
    ids, lengths = captions.encode(["slow blue aurora over a dark background", "red rings", ""])
    noisy, sigma = torch.randn(3, 16, 5, 6, 10), torch.tensor([0.05, 0.6, 0.97])
    with torch.no_grad():
        embeds = load_text_encoder(weights)(ids, lengths)
        velocity = load_transformer(weights, "high_noise_model")(noisy, sigma, embeds, lengths)

    folder = open_model(convert(weights, tmp_path / "mini", model="wan-mini", dtype="fp16"))
    encoder, network = load_network(folder["text_encoder"]), load_network(folder["high_noise"])
    for i, length in enumerate(lengths.tolist()):
        ours = encoder(mx.array(ids[i : i + 1, :length].numpy()))
        np.testing.assert_allclose(ours[0], embeds[i, :length], atol=2e-5)
        latents = mx.array(noisy[i : i + 1].permute(0, 2, 3, 4, 1).numpy())
        out = network(latents, 1000 * float(sigma[i]), network.condition(ours, (5, 3, 5)))
        np.testing.assert_allclose(out[0], velocity[i].permute(1, 2, 3, 0), atol=1e-4)

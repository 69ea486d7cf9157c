"""Records tests/recorded/umt5_*.npz: transformers' UMT5EncoderModel on small random encoders.

python tests/record_umt5.py        needs the `reference` extra
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlx_wan.bench.networks_umt5 import random_weights, transformers_model

HERE = Path(__file__).parent / "recorded"
TINY = {"vocab_size": 50, "dim": 16, "dim_attn": 16, "dim_ffn": 24, "num_heads": 2, "num_layers": 2}
# dim_attn is not dim, and other buckets than the usual ones
ODD = {"vocab_size": 40, "dim": 24, "dim_attn": 36, "dim_ffn": 40, "num_heads": 3, "num_layers": 3}
ODD |= {"num_buckets": 20, "max_distance": 50}


def record(name: str, config: dict[str, int], tokens: int, lengths: list[int] | None) -> None:
    """One forward of as many prompts as there are lengths; None: one prompt, no mask."""
    weights = random_weights(config, seed=len(name))
    rng = np.random.default_rng(7)
    ids = rng.integers(0, config["vocab_size"], (len(lengths or [0]), tokens))
    mask = np.ones_like(ids)
    for row, length in zip(mask, lengths or [tokens], strict=True):
        row[length:] = 0
    model = transformers_model(config, weights)
    with torch.inference_mode():
        given = None if lengths is None else torch.tensor(mask)
        out = model(torch.tensor(ids), attention_mask=given).last_hidden_state.numpy()
    arrays: dict[str, Any] = {"ids": ids, "out": out}
    arrays |= {} if lengths is None else {"mask": mask}
    arrays |= {f"config.{key}": np.array(value) for key, value in config.items()}
    arrays |= {f"weight.{key}": value for key, value in weights.items()}
    np.savez_compressed(HERE / f"umt5_{name}.npz", **arrays)


def record_buckets() -> None:
    """Which bucket transformers puts each distance in, for several forms of the table."""
    from transformers import UMT5Config
    from transformers.models.umt5.modeling_umt5 import UMT5Attention

    distance = torch.arange(-600, 601)
    forms, rows = [(32, 128), (20, 50), (8, 16), (64, 512), (33, 100)], []
    for num_buckets, max_distance in forms:
        config = UMT5Config(
            relative_attention_num_buckets=num_buckets,
            relative_attention_max_distance=max_distance,
        )
        attention = UMT5Attention(config, has_relative_attention_bias=True, layer_idx=0)
        rows.append(attention._relative_position_bucket(distance).numpy().astype(np.int16))
    np.savez_compressed(HERE / "umt5_buckets.npz", forms=np.array(forms), buckets=np.array(rows))


if __name__ == "__main__":
    record("short", TINY, 11, None)
    record("long", TINY, 300, None)  # beyond max_distance: the last bucket takes all
    record("masked", ODD, 170, [170, 37])
    record_buckets()

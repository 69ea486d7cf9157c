"""T5 v1.1's encoder, Mochi's text encoder: UMT5's, but all layers share one table of position
biases (transformers' T5EncoderModel, where the table lies in block 0)."""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from .umt5 import UMT5Config, UMT5Encoder, encode, position_biases, relative_buckets

__all__ = ["T5Config", "T5Encoder", "encode"]


@dataclass(frozen=True)
class T5Config(UMT5Config):
    """Sizes of one encoder, as UMT5's; those of T5 v1.1 XXL where nothing else is said."""

    vocab_size: int = 32128
    dim: int = 4096
    dim_attn: int = 4096
    dim_ffn: int = 10240
    num_heads: int = 64
    num_layers: int = 24


class T5Encoder(UMT5Encoder):
    def __init__(self, config: T5Config):
        super().__init__(config)
        for block in self.blocks:
            block.pop("pos_embedding")
        self.pos_embedding = nn.Embedding(config.num_buckets, config.num_heads)

    def position_biases(self, length: int) -> list[mx.array]:
        """The same bias for every block, for so many tokens."""
        buckets = relative_buckets(length, self.config.num_buckets, self.config.max_distance)
        return position_biases([self.pos_embedding.weight], buckets) * len(self.blocks)

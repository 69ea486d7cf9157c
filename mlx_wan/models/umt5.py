"""UMT5's encoder: T5 with gated GELU and a table of relative position biases in every layer.

Residual stream, norms, scores and softmax are float32. Matrices run in bfloat16 where they are
stored so and the GPU computes; else in float32, one matrix of a 16-bit model at a time (float16
is no place to compute: T5's activations overflow it).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan.cpu import gelu_tanh, is_cpu, softmax_attention
from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.roofline import work

MASKED = -1e9  # added to a score: the key's weight vanishes


@dataclass(frozen=True)
class UMT5Config:
    """Sizes of one encoder. `dim_attn` is what all heads have together."""

    vocab_size: int
    dim: int
    dim_attn: int
    dim_ffn: int
    num_heads: int
    num_layers: int
    num_buckets: int = 32
    max_distance: int = 128
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "eps" and (type(value) is not int or value < 1):
                raise BadFileError(f"UMT5 {name} is {value!r}; it must be a whole number above 0")
        if self.dim_attn % self.num_heads:
            raise BadFileError(f"dim_attn {self.dim_attn} does not split in {self.num_heads} heads")
        if self.num_buckets < 4 or self.max_distance <= self.num_buckets // 4:
            raise BadFileError(
                f"{self.num_buckets} position buckets up to distance {self.max_distance}",
                "UMT5 has 32 up to 128",
            )


def relative_buckets(length: int, num_buckets: int, max_distance: int) -> mx.array:
    """The bucket of each distance key - query from -(length - 1) to length - 1.

    Half of the buckets are for keys behind the query; of each half, half are single distances and
    the rest grow logarithmically. In float32 like the reference, whose rounding picks the bucket.
    """
    distance = np.arange(-(length - 1), length)
    half = num_buckets // 2
    exact = half // 2
    far = np.maximum(np.abs(distance), exact).astype(np.float32) / np.float32(exact)
    far = np.log(far) / np.float32(math.log(max_distance / exact)) * np.float32(half - exact)
    far = np.minimum(exact + far.astype(np.int64), half - 1)
    bucket = np.where(np.abs(distance) < exact, np.abs(distance), far)
    return mx.array((bucket + np.where(distance > 0, half, 0)).astype(np.int32))


def position_biases(tables: list[mx.array], buckets: mx.array) -> list[mx.array]:
    """What each layer's heads add to the score of each pair, (1, heads, L, L): views.

    tables: (num_buckets, heads) of each layer.
    """
    by_distance = mx.stack(tables).astype(mx.float32)[:, buckets]  # (layers, 2L - 1, heads)
    by_distance = mx.contiguous(by_distance.swapaxes(1, 2))
    layers, heads, distances = by_distance.shape
    length = (distances + 1) // 2
    # Row i of a square is the window of `by_distance` that has distance 0 at column i.
    squares = mx.as_strided(
        by_distance,
        (layers, 1, heads, length, length),
        (heads * distances, 0, distances, -1, 1),
        offset=length - 1,
    )
    return list(squares)


def project(layer: nn.Module, x: mx.array) -> mx.array:
    """A linear layer in the precision told at the top."""
    stored = layer.scales if isinstance(layer, nn.QuantizedLinear) else layer.weight
    if stored.dtype == mx.bfloat16 and not is_cpu():
        return layer(x.astype(mx.bfloat16))
    weight = layer.weight
    if isinstance(layer, nn.QuantizedLinear):
        if not is_cpu():
            return layer(x)
        # the CPU backend multiplies whole matrices 20 times faster than packed ones
        weight = mx.dequantize(weight, layer.scales, layer.biases, layer.group_size, layer.bits)
    weight = weight.T.astype(x.dtype)  # x is float32
    return mx.addmm(layer.bias.astype(x.dtype), x, weight) if "bias" in layer else x @ weight


class Attention(nn.Module):
    """Self-attention without the usual 1/sqrt(head_dim)."""

    def __init__(self, config: UMT5Config):
        super().__init__()
        self.num_heads = config.num_heads
        self.q = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.k = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.v = nn.Linear(config.dim, config.dim_attn, bias=False)
        self.o = nn.Linear(config.dim_attn, config.dim, bias=False)

    def __call__(self, x: mx.array, bias: mx.array) -> mx.array:
        B, L, _ = x.shape
        q, k, v = (
            project(layer, x).reshape(B, L, self.num_heads, -1).swapaxes(1, 2)  # (B, heads, L, -1)
            for layer in (self.q, self.k, self.v)
        )
        # only NumPy is trusted to walk a view backwards
        bias = bias if is_cpu() else mx.contiguous(bias)
        x = softmax_attention(q, k, v, scale=1.0, bias=bias)
        return project(self.o, x.swapaxes(1, 2).reshape(B, L, -1))


class FeedForward(nn.Module):
    def __init__(self, config: UMT5Config):
        super().__init__()
        self.gate = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.fc1 = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.fc2 = nn.Linear(config.dim_ffn, config.dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return project(self.fc2, gelu_tanh(project(self.gate, x)) * project(self.fc1, x))


class Block(nn.Module):
    def __init__(self, config: UMT5Config):
        super().__init__()
        self.norm1 = nn.RMSNorm(config.dim, config.eps)
        self.attn = Attention(config)
        self.norm2 = nn.RMSNorm(config.dim, config.eps)
        self.ffn = FeedForward(config)
        self.pos_embedding = nn.Embedding(config.num_buckets, config.num_heads)

    def __call__(self, x: mx.array, bias: mx.array) -> mx.array:
        x = x + self.attn(self.norm1(x), bias)
        return x + self.ffn(self.norm2(x))


class UMT5Encoder(nn.Module):
    def __init__(self, config: UMT5Config):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks: list[nn.Module] = [Block(config) for _ in range(config.num_layers)]
        self.norm = nn.RMSNorm(config.dim, config.eps)

    def __call__(self, ids: mx.array, mask: mx.array | None = None) -> mx.array:
        """ids (B, L) -> (B, L, dim) in float32. `mask` (B, L) is 0 where a key is padding."""
        x = table_rows(self.token_embedding, ids)
        # (B, 1, 1, L)
        masked = None if mask is None else mx.where(mask[:, None, None] != 0, 0.0, MASKED)
        for block, bias in zip(self.blocks, self.position_biases(ids.shape[1]), strict=True):
            x = block(x, bias if masked is None else bias + masked)
            mx.eval(x)  # lets go of this block's float32 matrices
        return self.norm(x)

    def position_biases(self, length: int) -> list[mx.array]:
        """`position_biases` of all blocks for so many tokens."""
        buckets = relative_buckets(length, self.config.num_buckets, self.config.max_distance)
        return position_biases([block.pos_embedding.weight for block in self.blocks], buckets)


def encode(
    encoder: UMT5Encoder, prompts: Sequence[Sequence[int]], *, release: bool = False
) -> list[mx.array]:
    """Token ids of some prompts -> their rows (1, n, dim), evaluated, each without padding.

    Exactly the rows a padded and masked batch has. The prompts pass each block together, so
    weights that load lazily are read once; with `release` a block is let go when all have passed
    (the encoder is empty afterwards), and no more than one is in memory at a time.
    """
    states = [table_rows(encoder.token_embedding, mx.array([list(ids)])) for ids in prompts]
    biases = [encoder.position_biases(len(ids)) for ids in prompts]
    mx.eval(states)
    if release:
        del encoder.token_embedding
    states = through_layers(encoder.blocks, states, biases, release)
    states = [encoder.norm(x) for x in states]
    mx.eval(states)
    return states


def table_rows(table: nn.Module, ids: mx.array) -> mx.array:
    """ids (B, L) -> (B, L, dim): the rows of an embedding table (quantised or not), in float32."""
    lowest, highest = np.asarray(ids).min(), np.asarray(ids).max()
    known = len(table.weight)
    if lowest < 0 or highest >= known:
        raise ModelError(
            f"token ids reach from {lowest} to {highest}; the text encoder knows {known} tokens",
            "tokenizer and text encoder are not of the same model",
        )
    return table(ids).astype(mx.float32)


def through_layers(
    layers: list[nn.Module],
    states: list[mx.array],
    others: Sequence[Sequence[Any]],
    release: bool,
) -> list[mx.array]:
    """The states (1, n, dim) of some prompts after all layers, a layer at a time.

    others: what each layer is told besides a prompt's states.
    """
    states = list(states)
    for i, layer in enumerate(layers):
        for j, of_layer in enumerate(others):
            states[j] = layer(states[j], of_layer[i])
            mx.eval(states[j])  # lets go of matrices widened for this prompt
        if release:
            layers[i] = nn.Identity()
    return states


def encode_memory(
    config: UMT5Config, texts: Sequence[int], stored_bytes: int, stored_float32: bool
) -> int:
    """Bytes of the embedding table or of one layer, whichever is more, with texts of so many
    tokens; the file has `stored_bytes`.

    Layers are let go as they are used. On the CPU backend a layer's largest matrix is widened to
    float32, where it is not stored so.
    """
    table = config.vocab_size * config.dim * (4 if stored_float32 else 2)
    layer = max(0, stored_bytes - table) // config.num_layers
    widened = config.dim * config.dim_ffn * 4 * (not stored_float32)
    scores = 2 * config.num_heads * max(texts) ** 2 * 4  # the position bias, and room
    wide = sum(texts) * (6 * config.dim + 3 * config.dim_ffn) * 4
    states = 2 * sum(texts) * config.dim * 4
    return max(table, layer + widened + scores + wide) + states


def encode_work(config: UMT5Config, text_tokens: int, widened: bool) -> list[work.Op]:
    """The operations of encoding one prompt; `widened`: 16-bit matrices become float32 first."""
    n, dim, attn, ffn = text_tokens, config.dim, config.dim_attn, config.dim_ffn
    layer = [
        work.linear(n, dim, attn, 4),
        work.linear(n, dim, ffn, 3),
        work.attention(config.num_heads, n, n, attn // config.num_heads),
        work.elementwise(work.NORM, n * dim, 2),
        work.elementwise(work.ACTIVATION, n * ffn),
        work.elementwise(work.ADD, n * ffn, 3),
    ]
    if widened:
        layer.append(work.elementwise(work.ADD, dim * attn, 4))
        layer.append(work.elementwise(work.ADD, dim * ffn, 3))
    return [op.times(config.num_layers) for op in layer]

"""Qwen2.5-VL's language model as a text encoder: the states before its last two layers.

HunyuanVideo reads the third last of the hidden states, without the final norm, so neither the last
two layers nor the head are here. For text alone its three streams of positions are one. Names and
order of operations: transformers' Qwen2_5_VLTextModel. Precision as in umt5.py; attention is
float32 throughout, for keys are large in some layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan.cpu import rms_norm, silu, softmax_attention
from mlx_wan.errors import BadFileError
from mlx_wan.roofline import work

from .umt5 import MASKED, project, table_rows, through_layers


@dataclass(frozen=True)
class QwenConfig:
    """Sizes of one encoder. `num_layers` are those that run, two fewer than were published."""

    vocab_size: int = 152064
    dim: int = 3584
    dim_ffn: int = 18944
    num_heads: int = 28
    num_kv_heads: int = 4
    num_layers: int = 26
    rope_theta: float = 1e6
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name not in ("eps", "rope_theta") and (type(value) is not int or value < 1):
                raise BadFileError(f"Qwen {name} is {value!r}; it must be a whole number above 0")
        if self.dim % (2 * self.num_heads) or self.num_heads % self.num_kv_heads:
            raise BadFileError(
                f"a width of {self.dim} does not split in {self.num_heads} heads "
                f"that share {self.num_kv_heads} keys"
            )
        if self.rope_theta <= 1:
            raise BadFileError(f"Qwen rope_theta is {self.rope_theta!r}; it must be above 1")

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads


@dataclass(frozen=True)
class Positions:
    """What all layers are told of the places of L tokens."""

    cos: mx.array  # (L, head_dim / 2)
    sin: mx.array
    bias: mx.array  # (1, 1, L, L): a token does not see later ones

    @classmethod
    def of(cls, length: int, head_dim: int, theta: float) -> "Positions":
        """Angles in float32 like the reference's."""
        exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
        frequencies = 1 / np.float32(theta) ** exponents
        angles = np.arange(length, dtype=np.float32)[:, None] * frequencies
        later = np.triu(np.full((length, length), MASKED, np.float32), 1)
        return cls(mx.array(np.cos(angles)), mx.array(np.sin(angles)), mx.array(later[None, None]))

    def turn(self, x: mx.array) -> mx.array:
        """(B, heads, L, head_dim), rotated: channel i pairs with i + head_dim / 2."""
        a, b = mx.split(x.astype(mx.float32), 2, axis=-1)
        return mx.concatenate([a * self.cos - b * self.sin, b * self.cos + a * self.sin], axis=-1)


class Attention(nn.Module):
    """Causal self-attention; several heads share a key and a value."""

    def __init__(self, config: QwenConfig):
        super().__init__()
        self.head_dim = config.head_dim
        self.sharing = config.num_heads // config.num_kv_heads
        shared = config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, config.dim)
        self.k_proj = nn.Linear(config.dim, shared)
        self.v_proj = nn.Linear(config.dim, shared)
        self.o_proj = nn.Linear(config.dim, config.dim, bias=False)

    def __call__(self, x: mx.array, positions: Positions) -> mx.array:
        q = positions.turn(self._heads(project(self.q_proj, x)))
        k = positions.turn(self._heads(project(self.k_proj, x)))
        v = self._heads(project(self.v_proj, x)).astype(mx.float32)
        k, v = (mx.repeat(a, self.sharing, axis=1) for a in (k, v))
        attended = softmax_attention(q, k, v, scale=self.head_dim**-0.5, bias=positions.bias)
        return project(self.o_proj, attended.swapaxes(1, 2).flatten(2))

    def _heads(self, x: mx.array) -> mx.array:
        return x.reshape(*x.shape[:2], -1, self.head_dim).swapaxes(1, 2)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: QwenConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.up_proj = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.down_proj = nn.Linear(config.dim_ffn, config.dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        gate = silu(project(self.gate_proj, x), reuse=True)
        return project(self.down_proj, gate * project(self.up_proj, x))


class Layer(nn.Module):
    def __init__(self, config: QwenConfig):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.dim, config.eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.dim, config.eps)
        self.mlp = FeedForward(config)

    def __call__(self, x: mx.array, positions: Positions) -> mx.array:
        x = x + self.self_attn(self._norm(self.input_layernorm, x), positions)
        return x + self.mlp(self._norm(self.post_attention_layernorm, x))

    @staticmethod
    def _norm(norm: nn.RMSNorm, x: mx.array) -> mx.array:
        return rms_norm(x, norm.weight, norm.eps)


class QwenEncoder(nn.Module):
    def __init__(self, config: QwenConfig):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.dim)
        self.layers: list[nn.Module] = [Layer(config) for _ in range(config.num_layers)]


def encode(
    encoder: QwenEncoder, prompts: Sequence[Sequence[int]], *, release: bool = False
) -> list[mx.array]:
    """Token ids of some prompts -> their states (1, n, dim) in float32, evaluated.

    The prompts pass each layer together, so weights that load lazily are read once; with `release`
    a layer is let go when all have passed (the encoder is empty afterwards), and no more than one
    is in memory at a time. Padding behind a prompt would change nothing: no token sees later ones.
    """
    config = encoder.config
    states = [table_rows(encoder.embed_tokens, mx.array([list(ids)])) for ids in prompts]
    places = [Positions.of(len(ids), config.head_dim, config.rope_theta) for ids in prompts]
    mx.eval(states)
    if release:
        del encoder.embed_tokens
    return through_layers(
        encoder.layers, states, [[p] * config.num_layers for p in places], release
    )


def encode_memory(
    config: QwenConfig, texts: Sequence[int], stored_bytes: int, stored_float32: bool
) -> int:
    """Bytes of the embedding table or of one layer, whichever is more, with texts of so many
    tokens; the file has `stored_bytes`.

    As umt5.encode_memory; two matrices may be widened at a time, and no device holds the scores.
    """
    table = config.vocab_size * config.dim * (4 if stored_float32 else 2)
    layer = max(0, stored_bytes - table) // config.num_layers
    widened = 2 * config.dim * config.dim_ffn * 4 * (not stored_float32)
    wide = max(texts) * (6 * config.dim + 3 * config.dim_ffn) * 4
    masks = sum(n * n for n in texts) * 4
    states = 2 * sum(texts) * config.dim * 4
    return max(table, layer + widened + wide) + masks + states


def encode_work(config: QwenConfig, text_tokens: int, widened: bool) -> list[work.Op]:
    """The operations of encoding one prompt; `widened`: 16-bit matrices become float32 first."""
    n, dim, ffn = text_tokens, config.dim, config.dim_ffn
    shared = config.num_kv_heads * config.head_dim
    layer = [
        work.linear(n, dim, dim, 2),
        work.linear(n, dim, shared, 2),
        work.linear(n, dim, ffn, 3),
        work.attention(config.num_heads, n, n, config.head_dim),
        work.elementwise(work.NORM, n * dim, 2),
        work.elementwise(work.ACTIVATION, n * ffn),
        work.elementwise(work.ADD, n * ffn, 3),
    ]
    if widened:
        layer.append(work.elementwise(work.ADD, dim * dim, 2))
        layer.append(work.elementwise(work.ADD, dim * ffn, 3))
    return [op.times(config.num_layers) for op in layer]

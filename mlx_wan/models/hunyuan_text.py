"""What HunyuanVideo 1.5 reads beside the video: a prompt, the texts quoted in it, an image.

Each source is projected to the width of the network in its own way and marked by a row of
`cond_type_embedding`. The prompt passes a small transformer, the refiner, that is told the
timestep. Names and the order of operations are those of Tencent-Hunyuan/HunyuanVideo-1.5
(hyvideo/models/transformers/modules), with queries, keys and values apart.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import attention
from mlx_wan.errors import UsageError

from .layers import TwoLinears, linear, linear_float32

EPS = 1e-6
PROJECTION_EPS = 1e-5  # of the norms of glyphs and image
REFINER_FFN = 4  # times the width, whatever the blocks of the network have


@dataclass(frozen=True)
class HunyuanPrompt:
    """What the encoders made of a batch of prompts; a mask is 0 where a token is padding.

    glyph: of the quoted texts, None where there are none. vision: of the first frame, None (or all
    zeros) for video from text alone.
    """

    text: mx.array  # (B, n, text_dim)
    glyph: mx.array | None = None  # (B, n, glyph_dim)
    vision: mx.array | None = None  # (B, n, vision_dim)
    text_mask: mx.array | None = None  # (B, n)
    glyph_mask: mx.array | None = None  # (B, n)


@dataclass(frozen=True)
class Tokens:
    """Token rows with the columns that are padding in every item left out."""

    rows: mx.array  # (B, n, dim) float32
    valid: np.ndarray  # (B, n) bool

    @classmethod
    def of(cls, rows: mx.array, mask: mx.array | None) -> "Tokens":
        if mask is not None and tuple(mask.shape) != rows.shape[:2]:
            raise UsageError(
                f"the mask has shape {tuple(mask.shape)}, its tokens {rows.shape[:2]}",
                "a mask has one number for every token",
            )
        valid = np.ones(rows.shape[:2], bool) if mask is None else np.asarray(mask).astype(bool)
        used = np.flatnonzero(valid.any(axis=0))
        if len(used) < rows.shape[1]:
            rows, valid = rows[:, mx.array(used.astype(np.int32))], valid[:, used]
        return cls(rows.astype(mx.float32), valid)

    def mean(self) -> mx.array:
        """(B, dim): of the valid rows."""
        valid = mx.array(self.valid.astype(np.float32))[..., None]
        return (self.rows * valid).sum(axis=1) / valid.sum(axis=1)


def key_bias(valid: np.ndarray, before: int = 0) -> mx.array | None:
    """(B, n) -> (B, 1, 1, before + n), minus infinity for padding; None where there is none.

    `before`: keys in front of these, all valid.
    """
    if valid.all():
        return None
    keys = np.pad(valid, [(0, 0), (before, 0)], constant_values=True)
    return mx.array(np.where(keys, 0, -np.inf).astype(np.float32))[:, None, None]


class RefinerBlock(nn.Module):
    """Self-attention and a feed-forward; time and prompt only say how much of each is added."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim, EPS)
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, EPS)
        self.fc1 = nn.Linear(dim, REFINER_FFN * dim)
        self.fc2 = nn.Linear(REFINER_FFN * dim, dim)
        self.mod = nn.Linear(dim, 2 * dim)

    def __call__(self, x: mx.array, c: mx.array, bias: mx.array | None) -> mx.array:
        """x (B, n, dim) and c = silu(time + prompt) (B, dim) -> (B, n, dim), float32."""
        gate, gate_ff = mx.split(linear_float32(self.mod, c)[:, None], 2, axis=-1)
        h = cpu.layer_norm(x, self.norm1.weight, self.norm1.bias, EPS)
        q, k, v = (self._heads(linear(layer, h)) for layer in (self.q, self.k, self.v))
        h = attention(q, k, v, scale=q.shape[-1] ** -0.5, bias=bias)
        x = x + linear(self.proj, h.swapaxes(1, 2).flatten(2)).astype(mx.float32) * gate
        h = cpu.layer_norm(x, self.norm2.weight, self.norm2.bias, EPS)
        h = linear(self.fc2, cpu.silu(linear(self.fc1, h), reuse=True))
        return x + h.astype(mx.float32) * gate_ff

    def _heads(self, x: mx.array) -> mx.array:
        return x.reshape(*x.shape[:2], self.num_heads, -1).swapaxes(1, 2)


class TokenRefiner(nn.Module):
    """The prompt's tokens at some time; `condition` is the part that no timestep changes."""

    def __init__(self, text_dim: int, dim: int, num_heads: int, num_layers: int, freq_dim: int):
        super().__init__()
        self.t_embedder = TwoLinears(freq_dim, dim)
        self.c_embedder = TwoLinears(text_dim, dim)
        self.input_embedder = nn.Linear(text_dim, dim)
        self.blocks = [RefinerBlock(dim, num_heads) for _ in range(num_layers)]

    def condition(self, text: Tokens) -> tuple[mx.array, mx.array]:
        """The embedded tokens (B, n, dim) and the prompt as one vector (B, dim), float32."""
        embedded = linear(self.input_embedder, text.rows).astype(mx.float32)
        return embedded, self.c_embedder(text.mean())

    def __call__(
        self, embedded: mx.array, pooled: mx.array, times: mx.array, bias: mx.array | None
    ) -> mx.array:
        """times: sinusoids (B or 1, freq_dim) -> (B, n, dim), float32."""
        c = cpu.silu(self.t_embedder(times) + pooled)
        for block in self.blocks:
            embedded = block(embedded, c, bias)
        return embedded


class GlyphProjection(nn.Module):
    """Norm and three linears with GELU between them."""

    def __init__(self, glyph_dim: int, hidden_dim: int, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(glyph_dim, PROJECTION_EPS)
        self.fc1 = nn.Linear(glyph_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, hidden_dim)
        self.fc3 = nn.Linear(hidden_dim, dim)

    def __call__(self, x: mx.array) -> mx.array:
        """(B, n, glyph_dim) -> (B, n, dim), float32."""
        x = cpu.layer_norm(x, self.norm.weight, self.norm.bias, PROJECTION_EPS)
        x = nn.gelu(linear(self.fc1, x))
        return linear(self.fc3, nn.gelu(linear(self.fc2, x))).astype(mx.float32)


class VisionProjection(nn.Module):
    """Two linears with GELU between them, a norm before and after."""

    def __init__(self, vision_dim: int, dim: int):
        super().__init__()
        self.norm_in = nn.LayerNorm(vision_dim, PROJECTION_EPS)
        self.fc1 = nn.Linear(vision_dim, vision_dim)
        self.fc2 = nn.Linear(vision_dim, dim)
        self.norm_out = nn.LayerNorm(dim, PROJECTION_EPS)

    def __call__(self, x: mx.array) -> mx.array:
        """(B, n, vision_dim) -> (B, n, dim), float32."""
        x = cpu.layer_norm(x, self.norm_in.weight, self.norm_in.bias, PROJECTION_EPS)
        x = linear(self.fc2, nn.gelu(linear(self.fc1, x)))
        return cpu.layer_norm(x, self.norm_out.weight, self.norm_out.bias, PROJECTION_EPS)

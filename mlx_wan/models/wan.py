"""Wan's diffusion transformer: T2V-A14B, I2V-A14B, TI2V-5B and T2V-1.3B, by config alone.

Attribute names and the order of operations are those of Wan-Video/Wan2.2 (wan/modules/model.py);
channels are last. Tokens travel as row chunks, so that neither a hidden layer nor the modulation
of a per-token timestep ever exists for all tokens. The residual, norms, modulation, rotary
embedding and time embedding are float32; the matmuls of the blocks run in the weights' dtype.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import FUSED_HEAD_SIZES, SCORE_BYTES, attention, row_chunks
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.roofline import work

from .layers import (
    FeedForward,
    Watch,
    linear,
    linear_float32,
    rotary_by_axis,
    show,
    time_features,
)
from .patches import check_grid, patch_grid, patchify, unpatchify


@dataclass(frozen=True)
class WanConfig:
    """Sizes of one network. `patch_size` is (t, h, w)."""

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    in_dim: int
    out_dim: int
    text_dim: int
    text_len: int = 512
    freq_dim: int = 256
    eps: float = 1e-6
    patch_size: tuple[int, int, int] = (1, 2, 2)
    cross_attn_norm: bool = True

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or self.head_dim % 2:
            raise ModelError(
                f"the transformer's config does not split {self.dim} channels into "
                f"{self.num_heads} heads of even size",
                "convert the checkpoint again",
            )
        if self.freq_dim % 2:
            raise ModelError(
                f"the transformer's config has the odd freq_dim {self.freq_dim}",
                "convert the checkpoint again",
            )

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def encoder_dims(self) -> dict[str, int]:
        """The width of what it reads, by the component that gives it."""
        return {"text_encoder": self.text_dim}


@dataclass(frozen=True)
class Conditioning:
    """What a prompt and a size fix for a whole run, computed once (`WanTransformer.condition`)."""

    grid: tuple[int, int, int]  # latent size in patches
    rotary: mx.array  # (L, 1, head_dim / 2) complex
    text: list[tuple[mx.array, mx.array]]  # keys and values of every block, (B, heads, n, head_dim)
    bias: mx.array | None  # (n,): added to the scores of those keys


@dataclass(frozen=True)
class Rows:
    """A chunk of the token axis and, for each batch item, whose time its tokens have.

    `times` indexes the table of unique times: (B, 1) where all tokens share one, else (B, rows).
    """

    tokens: slice
    times: mx.array


# --- small functions ---------------------------------------------------------------------------


def rotary_table(grid: tuple[int, int, int], head_dim: int) -> mx.array:
    """(L, 1, head_dim / 2) complex; time, height and width have 44, 42 and 42 of 128 channels."""
    side = 2 * (head_dim // 6)
    return rotary_by_axis(grid, (head_dim - 2 * side, side, side), 10000.0)


def split_rows(timestep: np.ndarray) -> tuple[np.ndarray, list[Rows]]:
    """Timesteps (B, L) -> the unique times (U,) and the chunks the tokens are worked on in.

    Where times change seldom (an image's frame at 0, all others at t), chunks end there.
    """
    length = timestep.shape[1]
    times, index = np.unique(timestep, return_inverse=True)
    index = index.reshape(timestep.shape).astype(np.int32)
    changes = 1 + np.flatnonzero((index[:, 1:] != index[:, :-1]).any(axis=0))
    runs_are_long = len(changes) <= 8
    edges = [0, *changes.tolist(), length] if runs_are_long else [0, length]
    rows = []
    for start, stop in pairwise(edges):
        for chunk in row_chunks(stop - start):
            tokens = slice(start + chunk.start, start + chunk.stop)
            here = index[:, tokens][:, :1] if runs_are_long else index[:, tokens]
            rows.append(Rows(tokens, mx.array(here)))
    return times, rows


# --- blocks ------------------------------------------------------------------------------------


class WanAttention(nn.Module):
    """The projections both attentions of a block have; q and k are normed across all heads."""

    def __init__(self, config: WanConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.q = nn.Linear(config.dim, config.dim)
        self.k = nn.Linear(config.dim, config.dim)
        self.v = nn.Linear(config.dim, config.dim)
        self.o = nn.Linear(config.dim, config.dim)
        self.norm_q = nn.RMSNorm(config.dim, config.eps)
        self.norm_k = nn.RMSNorm(config.dim, config.eps)
        self.scale = config.head_dim**-0.5

    def query(self, x: mx.array, rotary: mx.array | None = None) -> mx.array:
        """(B, L, dim) -> float32 (B, L, heads, head_dim)."""
        return self._normed(linear(self.q, x), self.norm_q, rotary)

    def key(self, x: mx.array, rotary: mx.array | None = None) -> mx.array:
        return self._normed(linear(self.k, x), self.norm_k, rotary)

    def value(self, x: mx.array) -> mx.array:
        return self._heads(linear(self.v, x))

    def _normed(self, x: mx.array, norm: nn.RMSNorm, rotary: mx.array | None) -> mx.array:
        return self._heads(cpu.rms_norm(x, norm.weight, norm.eps, rotary, reuse=True))

    def _heads(self, x: mx.array) -> mx.array:
        return x.reshape(*x.shape[:-1], self.num_heads, -1)


class WanBlock(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward."""

    def __init__(self, config: WanConfig):
        super().__init__()
        self.eps = config.eps
        self.self_attn = WanAttention(config)
        self.cross_attn = WanAttention(config)
        if config.cross_attn_norm:
            self.norm3 = nn.LayerNorm(config.dim, config.eps)
        self.ffn = FeedForward(config.dim, config.ffn_dim)
        self.modulation = mx.random.normal((1, 6, config.dim)) / config.dim**0.5

    def text_keys_values(self, text: mx.array) -> tuple[mx.array, mx.array]:
        """(B, n, dim) -> keys and values (B, heads, n, head_dim), float32."""
        k, v = self.cross_attn.key(text), self.cross_attn.value(text)
        return k.swapaxes(1, 2), v.astype(mx.float32).swapaxes(1, 2)

    def __call__(
        self,
        x: list[mx.array],
        rows: list[Rows],
        e0: mx.array,
        rotary: mx.array,
        text: tuple[mx.array, mx.array],
        bias: mx.array | None,
    ) -> list[mx.array]:
        """x: the residual, one (B, rows, dim) for each of `rows`; e0: (U, 6, dim)."""
        e = self.modulation.astype(mx.float32) + e0
        shift_sa, scale_sa, gate_sa, shift_ff, scale_ff, gate_ff = (e[:, i] for i in range(6))

        qkv = []
        for chunk, at in zip(x, rows, strict=True):
            h = cpu.layer_norm(chunk, 1 + scale_sa[at.times], shift_sa[at.times], self.eps)
            qkv.append(self._self_qkv(h, rotary[at.tokens]))
        q, k, v = (mx.concatenate(list(x), axis=1).swapaxes(1, 2) for x in zip(*qkv, strict=True))
        del qkv
        attended = attention(q, k, v, scale=self.self_attn.scale).swapaxes(1, 2).flatten(2)
        del q, k, v

        out = []
        for chunk, at in zip(x, rows, strict=True):
            y = linear(self.self_attn.o, attended[:, at.tokens])
            chunk = chunk + y.astype(mx.float32) * gate_sa[at.times]
            h = chunk
            if "norm3" in self:
                h = cpu.layer_norm(chunk, self.norm3.weight, self.norm3.bias, self.eps)
            chunk = chunk + self._cross_attention(h, text, bias).astype(mx.float32)
            h = cpu.layer_norm(chunk, 1 + scale_ff[at.times], shift_ff[at.times], self.eps)
            chunk = chunk + self.ffn(h).astype(mx.float32) * gate_ff[at.times]
            mx.async_eval(chunk)  # lets go of this chunk's temporaries before the next one's
            out.append(chunk)
        return out

    def _self_qkv(self, h: mx.array, rotary: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        """(B, rows, dim) -> q, k, v (B, rows, heads, head_dim) in the compute dtype."""
        q, k = self.self_attn.query(h, rotary), self.self_attn.key(h, rotary)
        v = self.self_attn.value(h)
        q, k = q.astype(v.dtype), k.astype(v.dtype)
        mx.async_eval(q, k, v)  # and of its float32 forms
        return q, k, v

    def _cross_attention(
        self, h: mx.array, text: tuple[mx.array, mx.array], bias: mx.array | None
    ) -> mx.array:
        # In float32: there are few keys, and a 16-bit mask would round log(padding rows) by 1 %.
        q = self.cross_attn.query(h).swapaxes(1, 2)
        h = attention(q, *text, scale=self.cross_attn.scale, bias=bias)
        return linear(self.cross_attn.o, h.swapaxes(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linears; the activation between them is the caller's."""

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(in_dim, dim)
        self.fc2 = nn.Linear(dim, dim)


class WanHead(nn.Module):
    def __init__(self, config: WanConfig):
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, math.prod(config.patch_size) * config.out_dim)
        self.modulation = mx.random.normal((1, 2, config.dim)) / config.dim**0.5

    def __call__(self, x: mx.array, e: mx.array, times: mx.array) -> mx.array:
        """x (B, rows, dim) and e (U, dim), not its projection e0 -> (B, rows, patch)."""
        shift, scale = (self.modulation.astype(mx.float32)[:, i] + e for i in range(2))
        h = cpu.layer_norm(x, 1 + scale[times], shift[times], self.eps)
        return linear_float32(self.head, h)


# --- the model ---------------------------------------------------------------------------------


class WanTransformer(nn.Module):
    """Predicts the flow velocity (noise - clean latents) of noisy latents."""

    def __init__(self, config: WanConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Linear(math.prod(config.patch_size) * config.in_dim, config.dim)
        self.text_embedding = MLP(config.text_dim, config.dim)
        self.time_embedding = MLP(config.freq_dim, config.dim)
        self.time_projection = nn.Linear(config.dim, 6 * config.dim)
        self.blocks = [WanBlock(config) for _ in range(config.num_layers)]
        self.head = WanHead(config)

    def grid(self, latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Size in patches (T', H', W') of latents (B, T, H, W, C)."""
        return patch_grid(latent_shape, self.config.patch_size)

    def tokens(self, latent_shape: tuple[int, ...]) -> int:
        """How many tokens latents of this shape (B, T, H, W, C) make."""
        return math.prod(self.grid(latent_shape))

    def condition(self, prompt_embeds: mx.array, grid: tuple[int, int, int]) -> Conditioning:
        """Everything of a forward that depends on the prompt and the size only.

        prompt_embeds: (B, n, text_dim), n at most text_len. The network was trained on text_len
        rows, zeros after the prompt, and attends to all of them; those rows give one and the same
        key and value, so one of them with log(their number) added to its scores is the same
        softmax.
        """
        length = prompt_embeds.shape[1]
        if length > self.config.text_len or prompt_embeds.shape[-1] != self.config.text_dim:
            raise UsageError(
                f"prompt_embeds have shape {prompt_embeds.shape}; this model takes at most "
                f"{self.config.text_len} rows of {self.config.text_dim}"
            )
        used = np.flatnonzero(np.array((prompt_embeds != 0).any(axis=(0, 2))))
        length = int(used[-1]) + 1 if used.size else 0
        padding = self.config.text_len - length
        text, bias = prompt_embeds[:, :length], None
        if padding:
            text = mx.pad(text, [(0, 0), (0, 1), (0, 0)])
            bias = mx.array([0.0] * length + [math.log(padding)])
        text = linear(self.text_embedding.fc1, text)
        text = linear(self.text_embedding.fc2, cpu.gelu_tanh(text))
        conditioning = Conditioning(
            grid=grid,
            rotary=rotary_table(grid, self.config.head_dim),
            text=[block.text_keys_values(text) for block in self.blocks],
            bias=bias,
        )
        mx.eval(conditioning.rotary, conditioning.text)
        return conditioning

    def __call__(
        self,
        latents: mx.array,
        timestep: float | np.ndarray | mx.array,
        conditioning: Conditioning,
        watch: Watch | None = None,
    ) -> mx.array:
        """latents (B, T, H, W, in_dim) -> velocity (B, T, H, W, out_dim), float32.

        `timestep` (0 to 1000) is one number, one per batch item (B,) or one per token (B, L).
        `watch` is called with a name and the tokens (B, L, .) after the embedding, each block
        and the head: the way to find the layer a NaN comes from.
        """
        batch, grid = latents.shape[0], self.grid(latents.shape)
        self._check(latents, conditioning)
        times, rows = split_rows(_per_token(timestep, batch, math.prod(grid)))
        e, e0 = self._time(times)

        patches = patchify(latents.astype(mx.float32), grid, self.config.patch_size)
        x = [linear_float32(self.patch_embedding, patches[:, at.tokens]) for at in rows]
        show(watch, "patch_embedding", x)
        for i, block in enumerate(self.blocks):
            x = block(x, rows, e0, conditioning.rotary, conditioning.text[i], conditioning.bias)
            mx.eval(x)  # bounds the graph
            show(watch, f"blocks.{i}", x)
        x = [self.head(chunk, e, at.times) for chunk, at in zip(x, rows, strict=True)]
        show(watch, "head", x)
        return unpatchify(
            mx.concatenate(x, axis=1), grid, self.config.patch_size, self.config.out_dim
        )

    def _check(self, latents: mx.array, conditioning: Conditioning) -> None:
        if latents.shape[-1] != self.config.in_dim:
            raise UsageError(
                f"latents have {latents.shape[-1]} channels; this model takes {self.config.in_dim}"
            )
        check_grid(self.grid(latents.shape), conditioning.grid)

    def _time(self, times: np.ndarray) -> tuple[mx.array, mx.array]:
        """Unique times (U,) -> e (U, dim) and e0 (U, 6, dim), float32."""
        e = linear_float32(self.time_embedding.fc1, time_features(times, self.config.freq_dim))
        e = linear_float32(self.time_embedding.fc2, cpu.silu(e))
        # In six parts: the projection is the largest matrix of the model, and 16-bit weights
        # exist here as float32.
        h, e0 = cpu.silu(e), []
        for weight, bias in zip(
            mx.split(self.time_projection.weight, 6),
            mx.split(self.time_projection.bias, 6),
            strict=True,
        ):
            e0.append(h @ weight.astype(mx.float32).T + bias.astype(mx.float32))
            mx.eval(e0[-1])
        return e, mx.stack(e0, axis=1)


def _per_token(timestep: float | np.ndarray | mx.array, batch: int, length: int) -> np.ndarray:
    """One number, (B,) or (B, L) -> (B, L) float64."""
    times = np.asarray(timestep, dtype=np.float64)
    if times.ndim == 1:
        times = times[:, None]
    try:
        return np.broadcast_to(times, (batch, length))
    except ValueError:
        raise UsageError(
            f"timestep has shape {times.shape}; accepted are one number, ({batch},) or "
            f"({batch}, {length})"
        ) from None


# --- what a run costs --------------------------------------------------------------------------


def denoise_memory(config: WanConfig, tokens: int, steps: int, itemsize: int = 4) -> int:
    """Bytes alive at the peak of a forward, beside weights and conditioning.

    On the CPU (measured): in the attention the residual, the normed tokens, q, k, v, the result and
    two copies, and what few scores are computed at once; in the feed-forward the residual before
    and after, what was attended, four more of that size and a chunk of the hidden layer. Elsewhere
    (counted): the residual before and after, then either q, k and v as chunks and whole, or the
    attention's output and a chunk of the feed-forward.
    """
    wide = tokens * config.dim
    rows = min(tokens, row_chunks(tokens, wide=True)[0].stop)
    if not cpu.is_cpu():
        feed_forward = wide + 2 * rows * config.ffn_dim
        fused = config.head_dim in FUSED_HEAD_SIZES
        scores = 0 if fused else SCORE_BYTES
        return 2 * wide * 4 + max(6 * wide, feed_forward) * itemsize + scores
    scores = config.num_heads * tokens**2
    attending = 8 * wide + 2 * (scores if scores <= cpu.TILE**2 else 0)
    feed_forward = 7 * wide + (tokens - rows) * config.dim + rows * config.ffn_dim
    patches = tokens * math.prod(config.patch_size) * config.in_dim
    return 4 * (patches + max(attending, feed_forward))


def conditioning_memory(config: WanConfig, tokens: int, text_tokens: int) -> int:
    """Bytes of `Conditioning` for a prompt of so many tokens."""
    keys = min(text_tokens + 1, config.text_len)
    return 4 * (2 * config.num_layers * keys * config.dim + tokens * config.head_dim)


def forward_flops(config: WanConfig, tokens: int) -> float:
    """Floating-point operations of one forward with all text keys (2 per multiply-add)."""
    dim, layers, text = config.dim, config.num_layers, config.text_len
    linear = 12 * tokens * dim**2 + 4 * tokens * dim * config.ffn_dim + 4 * text * dim**2
    return float(layers * (linear + 4 * tokens**2 * dim + 4 * tokens * text * dim))


def forward_work(config: WanConfig, tokens: int, text_tokens: int) -> list[work.Op]:
    """The operations of one forward, beside a prompt of so many tokens (`condition_work`)."""
    dim, ffn_dim, layers = config.dim, config.ffn_dim, config.num_layers
    keys = min(text_tokens + 1, config.text_len)
    chunks = row_chunks(tokens, wide=True)
    rows = tokens / len(chunks)
    patch = math.prod(config.patch_size)
    block = [
        work.linear(tokens, dim, dim, 6),
        work.attention(config.num_heads, tokens, tokens, config.head_dim),
        work.attention(config.num_heads, tokens, keys, config.head_dim),
        work.linear(rows, dim, ffn_dim, 2 * len(chunks)),
        work.elementwise(work.ACTIVATION, rows * ffn_dim, len(chunks)),
        work.elementwise(work.NORM, tokens * dim, 6),
        work.elementwise(work.ADD, tokens * dim, 7),
    ]
    around = [
        work.linear(tokens, patch * config.in_dim, dim),
        work.linear(tokens, dim, patch * config.out_dim),
        work.linear(1, config.freq_dim, dim),
        work.linear(1, dim, dim, 7),
        work.elementwise(work.NORM, tokens * dim),
        work.elementwise(work.ADD, tokens * patch * config.out_dim, 4),
    ]
    return [op.times(layers) for op in block] + around


def condition_work(config: WanConfig, tokens: int, text_tokens: int) -> list[work.Op]:
    """The operations of `condition` for one prompt."""
    keys, dim = min(text_tokens + 1, config.text_len), config.dim
    return [
        work.linear(keys, config.text_dim, dim),
        work.linear(keys, dim, dim, 1 + 2 * config.num_layers),
        work.elementwise(work.NORM, keys * dim, config.num_layers),
        work.elementwise(work.ACTIVATION, 3 * tokens * config.head_dim),  # the rotary table
    ]

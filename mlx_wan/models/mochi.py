"""Mochi 1's diffusion transformer: asymmetric, each block has a narrower stream for the text.

Attribute names and the order of operations are those of genmoai/mochi (dit/joint_model), but
where it fuses what diffusers splits (queries, keys and values; the halves of the feed-forward and
of the last modulation), ours are split: then every tensor of ours is some rows of one tensor of
either. Channels are last, tokens travel as row chunks, as in wan.py. The residual, norms,
modulation, rotary embedding and time embedding are float32; the matmuls of the blocks run in the
weights' dtype.

The original runs from noise at time 0 to data at 1 and predicts data - noise. Here, as everywhere
in mlx_wan, timesteps fall from 1000 to 0 and the velocity is noise - data.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import attention, row_chunks
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.roofline import work

from .layers import (
    Time,
    TwoLinears,
    Watch,
    batch_times,
    linear,
    linear_float32,
    show,
    time_features,
)
from .patches import check_grid, patch_grid, patchify, unpatchify

QK_EPS = 1e-5  # of the norms of queries and keys; all others have the config's
POSITION_AREA = 192 * 192  # positions are scaled as if every frame had this many patches
ROTARY_BYTES = 64 << 20  # a table of all tokens is kept up to here, else two factors of it


@dataclass(frozen=True)
class MochiConfig:
    """Sizes of one network. `patch_size` is (t, h, w); those ending in `_y` are the text stream's.

    The original's hidden layers are 2/3 of 4 times the width, rounded up to a multiple of 256.
    """

    dim: int = 3072
    dim_y: int = 1536
    ffn_dim: int = 8192
    ffn_dim_y: int = 4096
    num_heads: int = 24
    num_layers: int = 48
    in_dim: int = 12
    out_dim: int = 12
    text_dim: int = 4096
    text_len: int = 256
    freq_dim: int = 256
    pool_heads: int = 8
    eps: float = 1e-6
    patch_size: tuple[int, int, int] = (1, 2, 2)

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or self.head_dim % 2 or self.text_dim % self.pool_heads:
            raise ModelError(
                f"the transformer's config does not split {self.dim} channels into "
                f"{self.num_heads} heads of even size, or {self.text_dim} into {self.pool_heads}",
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
class Rotary:
    """e^(i * angle) of every token and head; of long videos as two factors, for the whole would be
    as large as q.

    frames (T', heads, head_dim / 2) or None, tokens (L or H' * W', heads, head_dim / 2), complex.
    """

    frames: mx.array | None
    tokens: mx.array

    def rows(self, tokens: slice) -> mx.array:
        """(rows * heads, 1, head_dim / 2) for some tokens."""
        if self.frames is None:
            table = self.tokens[tokens]
        else:
            index, area = mx.arange(tokens.start, tokens.stop), len(self.tokens)
            table = self.frames[index // area] * self.tokens[index % area]
        return table.reshape(-1, 1, table.shape[-1])


@dataclass(frozen=True)
class Tables:
    """The modulation of every block at some timesteps, for one prompt: all a run needs of it."""

    timesteps: tuple[float, ...]
    blocks: list[tuple[mx.array, mx.array]]  # (S, B, 4, dim) and (S, B, 4 or 1, dim_y)
    final: mx.array  # (S, B, 2, dim)


@dataclass(frozen=True)
class Conditioning:
    """What a prompt and a size fix for a whole run (`MochiTransformer.condition`)."""

    grid: tuple[int, int, int]  # latent size in patches
    rotary: Rotary
    pooled: mx.array  # (B, dim): added to the time embedding
    text: mx.array | None  # (B, n, dim_y); None where no prompt has a token
    bias: mx.array | None  # (B, 1, 1, L + n): minus infinity for the padding of shorter prompts
    tables: Tables | None = None


# --- small functions ---------------------------------------------------------------------------


def rotary_tables(grid: tuple[int, int, int], frequencies: np.ndarray) -> Rotary:
    """Angles are positions (t, y, x) times learnt frequencies (3, heads, head_dim / 2).

    Frames are counted; rows and columns are centred, and scaled to POSITION_AREA.
    """
    t, h, w = grid
    scale = math.sqrt(POSITION_AREA / (h * w))
    rows, columns = (scale * (np.arange(n) - (n - 1) / 2) for n in (h, w))
    by_time, by_row, by_column = (
        np.exp(1j * position[:, None, None] * one)  # (n, heads, head_dim / 2)
        for position, one in zip(
            (np.arange(t), rows, columns), frequencies.astype(np.float64), strict=True
        )
    )
    pixels = (by_row[:, None] * by_column).reshape(h * w, *by_row.shape[1:])
    if t * pixels.size * 8 <= ROTARY_BYTES:
        tokens = (by_time[:, None] * pixels).reshape(t * h * w, *pixels.shape[1:])
        return Rotary(None, mx.array(tokens.astype(np.complex64)))
    return Rotary(mx.array(by_time.astype(np.complex64)), mx.array(pixels.astype(np.complex64)))


def rms(x: mx.array, scale: mx.array, eps: float, reuse: bool = False) -> mx.array:
    """x / rms * scale over the last axis of (B, L, dim), float32; scale (B, 1, dim)."""
    if len(x) == 1:
        return cpu.rms_norm(x, scale.reshape(-1), eps, reuse=reuse)
    if cpu.is_cpu():
        return cpu.rms_norm(x, scale, eps, reuse=reuse)
    return mx.fast.rms_norm(x.astype(mx.float32), None, eps) * scale


# --- parts -------------------------------------------------------------------------------------


class AttentionPool(nn.Module):
    """A prompt as one vector: its mean asks the mean and all tokens."""

    def __init__(self, config: MochiConfig):
        super().__init__()
        self.num_heads = config.pool_heads
        self.to_q = nn.Linear(config.text_dim, config.text_dim)
        self.to_k = nn.Linear(config.text_dim, config.text_dim)
        self.to_v = nn.Linear(config.text_dim, config.text_dim)
        self.to_out = nn.Linear(config.text_dim, config.dim)

    def __call__(self, text: mx.array, valid: mx.array) -> mx.array:
        """text (B, n, text_dim), valid (B, n) 1 or 0 -> (B, dim), float32; n may be 0."""
        batch, length, width = text.shape
        tokens = mx.zeros((batch, 1, width))
        if length:
            count = mx.maximum(valid.sum(axis=1), 1)[:, None, None]
            mean = (text * valid[..., None]).sum(axis=1, keepdims=True) / count
            tokens = mx.concatenate([mean, text], axis=1)
            valid = mx.pad(valid, [(0, 0), (1, 0)], constant_values=1)
        q = self._heads(linear_float32(self.to_q, tokens[:, :1]))
        k, v = (self._heads(linear_float32(to, tokens)) for to in (self.to_k, self.to_v))
        bias = mx.where(valid > 0, 0.0, -math.inf)[:, None, None] if length else None
        out = attention(q, k, v, scale=q.shape[-1] ** -0.5, bias=bias)
        return linear_float32(self.to_out, out.swapaxes(1, 2).reshape(batch, width))

    def _heads(self, x: mx.array) -> mx.array:
        return x.reshape(*x.shape[:2], self.num_heads, -1).swapaxes(1, 2)


class Attention(nn.Module):
    """The projections of both streams; each head of q and k is normed on its own.

    The last block has no `proj_y`, for it leaves the text as it is.
    """

    def __init__(self, config: MochiConfig, last: bool):
        super().__init__()
        dim, dim_y, head_dim = config.dim, config.dim_y, config.head_dim
        self.num_heads = config.num_heads
        self.q_x = nn.Linear(dim, dim, bias=False)
        self.k_x = nn.Linear(dim, dim, bias=False)
        self.v_x = nn.Linear(dim, dim, bias=False)
        self.q_y = nn.Linear(dim_y, dim, bias=False)
        self.k_y = nn.Linear(dim_y, dim, bias=False)
        self.v_y = nn.Linear(dim_y, dim, bias=False)
        self.q_norm_x = nn.RMSNorm(head_dim, QK_EPS)
        self.k_norm_x = nn.RMSNorm(head_dim, QK_EPS)
        self.q_norm_y = nn.RMSNorm(head_dim, QK_EPS)
        self.k_norm_y = nn.RMSNorm(head_dim, QK_EPS)
        self.proj_x = nn.Linear(dim, dim)
        if not last:
            self.proj_y = nn.Linear(dim, dim_y)

    def visual(self, x: mx.array, rotary: mx.array) -> tuple[mx.array, ...]:
        """(B, rows, dim) -> q, k, v (B, rows, heads, head_dim) in the compute dtype."""
        v = self._heads(linear(self.v_x, x))
        q = self._normed(linear(self.q_x, x), self.q_norm_x, rotary).astype(v.dtype)
        k = self._normed(linear(self.k_x, x), self.k_norm_x, rotary).astype(v.dtype)
        return q, k, v

    def textual(self, y: mx.array) -> tuple[mx.array, ...]:
        """(B, n, dim_y) -> q, k, v (B, n, heads, head_dim): text has no positions."""
        v = self._heads(linear(self.v_y, y))
        q = self._normed(linear(self.q_y, y), self.q_norm_y).astype(v.dtype)
        k = self._normed(linear(self.k_y, y), self.k_norm_y).astype(v.dtype)
        return q, k, v

    def _normed(self, x: mx.array, norm: nn.RMSNorm, rotary: mx.array | None = None) -> mx.array:
        heads = self._heads(x)
        rows = heads.reshape(len(x), -1, heads.shape[-1])  # (B, L * heads, head_dim)
        return cpu.rms_norm(rows, norm.weight, QK_EPS, rotary, reuse=True).reshape(heads.shape)

    def _heads(self, x: mx.array) -> mx.array:
        return x.reshape(*x.shape[:-1], self.num_heads, -1)


class FeedForward(nn.Module):
    """w2(silu(w1 x) * w3 x); w1 and w3 are the halves of the original's w1."""

    def __init__(self, dim: int, ffn_dim: int):
        super().__init__()
        self.w1 = nn.Linear(dim, ffn_dim, bias=False)
        self.w3 = nn.Linear(dim, ffn_dim, bias=False)
        self.w2 = nn.Linear(ffn_dim, dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        parts = []
        for rows in row_chunks(x.shape[1], wide=True):
            h = cpu.silu(linear(self.w1, x[:, rows]), reuse=True) * linear(self.w3, x[:, rows])
            parts.append(linear(self.w2, h))
            mx.async_eval(parts[-1])  # lets go of this chunk's hidden layer before the next one's
            del h
        return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=1)


class Block(nn.Module):
    """Joint attention, then a feed-forward for each stream; the last block only changes x.

    A branch is normed before its gate, tanh(gate), so that no branch can grow.
    """

    def __init__(self, config: MochiConfig, last: bool):
        super().__init__()
        self.eps, self.last, self.scale = config.eps, last, config.head_dim**-0.5
        self.mod_x = nn.Linear(config.dim, 4 * config.dim)
        self.mod_y = nn.Linear(config.dim, config.dim_y if last else 4 * config.dim_y)
        self.attn = Attention(config, last)
        self.mlp_x = FeedForward(config.dim, config.ffn_dim)
        if not last:
            self.mlp_y = FeedForward(config.dim_y, config.ffn_dim_y)

    def modulation(self, c: mx.array) -> tuple[mx.array, mx.array]:
        """silu(time + prompt) (..., dim) -> (..., 4, dim) and (..., 4 or 1, dim_y), float32.

        The four are the scale and gate of the attention, then those of the feed-forward.
        """
        x, y = linear_float32(self.mod_x, c), linear_float32(self.mod_y, c)
        return (
            x.reshape(*c.shape[:-1], 4, -1),
            y.reshape(*c.shape[:-1], 1 if self.last else 4, -1),
        )

    def __call__(
        self,
        x: list[mx.array],
        y: mx.array | None,
        rows: list[slice],
        modulation: tuple[mx.array, mx.array],
        rotary: Rotary,
        bias: mx.array | None,
    ) -> tuple[list[mx.array], mx.array | None]:
        """x: the residual, one (B, rows, dim) for each of `rows`; y: (B, n, dim_y)."""
        scale, gate, scale_ff, gate_ff = mx.split(modulation[0], 4, axis=1)  # (B, 1, dim)
        y_modulation = mx.split(modulation[1], modulation[1].shape[1], axis=1)

        qkv = []
        for chunk, tokens in zip(x, rows, strict=True):
            qkv.append(self.attn.visual(rms(chunk, 1 + scale, self.eps), rotary.rows(tokens)))
            mx.async_eval(qkv[-1])  # lets go of its float32 forms
        if y is not None:
            qkv.append(self.attn.textual(rms(y, 1 + y_modulation[0], self.eps)))
        q, k, v = (mx.concatenate(list(a), axis=1).swapaxes(1, 2) for a in zip(*qkv, strict=True))
        del qkv
        attended = attention(q, k, v, scale=self.scale, bias=bias).swapaxes(1, 2).flatten(2)
        del q, k, v

        out = []
        for chunk, tokens in zip(x, rows, strict=True):
            h = linear(self.attn.proj_x, attended[:, tokens])
            out.append(self._feed_forward(self.mlp_x, chunk, h, gate, scale_ff, gate_ff))
            del h
            mx.async_eval(out[-1])  # lets go of this chunk's temporaries before the next one's
        if y is not None and not self.last:
            h = linear(self.attn.proj_y, attended[:, rows[-1].stop :])
            y = self._feed_forward(self.mlp_y, y, h, *y_modulation[1:])
        return out, y

    def _feed_forward(
        self,
        mlp: FeedForward,
        x: mx.array,
        attended: mx.array,
        gate: mx.array,
        scale_ff: mx.array,
        gate_ff: mx.array,
    ) -> mx.array:
        x = x + rms(attended, mx.tanh(gate), self.eps, reuse=True)
        h = mlp(rms(x, 1 + scale_ff, self.eps))
        return x + rms(h, mx.tanh(gate_ff), self.eps, reuse=True)


class FinalLayer(nn.Module):
    """Modulated layer norm, then each token's patch. The original's `mod` is shift over scale."""

    def __init__(self, config: MochiConfig):
        super().__init__()
        self.eps = config.eps
        self.shift = nn.Linear(config.dim, config.dim)
        self.scale = nn.Linear(config.dim, config.dim)
        self.linear = nn.Linear(config.dim, math.prod(config.patch_size) * config.out_dim)

    def modulation(self, c: mx.array) -> mx.array:
        """silu(time + prompt) (..., dim) -> shift and scale, (..., 2, dim)."""
        return mx.stack([linear_float32(layer, c) for layer in (self.shift, self.scale)], axis=-2)

    def __call__(self, x: mx.array, modulation: mx.array) -> mx.array:
        shift, scale = mx.split(modulation, 2, axis=1)
        return linear_float32(self.linear, cpu.layer_norm(x, 1 + scale, shift, self.eps))


# --- the model ---------------------------------------------------------------------------------


class MochiTransformer(nn.Module):
    """Predicts the flow velocity (noise - clean latents) of noisy latents."""

    def __init__(self, config: MochiConfig):
        super().__init__()
        self.config = config
        self.x_embedder = nn.Linear(math.prod(config.patch_size) * config.in_dim, config.dim)
        self.t_embedder = TwoLinears(config.freq_dim, config.dim)
        self.t5_y_embedder = AttentionPool(config)
        self.t5_yproj = nn.Linear(config.text_dim, config.dim_y)
        self.pos_frequencies = mx.zeros((3, config.num_heads, config.head_dim // 2))
        layers = config.num_layers
        self.blocks = [Block(config, last=i == layers - 1) for i in range(layers)]
        self.final_layer = FinalLayer(config)

    def grid(self, latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Size in patches (T', H', W') of latents (B, T, H, W, C)."""
        return patch_grid(latent_shape, self.config.patch_size)

    def tokens(self, latent_shape: tuple[int, ...]) -> int:
        """How many tokens latents of this shape (B, T, H, W, C) make."""
        return math.prod(self.grid(latent_shape))

    def condition(
        self, prompt_embeds: mx.array, grid: tuple[int, int, int], mask: mx.array | None = None
    ) -> Conditioning:
        """Everything of a forward that depends on the prompt and the size only.

        prompt_embeds: (B, n, text_dim), n from 0 (the original's empty negative prompt: no token)
        to text_len; mask: (B, n), 0 where a token is padding. Padding tokens have no effect.
        """
        self._check_prompt(prompt_embeds, mask)
        batch, length, _ = prompt_embeds.shape
        valid = np.ones((batch, length)) if mask is None else np.asarray(mask).astype(bool)
        used = np.flatnonzero(valid.any(axis=0))
        length = int(used[-1]) + 1 if used.size else 0
        valid, text = valid[:, :length], prompt_embeds[:, :length].astype(mx.float32)
        pooled = self.t5_y_embedder(text, mx.array(valid.astype(np.float32)))
        bias = None
        if not valid.all():
            keys = np.pad(valid, [(0, 0), (math.prod(grid), 0)], constant_values=1)
            bias = mx.array(np.where(keys, 0, -np.inf).astype(np.float32))[:, None, None]
        frequencies = np.array(self.pos_frequencies.astype(mx.float32))
        conditioning = Conditioning(
            grid=grid,
            rotary=rotary_tables(grid, frequencies),
            pooled=pooled,
            text=linear(self.t5_yproj, text).astype(mx.float32) if length else None,
            bias=bias,
        )
        mx.eval(pooled, [a for a in (conditioning.text, bias) if a is not None])
        return conditioning

    def precompute(
        self, conditionings: Sequence[Conditioning], timesteps: Sequence[float], release: bool
    ) -> list[Conditioning]:
        """The same conditionings with the modulation of all blocks at these timesteps.

        With `release` the weights of the modulation, a quarter of the network, are let go: read
        one block at a time if they load lazily, and from then on only these timesteps work.
        """
        times = self._time_embedding(np.array(timesteps, dtype=np.float64))[:, None]  # (S, 1, dim)
        c = [cpu.silu(times + conditioning.pooled) for conditioning in conditionings]
        rows: list[list[tuple[mx.array, mx.array]]] = [[] for _ in conditionings]
        for block in self.blocks:
            for own, one in zip(rows, c, strict=True):
                own.append(block.modulation(one))
            mx.eval([own[-1] for own in rows])
            if release:
                del block.mod_x, block.mod_y
        final = [self.final_layer.modulation(one) for one in c]
        mx.eval(final)
        if release:
            del self.final_layer.shift, self.final_layer.scale
        kept = tuple(float(time) for time in timesteps)
        return [
            replace(conditioning, tables=Tables(kept, blocks, last))
            for conditioning, blocks, last in zip(conditionings, rows, final, strict=True)
        ]

    def __call__(
        self,
        latents: mx.array,
        timestep: Time,
        conditioning: Conditioning,
        watch: Watch | None = None,
    ) -> mx.array:
        """latents (B, T, H, W, in_dim) -> velocity (B, T, H, W, out_dim), float32.

        `timestep` (1000 to 0) is one number or one per batch item (B,). `watch` is called with a
        name and the tokens (B, L, .) after the embedding, each block and the head.
        """
        grid = self.grid(latents.shape)
        self._check(latents, conditioning)
        step, c = self._modulation(timestep, len(latents), conditioning)
        tables = conditioning.tables
        rows = row_chunks(math.prod(grid))

        patches = patchify(latents.astype(mx.float32), grid, self.config.patch_size)
        x = [linear_float32(self.x_embedder, patches[:, tokens]) for tokens in rows]
        y = conditioning.text
        show(watch, "x_embedder", x)
        for i, block in enumerate(self.blocks):
            if tables is not None and step is not None:
                modulation = tables.blocks[i][0][step], tables.blocks[i][1][step]
            else:
                modulation = block.modulation(c)
            x, y = block(x, y, rows, modulation, conditioning.rotary, conditioning.bias)
            mx.eval(x, [] if y is None else y)  # bounds the graph
            show(watch, f"blocks.{i}", x)
        if tables is not None and step is not None:
            last = tables.final[step]
        else:
            last = self.final_layer.modulation(c)
        x = [self.final_layer(chunk, last) for chunk in x]
        show(watch, "final_layer", x)
        return -unpatchify(
            mx.concatenate(x, axis=1), grid, self.config.patch_size, self.config.out_dim
        )

    def _check(self, latents: mx.array, conditioning: Conditioning) -> None:
        if latents.shape[-1] != self.config.in_dim:
            raise UsageError(
                f"latents have {latents.shape[-1]} channels; this model takes {self.config.in_dim}"
            )
        check_grid(self.grid(latents.shape), conditioning.grid)

    def _check_prompt(self, prompt_embeds: mx.array, mask: mx.array | None) -> None:
        shape, config = prompt_embeds.shape, self.config
        if len(shape) != 3 or shape[1] > config.text_len or shape[2] != config.text_dim:
            raise UsageError(
                f"prompt_embeds have shape {shape}; this model takes at most {config.text_len} "
                f"rows of {config.text_dim}"
            )
        if mask is not None and tuple(mask.shape) != shape[:2]:
            raise UsageError(f"the mask has shape {tuple(mask.shape)}, not {shape[:2]}")

    def _modulation(
        self, timestep: Time, batch: int, conditioning: Conditioning
    ) -> tuple[int | None, mx.array]:
        """The place of a timestep in the tables, or None and silu(time + prompt), (B, dim)."""
        times = batch_times(timestep, batch)
        tables = conditioning.tables
        if tables is not None and times.size == 1 and float(times.item()) in tables.timesteps:
            return tables.timesteps.index(float(times.item())), conditioning.pooled
        if "mod_x" not in self.blocks[0]:
            raise UsageError(
                f"timestep is {times}; the weights that make its modulation were let go",
                "call precompute() with all timesteps of the run, or without release",
            )
        c = self._time_embedding(np.broadcast_to(times, (batch,))) + conditioning.pooled
        return None, cpu.silu(c)

    def _time_embedding(self, timesteps: np.ndarray) -> mx.array:
        """(U,) -> (U, dim), float32; the original's time is 1 - sigma."""
        return self.t_embedder(time_features(1000 - timesteps, self.config.freq_dim))


# --- what a run costs --------------------------------------------------------------------------


def forward_flops(config: MochiConfig, tokens: int) -> float:
    """Floating-point operations of one forward with a full prompt (2 per multiply-add)."""
    text = config.text_len
    visual = 4 * config.dim**2 + 3 * config.dim * config.ffn_dim
    textual = 4 * config.dim * config.dim_y + 3 * config.dim_y * config.ffn_dim_y
    attended = 2 * (tokens + text) ** 2 * config.dim
    return float(2 * config.num_layers * (tokens * visual + text * textual + attended))


def forward_work(config: MochiConfig, tokens: int, text_tokens: int) -> list[work.Op]:
    """The operations of one forward, beside a prompt of so many tokens (`condition_work`)."""
    dim, dim_y, layers, text = config.dim, config.dim_y, config.num_layers, text_tokens
    chunks = row_chunks(tokens, wide=True)
    rows = tokens / len(chunks)
    patch = math.prod(config.patch_size)
    block = [
        work.linear(tokens, dim, dim, 4),
        work.attention(config.num_heads, tokens + text, tokens + text, config.head_dim),
        work.linear(rows, dim, config.ffn_dim, 3 * len(chunks)),
        work.elementwise(work.ACTIVATION, rows * config.ffn_dim, len(chunks)),
        work.elementwise(work.NORM, tokens * dim, 6),
        work.elementwise(work.ADD, tokens * dim, 9),
    ]
    if text:
        block += [
            work.linear(text, dim_y, dim, 4),
            work.linear(text, dim_y, config.ffn_dim_y, 3),
            work.elementwise(work.ACTIVATION, text * config.ffn_dim_y),
            work.elementwise(work.NORM, text * dim_y, 6),
            work.elementwise(work.ADD, text * dim_y, 4),
        ]
    around = [
        work.linear(tokens, patch * config.in_dim, dim),
        work.linear(tokens, dim, patch * config.out_dim),
        work.elementwise(work.NORM, tokens * dim),
        work.elementwise(work.ADD, tokens * patch * config.out_dim, 4),
    ]
    return [op.times(layers) for op in block] + around


def condition_work(config: MochiConfig, tokens: int, text_tokens: int) -> list[work.Op]:
    """The operations of `condition` for one prompt."""
    text, n = config.text_dim, text_tokens
    ops = [
        work.linear(n + 1, text, text, 2),
        work.linear(1, text, text),
        work.linear(1, text, config.dim),
        work.elementwise(work.ACTIVATION, tokens * config.dim),  # the rotary table
    ]
    return [*ops, work.linear(n, text, config.dim_y)] if n else ops


def precompute_work(config: MochiConfig, steps: int) -> list[work.Op]:
    """The operations of `precompute` for one prompt."""
    dim, dim_y, layers = config.dim, config.dim_y, config.num_layers
    return [
        work.linear(steps, dim, 4 * dim, layers),
        work.linear(steps, dim, 4 * dim_y, layers - 1),
        work.linear(steps, dim, dim_y),
        work.linear(steps, dim, dim, 3),
    ]


def released_parameters(config: MochiConfig) -> int:
    """How many weights `precompute` lets go of: those of the modulation."""
    dim, dim_y, layers = config.dim, config.dim_y, config.num_layers
    columns = layers * 4 * dim + (layers - 1) * 4 * dim_y + dim_y + 2 * dim
    return columns * (dim + 1)


def conditioning_memory(config: MochiConfig, tokens: int, text_tokens: int) -> int:
    """Bytes of `Conditioning`, without tables, for a prompt of so many tokens."""
    return min(tokens * config.dim * 4, ROTARY_BYTES) + text_tokens * config.dim_y * 4


def denoise_memory(config: MochiConfig, tokens: int, steps: int, itemsize: int = 4) -> int:
    """Bytes alive at the peak of a forward, beside the weights, with tables for `steps` timesteps
    of a prompt and a negative prompt.

    The residual before and after, then either q, k and v as chunks and whole, or the attention's
    output and one row chunk of the feed-forward.
    """
    residual = 2 * tokens * config.dim * 4
    joint = (tokens + config.text_len) * config.dim * itemsize
    rows = row_chunks(tokens, wide=True)[0].stop
    block = max(6 * joint, joint + rows * (3 * config.ffn_dim * itemsize + 3 * config.dim * 4))
    modulation = 4 * (config.dim + config.dim_y) * config.num_layers * 4
    return residual + block + 2 * steps * modulation

"""HunyuanVideo 1.5's diffusion transformer: what it reads, how that passes its blocks.

Names and the order of operations are those of Tencent-Hunyuan/HunyuanVideo-1.5
(hyvideo/models/transformers/hunyuanvideo_1_5_transformer.py). Channels are last, tokens travel as
row chunks, as in wan.py. The residual, norms, modulation, rotary embedding and time embedding are
float32; the matmuls of the blocks run in the weights' dtype.

Text has no positions and padding is seen by nothing, so a prompt is its valid tokens alone: image,
quoted texts, prompt. Only where the items of a batch differ in length are there padding and a mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import row_chunks
from mlx_wan.errors import UsageError

from .hunyuan_blocks import Block, FinalLayer, HunyuanConfig
from .hunyuan_text import (
    GlyphProjection,
    HunyuanPrompt,
    TokenRefiner,
    Tokens,
    VisionProjection,
    key_bias,
)
from .hunyuan_work import (
    condition_work,
    conditioning_memory,
    denoise_memory,
    forward_flops,
    forward_work,
    precompute_work,
    released_parameters,
)
from .layers import Time, TwoLinears, Watch, batch_times, rotary_by_axis, show, time_features
from .patches import check_grid, patch_grid, unpatchify

__all__ = [
    "HunyuanConfig",
    "HunyuanPrompt",
    "HunyuanTransformer",
    "condition_work",
    "conditioning_memory",
    "denoise_memory",
    "forward_flops",
    "forward_work",
    "precompute_work",
    "released_parameters",
]

TEXT, GLYPH, VISION = range(3)  # rows of cond_type_embedding


@dataclass(frozen=True)
class Tables:
    """The modulation of every block at some timesteps, the same for all prompts.

    times: each timestep with the one it leads to, None where the network is not told.
    """

    times: tuple[tuple[float, float | None], ...]
    blocks: list[tuple[mx.array, mx.array]]  # video and text, each (S, 1, 6, dim)
    final: mx.array  # (S, 1, 2, dim)

    def find(self, timestep: np.ndarray, timestep_r: np.ndarray | None) -> int | None:
        """The place of a time in the tables; without `timestep_r` of the first that fits."""
        if timestep.size != 1 or (timestep_r is not None and timestep_r.size != 1):
            return None
        wanted = None if timestep_r is None else float(timestep_r.item())
        for i, (time, time_r) in enumerate(self.times):
            if time == float(timestep.item()) and wanted in (None, time_r):
                return i
        return None


@dataclass(frozen=True)
class Conditioning:
    """What a prompt and a size fix for a whole run (`HunyuanTransformer.condition`)."""

    grid: tuple[int, int, int]  # latent size
    rotary: mx.array  # (L, 1, head_dim / 2) complex
    others: mx.array | None  # (B, m, dim): the tokens of the image and of quoted texts
    prompt: mx.array  # (B, n, dim): the prompt's, before the refiner
    pooled: mx.array  # (B, dim): the prompt as the refiner is told it
    prompt_bias: mx.array | None  # (B, 1, 1, n): minus infinity for padding
    bias: mx.array | None  # (B, 1, 1, L + m + n)
    tables: Tables | None = None


class HunyuanTransformer(nn.Module):
    """Predicts the flow velocity (noise - clean latents) of noisy latents."""

    def __init__(self, config: HunyuanConfig):
        super().__init__()
        self.config = config
        dim = config.dim
        self.img_in = nn.Linear(config.in_dim, dim)
        self.time_in = TwoLinears(config.freq_dim, dim)
        if config.use_meanflow:
            self.time_r_in = TwoLinears(config.freq_dim, dim)
        self.txt_in = TokenRefiner(
            config.text_dim, dim, config.num_heads, config.refiner_layers, config.freq_dim
        )
        self.byt5_in = GlyphProjection(config.glyph_dim, config.glyph_ffn_dim, dim)
        self.vision_in = VisionProjection(config.vision_dim, dim)
        if config.use_cond_type_embedding:
            self.cond_type_embedding = nn.Embedding(3, dim)
        self.double_blocks = [Block(config) for _ in range(config.num_layers)]
        self.final_layer = FinalLayer(config)

    def grid(self, latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Size in tokens (T', H', W') of latents (B, T, H, W, C)."""
        return patch_grid(latent_shape, self.config.patch_size)

    def tokens(self, latent_shape: tuple[int, ...]) -> int:
        """How many tokens latents of this shape (B, T, H, W, C) make."""
        return math.prod(self.grid(latent_shape))

    def condition(self, prompt_embeds: HunyuanPrompt, grid: tuple[int, int, int]) -> Conditioning:
        """Everything of a forward that depends on the prompt and the size only.

        Not the text stream itself: its refiner is told the timestep. It runs with every forward,
        for that is less than a thousandth of it, where its results for a whole schedule would be
        as large as the weights they save.
        """
        text = self._tokens("text", prompt_embeds)
        if not text.valid.any(axis=1).all():
            raise UsageError(
                "a prompt has no valid token", "encode the empty prompt: its template has tokens"
            )
        parts, valid = [], []
        if prompt_embeds.vision is not None and bool(mx.any(prompt_embeds.vision != 0)):
            image = self._tokens("vision", prompt_embeds)
            parts.append(self._marked(self.vision_in(image.rows), VISION))
            valid.append(image.valid)
        if prompt_embeds.glyph is not None:
            quoted = self._tokens("glyph", prompt_embeds)
            if quoted.valid.size:
                parts.append(self._marked(self.byt5_in(quoted.rows), GLYPH))
                valid.append(quoted.valid)
        prompt, pooled = self.txt_in.condition(text)
        conditioning = Conditioning(
            grid=grid,
            rotary=rotary_by_axis(grid, self.config.rope_axes, self.config.rope_theta),
            others=mx.concatenate(parts, axis=1) if parts else None,
            prompt=prompt,
            pooled=pooled,
            prompt_bias=key_bias(text.valid),
            bias=key_bias(np.concatenate([*valid, text.valid], axis=1), before=math.prod(grid)),
        )
        made = (conditioning.others, conditioning.prompt_bias, conditioning.bias)
        mx.eval(conditioning.rotary, prompt, pooled, [a for a in made if a is not None])
        return conditioning

    def precompute(
        self, conditionings: Sequence[Conditioning], timesteps: Sequence[float], release: bool
    ) -> list[Conditioning]:
        """The same conditionings with the modulation of all blocks at these timesteps.

        Each timestep leads to the next one, the last to 0. With `release` the weights of the
        modulation, a third of the network, are let go: read one block at a time if they load
        lazily, and from then on only these timesteps work.
        """
        times = np.array(timesteps, dtype=np.float64)
        next_times = np.append(times[1:], 0.0) if self.config.use_meanflow else None
        c = self._time_embedding(times, next_times)[:, None]  # (S, 1, dim)
        blocks = []
        for block in self.double_blocks:
            blocks.append(block.modulation(c))
            mx.eval(blocks[-1])
            if release:
                del block.img.mod, block.txt.mod
        final = self.final_layer.modulation(c)
        mx.eval(final)
        if release:
            del self.final_layer.shift, self.final_layer.scale
        leads_to = [None] * len(times) if next_times is None else next_times.tolist()
        tables = Tables(tuple(zip(times.tolist(), leads_to, strict=True)), blocks, final)
        return [replace(conditioning, tables=tables) for conditioning in conditionings]

    def __call__(
        self,
        latents: mx.array,
        timestep: Time,
        conditioning: Conditioning,
        watch: Watch | None = None,
        *,
        timestep_r: Time | None = None,
    ) -> mx.array:
        """latents (B, T, H, W, in_dim) -> velocity (B, T, H, W, out_dim), float32.

        Latents of out_dim channels stand for no image: the others are zeros. `timestep` (1000 to 0)
        is one number or one per batch item (B,). Mean flow needs `timestep_r`, where the step leads
        to, unless `precompute` was told the schedule. `watch` is called with a name and the tokens
        (B, L, .) after the embedding, each block and the head.
        """
        grid = self.grid(latents.shape)
        self._check(latents, conditioning)
        times = batch_times(timestep, len(latents))
        times_r = None if timestep_r is None else batch_times(timestep_r, len(latents))
        step, c = self._modulation(times, times_r, conditioning)
        tables, layers = conditioning.tables, len(self.double_blocks)
        rows = row_chunks(math.prod(grid))

        pixels = latents.astype(mx.float32).reshape(len(latents), -1, latents.shape[-1])
        x = [self._embed(pixels[:, tokens]) for tokens in rows]
        y = self._text(times, conditioning)
        show(watch, "img_in", x)
        for i, block in enumerate(self.double_blocks):
            if tables is not None and step is not None:
                video, text = tables.blocks[i]
                modulation = video[step], text[step]
            else:
                modulation = block.modulation(c)
            last = i == layers - 1
            x, y = block(x, y, rows, modulation, conditioning.rotary, conditioning.bias, last)
            mx.eval(x, y)  # bounds the graph
            show(watch, f"double_blocks.{i}", x)
        if tables is not None and step is not None:
            final = tables.final[step]
        else:
            final = self.final_layer.modulation(c)
        x = [self.final_layer(chunk, final) for chunk in x]
        show(watch, "final_layer", x)
        return unpatchify(
            mx.concatenate(x, axis=1), grid, self.config.patch_size, self.config.out_dim
        )

    def _embed(self, x: mx.array) -> mx.array:
        """(B, rows, in_dim or out_dim) -> (B, rows, dim): zeros meet the columns they leave out."""
        weight = self.img_in.weight[:, : x.shape[-1]].astype(mx.float32)
        return mx.addmm(self.img_in.bias.astype(mx.float32), x, weight.T)

    def _text(self, times: np.ndarray, conditioning: Conditioning) -> mx.array:
        """The text stream before the first block, (B, m + n, dim)."""
        features = time_features(times, self.config.freq_dim)
        prompt = self.txt_in(
            conditioning.prompt, conditioning.pooled, features, conditioning.prompt_bias
        )
        prompt = self._marked(prompt, TEXT)
        others = conditioning.others
        return prompt if others is None else mx.concatenate([others, prompt], axis=1)

    def _marked(self, tokens: mx.array, kind: int) -> mx.array:
        """Tokens with what tells their source."""
        if not self.config.use_cond_type_embedding:
            return tokens
        return tokens + self.cond_type_embedding.weight[kind].astype(mx.float32)

    def _tokens(self, name: str, prompt: HunyuanPrompt) -> Tokens:
        """The valid rows of the text, glyph or vision part of a prompt."""
        rows, batch = getattr(prompt, name), len(prompt.text)
        most, width = (getattr(self.config, f"{name}_{size}") for size in ("len", "dim"))
        fits = rows.ndim == 3 and rows.shape[1] <= most and rows.shape[2] == width
        if not fits or len(rows) != batch:
            raise UsageError(
                f"the prompt's {name} has shape {rows.shape}; this model takes at most {most} "
                f"rows of {width} for each of {batch} prompts"
            )
        return Tokens.of(rows, getattr(prompt, f"{name}_mask", None))

    def _check(self, latents: mx.array, conditioning: Conditioning) -> None:
        accepted, channels = (self.config.in_dim, self.config.out_dim), latents.shape[-1]
        if channels not in accepted:
            raise UsageError(
                f"latents have {channels} channels; this model takes {accepted[0]}, or "
                f"{accepted[1]} without an image"
            )
        check_grid(self.grid(latents.shape), conditioning.grid)

    def _modulation(
        self, times: np.ndarray, times_r: np.ndarray | None, conditioning: Conditioning
    ) -> tuple[int | None, mx.array]:
        """The place of a time in the tables, or None and silu(time), (B or 1, dim)."""
        tables = conditioning.tables
        step = None if tables is None else tables.find(times, times_r)
        if step is not None:
            return step, conditioning.pooled
        if "mod" not in self.double_blocks[0].img:
            raise UsageError(
                f"timestep is {times}; the weights that make its modulation were let go",
                "call precompute() with all timesteps of the run, or without release",
            )
        return None, self._time_embedding(times, times_r)

    def _time_embedding(self, times: np.ndarray, times_r: np.ndarray | None) -> mx.array:
        """silu of the embedded time, (U,) -> (U, dim), float32."""
        config = self.config
        if config.use_meanflow != (times_r is not None):
            raise UsageError(
                "this network needs timestep_r, the timestep that a step leads to"
                if config.use_meanflow
                else "timestep_r was given; this network is told one timestep only",
                "call precompute() with the timesteps of the run",
            )
        embedded = self.time_in(time_features(times, config.freq_dim))
        if times_r is not None:
            embedded = embedded + self.time_r_in(time_features(times_r, config.freq_dim))
        return cpu.silu(embedded)

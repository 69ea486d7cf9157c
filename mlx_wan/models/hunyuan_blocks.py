"""The blocks of HunyuanVideo 1.5's transformer: one stream for the video, one of the same width for
the text.

What Tencent-Hunyuan/HunyuanVideo-1.5 calls `img_x` and `txt_x` is `img.x` and `txt.x` here, and the
final layer's shift and scale are apart.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from mlx_wan import cpu
from mlx_wan.attention import attention
from mlx_wan.errors import ModelError

from .layers import FeedForward, linear, linear_float32


@dataclass(frozen=True)
class HunyuanConfig:
    """Sizes of one network. Inputs are noisy latents, an image's latents and where they count.

    With `use_meanflow` the network is told the time a step leads to beside the one it starts from.
    `rope_axes`: channels of a head that turn with time, row and column.
    """

    dim: int = 2048
    ffn_dim: int = 8192
    num_heads: int = 16
    num_layers: int = 54
    refiner_layers: int = 2
    in_dim: int = 65
    out_dim: int = 32
    text_dim: int = 3584
    text_len: int = 1000
    glyph_dim: int = 1472
    glyph_ffn_dim: int = 2048
    glyph_len: int = 256
    vision_dim: int = 1152
    vision_len: int = 729
    freq_dim: int = 256
    rope_axes: tuple[int, int, int] = (16, 56, 56)
    rope_theta: float = 256.0
    eps: float = 1e-6
    use_meanflow: bool = False
    use_cond_type_embedding: bool = True

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or any(
            width % 2 for width in (*self.rope_axes, self.freq_dim)
        ):
            raise ModelError(
                f"the transformer's config does not split {self.dim} channels into "
                f"{self.num_heads} heads, or has an odd number of channels that turn together",
                "convert the checkpoint again",
            )
        if sum(self.rope_axes) != self.head_dim or self.out_dim > self.in_dim:
            raise ModelError(
                f"the transformer's config has heads of {self.head_dim} channels with axes of "
                f"{self.rope_axes}, and {self.in_dim} channels in for {self.out_dim} out",
                "convert the checkpoint again",
            )
        if self.rope_theta <= 1:
            raise ModelError(
                f"the transformer's config has the rope_theta {self.rope_theta!r}, not above 1",
                "convert the checkpoint again",
            )

    @property
    def patch_size(self) -> tuple[int, int, int]:
        return (1, 1, 1)

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def encoder_dims(self) -> dict[str, int]:
        """The width of what it reads, by the component that gives it."""
        return {
            "text_encoder": self.text_dim,
            "text_encoder_2": self.glyph_dim,
            "image_encoder": self.vision_dim,
        }


class Stream(nn.Module):
    """One stream's half of a block: projections, feed-forward and their modulation."""

    def __init__(self, config: HunyuanConfig):
        super().__init__()
        dim, self.eps, self.num_heads = config.dim, config.eps, config.num_heads
        self.mod = nn.Linear(dim, 6 * dim)
        self.attn_q = nn.Linear(dim, dim)
        self.attn_k = nn.Linear(dim, dim)
        self.attn_v = nn.Linear(dim, dim)
        self.attn_q_norm = nn.RMSNorm(config.head_dim, config.eps)
        self.attn_k_norm = nn.RMSNorm(config.head_dim, config.eps)
        self.attn_proj = nn.Linear(dim, dim)
        self.mlp = FeedForward(dim, config.ffn_dim)

    def modulation(self, c: mx.array) -> mx.array:
        """silu(time) (..., dim) -> (..., 6, dim), float32: shift, scale and gate of the attention,
        then those of the feed-forward."""
        return linear_float32(self.mod, c).reshape(*c.shape[:-1], 6, -1)

    def qkv(
        self, x: mx.array, modulation: mx.array, rotary: mx.array | None = None
    ) -> tuple[mx.array, ...]:
        """(B, rows, dim) -> q, k, v (B, rows, heads, head_dim) in the compute dtype."""
        shift, scale = mx.split(modulation[:, :2], 2, axis=1)  # (B, 1, dim)
        x = cpu.layer_norm(x, 1 + scale, shift, self.eps)
        v = linear(self.attn_v, x)
        q, k = (
            cpu.rms_norm(linear(layer, x), norm.weight, self.eps, rotary, reuse=True)
            for layer, norm in (
                (self.attn_q, self.attn_q_norm),
                (self.attn_k, self.attn_k_norm),
            )
        )
        shape = (*x.shape[:2], self.num_heads, -1)
        return tuple(a.astype(v.dtype).reshape(shape) for a in (q, k, v))

    def __call__(self, x: mx.array, attended: mx.array, modulation: mx.array) -> mx.array:
        """The residual (B, rows, dim) after attention and feed-forward."""
        gate, shift, scale, gate_ff = mx.split(modulation[:, 2:], 4, axis=1)
        x = x + linear(self.attn_proj, attended).astype(mx.float32) * gate
        h = self.mlp(cpu.layer_norm(x, 1 + scale, shift, self.eps))
        return x + h.astype(mx.float32) * gate_ff


class Block(nn.Module):
    """Attention over both streams together, then each goes its own way."""

    def __init__(self, config: HunyuanConfig):
        super().__init__()
        self.scale = config.head_dim**-0.5
        self.img = Stream(config)
        self.txt = Stream(config)

    def modulation(self, c: mx.array) -> tuple[mx.array, mx.array]:
        return self.img.modulation(c), self.txt.modulation(c)

    def __call__(
        self,
        x: list[mx.array],
        y: mx.array,
        rows: list[slice],
        modulation: tuple[mx.array, mx.array],
        rotary: mx.array,
        bias: mx.array | None,
        last: bool,
    ) -> tuple[list[mx.array], mx.array]:
        """x: the residual, one (B, rows, dim) for each of `rows`; y: (B, n, dim).

        Nothing reads the text after the `last` block, so that one leaves it as it is.
        """
        qkv = []
        for chunk, tokens in zip(x, rows, strict=True):
            qkv.append(self.img.qkv(chunk, modulation[0], rotary[tokens]))
            mx.async_eval(qkv[-1])  # lets go of its float32 forms
        qkv.append(self.txt.qkv(y, modulation[1]))
        q, k, v = (mx.concatenate(list(a), axis=1).swapaxes(1, 2) for a in zip(*qkv, strict=True))
        del qkv
        attended = attention(q, k, v, scale=self.scale, bias=bias).swapaxes(1, 2).flatten(2)
        del q, k, v

        out = []
        for chunk, tokens in zip(x, rows, strict=True):
            out.append(self.img(chunk, attended[:, tokens], modulation[0]))
            mx.async_eval(out[-1])  # lets go of this chunk's temporaries before the next one's
        if not last:
            y = self.txt(y, attended[:, rows[-1].stop :], modulation[1])
        return out, y


class FinalLayer(nn.Module):
    """Modulated layer norm, then each token's latents."""

    def __init__(self, config: HunyuanConfig):
        super().__init__()
        self.eps = config.eps
        self.shift = nn.Linear(config.dim, config.dim)
        self.scale = nn.Linear(config.dim, config.dim)
        self.linear = nn.Linear(config.dim, config.out_dim)

    def modulation(self, c: mx.array) -> mx.array:
        """silu(time) (..., dim) -> shift and scale, (..., 2, dim)."""
        return mx.stack([linear_float32(layer, c) for layer in (self.shift, self.scale)], axis=-2)

    def __call__(self, x: mx.array, modulation: mx.array) -> mx.array:
        shift, scale = mx.split(modulation, 2, axis=1)
        return linear_float32(self.linear, cpu.layer_norm(x, 1 + scale, shift, self.eps))

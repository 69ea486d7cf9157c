"""Wan's diffusion transformer in torch, for training; tensor names of the original checkpoint.

Wan attends to all `text_len` rows of text, most of them the same padding. Here the padding is one
row whose score has the logarithm of their number added, which is the same softmax for a
quarter of the work.
"""

import json
import math
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .model_layers import RMSNorm


class Attention(nn.Module):
    """Self- or cross-attention; q and k are normed across all heads."""

    def __init__(self, dim: int, num_heads: int, eps: float):
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, eps), RMSNorm(dim, eps)

    def forward(
        self, x: Tensor, context: Tensor, rotary: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        q, k = self.norm_q(self.q(x)), self.norm_k(self.k(context))
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        q, k, v = (
            y.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for y in (q, k, self.v(context))
        )
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.o(x.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, dim: int, ffn_dim: int, num_heads: int, eps: float):
        super().__init__()
        self.eps = eps
        self.self_attn = Attention(dim, num_heads, eps)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = Attention(dim, num_heads, eps)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.GELU("tanh"), nn.Linear(ffn_dim, dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self, x: Tensor, e0: Tensor, rotary: Tensor, context: Tensor, bias: Tensor
    ) -> Tensor:
        """x (B, L, dim), e0 (B, 6, dim), context (B, n, dim), bias (B, 1, 1, n)."""
        e = (self.modulation + e0)[:, :, None].unbind(1)  # six of (B, 1, dim)
        h = modulate(x, e[0], e[1], self.eps)
        x = torch.addcmul(x, self.self_attn(h, h, rotary), e[2])
        x = x + self.cross_attn(self.norm3(x), context, bias=bias)
        return torch.addcmul(x, self.ffn(modulate(x, e[3], e[4], self.eps)), e[5])


class Head(nn.Module):
    def __init__(self, dim: int, out: int, eps: float):
        super().__init__()
        self.eps = eps
        self.head = nn.Linear(dim, out)
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        shift, scale = (self.modulation + e[:, None])[:, :, None].unbind(1)
        return self.head(modulate(x, shift, scale, self.eps))


class Wan(nn.Module):
    def __init__(
        self,
        dim: int = 128,
        ffn_dim: int = 384,
        num_heads: int = 2,
        num_layers: int = 6,
        channels: int = 16,
        text_dim: int = 128,
        text_len: int = 128,
        freq_dim: int = 256,
        eps: float = 1e-6,
    ):
        super().__init__()
        self.dim, self.num_heads, self.text_len, self.freq_dim = dim, num_heads, text_len, freq_dim
        self.channels = channels
        self.patch_embedding = nn.Conv3d(channels, dim, (1, 2, 2), stride=(1, 2, 2))
        self.text_embedding = nn.Sequential(
            nn.Linear(text_dim, dim), nn.GELU("tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(
            nn.Linear(freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(dim, ffn_dim, num_heads, eps) for _ in range(num_layers))
        self.head = Head(dim, 4 * channels, eps)

    def forward(self, x: Tensor, sigma: Tensor, text: Tensor, lengths: Tensor) -> Tensor:
        """x (B, C, T, H, W), sigma (B,), text (B, n, text_dim) zero behind `lengths` (B,)."""
        e = self.time_embedding(time_features(1000 * sigma, self.freq_dim))
        e0 = self.time_projection(e).unflatten(1, (6, self.dim))
        context, bias = self._fold_padding(text, lengths)
        grid = (x.shape[2], x.shape[3] // 2, x.shape[4] // 2)
        rotary = rotary_table(grid, self.dim // self.num_heads).repeat(1, self.num_heads)
        patches = x.unfold(3, 2, 2).unfold(4, 2, 2)  # (B, C, T, h, w, 2, 2)
        patches = patches.permute(0, 2, 3, 4, 1, 5, 6).flatten(4).flatten(1, 3)
        h = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        for block in self.blocks:
            h = block(h, e0, rotary, context, bias)
        out = self.head(h, e).unflatten(2, (2, 2, self.channels)).unflatten(1, grid)
        out = out.permute(0, 6, 1, 2, 4, 3, 5)  # (B, C, T, h, 2, w, 2)
        return out.reshape(x.shape)

    def _fold_padding(self, text: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The embedded text with one row for all padding, and what to add to the scores."""
        row = torch.arange(text.shape[1] + 1)
        padding = (self.text_len - lengths).clamp(min=1e-9).log()[:, None]
        bias = torch.where(row == lengths[:, None], padding, 0.0)
        bias = bias.masked_fill(row > lengths[:, None], -math.inf)
        return self.text_embedding(F.pad(text, (0, 0, 0, 1))), bias[:, None, None]


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), 1 + scale)


def rotate(x: Tensor, rotary: Tensor) -> Tensor:
    """Neighbouring pairs of channels of (B, L, dim) as complex numbers, turned."""
    pairs = torch.view_as_complex(x.unflatten(2, (-1, 2)))
    return torch.view_as_real(pairs * rotary).flatten(2)


@lru_cache
def rotary_table(grid: tuple[int, int, int], head_dim: int) -> Tensor:
    """e^(i * position * frequency) of every token, (L, head_dim / 2)."""
    side = 2 * (head_dim // 6)
    angles = []
    for axis, width in enumerate((head_dim - 2 * side, side, side)):
        frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angle = torch.arange(grid[axis])[:, None] * frequency
        shape = [1, 1, 1, width // 2]
        shape[axis] = grid[axis]
        angles.append(angle.reshape(shape).expand(*grid, width // 2))
    angle = torch.cat(angles, dim=-1).reshape(-1, head_dim // 2)
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def time_features(time: Tensor, freq_dim: int) -> Tensor:
    half = freq_dim // 2
    angles = time[:, None] * 10000.0 ** (-torch.arange(half) / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


@torch.no_grad()
def initialise(model: Wan) -> None:
    """As the original: Xavier, small embeddings, and a head that says nothing."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(model.patch_embedding.weight.flatten(1))
    for embedding in (model.text_embedding, model.time_embedding):
        for layer in embedding:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(model.head.head.weight)


def load_transformer(folder: Path, expert: str = "low_noise_model") -> Wan:
    """An expert of a checkpoint folder in the original layout, in float32."""
    config = json.loads((folder / expert / "config.json").read_text())
    model = Wan(
        dim=config["dim"],
        ffn_dim=config["ffn_dim"],
        num_heads=config["num_heads"],
        num_layers=config["num_layers"],
        channels=config["in_dim"],
        text_dim=config["text_dim"],
        text_len=config["text_len"],
        freq_dim=config["freq_dim"],
        eps=config["eps"],
    )
    weights = load_file(folder / expert / "diffusion_pytorch_model.safetensors")
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    return model

"""UMT5's encoder in torch, for training; tensor names of the original checkpoint."""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model_layers import RMSNorm

NUM_BUCKETS, MAX_DISTANCE = 32, 128


class Attention(nn.Module):
    def __init__(self, dim: int, dim_attn: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v = (nn.Linear(dim, dim_attn, bias=False) for _ in range(3))
        self.o = nn.Linear(dim_attn, dim, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (
            f(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for f in (self.q, self.k, self.v)
        )
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return self.o(x.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, dim: int, dim_ffn: int):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(dim, dim_ffn, bias=False), nn.GELU("tanh"))
        self.fc1 = nn.Linear(dim, dim_ffn, bias=False)
        self.fc2 = nn.Linear(dim_ffn, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.gate(x) * self.fc1(x))


class RelativePosition(nn.Module):
    def __init__(self, num_heads: int):
        super().__init__()
        self.embedding = nn.Embedding(NUM_BUCKETS, num_heads)

    def forward(self, length: int) -> Tensor:
        """What is added to the score of each query and key, (1, heads, L, L)."""
        position = torch.arange(length)
        return self.embedding(buckets(position[None] - position[:, None])).permute(2, 0, 1)[None]


class Block(nn.Module):
    def __init__(self, dim: int, dim_attn: int, dim_ffn: int, num_heads: int):
        super().__init__()
        self.norm1 = RMSNorm(dim)
        self.attn = Attention(dim, dim_attn, num_heads)
        self.norm2 = RMSNorm(dim)
        self.ffn = FeedForward(dim, dim_ffn)
        self.pos_embedding = RelativePosition(num_heads)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), self.pos_embedding(x.shape[1]) + mask)
        return x + self.ffn(self.norm2(x))


class UMT5(nn.Module):
    def __init__(
        self,
        vocab_size: int = 453,
        dim: int = 128,
        dim_attn: int = 128,
        dim_ffn: int = 256,
        num_heads: int = 2,
        num_layers: int = 2,
    ):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, dim)
        self.blocks = nn.ModuleList(
            Block(dim, dim_attn, dim_ffn, num_heads) for _ in range(num_layers)
        )
        self.norm = RMSNorm(dim)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (B, L) and how many of each row count -> (B, L, dim), zero behind them."""
        valid = torch.arange(ids.shape[1]) < lengths[:, None]
        mask = torch.zeros(valid.shape).masked_fill(~valid, -1e9)[:, None, None]
        x = self.token_embedding(ids)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x) * valid[..., None]


def buckets(distance: Tensor) -> Tensor:
    """The bucket of each distance key - query: exact when near, logarithmic when far."""
    half = NUM_BUCKETS // 2
    exact = half // 2
    away = distance.abs()
    far = (away.clamp(min=1).float() / exact).log() / math.log(MAX_DISTANCE / exact)
    far = (exact + (far * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(away < exact, away, far) + half * (distance > 0)


@torch.no_grad()
def initialise(encoder: UMT5) -> None:
    for name, weight in encoder.named_parameters():
        if weight.ndim == 2:
            std = 1.0 if name == "token_embedding.weight" else weight.shape[1] ** -0.5
            weight.normal_(0, 0.1 if "pos_embedding" in name else std)


def load_text_encoder(folder: Path) -> UMT5:
    """The text encoder of a checkpoint folder in the original layout, in float32."""
    weights = torch.load(folder / "models_t5_umt5-xxl-enc-bf16.pth", weights_only=True)
    encoder = UMT5(vocab_size=weights["token_embedding.weight"].shape[0])
    encoder.load_state_dict({name: value.float() for name, value in weights.items()})
    return encoder

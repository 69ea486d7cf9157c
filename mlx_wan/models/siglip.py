"""SigLIP's vision tower: a picture as one row for each patch.

HunyuanVideo reads the rows after the last norm; the pooling head is not here. Names and order of
operations: transformers' SiglipVisionModel. Precision as in umt5.py.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from mlx_wan.cpu import gelu_tanh, layer_norm, softmax_attention
from mlx_wan.errors import BadFileError
from mlx_wan.roofline import work

from .umt5 import project, through_layers


@dataclass(frozen=True)
class SiglipConfig:
    """Sizes of one encoder; those of so400m-patch14-384 where nothing else is said."""

    dim: int = 1152
    dim_ffn: int = 4304
    num_heads: int = 16
    num_layers: int = 27
    image_size: int = 384
    patch_size: int = 14
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "eps" and (type(value) is not int or value < 1):
                raise BadFileError(f"SigLIP {name} is {value!r}; it must be a whole number above 0")
        if self.dim % self.num_heads or self.image_size < self.patch_size:
            raise BadFileError(
                f"SigLIP's sizes do not fit together: {self}", "so400m-patch14-384 has 16 heads"
            )

    @property
    def tokens(self) -> int:
        """Whole patches of a picture."""
        return (self.image_size // self.patch_size) ** 2


class Attention(nn.Module):
    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(config.dim, config.dim)
        self.k_proj = nn.Linear(config.dim, config.dim)
        self.v_proj = nn.Linear(config.dim, config.dim)
        self.out_proj = nn.Linear(config.dim, config.dim)

    def __call__(self, x: mx.array) -> mx.array:
        q, k, v = (
            project(layer, x).reshape(*x.shape[:2], self.num_heads, -1).swapaxes(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        x = softmax_attention(q, k, v, scale=q.shape[-1] ** -0.5)
        return project(self.out_proj, x.swapaxes(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.dim, config.dim_ffn)
        self.fc2 = nn.Linear(config.dim_ffn, config.dim)

    def __call__(self, x: mx.array) -> mx.array:
        return project(self.fc2, gelu_tanh(project(self.fc1, x), reuse=True))


class Layer(nn.Module):
    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.dim, config.eps)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.dim, config.eps)
        self.mlp = FeedForward(config)

    def __call__(self, x: mx.array, _: None = None) -> mx.array:
        x = x + self.self_attn(_norm(self.layer_norm1, x))
        return x + self.mlp(_norm(self.layer_norm2, x))


def _norm(norm: nn.LayerNorm, x: mx.array) -> mx.array:
    return layer_norm(x, norm.weight, norm.bias, norm.eps)


class SiglipEncoder(nn.Module):
    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv2d(3, config.dim, config.patch_size, config.patch_size)
        self.position_embedding = nn.Embedding(config.tokens, config.dim)
        self.layers: list[nn.Module] = [Layer(config) for _ in range(config.num_layers)]
        self.post_layernorm = nn.LayerNorm(config.dim, config.eps)


def encode(encoder: SiglipEncoder, images: mx.array, *, release: bool = False) -> mx.array:
    """Pictures as `shown` makes them -> (B, tokens, dim) in float32, evaluated.

    With `release` a layer is let go when it has run.
    """
    weight = encoder.patch_embedding.weight.astype(mx.float32)
    x = mx.conv2d(images, weight, encoder.config.patch_size) + encoder.patch_embedding.bias
    x = x.flatten(1, 2) + encoder.position_embedding.weight
    mx.eval(x)
    (x,) = through_layers(encoder.layers, [x], [[None] * len(encoder.layers)], release)
    x = _norm(encoder.post_layernorm, x)
    mx.eval(x)
    return x


def shown(image: np.ndarray, image_size: int) -> mx.array:
    """uint8 (H, W, 3) -> (1, image_size, image_size, 3) in [-1, 1], whatever the picture's shape.

    Resized in 8 bits by Pillow's bicubic filter, as transformers' SiglipImageProcessor does.
    """
    square = (image_size, image_size)
    resized = np.asarray(Image.fromarray(image).resize(square, Image.Resampling.BICUBIC))
    return mx.array(resized.astype(np.float32)[None] / np.float32(127.5) - 1)


def encode_memory(config: SiglipConfig, stored_bytes: int, stored_float32: bool) -> int:
    """Bytes at the peak of `encode` with release, for one picture: one layer and what it makes.

    The first layer is read with the picture's patches.
    """
    layer = stored_bytes // config.num_layers
    widened = config.dim * config.dim_ffn * 4 * (not stored_float32)
    return layer + widened + config.tokens * (8 * config.dim + 2 * config.dim_ffn) * 4


def encode_work(config: SiglipConfig, widened: bool) -> list[work.Op]:
    """The operations of encoding one picture; `widened`: 16-bit matrices become float32 first."""
    n, dim, ffn = config.tokens, config.dim, config.dim_ffn
    layer = [
        work.linear(n, dim, dim, 4),
        work.linear(n, dim, ffn, 2),
        work.attention(config.num_heads, n, n, dim // config.num_heads),
        work.elementwise(work.NORM, n * dim, 2),
        work.elementwise(work.ACTIVATION, n * ffn),
        work.elementwise(work.ADD, n * dim, 6),
    ]
    if widened:
        layer.append(work.elementwise(work.ADD, dim * dim, 4))
        layer.append(work.elementwise(work.ADD, dim * ffn, 2))
    return [work.linear(n, 3 * config.patch_size**2, dim)] + [
        op.times(config.num_layers) for op in layer
    ]

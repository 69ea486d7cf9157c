"""Latents to the patches a transformer reads, and back."""

import mlx.core as mx

Size = tuple[int, int, int]


def patchify(x: mx.array, grid: Size, patch_size: Size) -> mx.array:
    """(B, T, H, W, C) -> (B, L, pt * ph * pw * C), channels fastest."""
    (t, h, w), (pt, ph, pw) = grid, patch_size
    x = x.reshape(-1, t, pt, h, ph, w, pw, x.shape[-1]).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(x.shape[0], t * h * w, -1)


def unpatchify(x: mx.array, grid: Size, patch_size: Size, channels: int) -> mx.array:
    """(B, L, pt * ph * pw * C) -> (B, T, H, W, C)."""
    (t, h, w), (pt, ph, pw) = grid, patch_size
    x = x.reshape(-1, t, h, w, pt, ph, pw, channels)
    x = x.transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(x.shape[0], t * pt, h * ph, w * pw, -1)

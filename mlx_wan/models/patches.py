"""Latents to the patches a transformer reads, and back."""

import mlx.core as mx

from mlx_wan.errors import UsageError

Size = tuple[int, int, int]


def patch_grid(latent_shape: tuple[int, ...], patch_size: Size) -> Size:
    """Size in patches (T', H', W') of latents (B, T, H, W, C)."""
    sizes = latent_shape[1:4]
    if len(latent_shape) != 5 or any(s % p for s, p in zip(sizes, patch_size, strict=True)):
        raise UsageError(
            f"latents of shape {tuple(latent_shape)} do not divide into patches of {patch_size}",
            "latents are (B, T, H, W, C), sizes whole multiples of the patch",
        )
    t, h, w = (s // p for s, p in zip(sizes, patch_size, strict=True))
    return t, h, w


def check_grid(grid: Size, conditioned: Size) -> None:
    """Refuse latents of another size than the conditioning was made for."""
    if grid != conditioned:
        raise UsageError(
            f"latents are {grid} patches but the conditioning was made for {conditioned}",
            "call condition() with the grid of these latents",
        )


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

"""Pixels <-> latents <-> tokens of a model: arithmetic on its strides."""

from .loading import ModelFolder, network_config


def multiples(folder: ModelFolder) -> tuple[int, int]:
    """(width, height) must be multiples of these pixels: VAE stride times patch."""
    stride, patch = _stride(folder), _patch(folder)
    return stride[2] * patch[2], stride[1] * patch[1]


def latent_shape(
    folder: ModelFolder, width: int, height: int, num_frames: int
) -> tuple[int, int, int, int, int]:
    """(1, T, H, W, C) of the latents of a video."""
    stride = _stride(folder)
    frames = (num_frames - 1) // stride[0] + 1
    channels = network_config(folder["vae"]).z_dim
    return (1, frames, height // stride[1], width // stride[2], channels)


def token_count(folder: ModelFolder, shape: tuple[int, ...]) -> int:
    """The transformer's sequence length for latents of `shape` = (1, T, H, W, C)."""
    patch = _patch(folder)
    return (shape[1] // patch[0]) * (shape[2] // patch[1]) * (shape[3] // patch[2])


def _stride(folder: ModelFolder) -> tuple[int, int, int]:
    return network_config(folder["vae"]).stride


def _patch(folder: ModelFolder) -> tuple[int, int, int]:
    return network_config(folder[folder.preset.experts[0].name]).patch_size

"""Peak memory of some work, beside what was there before."""

import gc

import mlx.core as mx


def peak(work):
    """Bytes of MLX memory that `work()` needs at its peak."""
    gc.collect()  # what earlier tests left must not go in the middle
    mx.synchronize()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    work()
    return mx.get_peak_memory() - before


def decode_peak(vae, frames, side):
    """Of a VAE that decodes the latents of so many frames, a chunk at a time."""
    stride = vae.config.stride
    shape = (1, 1 + (frames - 1) // stride[0], side // stride[1], side // stride[2])
    latents = mx.random.normal((*shape, vae.config.z_dim))
    mx.eval(latents, vae.parameters())
    return peak(lambda: [None for _ in vae.decode_chunks(latents)])


def encode_peak(vae, frames, side):
    """Of a VAE that encodes so many frames that come one by one."""
    mx.eval(vae.parameters())
    chunks = (mx.random.uniform(-1, 1, (1, 1, side, side, 3)) for _ in range(frames))
    return peak(lambda: mx.eval(vae.encode(chunks)))

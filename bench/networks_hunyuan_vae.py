"""HunyuanVideo 1.5's VAE for networks.py, against diffusers; the parity tests and
tests/record_hunyuan_vae.py use it too."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

SIZES: dict[str, Any] = {"block_out_channels": (32, 64, 64, 128, 128), "num_res_blocks": 1}


def make(task: str, frames: int, height: int, width: int) -> Arrays:
    """Random weights in our names, and frames or latents."""
    from mlx_wan.bench.networks_vae import random_weights

    network = our_vae(SIZES)
    t, row, column = network.config.stride
    shape: tuple[int, ...] = (1, frames, height, width, 3)
    if task == "decode":
        shape = (1, 1 + (frames - 1) // t, height // row, width // column, network.config.z_dim)
    given = np.random.default_rng(1).standard_normal(shape)
    return random_weights(network) | {"given": given.clip(-1, 1).astype(np.float32)}


def ours(arrays: Arrays, task: str, **_: int) -> Callable[[], np.ndarray]:
    """One pass over the video, chunk by chunk."""
    import mlx_wan  # noqa: F401, I001 - loads the fast BLAS before MLX
    import mlx.core as mx

    from mlx_wan.bench.networks_mochi import load

    given = mx.array(arrays.pop("given"))
    network = our_vae(SIZES)
    load(network, arrays)
    return lambda: np.array(getattr(network, task)(given))


def reference(arrays: Arrays, task: str, **_: int) -> Callable[[], np.ndarray]:
    """The same with torch."""
    import torch

    torch.set_num_threads(1)
    given = arrays.pop("given")
    network = diffusers_vae(SIZES, arrays)
    return lambda: run_diffusers(network, task, given)


def our_vae(config: Mapping[str, Any]) -> Any:
    from mlx_wan.models.vae_hunyuan import HunyuanVAE, HunyuanVAEConfig

    return HunyuanVAE(HunyuanVAEConfig(**config))


def diffusers_vae(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Any:
    """diffusers' AutoencoderKLHunyuanVideo15 of the same config, with our weights."""
    import torch
    from diffusers import AutoencoderKLHunyuanVideo15

    from mlx_wan.bench.layouts import to_layout

    dims = config["block_out_channels"]
    temporal = config.get("temporal_downsample", (False, False, True, True))
    model: Any = AutoencoderKLHunyuanVideo15(
        latent_channels=config.get("z_dim", 32),
        block_out_channels=dims,
        layers_per_block=config.get("num_res_blocks", 2),
        spatial_compression_ratio=2 ** (len(dims) - 1),
        temporal_compression_ratio=2 ** sum(temporal),
        scaling_factor=config.get("scaling_factor", 1.03682),
    )
    theirs = to_layout("hunyuan_vae", "diffusers", weights)
    state = {name: torch.tensor(array) for name, array in theirs.items()}
    model.load_state_dict(state)  # strict
    return model.eval()


def run_diffusers(model: Any, task: str, given: np.ndarray) -> np.ndarray:
    """encode: frames -> scaled mean; decode: scaled latents -> frames; channels last."""
    import torch

    scale = model.config["scaling_factor"]
    x = torch.tensor(given).movedim(-1, 1).contiguous()
    with torch.inference_mode():
        if task == "decode":
            return model.decode(x / scale).sample.clamp(-1, 1).movedim(1, -1).numpy()
        return (model.encode(x).latent_dist.mode() * scale).movedim(1, -1).numpy()

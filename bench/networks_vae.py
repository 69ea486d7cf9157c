"""The VAEs for networks.py, against diffusers' AutoencoderKLWan; the reference tests use it too."""

import re
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

WIDTHS: dict[int, dict[str, Any]] = {
    21: {"base_dim": 32},
    22: {
        **{"base_dim": 32, "decoder_base_dim": 32},
        **{"latents_mean": (0.0,) * 48, "latents_std": (1.0,) * 48},
    },
}

RENAMED = [  # ours -> diffusers (Wan 2.1's VAE), in this order
    (r"^conv1", "quant_conv"),
    (r"^conv2", "post_quant_conv"),
    (r"^(encoder|decoder)\.conv1", r"\1.conv_in"),
    (r"head\.norm", "norm_out"),
    (r"head\.conv", "conv_out"),
    (r"middle\.0", "mid_block.resnets.0"),
    (r"middle\.1", "mid_block.attentions.0"),
    (r"middle\.2", "mid_block.resnets.1"),
    (r"\bshortcut", "conv_shortcut"),
    (r"(\d)\.conv\.", r"\1.resample.1."),
]


def make(vae: int, task: str, frames: int, height: int, width: int) -> Arrays:
    """Random weights in our names, and frames or latents."""
    network = our_vae(vae, WIDTHS[vae])
    stride = network.config.stride
    shape: tuple[int, ...] = (1, frames, height, width, 3)
    if task == "decode":
        t = 1 + (frames - 1) // stride[0]
        shape = (1, t, height // stride[1], width // stride[2], network.config.z_dim)
    given = np.random.default_rng(1).standard_normal(shape)
    return random_weights(network) | {"given": given.clip(-1, 1).astype(np.float32)}


def ours(arrays: Arrays, vae: int, task: str, **_: int) -> Callable[[], np.ndarray]:
    """One pass over the video, chunk by chunk."""
    network = our_vae(vae, WIDTHS[vae])
    import mlx.core as mx

    given = mx.array(arrays.pop("given"))
    network.load_weights([(name, mx.array(array)) for name, array in arrays.items()])
    mx.eval(network.parameters(), given)
    return lambda: np.array(getattr(network, task)(given))


def reference(arrays: Arrays, vae: int, task: str, **_: int) -> Callable[[], np.ndarray]:
    """The same with torch."""
    import torch

    torch.set_num_threads(1)
    given = arrays.pop("given")
    network = diffusers_vae(vae, WIDTHS[vae], arrays)
    return lambda: run_diffusers(network, task, given)


def our_vae(vae: int, options: dict[str, Any]) -> Any:
    """Our network with the official config but for `options`."""
    from mlx_wan.models import vae_wan21, vae_wan22

    if vae == 21:
        return vae_wan21.WanVAE21(vae_wan21.WanVAE21Config(**options))
    return vae_wan22.WanVAE22(vae_wan22.WanVAE22Config(**options))


def random_weights(network: Any, seed: int = 0) -> Arrays:
    """All tensors of one of our VAEs; sizes that keep the scale of what passes, gammas around 1."""
    from mlx.utils import tree_flatten

    rng = np.random.default_rng(seed)
    shapes = {name: value.shape for name, value in dict(tree_flatten(network.parameters())).items()}
    weights = {}
    for name, shape in shapes.items():
        std = prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.2
        array = std * rng.standard_normal(shape) + name.endswith("gamma")
        weights[name] = np.asarray(array, np.float32)
    return weights


def diffusers_vae(vae: int, options: dict[str, Any], weights: Arrays) -> Any:
    """diffusers' AutoencoderKLWan of the same config, with our weights.

    The 2.2 VAE's `latents_mean` and `latents_std` must be among the options.
    """
    import torch
    from diffusers import AutoencoderKLWan

    names = {"temporal_downsample": "temperal_downsample"}  # theirs is spelt so
    config = {names.get(k, k): list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    if vae == 22:
        config = {
            "base_dim": 160,
            "decoder_base_dim": 256,
            "z_dim": 48,
            "is_residual": True,
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "scale_factor_spatial": 16,
        } | config
    network: Any = AutoencoderKLWan(**config)
    state = {}
    for name, array in weights.items():
        tensor = torch.tensor(array)
        if name.endswith("gamma"):
            tensor = tensor.reshape(-1, *[1] * (2 if "middle.1" in name else 3))
        elif tensor.ndim > 1:
            tensor = tensor.movedim(-1, 1).contiguous()
        state[diffusers_name(vae, name, network.config.num_res_blocks)] = tensor
    network.load_state_dict(state)  # strict
    return network.eval()


def run_diffusers(network: Any, task: str, given: np.ndarray) -> np.ndarray:
    """encode: frames -> normalised mean; decode: normalised latents -> frames; channels last."""
    import torch

    mean, std = (torch.tensor(network.config[f"latents_{name}"]) for name in ("mean", "std"))
    x = torch.tensor(given)
    with torch.inference_mode():
        if task == "decode":
            y = network.decode((x * std + mean).movedim(-1, 1).contiguous()).sample
            return y.clamp(-1, 1).movedim(1, -1).numpy()
        y = network.encode(x.movedim(-1, 1).contiguous()).latent_dist.mode()
        return ((y.movedim(1, -1) - mean) / std).numpy()


def diffusers_name(vae: int, name: str, num_res_blocks: int) -> str:
    """The name diffusers has for one of our tensors."""
    for ours, theirs in RENAMED:
        name = re.sub(ours, theirs, name)
    if vae == 21:
        name = name.replace("encoder.downsamples", "encoder.down_blocks")
        return re.sub(
            r"upsamples\.(\d+)",
            lambda match: _up_block(int(match[1]), num_res_blocks + 1),
            name,
        )
    for side, count in (("down", num_res_blocks), ("up", num_res_blocks + 1)):
        name = re.sub(rf"(\d)\.{side}samples\.{count}\.", rf"\1.{side}sampler.", name)
        name = re.sub(rf"(\d)\.{side}samples\.", r"\1.resnets.", name)
        name = name.replace(f"{side}samples", f"{side}_blocks")
    return name


def _up_block(index: int, blocks: int) -> str:
    stage, i = divmod(index, blocks + 1)
    return f"up_blocks.{stage}." + ("upsamplers.0" if i == blocks else f"resnets.{i}")

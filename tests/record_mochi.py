"""Records tests/recorded/mochi_*: diffusers' and transformers' Mochi on small random networks, and
the names and shapes of its full-size tensors.

python tests/record_mochi.py        needs the `reference` extra

The weights are not stored: tiny_mochi.py makes the same ones again.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_mochi
import torch
from mlx.utils import tree_flatten

from mlx_wan.bench import networks_mochi

HERE = Path(__file__).parent / "recorded"

# name: changes to tiny_mochi.TRANSFORMER, latent size (T, H, W), timesteps, valid tokens
TRANSFORMERS: dict[str, tuple[dict[str, Any], tuple[int, int, int], list[float], list[int]]] = {
    "one": ({}, (3, 8, 6), [737.0], [11]),
    "batch": ({"num_heads": 1}, (2, 4, 10), [999.0, 21.5], [16, 5]),
    "no_text": ({}, (1, 6, 4), [250.0], [0]),
    "mixed_text": ({}, (2, 4, 4), [500.0, 500.0], [7, 0]),
    "heads": ({"dim": 64, "ffn_dim": 170, "num_heads": 4}, (2, 6, 6), [3.0], [1]),
}
VAES: dict[str, tuple[int, int, int]] = {"vae": (13, 16, 24), "vae_image": (1, 24, 16)}


def weights(network: Any) -> dict[str, np.ndarray]:
    parameters: Any = tree_flatten(network.parameters())
    return {name: np.array(value) for name, value in parameters}


def record_transformer(name: str) -> None:
    changes, size, times, valid = TRANSFORMERS[name]
    ours = tiny_mochi.transformer(**changes)
    config = tiny_mochi.TRANSFORMER | changes
    model = networks_mochi.diffusers_transformer(config, weights(ours))
    random = np.random.RandomState(len(name))
    latents = random.standard_normal((len(times), *size, 12)).astype(np.float32)
    prompt = random.standard_normal((len(times), config["text_len"], config["text_dim"]))
    mask = np.arange(config["text_len"]) < np.array(valid)[:, None]
    prompt = prompt.astype(np.float32)
    velocity = networks_mochi.diffusers_velocity(model, latents, np.array(times), prompt, mask)
    np.savez_compressed(
        HERE / f"mochi_transformer_{name}.npz",
        changes=json.dumps(changes),
        latents=latents,
        timestep=np.array(times),
        prompt=prompt,
        mask=mask,
        velocity=velocity,
    )


def record_vae(name: str) -> None:
    """Encoding, and decoding as the original does and as diffusers does."""
    ours = tiny_mochi.vae()
    theirs = networks_mochi.diffusers_vae(tiny_mochi.VAE, weights(ours))
    random = np.random.RandomState(len(name))
    frames = random.uniform(-1, 1, (1, *VAES[name], 3)).astype(np.float16)
    encoded = networks_mochi.run_diffusers_vae(theirs, "encode", frames.astype(np.float32))
    latents = random.standard_normal(encoded.shape).astype(np.float32)
    decoded = networks_mochi.run_diffusers_vae(theirs, "decode", latents)
    np.savez_compressed(
        HERE / f"mochi_{name}.npz",
        frames=frames,
        encoded=encoded,
        latents=latents,
        decoded=decoded,
    )


def record_t5() -> None:
    model = networks_mochi.transformers_t5(tiny_mochi.T5, weights(tiny_mochi.t5()))
    ids = np.random.RandomState(3).randint(0, tiny_mochi.T5["vocab_size"], (2, 150))
    mask = np.arange(150) < np.array([[150], [37]])
    with torch.inference_mode():
        out = model(torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state
    np.savez_compressed(HERE / "mochi_t5.npz", ids=ids, mask=mask, out=out.numpy())


def record_names() -> None:
    """Every tensor of the published sizes as diffusers and transformers build them."""
    from diffusers import AutoencoderKLMochi, MochiTransformer3DModel
    from transformers import T5Config, T5EncoderModel

    xxl = T5Config(
        vocab_size=32128,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    with torch.device("meta"):
        networks: dict[str, Any] = {
            "mochi_transformer": MochiTransformer3DModel(),
            "mochi_vae": AutoencoderKLMochi(),
            "t5": T5EncoderModel(xxl),
        }
    names = {
        network: {name: list(value.shape) for name, value in model.state_dict().items()}
        for network, model in networks.items()
    }
    packed = gzip.compress(json.dumps(names, separators=(",", ":")).encode(), mtime=0)
    (HERE / "mochi_names.json.gz").write_bytes(packed)


if __name__ == "__main__":
    for case in TRANSFORMERS:
        record_transformer(case)
    record_t5()
    record_names()
    for case in VAES:
        record_vae(case)

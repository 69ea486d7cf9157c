"""Predicted against measured peak memory of each stage: `python -m mlx_wan.bench.memory`.

Builds a middle-sized random model in a temporary folder and runs one step of several sizes. MLX's
own count is compared: what NumPy holds on the CPU backend is not in it, nor in the prediction.
"""

import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_wan.bench.synthetic import spiece_model
from mlx_wan.conditioning import encode_image, encode_prompt
from mlx_wan.loading import open_model
from mlx_wan.models.umt5 import UMT5Config, UMT5Encoder
from mlx_wan.models.vae_wan21 import WanVAE21, WanVAE21Config
from mlx_wan.models.wan import WanConfig, WanTransformer
from mlx_wan.pipeline import Experts, decode, denoise, start_noise
from mlx_wan.planning import make_plan
from mlx_wan.request import Request
from mlx_wan.run import Measure

TRANSFORMER = WanConfig(
    dim=768, ffn_dim=3072, num_heads=6, num_layers=4, in_dim=16, out_dim=16, text_dim=512
)
TEXT = UMT5Config(vocab_size=1000, dim=512, dim_attn=512, dim_ffn=1024, num_heads=8, num_layers=4)
SIZES = ((64, 64, 5), (256, 192, 17), (320, 320, 17), (384, 384, 17))  # width, height, frames


def build(folder: Path) -> Path:
    """A converted model of random weights: two experts, text encoder, VAE, tokenizer."""
    networks: dict[str, tuple[str, Any, Any]] = {
        "high_noise": ("wan_transformer", TRANSFORMER, WanTransformer),
        "low_noise": ("wan_transformer", TRANSFORMER, WanTransformer),
        "text_encoder": ("umt5", TEXT, UMT5Encoder),
        "vae": ("wan_vae21", WanVAE21Config(base_dim=32), WanVAE21),
    }
    components: dict[str, Any] = {}
    for name, (network, config, network_class) in networks.items():
        (folder / name).mkdir(parents=True)
        weights = dict(tree_flatten(network_class(config).parameters()))
        file = f"{name}/model.safetensors"
        mx.save_safetensors(str(folder / file), weights, metadata={"format": "mlx"})
        components[name] = {
            "network": network,
            "config": asdict(config),
            "dtype": "float32",
            "quantization": None,
            "files": [file],
        }
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "spiece.model").write_bytes(spiece_model())
    components["tokenizer"] = {"network": "sentencepiece", "files": ["tokenizer/spiece.model"]}
    files = [file for component in components.values() for file in component["files"]]
    config_json = {
        "format": "mlx-wan",
        "format_version": 1,
        "model": "wan2.2-t2v-a14b",
        "components": components,
        "files": {file: {"size": (folder / file).stat().st_size} for file in files},
    }
    (folder / "config.json").write_text(json.dumps(config_json))
    return folder


def measure(model: Path, width: int, height: int, num_frames: int) -> list[tuple[str, int, int]]:
    """(stage, predicted bytes, measured bytes) of a run of two steps, one per expert."""
    request = Request(
        "a red fox runs through fresh snow",
        model=str(model),
        width=width,
        height=height,
        num_frames=num_frames,
        steps=2,
        shift=1.0,
        seed=0,
    )
    plan = make_plan(request)
    folder = open_model(model)
    peaks = Measure()
    with peaks.stage("encode"):
        embeds = encode_prompt(plan, folder)
        condition = encode_image(plan, folder)
        mx.clear_cache()
    with peaks.stage("denoise"):
        experts = Experts(plan, folder, embeds)
        for step in denoise(plan, experts, start_noise(plan), condition):
            latents = step.latents
        experts.release()
        del experts, step
    with peaks.stage("decode"):
        for _ in decode(plan, folder, latents):
            pass
    predicted = plan.memory.stages()
    return [(stage, predicted[stage], peaks.peak_memory[stage]) for stage in predicted]


def main() -> None:
    print(f"{platform.machine()}, {platform.system()}, {mx.default_device().type.name}")
    print(f"{'size':>14} {'stage':8} {'predicted':>10} {'measured':>10} {'ratio':>6}")
    with tempfile.TemporaryDirectory(prefix="mlx-wan-memory-") as folder:
        model = build(Path(folder) / "model")
        for width, height, frames in SIZES:
            for stage, predicted, measured in measure(model, width, height, frames):
                size = f"{width}x{height}x{frames}"
                row = f"{predicted / 2**20:7.0f} MiB {measured / 2**20:7.0f} MiB"
                print(f"{size:>14} {stage:8} {row} {predicted / measured:6.2f}")


if __name__ == "__main__":
    main()

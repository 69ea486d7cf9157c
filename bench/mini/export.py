"""Writes a trained run as a checkpoint folder in the original Wan 2.2 T2V-A14B layout, in float16.

`mlx-wan convert OUT DEST --model wan-mini` then makes the model from it like from any other. Text
encoder and experts come from the run, VAE and tokenizer from --init, the folder it started from.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .batches import TOKENIZER
from .model_wan import Wan

TEXT_ENCODER = "models_t5_umt5-xxl-enc-bf16.pth"  # the original's name, whatever the dtype
VAE = "Wan2.1_VAE.pth"
EXPERTS = ("high_noise", "low_noise")

Weights = dict[str, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--init", type=Path, required=True, help="where VAE and tokenizer are")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    export(args.run, args.init, args.out)


def export(run: Path, init: Path, out: Path) -> None:
    joint = torch.load(run / "checkpoint.pt", weights_only=True)["ema"]
    text, wan = part(joint, "text."), part(joint, "wan.")
    out.mkdir(parents=True, exist_ok=True)
    torch.save(to_half(text), out / TEXT_ENCODER)
    for name in EXPERTS:
        own = run / f"{name}.pt"  # train_experts wrote it; else the joint model plays both roles
        weights = torch.load(own, weights_only=True)["ema"] if own.exists() else wan
        write_expert(out / f"{name}_model", weights)
    for kept in (VAE, TOKENIZER):
        (out / kept).parent.mkdir(parents=True, exist_ok=True)
        if (init / kept).resolve() != (out / kept).resolve():
            shutil.copyfile(init / kept, out / kept)


def write_expert(folder: Path, weights: Weights) -> None:
    folder.mkdir(exist_ok=True)
    save_file(to_half(weights), folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps(config(weights), indent=1) + "\n")


def config(weights: Weights) -> dict:
    """What the original writes, with `text_dim`, which it leaves out."""
    dim, channels = weights["patch_embedding.weight"].shape[:2]
    defaults = Wan()
    return {
        "_class_name": "WanModel",
        "model_type": "t2v",
        "dim": dim,
        "ffn_dim": weights["blocks.0.ffn.0.weight"].shape[0],
        "freq_dim": weights["time_embedding.0.weight"].shape[1],
        "in_dim": channels,
        "out_dim": channels,
        "num_heads": defaults.num_heads,
        "num_layers": 1 + max(int(n.split(".")[1]) for n in weights if n.startswith("blocks.")),
        "text_dim": weights["text_embedding.0.weight"].shape[1],
        "text_len": defaults.text_len,
        "eps": 1e-6,
    }


def part(weights: Weights, prefix: str) -> Weights:
    return {n.removeprefix(prefix): value for n, value in weights.items() if n.startswith(prefix)}


def to_half(weights: Weights) -> Weights:
    """In float16, each tensor on its own so that files hold no more than it."""
    return {name: value.to(torch.float16).contiguous() for name, value in weights.items()}


if __name__ == "__main__":
    main()

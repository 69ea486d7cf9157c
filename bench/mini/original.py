"""Writes the shipped model back in the original Wan layout, as a warm start for the trainers.

python -m mlx_wan.bench.mini.original OUT       then: train_joint --init OUT

So the repository holds the weights once. Converting OUT again gives the same tensors.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor

from mlx_wan.bench.layouts import to_layout
from mlx_wan.loading import Component, embedded_model, open_model

from .batches import TOKENIZER
from .export import EXPERTS, TEXT_ENCODER, VAE, config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--model", type=Path, default=embedded_model(), help="converted wan-mini")
    args = parser.parse_args()
    write_original(args.out, args.model)


def write_original(out: Path, model: Path | None = None) -> None:
    folder = open_model(model or embedded_model())
    out.mkdir(parents=True, exist_ok=True)
    for name in EXPERTS:
        expert, weights = out / f"{name}_model", original_weights(folder[name])
        expert.mkdir(exist_ok=True)
        save_file(weights, expert / "diffusion_pytorch_model.safetensors")
        (expert / "config.json").write_text(json.dumps(config(weights), indent=1) + "\n")
    torch.save(original_weights(folder["text_encoder"]), out / TEXT_ENCODER)
    torch.save(original_weights(folder["vae"]), out / VAE)
    (out / TOKENIZER).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder["tokenizer"].files[0], out / TOKENIZER)


def original_weights(component: Component) -> dict[str, Tensor]:
    """The tensors of a network under the original names, in the original shapes."""
    arrays = {name: array for file in component.files for name, array in load_file(file).items()}
    foreign = to_layout(component.network, "original", arrays, component.config)
    return {name: torch.from_numpy(array.copy()) for name, array in foreign.items()}


if __name__ == "__main__":
    main()

"""Trains text encoder and transformer together on stored latents (`encode` writes them).

The velocity noise - x0 is learnt at sigma = 3u / (1 + 2u), u uniform. Some steps take single latent
frames as images, four times as many: layout is learnt there for a quarter of the work. Clips come
in pairs, forwards and backwards, with the same noise: what differs is what the direction does.
A run is resumed from RUN/checkpoint.pt; while a file RUN/PAUSE exists it sleeps. Progress is
counted in training time, so the rate reaches zero after --minutes on any machine, however busy.
Each of --processes trains on one core with samples of its own; their gradients are averaged.
"""

import argparse
import copy
import datetime
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

from .batches import TOKENIZER, Captions, LatentStore, one_frame
from .model_umt5 import UMT5, load_text_encoder
from .model_umt5 import initialise as initialise_text
from .model_wan import Wan, initialise, load_transformer
from .muon import Muon

BINS = 5  # of sigma, in the log
LOG_EVERY, SAVE_SECONDS = 50, 180


class Model(nn.Module):
    """Token ids and noisy latents to velocity."""

    def __init__(self, text: UMT5, wan: Wan):
        super().__init__()
        self.text, self.wan = text, wan

    def forward(self, x: Tensor, sigma: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.wan(x, sigma, self.text(ids, lengths), lengths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--init", type=Path, required=True, help="checkpoint folder to start from")
    parser.add_argument("--scratch", action="store_true", help="of --init take the tokenizer only")
    parser.add_argument("--minutes", type=float, default=480, help="training time in all")
    parser.add_argument("--batch", type=int, default=48, help="clips in a step of one process")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.25, help="last part with a falling rate")
    parser.add_argument("--images", type=float, default=0.75, help="share of image steps at first")
    parser.add_argument("--images-until", type=float, default=0.5, help="where they have ended")
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as meeting:
        torch.multiprocessing.spawn(train, (args, f"{meeting}/place"), args.processes)


def train(rank: int, args: argparse.Namespace, meeting: str) -> None:
    """The work of one process."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=args.processes,
        timeout=datetime.timedelta(hours=24),  # of a pause
    )
    training = Training(args, rank)
    while training.progress < 1:
        while (args.run / "PAUSE").exists():
            time.sleep(2)
        training.step()
    training.save()
    dist.destroy_process_group()


class Training:
    """The state of a run, and one step of it. Only rank 0 writes files."""

    def __init__(self, args: argparse.Namespace, rank: int):
        self.args, self.rank = args, rank
        torch.manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.model = start_model(args.init, args.scratch)
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        matrices, self.rest = split_parameters(self.model)
        self.muon = Muon(matrices, args.rate)
        self.adam = torch.optim.AdamW(self.rest, args.rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.captions = Captions(args.init / TOKENIZER, self.model.wan.text_len)
        self.store = LatentStore(args.run / "latents")
        self.steps = self.samples = 0
        self.elapsed = 0.0  # seconds of training
        self.log = LossLog(args.run / "log.jsonl")
        self.checkpoint = args.run / "checkpoint.pt"
        if self.checkpoint.exists():
            self.resume()
        if rank:
            torch.manual_seed(args.seed + 1000 * rank + self.steps)
            self.rng = np.random.default_rng((args.seed, rank, self.steps))
        self.saved = self.elapsed

    @property
    def progress(self) -> float:
        return self.elapsed / 60 / self.args.minutes

    def step(self) -> None:
        began = time.monotonic()
        images = self.rng.random() < self.args.images * max(
            0.0, 1 - self.progress / self.args.images_until
        )
        count = self.args.batch * (4 if images else 1)
        entries, latents = self.store.draw(count, self.rng)
        if images:
            latents = one_frame(latents, self.rng)
        ids, lengths = self.captions.draw(entries, self.rng)
        sigma = draw_sigmas(count // 2).repeat_interleave(2)
        losses = velocity_losses(self.model, latents, sigma, ids, lengths)
        losses.mean().backward()
        spent, samples = self.average_gradients(time.monotonic() - began, count)
        self.update()
        self.log.add(sigma, losses.detach(), images)
        self.steps += 1
        self.samples += samples
        self.elapsed += spent
        if self.steps % LOG_EVERY == 0:
            self.store.refresh()
            if self.rank == 0:
                self.log.write(self.steps, self.samples, self.elapsed, len(self.store))
        if self.elapsed - self.saved > SAVE_SECONDS:
            self.save()

    def average_gradients(self, seconds: float, count: int) -> tuple[float, int]:
        """Over all processes; likewise the mean seconds they took, and their samples together."""
        gradients = [w.grad for w in self.model.parameters() if w.grad is not None]
        counts = torch.tensor([seconds, float(count)])
        flat = torch.cat([gradient.flatten() for gradient in gradients] + [counts])
        dist.all_reduce(flat)
        flat /= self.args.processes
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return flat[-2].item(), round(flat[-1].item() * self.args.processes)

    def update(self) -> None:
        rate = self.args.rate * min((self.steps + 1) / 60, (1 - self.progress) / self.args.decay, 1)
        for optimizer in (self.muon, self.adam):
            for group in optimizer.param_groups:
                group["lr"] = max(rate, 0.0)
        nn.utils.clip_grad_norm_(self.rest, 1.0)
        self.muon.step()
        self.adam.step()
        self.model.zero_grad()
        kept = min(self.args.ema, (self.steps + 1) / (self.steps + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.ema.parameters()), list(self.model.parameters()), 1 - kept
            )

    def save(self) -> None:
        self.saved = self.elapsed
        if self.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "counts": (self.steps, self.samples, self.elapsed),
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": json.dumps(self.rng.bit_generator.state),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        for name in ("model", "ema", "muon", "adam"):
            getattr(self, name).load_state_dict(state[name])
        self.steps, self.samples, self.elapsed = state["counts"]
        torch.set_rng_state(state["torch_rng"])
        self.rng.bit_generator.state = json.loads(state["numpy_rng"])
        if self.rank == 0:
            print(f"resumed after {self.steps} steps, {self.elapsed / 60:.1f} minutes", flush=True)


def start_model(init: Path, scratch: bool) -> Model:
    model = Model(load_text_encoder(init), load_transformer(init))
    if scratch:
        initialise_text(model.text)
        initialise(model.wan)
    return model


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Matrices inside blocks, for Muon, and all the rest, for AdamW."""
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for name, weight in model.named_parameters():
        inside = ".blocks." in name and weight.ndim == 2 and "pos_embedding" not in name
        (matrices if inside else rest).append(weight)
    return matrices, rest


def draw_sigmas(count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """sigma = 3u / (1 + 2u), u uniform and stratified, cut to [low, high]."""
    first, last = (sigma / (3 - 2 * sigma) for sigma in (low, high))
    u = first + (last - first) * (torch.randperm(count) + torch.rand(count)) / count
    return 3 * u / (1 + 2 * u)


def velocity_losses(
    model: nn.Module, latents: Tensor, sigma: Tensor, ids: Tensor, lengths: Tensor
) -> Tensor:
    """Mean squared error of each sample's velocity, (B,); neighbours get the same noise."""
    noise = torch.randn_like(latents[::2]).repeat_interleave(2, 0)
    level = sigma.view(-1, 1, 1, 1, 1)
    velocity = model(torch.lerp(latents, noise, level), sigma, ids, lengths)
    return (velocity - (noise - latents)).square().flatten(1).mean(1)


class LossLog:
    """Mean loss per bin of sigma, for clips and images apart."""

    def __init__(self, path: Path):
        self.path = path
        self.clear()

    def clear(self) -> None:
        self.sums = np.zeros((2, BINS))
        self.counts = np.zeros((2, BINS))

    def add(self, sigma: Tensor, losses: Tensor, images: bool) -> None:
        bins = (sigma * BINS).long().clamp(max=BINS - 1).numpy()
        np.add.at(self.sums[int(images)], bins, losses.numpy())
        np.add.at(self.counts[int(images)], bins, 1)

    def write(self, steps: int, samples: int, elapsed: float, stored: int) -> None:
        row: dict = {"steps": steps, "samples": samples, "minutes": round(elapsed / 60, 2)}
        row["stored"] = stored
        for kind, sums, counts in zip(("clips", "images"), self.sums, self.counts, strict=True):
            if counts.sum():
                row[kind] = round(sums.sum() / counts.sum(), 4)
                row[f"{kind}_bins"] = [round(x, 3) for x in sums / np.maximum(counts, 1)]
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
        self.clear()


if __name__ == "__main__":
    main()

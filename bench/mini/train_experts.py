"""Fine-tunes the joint model of `train_joint` into the two experts, each in a process of its own.

The text encoder stays as it is. The high-noise expert sees sigma in [0.875, 1] uniformly, the
low-noise expert the density of the joint run below it. Each goes on from RUN/<expert>.pt.
"""

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing
from torch import Tensor, nn

from .batches import TOKENIZER, Captions, LatentStore
from .export import EXPERTS
from .muon import Muon
from .train_joint import (
    LOG_EVERY,
    SAVE_SECONDS,
    LossLog,
    draw_sigmas,
    split_parameters,
    start_model,
    velocity_losses,
)

BOUNDARY = 0.875  # the sigma where one hands over to the other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the joint run")
    parser.add_argument("--init", type=Path, required=True, help="the folder that run began from")
    parser.add_argument("--minutes", type=float, default=30, help="training time of each expert")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.99)
    args = parser.parse_args()
    torch.multiprocessing.spawn(train, (args,), len(EXPERTS))


def train(rank: int, args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    ExpertTraining(args, EXPERTS[rank]).run()


class ExpertTraining:
    def __init__(self, args: argparse.Namespace, expert: str):
        self.args, self.expert = args, expert
        torch.manual_seed(EXPERTS.index(expert))
        self.rng = np.random.default_rng(1 + EXPERTS.index(expert))
        self.model = start_model(args.init, scratch=False)
        joint = torch.load(args.run / "checkpoint.pt", weights_only=True)["ema"]
        self.model.load_state_dict(joint)
        self.model.text.requires_grad_(False)
        self.ema = copy.deepcopy(self.model.wan).requires_grad_(False)
        matrices, rest = split_parameters(self.model)
        self.rest = [weight for weight in rest if weight.requires_grad]
        self.optimizers = {
            "muon": Muon([weight for weight in matrices if weight.requires_grad], args.rate),
            "adam": torch.optim.AdamW(self.rest, args.rate, betas=(0.9, 0.98), weight_decay=0.0),
        }
        self.steps, self.elapsed = 0, 0.0
        self.path = args.run / f"{expert}.pt"
        if self.path.exists():
            self._resume()

    def run(self) -> None:
        captions = Captions(self.args.init / TOKENIZER, self.model.wan.text_len)
        store = LatentStore(self.args.run / "latents")
        log = LossLog(self.args.run / f"{self.expert}.jsonl")
        saved = self.elapsed
        while (progress := self.elapsed / 60 / self.args.minutes) < 1:
            while (self.args.run / "PAUSE").exists():
                time.sleep(2)
            began = time.monotonic()
            entries, latents = store.draw(self.args.batch, self.rng)
            sigma = expert_sigmas(self.expert, self.args.batch)
            ids, lengths = captions.draw(entries, self.rng)
            losses = velocity_losses(self.model, latents, sigma, ids, lengths)
            losses.mean().backward()
            self._update(1 - progress)
            log.add(sigma, losses.detach(), images=False)
            self.steps += 1
            self.elapsed += time.monotonic() - began
            if self.steps % LOG_EVERY == 0:
                log.write(self.steps, self.steps * self.args.batch, self.elapsed, len(store))
            if self.elapsed - saved > SAVE_SECONDS:
                self._save()
                saved = self.elapsed
        self._save()

    def _update(self, left: float) -> None:
        rate = self.args.rate * min((self.steps + 1) / 20, left)
        nn.utils.clip_grad_norm_(self.rest, 1.0)
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        self.model.zero_grad()
        with torch.no_grad():
            ours: list[Tensor] = list(self.ema.parameters())
            new: list[Tensor] = list(self.model.wan.parameters())
            torch._foreach_lerp_(ours, new, 1 - self.args.ema)

    def _save(self) -> None:
        state: dict[str, object] = {n: o.state_dict() for n, o in self.optimizers.items()}
        state |= {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        state |= {"counts": (self.steps, self.elapsed)}
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.steps, self.elapsed = state["counts"]
        torch.manual_seed(1000 + self.steps)
        self.rng = np.random.default_rng((1000 + self.steps, EXPERTS.index(self.expert)))


def expert_sigmas(expert: str, count: int) -> Tensor:
    """The sigmas of `count` samples, the same for both of a pair."""
    count //= 2
    if expert == "low_noise":
        sigma = draw_sigmas(count, 0.0, BOUNDARY)
    else:
        sigma = BOUNDARY + (1 - BOUNDARY) * (torch.randperm(count) + torch.rand(count)) / count
    return sigma.repeat_interleave(2)


if __name__ == "__main__":
    main()

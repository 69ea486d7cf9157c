"""For `train_vae`: both optimisers as one, moving average, checkpoints, pause switch, log."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from .muon import Muon

CHECKPOINT_SECONDS = 180


class Optimiser:
    """Muon for `matrices`, AdamW for the `rest`, one learning rate, one moving average of both."""

    def __init__(
        self, module: nn.Module, matrices: list[nn.Parameter], lr: float, ema: float
    ) -> None:
        chosen = {id(p) for p in matrices}
        self.module, self.lr, self.decay = module, lr, ema
        self.rest = [p for p in module.parameters() if p.requires_grad and id(p) not in chosen]
        self.muon = Muon(matrices, lr)
        self.adam = torch.optim.AdamW(self.rest, lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.average = {name: p.detach().clone() for name, p in module.named_parameters()}

    def step(self, rate: float) -> None:
        """One update at `rate` times the learning rate; clears the gradients."""
        for optimiser in (self.muon, self.adam):
            for group in optimiser.param_groups:
                group["lr"] = self.lr * rate
        nn.utils.clip_grad_norm_(self.rest, 1.0)
        self.muon.step()
        self.adam.step()
        self.module.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, p in self.module.named_parameters():
                self.average[name].lerp_(p, 1 - self.decay)

    def state_dict(self) -> dict:
        return {
            "model": self.module.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "average": self.average,
        }

    def load_state_dict(self, state: dict) -> None:
        self.module.load_state_dict(state["model"])
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.average = state["average"]


def rate(step: int, steps: int, warm_up: int = 60, decay: float = 0.6) -> float:
    """Up over `warm_up` steps, constant, then linearly to 0 over the last share `decay`."""
    return min(1.0, (step + 1) / warm_up, max(0.0, (steps - step) / (decay * steps)))


def save(path: Path, state: dict) -> None:
    """Whole or not at all: written beside, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load(path: Path) -> dict | None:
    return torch.load(path, weights_only=True) if path.exists() else None


class Run:
    """One stage in a run folder: its checkpoint, its log, and the pause switch beside them.

    While the file `PAUSE` exists in the folder the trainer sleeps before its next step.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder, self.stage = folder, stage
        self.checkpoint = folder / f"{stage}.ckpt"
        folder.mkdir(parents=True, exist_ok=True)
        self._saved = time.monotonic()

    def steps(self, start: int, end: int) -> Iterator[int]:
        for step in range(start, end):
            while (self.folder / "PAUSE").exists():
                time.sleep(5)
            yield step

    def resume(self, optimiser: Optimiser, fresh: bool = False) -> int:
        """The step to go on from; 0 where there is no checkpoint."""
        state = None if fresh else load(self.checkpoint)
        if state is None:
            return 0
        optimiser.load_state_dict(state["optimiser"])
        self.say(f"resumed at step {state['step']}")
        return state["step"]

    def keep(self, optimiser: Optimiser, step: int, last: bool) -> None:
        """Save every few minutes, and at the end."""
        if last or time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            save(self.checkpoint, {"step": step, "optimiser": optimiser.state_dict()})
            save(self.folder / f"{self.stage}.pt", optimiser.average)
            self._saved = time.monotonic()

    def say(self, line: str) -> None:
        stamped = f"{time.strftime('%H:%M:%S')} {line}"
        print(stamped, flush=True)
        with (self.folder / f"{self.stage}.log").open("a") as log:
            log.write(stamped + "\n")

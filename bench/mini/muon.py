"""Muon: momentum made orthogonal, for the matrices of a network."""

from collections.abc import Iterable

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """For matrices only; kernels are taken as (out, everything else).

    The size of an update is matched to Adam's, so that one learning rate serves both.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 3e-3, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault(tuple(weight.flatten(1).shape), []).append(weight)
            for (rows, columns), weights in by_shape.items():
                updates = [self._nesterov(weight, group["momentum"]) for weight in weights]
                turned = orthogonal(torch.stack(updates))
                size = 0.2 * max(rows, columns) ** 0.5
                for weight, update in zip(weights, turned, strict=True):
                    weight.add_(update.reshape(weight.shape), alpha=-group["lr"] * size)

    def _nesterov(self, weight: Tensor, momentum: float) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        assert weight.grad is not None
        buffer = state["momentum"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(buffer, momentum).flatten(1)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrices (n, rows, columns) with singular values near 1 (Newton-Schulz)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if tall := x.shape[1] > x.shape[2]:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x

"""Sigma schedules and solvers: arithmetic only.

A flow model noises by `latents = (1 - sigma) * clean + sigma * noise` and predicts the velocity
`noise - clean`, so `clean = latents - sigma * velocity`. Below, `alpha = 1 - sigma`, `log_snr =
log(alpha / sigma)` and `clean` is that prediction. Coefficients are float64 numbers made from the
sigmas rounded to float32 (near sigma 1 that rounding changes `alpha` by a percent, and the
reference has it); latents are float32.
"""

import difflib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
import numpy as np

from .errors import UsageError

TRAIN_STEPS = 1000
MAX_STEPS = 1000
ANY_SCHEDULE = ("euler", "dpm++")  # solvers that take any sigmas from 1 to 0
FASTWAN_TIMESTEPS = (1000.0, 757.0, 522.0)  # before the shift
# The largest sigma of the reference's training schedule, which it keeps in float32.
_UNIPC_SIGMA_MAX = float(np.float32(1 - 1 / TRAIN_STEPS))


@dataclass(frozen=True)
class Schedule:
    """Noise levels from high to low, and what the network is told at each of them.

    `sigmas` are float32 values, one more than there are steps; the last is 0.
    """

    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]

    @property
    def steps(self) -> int:
        return len(self.timesteps)


def make_schedule(
    solver: str, steps: int, shift: float, timesteps: Sequence[float] | None = None
) -> Schedule:
    """The schedule `solver` was made for, with `steps` steps.

    `timesteps` (1000 down to above 0, before the shift) replaces the even spacing for the solvers
    of distilled models, "euler" and "dmd". "dmd" has no even spacing: without `timesteps` it takes
    FastWan's three. A model distilled on unwarped timesteps has shift 1.
    """
    check_solver(solver)
    _check_steps_and_shift(steps, shift)
    if solver == "dmd" and timesteps is None:
        timesteps = FASTWAN_TIMESTEPS
    if timesteps is not None:
        unshifted = _given_sigmas(solver, steps, timesteps)
    else:
        start = _UNIPC_SIGMA_MAX if solver == "unipc" else 1.0
        unshifted = np.linspace(start, 0, steps + 1)[:-1]
    sigmas = shift * unshifted / (1 + (shift - 1) * unshifted)
    told = sigmas * TRAIN_STEPS
    if solver in ("unipc", "dpm++"):
        told = np.trunc(told)  # the reference casts to int64
    sigmas = np.append(sigmas, 0).astype(np.float32)
    if (np.diff(sigmas) >= 0).any() or (solver == "unipc" and sigmas[0] >= 1):
        raise UsageError(
            f"{steps} steps with shift {shift:g} lie closer together than float32 can tell apart",
            "use fewer steps or a smaller shift",
        )
    return Schedule(tuple(sigmas.tolist()), tuple(told.astype(np.float32).tolist()))


class Solver(Protocol):
    """What the denoise loop knows of a solver. Steps are taken in order, from any first index."""

    def step(
        self, index: int, velocity: mx.array, latents: mx.array, noise_key: mx.array | None = None
    ) -> mx.array:
        """Latents at `sigmas[index + 1]` from those at `sigmas[index]`."""
        ...

    def state(self) -> dict[str, mx.array]:
        """What the next step needs besides the latents; `restore` takes it back, bit for bit."""
        ...

    def restore(self, state: dict[str, mx.array]) -> None: ...


def make_solver(name: str, schedule: Schedule) -> Solver:
    check_solver(name)
    return SOLVERS[name](schedule)


class Euler:
    """One straight line per step."""

    def __init__(self, schedule: Schedule):
        self.sigmas = schedule.sigmas

    def step(
        self, index: int, velocity: mx.array, latents: mx.array, noise_key: mx.array | None = None
    ) -> mx.array:
        sigma, sigma_next = self.sigmas[index : index + 2]
        return _float32(latents) + (sigma_next - sigma) * _float32(velocity)

    def state(self) -> dict[str, mx.array]:
        return {}

    def restore(self, state: dict[str, mx.array]) -> None:
        assert not state, f"this solver has no history, yet was given {sorted(state)}"


class DMD(Euler):
    """Predict the clean latents, then noise them again: how FastWan was distilled."""

    def step(
        self, index: int, velocity: mx.array, latents: mx.array, noise_key: mx.array | None = None
    ) -> mx.array:
        sigma, sigma_next = self.sigmas[index : index + 2]
        clean = _float32(latents) - sigma * _float32(velocity)
        if sigma_next == 0:
            return clean
        assert noise_key is not None, "dmd needs a noise_key at every step but the last"
        # Fresh noise at each step, also when one key is given for the whole run.
        key = mx.random.split(noise_key, len(self.sigmas))[index]
        noise = mx.random.normal(clean.shape, key=key)
        return (1 - sigma_next) * clean + sigma_next * noise


class DPMPlusPlus:
    """DPM-Solver++(2M), midpoint; first order at the first and the last step."""

    def __init__(self, schedule: Schedule):
        self.sigmas = schedule.sigmas
        self.previous: mx.array | None = None  # clean, one step ago

    def step(
        self, index: int, velocity: mx.array, latents: mx.array, noise_key: mx.array | None = None
    ) -> mx.array:
        sigma, sigma_next = self.sigmas[index : index + 2]
        latents = _float32(latents)
        clean = latents - sigma * _float32(velocity)
        direction = clean
        if self.previous is not None and sigma_next > 0:
            h = _log_snr(sigma_next) - _log_snr(sigma)
            ratio = (_log_snr(sigma) - _log_snr(self.sigmas[index - 1])) / h
            direction = clean + (0.5 / ratio) * (
                clean - self.previous
            )  # ratio is inf after sigma 1
        self.previous = clean
        keep, gain = _exponential_step(sigma, sigma_next)
        return keep * latents + gain * direction

    def state(self) -> dict[str, mx.array]:
        return {} if self.previous is None else {"previous": self.previous}

    def restore(self, state: dict[str, mx.array]) -> None:
        self.previous = state.get("previous")


class UniPC:
    """Wan's default: UniPC with B(h) = e^h - 1 ("bh2"), order 2, on the predicted clean latents.

    Each step first corrects the latents it was given, now that the network has seen them, then
    predicts the next ones. Order 1 where there is no history yet and at the last step.
    """

    def __init__(self, schedule: Schedule):
        assert schedule.sigmas[0] < 1, "UniPC needs a first sigma below 1"
        self.sigmas = schedule.sigmas
        self.history: list[mx.array] = []  # clean of the last steps, newest first
        self.last_latents: mx.array | None = None  # corrected, as the last prediction began

    def step(
        self, index: int, velocity: mx.array, latents: mx.array, noise_key: mx.array | None = None
    ) -> mx.array:
        latents = _float32(latents)
        clean = latents - self.sigmas[index] * _float32(velocity)
        if self.history:
            latents = self._correct(index, clean)
        next_latents = self._predict(index, clean, latents)
        self.last_latents = latents
        self.history = [clean, *self.history][:2]
        return next_latents

    def _correct(self, index: int, clean: mx.array) -> mx.array:
        """The last step again, with `clean` at its end known."""
        assert self.last_latents is not None
        sigma, sigma_next = self.sigmas[index - 1 : index + 1]
        keep, gain = _exponential_step(sigma, sigma_next)
        newest = self.history[0]
        corrected = keep * self.last_latents + gain * newest
        if len(self.history) == 1:
            return corrected + (0.5 * gain) * (clean - newest)
        # The two weights solve rho1 + rho2 = b1, ratio * rho1 + rho2 = b2.
        h = _log_snr(sigma_next) - _log_snr(sigma)
        ratio = (_log_snr(self.sigmas[index - 2]) - _log_snr(sigma)) / h
        k1 = -math.expm1(-h) / h - 1
        k2 = -k1 / h - 0.5
        b1, b2 = k1 / math.expm1(-h), 2 * k2 / math.expm1(-h)
        rho1 = (b2 - b1) / (ratio - 1)
        rho2 = b1 - rho1
        older = (1 / ratio) * (self.history[1] - newest)
        return corrected + gain * (rho1 * older + rho2 * (clean - newest))

    def _predict(self, index: int, clean: mx.array, latents: mx.array) -> mx.array:
        sigma, sigma_next = self.sigmas[index : index + 2]
        keep, gain = _exponential_step(sigma, sigma_next)
        predicted = keep * latents + gain * clean
        if not self.history or sigma_next == 0:
            return predicted
        h = _log_snr(sigma_next) - _log_snr(sigma)
        ratio = (_log_snr(self.sigmas[index - 1]) - _log_snr(sigma)) / h
        return predicted + (0.5 * gain / ratio) * (self.history[0] - clean)

    def state(self) -> dict[str, mx.array]:
        state = {f"history_{i}": clean for i, clean in enumerate(self.history)}
        return state if self.last_latents is None else {**state, "last_latents": self.last_latents}

    def restore(self, state: dict[str, mx.array]) -> None:
        names = [f"history_{i}" for i in range(2)]
        self.history = [state[name] for name in names if name in state]
        self.last_latents = state.get("last_latents")


SOLVERS: dict[str, Callable[[Schedule], Solver]] = {
    "unipc": UniPC,
    "euler": Euler,
    "dpm++": DPMPlusPlus,
    "dmd": DMD,
}


def _float32(x: mx.array) -> mx.array:
    return x.astype(mx.float32)


def _log_snr(sigma: float) -> float:
    if sigma >= 1:
        return -math.inf
    return math.inf if sigma <= 0 else math.log1p(-sigma) - math.log(sigma)


def _exponential_step(sigma: float, sigma_next: float) -> tuple[float, float]:
    """First order: `keep * latents + gain * clean` at `sigma_next`; exact for a constant clean."""
    h = _log_snr(sigma_next) - _log_snr(sigma)
    return sigma_next / sigma, (1 - sigma_next) * -math.expm1(-h)


def _given_sigmas(solver: str, steps: int, timesteps: Sequence[float]) -> np.ndarray:
    if solver not in ("euler", "dmd"):
        raise UsageError(
            f"solver {solver} spaces its own timesteps; a list of them was given",
            "use solver euler or dmd, or leave the list out",
        )
    listed = ", ".join(f"{t:g}" for t in timesteps)
    if len(timesteps) != steps:
        raise UsageError(
            f"steps is {steps}; {solver} here runs the {len(timesteps)} timesteps {listed}",
            f"try steps {len(timesteps)}",
        )
    descending = all(a > b for a, b in itertools.pairwise(timesteps))
    if not descending or timesteps[0] > TRAIN_STEPS or timesteps[-1] <= 0:
        raise UsageError(
            f"timesteps are {listed}; they must fall from at most {TRAIN_STEPS} to above 0",
            "for example 1000, 750, 500, 250",
        )
    return np.array(timesteps, dtype=np.float64) / TRAIN_STEPS


def check_solver(name: str) -> None:
    """Raise UsageError for a solver there is not."""
    if name not in SOLVERS:
        near = difflib.get_close_matches(str(name), SOLVERS, n=1)
        raise UsageError(
            f"solver is {name!r}; known are {', '.join(SOLVERS)}",
            f"try {near[0] if near else 'unipc'}",
        )


def _check_steps_and_shift(steps: int, shift: float) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise UsageError(
            f"steps is {steps!r}; it must be a whole number from 1 to {MAX_STEPS}", "try 20"
        )
    if isinstance(shift, bool) or not isinstance(shift, (int, float)):
        raise UsageError(f"shift is {shift!r}; it must be a number above 0", "try 5")
    if not (math.isfinite(shift) and shift > 0):
        raise UsageError(f"shift is {shift!r}; it must be a finite number above 0", "try 5")

"""Our UniPC and DPM-Solver++ steps against diffusers' solvers, fed the same sigmas."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

from mlx_wan.sampling import Schedule, make_schedule, make_solver

pytestmark = pytest.mark.reference

# Their own grids differ from the reference's, so ours is put in their place.
CLASSES = {"unipc": UniPCMultistepScheduler, "dpm++": DPMSolverMultistepScheduler}


@pytest.mark.parametrize("solver", CLASSES)
@pytest.mark.parametrize(
    ("steps", "shift"), [(1, 5.0), (2, 5.0), (3, 3.0), (8, 12.0), (20, 5.0), (40, 12.0)]
)
def test_steps_agree_with_diffusers(solver, steps, shift):
    schedule = make_schedule(solver, steps, shift)
    # Sigma 1 (special to us, covered by the golden vectors) is infinite in diffusers' formulas.
    sigmas = [float(np.float32(min(sigma, 1 - 1e-5))) for sigma in schedule.sigmas]
    ours = Schedule(tuple(sigmas), schedule.timesteps)
    theirs = CLASSES[solver](prediction_type="flow_prediction", use_flow_sigmas=True)
    theirs.set_timesteps(steps)
    theirs.sigmas = torch.tensor(sigmas, dtype=torch.float32)
    theirs.timesteps = torch.arange(steps, 0, -1)
    stepper = make_solver(solver, ours)

    rng = np.random.default_rng(steps)
    start = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    a, b = mx.array(start), torch.tensor(start)
    for i in range(steps):
        # a velocity that bends with the latents and with time, so that errors do not cancel
        a = stepper.step(i, mx.sin(2 * a) * (0.5 + i / steps), a)
        b = theirs.step(torch.sin(2 * b) * (0.5 + i / steps), theirs.timesteps[i], b).prev_sample
    error = np.abs(np.array(a) - b.numpy()).max() / b.abs().max().item()
    assert error < 1e-5

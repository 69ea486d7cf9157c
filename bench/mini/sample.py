"""Clips from a converted model through the engine's own pipeline."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mlx_wan.loading import ModelFolder
from mlx_wan.pipeline import Experts, decode, denoise, encode_prompt, start_noise
from mlx_wan.planning import plan_for
from mlx_wan.request import Request

from .clips import Clip

# who plays which role, in the table of `evaluate`
ROLES: dict[str, dict[str, str]] = {
    "as trained": {},
    "swapped": {"high_noise": "low_noise", "low_noise": "high_noise"},
    "high noise only": {"low_noise": "high_noise"},
    "low noise only": {"high_noise": "low_noise"},
}


def sample(
    folder: ModelFolder, request: Request, played_by: Mapping[str, str] | None = None
) -> Clip:
    """The clip of a request, (T, H, W, 3). `played_by` puts other experts in an expert's place."""
    plan = plan_for(request, folder)
    cast = recast(folder, played_by or {})
    latents = start_noise(plan)
    for step in denoise(plan, Experts(plan, cast, encode_prompt(plan, folder)), latents):
        latents = step.latents
    return np.concatenate(list(decode(plan, folder, latents)))


def recast(folder: ModelFolder, played_by: Mapping[str, str]) -> ModelFolder:
    """The same model with experts in each other's roles."""
    components = dict(folder.components)
    for role, actor in played_by.items():
        components[role] = replace(folder[actor], name=role)
    return replace(folder, components=components)

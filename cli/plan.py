"""`mlx-wan plan`: what `generate` would do and need, without doing it."""

from . import options as o
from .generate import show_plan


def plan(
    prompt: o.Prompt = None,
    model: o.Model = None,
    output: o.Output = None,
    image: o.Image = None,
    last_image: o.LastImage = None,
    negative_prompt: o.NegativePrompt = None,
    config: o.Config = None,
    width: o.Width = None,
    height: o.Height = None,
    num_frames: o.NumFrames = None,
    duration: o.Duration = None,
    fps: o.Fps = None,
    steps: o.Steps = None,
    guidance_scale: o.GuidanceScale = None,
    shift: o.Shift = None,
    solver: o.Solver = None,
    seed: o.Seed = None,
    memory_limit: o.MemoryLimit = None,
    as_json: o.Json = False,
) -> None:
    """Print every choice, the predicted peak memory of each stage, tokens and operations.

    Refuses what cannot fit in memory and names the nearest size that does (exit code 1).
    """
    flags = dict(locals())
    del flags["as_json"]
    show_plan(o.plan_from(flags), as_json)

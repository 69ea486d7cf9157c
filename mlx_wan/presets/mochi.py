"""Mochi 1 by Genmo, and FastMochi, the same network distilled to 8 steps.

Defaults are those of genmoai/mochi (demos/cli.py, as of 2024-11); FastMochi's are in its comments.
"""

from . import Components, Expert, LinearQuadratic, Preset

_COMPONENTS: Components = {
    "transformer": ("mochi_transformer", {}),
    "text_encoder": ("t5", {}),
    "vae": ("mochi_vae", {}),
    "tokenizer": ("sentencepiece", {}),
}

PRESETS = (
    Preset(
        id="mochi-1",
        title="Mochi 1 preview",
        family="mochi",
        task="t2v",
        components=_COMPONENTS,
        experts=(Expert("transformer", 6.0),),
        steps=64,
        schedule=LinearQuadratic(threshold=0.025, linear_share=0.5),
        num_frames=163,
        fps=30,
        sizes=((848, 480),),
        solver="euler",
        negative_prompt="",
    ),
    Preset(
        id="fastmochi",
        title="FastMochi, Mochi 1 in 8 steps",
        family="mochi",
        task="t2v",
        components=_COMPONENTS,
        experts=(Expert("transformer", 1.5),),
        steps=8,
        schedule=LinearQuadratic(threshold=0.1, linear_share=0.75),
        num_frames=163,
        fps=30,
        sizes=((848, 480),),
        solver="euler",
        negative_prompt="",
    ),
)

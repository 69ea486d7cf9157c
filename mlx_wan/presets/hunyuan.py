"""HunyuanVideo 1.5 by Tencent: text or an image to video at 480p and 720p, and its distillations.

Defaults are those of Tencent-Hunyuan/HunyuanVideo-1.5 (hyvideo/commons/__init__.py and generate.py,
as of 2025-12). The step-distilled network is told where each step leads to (mean flow). Super
resolution makes the latents of a 480p video 720p, or of a 720p video 1080p.
"""

from collections.abc import Mapping
from typing import Any

from . import Components, Expert, Preset

_TEXT: Components = {
    "transformer": ("hunyuan_transformer", {}),
    "text_encoder": ("qwen25vl", {}),
    "text_encoder_2": ("byt5", {}),
    "vae": ("hunyuan_vae", {}),
    "tokenizer": ("byte_bpe", {}),
}
_IMAGE: Components = {**_TEXT, "image_encoder": ("siglip", {})}
_MEAN_FLOW: Components = {
    **_IMAGE,
    "transformer": ("hunyuan_transformer", {"use_meanflow": True}),
}

_480P = ((848, 480), (480, 848), (640, 640), (720, 544), (544, 720))
_1080P = ((1904, 1072), (1072, 1904), (1440, 1440), (1648, 1248), (1248, 1648))
_720P = ((1280, 720), (720, 1280), (960, 960), (1104, 832), (832, 1104))


def _preset(
    version: str,
    shift: float,
    guidance_scale: float = 6.0,
    steps: int = 50,
    components: Components | None = None,
) -> Preset:
    """`version` as in the names of the published models: height, task, what is distilled."""
    height, task, *distilled = version.split("-", 2)
    kinds = {"distilled": ", guidance distilled", "step-distilled": ", step distilled"}
    return Preset(
        id=f"hunyuanvideo-1.5-{version}",
        title=f"HunyuanVideo 1.5 {height} {task.upper()}{''.join(kinds[d] for d in distilled)}",
        family="hunyuan",
        task=task,
        components=components or (_IMAGE if task == "i2v" else _TEXT),
        experts=(Expert("transformer", guidance_scale),),
        steps=steps,
        shift=shift,
        whole_steps=components is _MEAN_FLOW,
        num_frames=121,
        fps=24,
        sizes=_720P if height == "720p" else _480P,
        solver="euler",
        negative_prompt="",
    )


def _super_resolution(
    height: str, continues: tuple[Preset, ...], steps: int, upsampler: tuple[str, Mapping[str, Any]]
) -> Preset:
    """Its transformer reads the small video and where that counts too: 98 channels."""
    base = continues[0]
    return Preset(
        id=f"hunyuanvideo-1.5-{height}-sr",
        title=f"HunyuanVideo 1.5 super resolution to {height}",
        family="hunyuan",
        task="sr",
        components={
            **_IMAGE,
            "transformer": ("hunyuan_transformer", {"in_dim": 98}),
            "upsampler": upsampler,
        },
        experts=(Expert("transformer", 1.0),),
        steps=steps,
        shift=2.0,
        num_frames=base.num_frames,
        fps=base.fps,
        sizes={"720p": _720P, "1080p": _1080P}[height],
        solver="euler",
        negative_prompt="",
        continues=tuple(preset.id for preset in continues),
    )


_FIRST = (
    _preset("480p-t2v", 5.0),
    _preset("480p-t2v-distilled", 5.0, guidance_scale=1.0),
    _preset("720p-t2v", 9.0),
    _preset("480p-i2v", 5.0),
    _preset("480p-i2v-distilled", 5.0, guidance_scale=1.0),
    _preset("480p-i2v-step-distilled", 7.0, 1.0, steps=12, components=_MEAN_FLOW),
    _preset("720p-i2v", 7.0),
    _preset("720p-i2v-distilled", 7.0, guidance_scale=1.0),
)
_SMALL = tuple(preset for preset in _FIRST if preset.sizes is _480P)
_MIDDLE = tuple(preset for preset in _FIRST if preset.sizes is _720P)

PRESETS = (
    *_FIRST,
    _super_resolution("720p", _SMALL, 6, ("hunyuan_upsampler_720", {})),
    # its stages are those of a file of the published size, 0.2 GB in float32
    _super_resolution("1080p", _MIDDLE, 8, ("hunyuan_upsampler_1080", {"dims": (256, 512)})),
)

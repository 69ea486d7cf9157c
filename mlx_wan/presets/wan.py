"""Wan: two 14 B experts that take turns by noise, or one network; UMT5 reads the prompt.

Defaults are those of Wan-AI's repositories Wan2.2 and Wan2.1 (wan/configs), and of hao-ai-lab's
FastVideo for FastWan.
"""

from dataclasses import replace
from typing import Any

from . import EMBEDDED, Components, Expert, Preset

WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)

_A14B = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "text_dim": 4096}
_5B = {"dim": 3072, "ffn_dim": 14336, "num_heads": 24, "num_layers": 30, "text_dim": 4096}
_1B = {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30, "text_dim": 4096}
_MINI = {"dim": 128, "ffn_dim": 384, "num_heads": 2, "num_layers": 6, "text_dim": 128}
_UMT5_XXL = {
    **{"vocab_size": 256384, "dim": 4096, "dim_attn": 4096, "dim_ffn": 10240},
    **{"num_heads": 64, "num_layers": 24},
}
_UMT5_MINI = {
    **{"vocab_size": 453, "dim": 128, "dim_attn": 128, "dim_ffn": 256},
    **{"num_heads": 2, "num_layers": 2},
}


def _components(
    transformers: tuple[str, ...],
    config: dict[str, Any],
    channels: tuple[int, int],
    vae: tuple[str, dict[str, Any]] = ("wan_vae21", {}),
    text_encoder: dict[str, Any] = _UMT5_XXL,
) -> Components:
    """`channels` are those a transformer takes and makes."""
    transformer = config | {"in_dim": channels[0], "out_dim": channels[1]}
    return {
        **dict.fromkeys(transformers, ("wan_transformer", transformer)),
        "text_encoder": ("umt5", text_encoder),
        "vae": vae,
        "tokenizer": ("sentencepiece", {}),
    }


_TWO = ("high_noise", "low_noise")
_ONE = ("transformer",)

_PUBLISHED = (
    Preset(
        id="wan2.2-t2v-a14b",
        title="Wan 2.2 text to video A14B",
        family="wan",
        task="t2v",
        components=_components(_TWO, _A14B, (16, 16)),
        experts=(Expert("high_noise", 4.0, 875.0), Expert("low_noise", 3.0)),
        steps=40,
        shift=12.0,
        num_frames=81,
        fps=16,
        sizes=((1280, 720), (720, 1280), (832, 480), (480, 832)),
        solver="unipc",
        negative_prompt=WAN_NEGATIVE_PROMPT,
    ),
    Preset(
        id="wan2.2-i2v-a14b",
        title="Wan 2.2 image to video A14B",
        family="wan",
        task="i2v",
        components=_components(_TWO, _A14B, (36, 16)),
        experts=(Expert("high_noise", 3.5, 900.0), Expert("low_noise", 3.5)),
        takes_last_image=True,
        steps=40,
        shift=5.0,
        num_frames=81,
        fps=16,
        sizes=((1280, 720), (720, 1280), (832, 480), (480, 832)),
        solver="unipc",
        negative_prompt=WAN_NEGATIVE_PROMPT,
    ),
    Preset(
        id="wan2.2-ti2v-5b",
        title="Wan 2.2 text and image to video 5B",
        family="wan",
        task="ti2v",
        components=_components(_ONE, _5B, (48, 48), ("wan_vae22", {})),
        experts=(Expert("transformer", 5.0),),
        steps=50,
        shift=5.0,
        num_frames=121,
        fps=24,
        sizes=((1280, 704), (704, 1280)),
        solver="unipc",
        negative_prompt=WAN_NEGATIVE_PROMPT,
    ),
    Preset(
        id="wan2.1-t2v-1.3b",
        title="Wan 2.1 text to video 1.3B",
        family="wan",
        task="t2v",
        components=_components(_ONE, _1B, (16, 16)),
        experts=(Expert("transformer", 5.0),),
        steps=50,
        shift=5.0,
        num_frames=81,
        fps=16,
        sizes=((832, 480), (480, 832)),
        solver="unipc",
        negative_prompt=WAN_NEGATIVE_PROMPT,
    ),
    Preset(
        id=EMBEDDED,
        title="wan-mini, the small embedded model (abstract motion backgrounds)",
        family="wan",
        task="t2v",
        components=_components(
            _TWO, _MINI | {"text_len": 128}, (16, 16), ("wan_vae21", {"base_dim": 8}), _UMT5_MINI
        ),
        experts=(Expert("high_noise", 4.0, 875.0), Expert("low_noise", 4.0)),
        steps=20,
        shift=3.0,
        num_frames=17,
        fps=16,
        sizes=((64, 64), (80, 48), (48, 80)),
        solver="unipc",
        negative_prompt=WAN_NEGATIVE_PROMPT,
        loops=True,
        stretch=3.0,
        format="wide",
    ),
)


def _fast(base: str, id: str, title: str, shift: float) -> Preset:
    """The same network distilled to FastWan's three steps, which have their guidance built in."""
    return replace(
        next(preset for preset in _PUBLISHED if preset.id == base),
        id=id,
        title=title,
        experts=(Expert("transformer", 1.0),),
        steps=3,
        shift=shift,
        solver="dmd",
    )


PRESETS = (
    *_PUBLISHED,
    _fast("wan2.2-ti2v-5b", "fastwan2.2-ti2v-5b", "FastWan 2.2 TI2V 5B, in 3 steps", 5.0),
    _fast("wan2.1-t2v-1.3b", "fastwan2.1-t2v-1.3b", "FastWan 2.1 T2V 1.3B, in 3 steps", 8.0),
)

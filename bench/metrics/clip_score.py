"""How well the pictures fit the prompt, by CLIP; an extra, "not run" without its weights."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from .frames import Frame
from .metric import Metric, Values

MODEL = "openai/clip-vit-base-patch32"
PICTURES = 8
_NO_WEIGHTS = f"CLIP's weights are not on this machine: hf download {MODEL}"

METRICS = (
    Metric(
        "clip_score",
        "",
        "higher",
        "quality",
        f"mean over {PICTURES} frames, spread evenly, of 100 max(0, cos(image, prompt)) with "
        f"{MODEL}. None when it was not run: it needs the extra `clip` and weights that are on "
        "this machine already.",
        "Hessel et al., CLIPScore, EMNLP 2021 (there times 2.5 instead of 100); of video frames "
        "as in Wu et al., GODIVA, 2021",
    ),
)


def why_not_run() -> str | None:
    """The reason there is no CLIP score, with the way out; None when there can be one."""
    return _scorer()[1]


class ClipScore:
    """None when CLIP is not installed or its weights are not here: see `why_not_run`."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._scorer = _scorer()[0] if prompt.strip() else None
        self._pictures: list[np.ndarray] = []

    def see(self, frame: Frame) -> None:
        if self._scorer and frame.sampled:
            self._pictures.append(frame.rgb)

    def figures(self) -> Values:
        if self._scorer is None or not self._pictures:
            return {"clip_score": None}
        cosines = self._scorer(_spread(self._pictures, PICTURES), self._prompt)
        return {"clip_score": float(np.mean([100 * max(0.0, cosine) for cosine in cosines]))}


def _spread(pictures: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    places = np.linspace(0, len(pictures) - 1, min(count, len(pictures)))
    return [pictures[round(place)] for place in places]


@cache
def _scorer() -> tuple[Any, str | None]:
    """A function of pictures and prompt giving cosines, or the reason there is none.

    `local_files_only`: weights are never downloaded unasked.
    """
    from huggingface_hub import try_to_load_from_cache

    if not all(map(find_spec, ("torch", "transformers"))):
        return None, "CLIP is not installed: pip install 'mlx-wan[clip]'"
    if not isinstance(try_to_load_from_cache(MODEL, "config.json"), str):
        return None, _NO_WEIGHTS  # told without the seconds it takes to import torch
    import torch
    from transformers import CLIPModel, CLIPProcessor

    try:
        model = CLIPModel.from_pretrained(MODEL, local_files_only=True).eval()
        processor = CLIPProcessor.from_pretrained(MODEL, local_files_only=True)
    except (OSError, ValueError):
        return None, _NO_WEIGHTS

    def cosines(pictures: Sequence[np.ndarray], prompt: str) -> list[float]:
        inputs = processor(
            text=[prompt],
            images=list(pictures),
            return_tensors="pt",
            truncation=True,
            padding=True,
        )
        with torch.no_grad():
            seen = model(**inputs)
        scale = float(model.logit_scale.exp())
        return [float(value) / scale for value in seen.logits_per_image[:, 0]]

    return cosines, None

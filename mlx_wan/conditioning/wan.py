"""Wan: UMT5 reads the cleaned prompt; images are channels beside the noise, or the first frame."""

from collections.abc import Iterator

import mlx.core as mx
import numpy as np

from mlx_wan import image
from mlx_wan.loading import ModelFolder, load_network, load_tokenizer
from mlx_wan.plan import Plan
from mlx_wan.presets import Preset

from . import ImageCondition, PromptEmbeds, Size, cut_short
from .t5 import encode_texts, text_memory, text_tokens, text_work

__all__ = [
    "encode_image",
    "encode_prompt",
    "image_frames",
    "image_size",
    "text_memory",
    "text_tokens",
    "text_work",
]


def encode_prompt(plan: Plan, folder: ModelFolder) -> PromptEmbeds:
    """Rows `(1, n, text_dim)`, without padding, of the prompt and the negative prompt."""
    tokenizer = load_tokenizer(folder)
    prompts = [plan.prompt, plan.negative_prompt] if plan.guided else [plan.prompt]
    embeds = encode_texts(folder, tokenizer, prompts)
    return PromptEmbeds(
        prompt_embeds=embeds[0],
        negative_prompt_embeds=embeds[1] if plan.guided else None,
        cut=cut_short(
            {
                "the prompt": tokenizer.cut_tokens(plan.prompt),
                "the negative prompt": plan.guided and tokenizer.cut_tokens(plan.negative_prompt),
            }
        ),
    )


def encode_image(plan: Plan, folder: ModelFolder) -> ImageCondition:
    """A first frame to put back for TI2V-5B; mask and latents as channels for I2V-A14B."""
    assert plan.image is not None
    vae = load_network(folder["vae"])
    size = (plan.width, plan.height)
    first = image.load_image(plan.image)
    if plan.task == "ti2v":
        frame = mx.array(image.resize_cover(first, size))[None, None]  # (1, 1, H, W, 3)
        return ImageCondition(first_frame=_evaluated(vae.encode(frame)))
    first, last = image.resize_exact(first, size), None
    if plan.last_image is not None:
        # the size follows the first image; the last is cut to it, not squeezed
        last = image.crop_to_shape(image.load_image(plan.last_image), size)
        last = image.resize_exact(last, size)
    latents = vae.encode(_arrays(image.i2v_frames(first, last, plan.num_frames)))
    mask = mx.array(image.i2v_mask(plan.latent_shape, has_last=last is not None))
    return ImageCondition(channels=_evaluated(mx.concatenate([mask, latents], axis=-1)))


def image_size(preset: Preset, image_size: Size, max_area: int, multiples: Size) -> Size:
    """I2V-A14B keeps the shape, TI2V-5B the area; both stay below it."""
    choose = image.i2v_size if preset.task == "i2v" else image.ti2v_size
    return choose(image_size, max_area, multiples)


def image_frames(preset: Preset, num_frames: int) -> int:
    """I2V-A14B encodes the image and grey for the rest of the video, TI2V-5B the image."""
    return num_frames if preset.task == "i2v" else 1


def _arrays(chunks: Iterator[np.ndarray]) -> Iterator[mx.array]:
    return (mx.array(chunk) for chunk in chunks)


def _evaluated(array: mx.array) -> mx.array:
    mx.eval(array)
    return array

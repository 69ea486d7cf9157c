"""What the network is told besides noise and time: the prompt, and images the video must keep."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from .errors import ModelError
from .loading import ModelFolder, load_network, load_tokenizer
from .models.umt5 import encode
from .plan import Plan


@dataclass(frozen=True)
class PromptEmbeds:
    """Text encoder output of the valid tokens, `(1, n, text_dim)`.

    `negative_prompt_embeds` is None when no expert uses guidance. `cut_tokens` counts what did not
    fit into the model's text length.
    """

    prompt_embeds: mx.array
    negative_prompt_embeds: mx.array | None = None
    cut_tokens: int = 0


def encode_prompt(plan: Plan, folder: ModelFolder) -> PromptEmbeds:
    """Run the text encoder on the prompt, and on the negative prompt where guidance needs it."""
    tokenizer = load_tokenizer(folder)
    encoder = load_network(folder["text_encoder"], widen=False)  # it widens a matrix at a time
    if tokenizer.vocab_size > encoder.config.vocab_size:
        raise ModelError(
            f"the tokenizer of {folder.path} has {tokenizer.vocab_size} pieces, "
            f"its text encoder knows {encoder.config.vocab_size}",
            "they are from different models; convert the checkpoint again",
        )
    prompts = [plan.prompt, plan.negative_prompt] if plan.guided else [plan.prompt]
    embeds = encode(encoder, [tokenizer(text) for text in prompts], release=True)
    return PromptEmbeds(
        prompt_embeds=embeds[0],
        negative_prompt_embeds=embeds[1] if plan.guided else None,
        cut_tokens=tokenizer.cut_tokens(plan.prompt),
    )


@dataclass(frozen=True)
class ImageCondition:
    """Latents the video must keep. Both parts are None for text to video.

    `channels` `(1, T, H, W, mask + C)` are appended to the network's input (I2V-A14B);
    `first_frame` `(1, 1, H, W, C)` replaces the first latent frame, whose tokens are told
    timestep 0 (TI2V-5B).
    """

    channels: mx.array | None = None
    first_frame: mx.array | None = None

    def put_back(self, latents: mx.array) -> mx.array:
        """The latents with their fixed part as it must be."""
        if self.first_frame is None:
            return latents
        return mx.concatenate([self.first_frame, latents[:, 1:]], axis=1)

    def network_input(self, latents: mx.array) -> mx.array:
        """What the network reads: the latents, and the image channels behind them."""
        if self.channels is None:
            return latents
        return mx.concatenate([latents, self.channels], axis=-1)

    def timestep(self, timestep: float, tokens: int, latent_frames: int) -> Any:
        """The timestep for the network: one number, or `(1, tokens)` with 0 on a fixed frame."""
        if self.first_frame is None:
            return timestep
        per_token = np.full((1, tokens), timestep, dtype=np.float32)
        per_token[:, : tokens // latent_frames] = 0
        return per_token


def encode_image(plan: Plan, folder: ModelFolder) -> ImageCondition:
    """Encode the plan's first (and last) frame with the VAE, as its model wants it."""
    if plan.image is None:
        return ImageCondition()
    from .image import (
        crop_to_shape,
        i2v_frames,
        i2v_mask,
        load_image,
        resize_cover,
        resize_exact,
    )

    vae = load_network(folder["vae"])
    size = (plan.width, plan.height)
    first = load_image(plan.image)
    if plan.task == "ti2v":
        frame = mx.array(resize_cover(first, size))[None, None]  # (1, 1, H, W, 3)
        return ImageCondition(first_frame=_evaluated(vae.encode(frame)))
    first, last = resize_exact(first, size), None
    if plan.last_image is not None:
        # the size follows the first image; the last is cut to it, not squeezed
        last = resize_exact(crop_to_shape(load_image(plan.last_image), size), size)
    latents = vae.encode(_arrays(i2v_frames(first, last, plan.num_frames)))
    mask = mx.array(i2v_mask(plan.latent_shape, has_last=last is not None))
    return ImageCondition(channels=_evaluated(mx.concatenate([mask, latents], axis=-1)))


def _arrays(chunks: Iterator[np.ndarray]) -> Iterator[mx.array]:
    return (mx.array(chunk) for chunk in chunks)


def _evaluated(array: mx.array) -> mx.array:
    mx.eval(array)
    return array

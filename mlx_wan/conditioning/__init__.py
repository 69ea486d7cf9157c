"""What the network is told besides noise and time: the prompt, and images the video must keep.

Each family of models has a file here, named by the `family` of its presets, with the functions of
`Family`; the rest of the engine calls those here. A file of a family may use t5.py, for encoders
that have a SentencePiece tokenizer and T5's layers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import mlx.core as mx
import numpy as np

if TYPE_CHECKING:
    from mlx_wan.loading import ModelFolder
    from mlx_wan.plan import Plan
    from mlx_wan.presets import Preset
    from mlx_wan.roofline.work import Op

Size = tuple[int, int]


@dataclass(frozen=True)
class PromptEmbeds:
    """What the encoders make of the prompt: whatever the family's `network.condition` takes.

    An array `(1, n, text_dim)` of the valid tokens, or a dataclass of several arrays where there
    are several encoders; what an image encoder says of `plan.image` belongs to it too.
    `negative_prompt_embeds` is None when no expert uses guidance. `cut` says what did not
    fit into the model's text length.
    """

    prompt_embeds: Any
    negative_prompt_embeds: Any = None
    cut: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageCondition:
    """Latents the video must keep. Both parts are None for text to video.

    `channels` `(1, T, H, W, any)` are appended to the network's input at every step: a mask, the
    image's latents in their frames, zeros elsewhere; or they depend on the step's timestep (1000 to
    0). `first_frame` `(1, 1, H, W, C)` replaces the
    first latent frame after every step, and its tokens are told timestep 0.
    """

    channels: mx.array | Callable[[float], mx.array] | None = None
    first_frame: mx.array | None = None

    def put_back(self, latents: mx.array) -> mx.array:
        """The latents with their fixed part as it must be."""
        if self.first_frame is None:
            return latents
        return mx.concatenate([self.first_frame, latents[:, 1:]], axis=1)

    def network_input(self, latents: mx.array, timestep: float) -> mx.array:
        """What the network reads: the latents, and the image channels behind them."""
        channels = self.channels(timestep) if callable(self.channels) else self.channels
        if channels is None:
            return latents
        return mx.concatenate([latents, channels], axis=-1)

    def timestep(self, timestep: float, tokens: int, latent_frames: int) -> Any:
        """The timestep for the network: one number, or `(1, tokens)` with 0 on a fixed frame."""
        if self.first_frame is None:
            return timestep
        per_token = np.full((1, tokens), timestep, dtype=np.float32)
        per_token[:, : tokens // latent_frames] = 0
        return per_token


def cut_short(tokens: Mapping[str, int]) -> tuple[str, ...]:
    """For `PromptEmbeds.cut`: what was left out of each text, where anything was."""
    return tuple(f"{text}'s last {n} tokens did not fit" for text, n in tokens.items() if n)


class Family(Protocol):
    """What the file of a family has. `texts` are the token counts of `text_tokens`."""

    def encode_prompt(self, plan: "Plan", folder: "ModelFolder") -> PromptEmbeds:
        """Run the encoders on the prompt, and on the negative prompt if `plan.guided`.

        Loads what it needs by `load_network(folder[name])` and lets go of it; no encoder is kept.
        """
        ...

    def text_tokens(self, folder: "ModelFolder", texts: Sequence[str | None]) -> tuple[int, ...]:
        """About how many tokens of each text the transformer will read, the tokenizer unread.

        `texts` are the prompt and, with guidance, the negative prompt; None is the longest the
        model takes.
        """
        ...

    def text_memory(self, folder: "ModelFolder", texts: Sequence[int], image: bool) -> int:
        """Bytes at the peak of `encode_prompt`, weights included; with an image or without."""
        ...

    def text_work(self, folder: "ModelFolder", texts: Sequence[int], image: bool) -> "list[Op]":
        """The operations of `encode_prompt`."""
        ...

    # the rest is asked only where the family has models that take an image

    def encode_image(self, plan: "Plan", folder: "ModelFolder") -> ImageCondition:
        """The plan's first (and last) frame through the VAE, as its model wants it."""
        ...

    def image_size(
        self, preset: "Preset", image_size: Size, max_area: int, multiples: Size
    ) -> Size:
        """The (width, height) of the video for an image: its shape, about this area."""
        ...

    def image_frames(self, preset: "Preset", num_frames: int) -> int:
        """How many frames `encode_image` shows to the VAE."""
        ...

    # and this where it has models that make another model's videos larger

    def larger_size(self, preset: "Preset", size: Size) -> Size:
        """The (width, height) it makes of a video of this size."""
        ...

    def read_small(
        self,
        plan: "Plan",
        folder: "ModelFolder",
        latents: mx.array,
        key: mx.array,
        image: ImageCondition,
    ) -> ImageCondition:
        """What the network reads of the small video's latents, beside that of the image."""
        ...

    def small_memory(self, folder: "ModelFolder", shape: Sequence[int]) -> int:
        """Bytes at the peak of `read_small` for latents of this shape, weights included."""
        ...

    def small_work(self, folder: "ModelFolder", shape: Sequence[int]) -> "list[Op]":
        """The operations of `read_small`."""
        ...


def family(preset: "Preset") -> Family:
    """The functions of a preset's family."""
    return cast(Family, import_module(f".{preset.family}", __package__))


def encode_prompt(plan: "Plan", folder: "ModelFolder") -> PromptEmbeds:
    """Run the model's encoders on the prompt and, where guidance needs it, the negative one."""
    return family(folder.preset).encode_prompt(plan, folder)


def encode_image(plan: "Plan", folder: "ModelFolder") -> ImageCondition:
    """Encode the plan's first (and last) frame with the VAE, as its model wants it."""
    if plan.image is None:
        return ImageCondition()
    return family(folder.preset).encode_image(plan, folder)


def read_small(
    plan: "Plan", folder: "ModelFolder", latents: mx.array, key: mx.array, image: ImageCondition
) -> ImageCondition:
    """What a model that makes videos larger is told of the small one, and of the image."""
    return family(folder.preset).read_small(plan, folder, latents, key, image)

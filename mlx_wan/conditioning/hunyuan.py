"""HunyuanVideo 1.5: Qwen2.5-VL reads the prompt, Glyph-ByT5 the texts quoted in it, SigLIP the
first frame, whose latents are channels beside the noise.

As in Tencent-Hunyuan/HunyuanVideo-1.5 (hunyuan_video_pipeline.py): guidance compares with the
negative prompt without any quoted text, but with the same image; diffusers looks for quoted texts
in the negative prompt too.
"""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from mlx_wan import image
from mlx_wan.cpu import is_cpu
from mlx_wan.errors import ModelError
from mlx_wan.loading import Component, ModelFolder, load_network, network_config
from mlx_wan.memory import loaded_bytes
from mlx_wan.models import byt5, hunyuan_upsampler, qwen25vl, siglip
from mlx_wan.models.hunyuan import HunyuanConfig
from mlx_wan.models.hunyuan_text import HunyuanPrompt
from mlx_wan.plan import Plan
from mlx_wan.presets import Preset
from mlx_wan.roofline.work import Op
from mlx_wan.text_length import expected_tokens
from mlx_wan.tokenizer_qwen import QwenTokenizer

from . import ImageCondition, PromptEmbeds, Size, cut_short, hunyuan_sr
from .buckets import nearest_size
from .hunyuan_prompt import AFTER_TOKENS, BEFORE_TOKENS, PromptTokens, prompt_tokens

TEXT, GLYPH, VISION = "text_encoder", "text_encoder_2", "image_encoder"
UPSAMPLER = "upsampler"


def encode_prompt(plan: Plan, folder: ModelFolder) -> PromptEmbeds:
    """A HunyuanPrompt of the prompt and, with guidance, of the negative prompt."""
    config = _transformer(folder)
    tokenizer = QwenTokenizer(folder["tokenizer"].files[0])
    prompts = [plan.prompt, plan.negative_prompt] if plan.guided else [plan.prompt]
    chats = [prompt_tokens(tokenizer, text, config.text_len) for text in prompts]
    rows = _encode_chats(folder, tokenizer, chats)
    glyph = _encode_quoted(folder, plan.prompt, config.glyph_len)
    vision = None if plan.image is None else _look(folder, _first_frame(plan))
    negative = HunyuanPrompt(rows[1], vision=vision) if plan.guided else None
    cut = {
        "the prompt": chats[0].cut,
        "the negative prompt": chats[1].cut if plan.guided else 0,
        "the quoted text": byt5.cut_tokens(plan.prompt, config.glyph_len),
    }
    return PromptEmbeds(HunyuanPrompt(rows[0], glyph, vision), negative, cut_short(cut))


def encode_image(plan: Plan, folder: ModelFolder) -> ImageCondition:
    """The image's latents in the first latent frame, zeros in the others, and where that is."""
    vae = load_network(folder["vae"])
    frame = _first_frame(plan).astype(np.float32) / np.float32(127.5) - 1
    first = vae.encode(mx.array(frame)[None, None])  # (1, 1, H, W, C)
    marked = mx.concatenate([first, mx.ones((*first.shape[:-1], 1))], axis=-1)
    others = mx.zeros((1, plan.latent_shape[1] - 1, *marked.shape[2:]))
    channels = mx.concatenate([marked, others], axis=1)
    mx.eval(channels)
    return ImageCondition(channels=channels)


def image_size(preset: Preset, image_size: Size, max_area: int, multiples: Size) -> Size:
    """Of the sizes the model was trained on, the one nearest to the image's shape."""
    return nearest_size(image_size, max_area)


def image_frames(preset: Preset, num_frames: int) -> int:
    """The image alone is encoded."""
    return 1


def larger_size(preset: Preset, size: Size) -> Size:
    """Of the sizes its network was trained on, or else half as large again."""
    base = next(base for base in hunyuan_sr.BASES if f"-{base}-" in preset.id)
    return hunyuan_sr.larger_size(size, base)


def read_small(
    plan: Plan, folder: ModelFolder, latents: mx.array, key: mx.array, image: ImageCondition
) -> ImageCondition:
    """The small video's latents, resized and upsampled, beside those of the image."""
    _, _, height, width, _ = plan.latent_shape
    upsampler = load_network(folder[UPSAMPLER])
    assert not callable(image.channels)
    small = hunyuan_sr.small_video(latents, height, width, upsampler, key, image.channels)
    return ImageCondition(channels=small.channels)


def small_memory(folder: ModelFolder, shape: Sequence[int]) -> int:
    """Bytes of the upsampler at work."""
    upsampler = folder[UPSAMPLER]
    working = hunyuan_upsampler.upsample_memory(network_config(upsampler), tuple(shape))
    return loaded_bytes(upsampler) + working


def small_work(folder: ModelFolder, shape: Sequence[int]) -> list[Op]:
    """Of the upsampler."""
    return hunyuan_upsampler.upsample_work(network_config(folder[UPSAMPLER]), tuple(shape))


def text_tokens(folder: ModelFolder, texts: Sequence[str | None]) -> tuple[int, ...]:
    """Of the prompt and what follows it in its chat, of quoted texts and of the image."""
    config = _transformer(folder)
    vocab_size = network_config(folder[TEXT]).vocab_size
    seen = network_config(folder[VISION]).tokens if VISION in folder.components else 0
    counts = []
    for i, text in enumerate(texts):
        glyph = byt5.glyph_text(text) if text and i == 0 else None
        tokens = config.text_len
        if text is not None:
            words = max(1, expected_tokens(text, vocab_size, tokens) - 1)  # it counts an end
            tokens = min(tokens, words + AFTER_TOKENS)
        quoted = len(byt5.token_ids(glyph, config.glyph_len)) if glyph else 0
        counts.append(tokens + (config.glyph_len if text is None else quoted) + seen)
    return tuple(counts)


def text_memory(folder: ModelFolder, texts: Sequence[int], image: bool) -> int:
    """Bytes of the encoder that needs most: one is there at a time."""
    chats, glyph_len = _chat_lengths(folder, texts), _transformer(folder).glyph_len
    read, quoted = folder[TEXT], folder[GLYPH]
    peaks = [
        qwen25vl.encode_memory(network_config(read), chats, *_stored(read)),
        byt5.encode_memory(network_config(quoted), [glyph_len], *_stored(quoted)),
    ]
    if image:
        looked = folder[VISION]
        peaks.append(siglip.encode_memory(network_config(looked), *_stored(looked)))
    return max(peaks)


def text_work(folder: ModelFolder, texts: Sequence[int], image: bool) -> list[Op]:
    """Of reading the chats and looking at the image; quoted texts are a thousandth of that."""
    ops: list[Op] = []
    for tokens in _chat_lengths(folder, texts):
        config = network_config(folder[TEXT])
        ops += qwen25vl.encode_work(config, tokens, _widened(folder[TEXT]))
    if image:
        looked = folder[VISION]
        ops += siglip.encode_work(network_config(looked), _widened(looked))
    return ops


def _encode_chats(
    folder: ModelFolder, tokenizer: QwenTokenizer, chats: Sequence[PromptTokens]
) -> list[mx.array]:
    """The rows (1, n, text_dim) of each that the transformer is given."""
    encoder = load_network(folder[TEXT], widen=False)  # it widens a matrix at a time
    if tokenizer.vocab_size > encoder.config.vocab_size:
        raise ModelError(
            f"the tokenizer of {folder.path} has {tokenizer.vocab_size} tokens, "
            f"its text encoder knows {encoder.config.vocab_size}",
            "they are from different models; convert the checkpoint again",
        )
    states = qwen25vl.encode(encoder, [chat.ids for chat in chats], release=True)
    return [rows[:, chat.start :] for rows, chat in zip(states, chats, strict=True)]


def _encode_quoted(folder: ModelFolder, prompt: str, glyph_len: int) -> mx.array | None:
    """The rows (1, n, glyph_dim) of the texts in quotation marks; without any nothing is read."""
    text = byt5.glyph_text(prompt)
    if text is None:
        return None
    encoder = load_network(folder[GLYPH], widen=False)
    return byt5.encode(encoder, [byt5.token_ids(text, glyph_len)], release=True)[0]


def _look(folder: ModelFolder, frame: np.ndarray) -> mx.array:
    """What the image encoder makes of the first frame, (1, tokens, vision_dim)."""
    encoder = load_network(folder[VISION], widen=False)
    shown = siglip.shown(frame, encoder.config.image_size)
    return siglip.encode(encoder, shown, release=True)


def _first_frame(plan: Plan) -> np.ndarray:
    """The plan's image in the video's size, uint8 (H, W, 3)."""
    assert plan.image is not None
    return image.cover(image.load_image(plan.image), (plan.width, plan.height))


def _chat_lengths(folder: ModelFolder, texts: Sequence[int]) -> list[int]:
    """How many tokens Qwen reads of texts with so many for the transformer, quoted ones counted
    as if they were of the chat."""
    seen = network_config(folder[VISION]).tokens if VISION in folder.components else 0
    most = _transformer(folder).text_len
    return [BEFORE_TOKENS + min(most, n - seen) for n in texts]


def _transformer(folder: ModelFolder) -> HunyuanConfig:
    config: HunyuanConfig = network_config(folder[folder.preset.experts[0].name])
    return config


def _stored(component: Component) -> tuple[int, bool]:
    return component.nbytes, component.dtype == "float32"


def _widened(component: Component) -> bool:
    return is_cpu() and component.dtype != "float32"

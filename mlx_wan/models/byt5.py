"""Glyph-ByT5's encoder, which reads the texts a picture shows: T5's layers on bytes, not pieces."""

import re
from dataclasses import dataclass

from mlx_wan.errors import UsageError

from .t5 import T5Config, T5Encoder
from .umt5 import encode, encode_memory, encode_work

__all__ = [
    "ByT5Config",
    "ByT5Encoder",
    "cut_tokens",
    "encode",
    "encode_memory",
    "encode_work",
    "glyph_text",
    "token_ids",
]

END, FIRST_BYTE = 1, 3  # ids: padding, end, unknown, then the bytes
_QUOTED = re.compile(r'"(.*?)"|“(.*?)”')


@dataclass(frozen=True)
class ByT5Config(T5Config):
    """Sizes of one encoder, as T5's; those of Glyph-SDXL-v2 where nothing else is said. Behind the
    bytes its table has colours and fonts, which nobody asks for here."""

    vocab_size: int = 1510
    dim: int = 1472
    dim_attn: int = 384
    dim_ffn: int = 3584
    num_heads: int = 6
    num_layers: int = 12


class ByT5Encoder(T5Encoder):
    pass


def glyph_text(prompt: str) -> str | None:
    """What the encoder is told of the texts in quotation marks, each named once; None without any.

    As Tencent-Hunyuan/HunyuanVideo-1.5 has it (hunyuan_video_pipeline.py): quotation marks pair up
    within a line, and between two that touch is a text too.
    """
    texts = [straight or curly for straight, curly in _QUOTED.findall(prompt)]
    return "".join(f'Text "{text}". ' for text in dict.fromkeys(texts)) or None


def cut_tokens(prompt: str, most: int) -> int:
    """How many tokens of a prompt's `glyph_text` do not fit into `most`."""
    return max(0, len((glyph_text(prompt) or "").encode()) + 1 - most)


def token_ids(text: str, most: int) -> list[int]:
    """At most `most` ids, the last of them the end. Nothing in a text is a special token."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise UsageError("the prompt has bytes that are not text", "write it in UTF-8") from None
    return [*(FIRST_BYTE + byte for byte in data[: most - 1]), END]

"""Texts -> rows of an encoder with T5's layers (T5, UMT5) behind a SentencePiece tokenizer.

Shared by the families that read prompts so; what they do with empty texts and white space is
theirs.
"""

from collections.abc import Sequence

import mlx.core as mx

from mlx_wan.cpu import is_cpu
from mlx_wan.errors import ModelError
from mlx_wan.loading import ModelFolder, load_network, network_config
from mlx_wan.models import umt5
from mlx_wan.roofline.work import Op
from mlx_wan.text_length import expected_tokens
from mlx_wan.tokenizer import Tokenizer

ENCODER = "text_encoder"


def encode_texts(folder: ModelFolder, tokenizer: Tokenizer, texts: Sequence[str]) -> list[mx.array]:
    """The rows (1, n, dim) of each text; the encoder is let go of layer by layer."""
    encoder = load_network(folder[ENCODER], widen=False)  # it widens a matrix at a time
    if tokenizer.vocab_size > encoder.config.vocab_size:
        raise ModelError(
            f"the tokenizer of {folder.path} has {tokenizer.vocab_size} pieces, "
            f"its text encoder knows {encoder.config.vocab_size}",
            "they are from different models; convert the checkpoint again",
        )
    return umt5.encode(encoder, [tokenizer(text) for text in texts], release=True)


def text_tokens(folder: ModelFolder, texts: Sequence[str | None]) -> tuple[int, ...]:
    """About how many tokens each text will have, at most what the transformer takes."""
    vocab_size = network_config(folder[ENCODER]).vocab_size
    most = network_config(folder[folder.preset.experts[0].name]).text_len
    return tuple(
        most if text is None else expected_tokens(text, vocab_size, most) for text in texts
    )


def text_memory(folder: ModelFolder, texts: Sequence[int], image: bool) -> int:
    """Bytes of the encoder at its peak."""
    component = folder[ENCODER]
    stored_float32 = component.dtype == "float32"
    config = network_config(component)
    return umt5.encode_memory(config, list(texts), component.nbytes, stored_float32)


def text_work(folder: ModelFolder, texts: Sequence[int], image: bool) -> list[Op]:
    """The operations of encoding these texts."""
    component = folder[ENCODER]
    widened = is_cpu() and component.dtype != "float32"
    config = network_config(component)
    return [op for n in texts if n for op in umt5.encode_work(config, n, widened)]

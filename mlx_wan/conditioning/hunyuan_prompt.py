"""HunyuanVideo's prompt as Qwen is given it: a chat that asks for a description of the video.

The words are Tencent-Hunyuan/HunyuanVideo-1.5's (hyvideo/models/text_encoders), where each item
begins a continued line: hence the nine spaces.
"""

from dataclasses import dataclass

from mlx_wan.tokenizer_qwen import QwenTokenizer

SYSTEM = (9 * " ").join(
    [
        "You are a helpful assistant. Describe the video by detailing the following aspects:",
        "1. The main content and theme of the video.",
        "2. The color, shape, size, texture, quantity, text, and spatial relationships of the "
        "objects.",
        "3. Actions, events, behaviors temporal relationships, physical movement changes of the "
        "objects.",
        "4. background environment, light, style and atmosphere.",
        "5. camera angles, movements, and transitions used in the video.",
    ]
)
BEFORE = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
BEFORE_TOKENS, AFTER_TOKENS = 108, 5  # of these two with Qwen2.5's tokenizer


@dataclass(frozen=True)
class PromptTokens:
    """A prompt in its chat. The encoder reads all ids; the transformer is given the states from
    `start` on, those of the prompt and what comes after it. `cut` tokens of the prompt are left
    out."""

    ids: list[int]
    start: int
    cut: int


def prompt_tokens(tokenizer: QwenTokenizer, prompt: str, text_len: int) -> PromptTokens:
    """At most `text_len` tokens from `start` on: of a longer chat the end is lost first.

    An empty prompt is one space.
    """
    start = len(tokenizer(BEFORE))
    ids = tokenizer(BEFORE + (prompt or " ") + AFTER)
    too_long = max(0, len(ids) - start - text_len)
    after = len(tokenizer(AFTER))
    return PromptTokens(ids[: start + text_len], start, max(0, too_long - after))

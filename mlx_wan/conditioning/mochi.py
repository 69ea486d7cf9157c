"""Mochi: T5 reads the prompt as it is; an empty text is no token at all.

So has genmoai/mochi (pipelines.py, get_conditioning) it for the negative prompt; diffusers encodes
an empty one as the single token </s>, unless `force_zeros_for_empty_prompt` is set.
"""

from collections.abc import Sequence

import mlx.core as mx

from mlx_wan.loading import ModelFolder, load_tokenizer, network_config
from mlx_wan.plan import Plan

from . import PromptEmbeds, cut_short, t5
from .t5 import text_memory, text_work

__all__ = ["encode_prompt", "text_memory", "text_tokens", "text_work"]


def encode_prompt(plan: Plan, folder: ModelFolder) -> PromptEmbeds:
    """Rows `(1, n, text_dim)`, n 0 for an empty text, for which T5 is not run."""
    tokenizer = load_tokenizer(folder, cleaned=False)
    prompts = [plan.prompt, plan.negative_prompt] if plan.guided else [plan.prompt]
    rows = iter(t5.encode_texts(folder, tokenizer, [text for text in prompts if text]))
    nothing = mx.zeros((1, 0, network_config(folder[t5.ENCODER]).dim))
    embeds = [next(rows) if text else nothing for text in prompts]
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


def text_tokens(folder: ModelFolder, texts: Sequence[str | None]) -> tuple[int, ...]:
    """As T5's, but 0 for an empty text."""
    counts = t5.text_tokens(folder, texts)
    return tuple(0 if text == "" else n for text, n in zip(texts, counts, strict=True))

"""What a forward of HunyuanVideo 1.5's transformer costs: bytes at its peak, and its operations."""

from mlx_wan import cpu
from mlx_wan.attention import row_chunks
from mlx_wan.roofline import work

from .hunyuan_blocks import HunyuanConfig
from .hunyuan_text import REFINER_FFN


def text_tokens_at_most(config: HunyuanConfig) -> int:
    """Tokens of a full prompt with quoted texts and an image."""
    return config.text_len + config.glyph_len + config.vision_len


def forward_flops(config: HunyuanConfig, tokens: int) -> float:
    """Floating-point operations of one forward with a full prompt, no quoted text and no image."""
    return work.flops(forward_work(config, tokens, config.text_len))


def forward_work(config: HunyuanConfig, tokens: int, text_tokens: int) -> list[work.Op]:
    """The operations of one forward with tables, beside so many tokens of text of all kinds."""
    dim, ffn_dim, layers = config.dim, config.ffn_dim, config.num_layers
    joint = tokens + text_tokens
    chunks = row_chunks(tokens, wide=True)
    rows = tokens / len(chunks)
    block = [
        work.linear(tokens, dim, dim, 4),
        work.linear(text_tokens, dim, dim, 4),
        work.attention(config.num_heads, joint, joint, config.head_dim),
        work.linear(rows, dim, ffn_dim, 2 * len(chunks)),
        work.linear(text_tokens, dim, ffn_dim, 2),
        work.elementwise(work.ACTIVATION, rows * ffn_dim, len(chunks)),
        work.elementwise(work.ACTIVATION, text_tokens * ffn_dim),
        work.elementwise(work.NORM, tokens * dim, 4),
        work.elementwise(work.NORM, text_tokens * dim, 4),
        work.elementwise(work.ADD, joint * dim, 7),
    ]
    refiner_ffn = REFINER_FFN * dim
    refiner = [
        work.linear(text_tokens, dim, dim, 4),
        work.attention(config.num_heads, text_tokens, text_tokens, config.head_dim),
        work.linear(text_tokens, dim, refiner_ffn, 2),
        work.elementwise(work.ACTIVATION, text_tokens * refiner_ffn),
        work.elementwise(work.NORM, text_tokens * dim, 2),
        work.linear(1, dim, 2 * dim),
    ]
    around = [
        work.linear(tokens, config.in_dim, dim),
        work.linear(tokens, dim, config.out_dim),
        work.linear(1, config.freq_dim, dim),
        work.linear(1, dim, dim),
        work.elementwise(work.NORM, tokens * dim),
    ]
    refining = [op.times(config.refiner_layers) for op in refiner]
    return [op.times(layers) for op in block] + refining + around


def precompute_work(config: HunyuanConfig, steps: int) -> list[work.Op]:
    """The operations of `precompute`."""
    dim = config.dim
    return [
        work.linear(steps, dim, 6 * dim, 2 * config.num_layers),
        work.linear(steps, dim, dim, 3),
        work.linear(steps, config.freq_dim, dim),
    ]


def released_parameters(config: HunyuanConfig) -> int:
    """How many weights `precompute` lets go of: those of the modulation."""
    return (12 * config.num_layers + 2) * config.dim * (config.dim + 1)


def condition_work(config: HunyuanConfig, tokens: int, text_tokens: int) -> list[work.Op]:
    """The operations of `condition` for one prompt, counted as if all its tokens were text."""
    return [
        work.linear(text_tokens, config.text_dim, config.dim),
        work.linear(1, config.text_dim, config.dim),
        work.linear(1, config.dim, config.dim),
        work.elementwise(work.ACTIVATION, 3 * tokens * config.head_dim),  # the rotary table
    ]


def denoise_memory(config: HunyuanConfig, tokens: int, steps: int, itemsize: int = 4) -> int:
    """Bytes alive at the peak of a forward with a full prompt, beside weights and conditioning,
    with tables for `steps` timesteps.

    The residual before and after, then either q, k and v as chunks and whole, or the attention's
    output and one row chunk of the feed-forward.
    """
    joint = (tokens + text_tokens_at_most(config)) * config.dim
    rows = min(tokens, row_chunks(tokens, wide=True)[0].stop)
    hidden = (1 if cpu.is_cpu() else 2) * config.ffn_dim  # there the activation is in place
    feed_forward = joint * itemsize + rows * (hidden * itemsize + 3 * config.dim * 4)
    tables = steps * 12 * config.dim * config.num_layers * 4
    return 2 * joint * 4 + max(6 * joint * itemsize, feed_forward) + tables


def conditioning_memory(config: HunyuanConfig, tokens: int, text_tokens: int) -> int:
    """Bytes of `Conditioning`, without tables, for so many tokens of text of all kinds."""
    return 4 * (text_tokens * config.dim + tokens * config.head_dim)

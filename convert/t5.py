"""What the encoders of T5's kind have in common: UMT5, T5 and ByT5, in transformers' names."""

from typing import Any

from .names import Names
from .settings import Settings, Shapes, count

SIGNATURE = ("encoder.block.0.layer.1.DenseReluDense.wi_0.weight",)
QUANTIZED = r"blocks\.\d+\.(attn\.[qkvo]|ffn\.(gate|fc1|fc2))\.weight"
TABLE, TIED = "shared.weight", "encoder.embed_tokens.weight"  # a file may have either, or both


def is_plain(names: Names) -> bool:
    """T5 has one table of position biases, UMT5 one in every layer."""
    second = "encoder.block.1.layer.0.SelfAttention."
    return f"{second}q.weight" in names and f"{second}relative_attention_bias.weight" not in names


def table(names: Names) -> str:
    """The row of the table of tokens."""
    return "encoder.embed_tokens.*" if TIED in names and TABLE not in names else "shared.*"


def dropped(names: Names) -> dict[str, str]:
    """The second copy of the table of tokens."""
    both = TABLE in names and TIED in names
    return {TIED: "the same table as shared.weight"} if both else {}


def sizes(buckets: str, shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    """The fields of UMT5Config; `buckets` is our name of the table of position biases."""
    vocab_size, dim = shapes["token_embedding.weight"]
    num_buckets, num_heads = shapes[buckets]
    values = {
        "vocab_size": vocab_size,
        "dim": dim,
        "dim_attn": shapes["blocks.0.attn.q.weight"][0],
        "dim_ffn": shapes["blocks.0.ffn.fc1.weight"][0],
        "num_heads": num_heads,
        "num_layers": count(shapes, "blocks"),
        "num_buckets": num_buckets,
    }
    settings.agree(("d_model",), dim)
    settings.agree(("num_heads",), num_heads)
    settings.agree(("d_ff",), values["dim_ffn"])
    settings.agree(("num_layers",), values["num_layers"])
    settings.agree(("vocab_size",), vocab_size)
    return {
        **values,
        "max_distance": settings.whole(("relative_attention_max_distance",), 128, limit=65536),
        "eps": settings.number(("layer_norm_epsilon",), 1e-6),
    }

"""Tensor names of HunyuanVideo 1.5's three encoders and ours.

Columns, as names.py reads them:

- original: the repositories that the original release reads: Qwen/Qwen2.5-VL-7B-Instruct,
  Glyph-SDXL-v2 (byt5_model.pt, below `state_dict`), the vision tower of google's SigLIP as in
  black-forest-labs/FLUX.1-Redux-dev. ComfyUI's files of Qwen and SigLIP have these names too.
- diffusers: hunyuanvideo-community's folders; ComfyUI's file of ByT5 has these names too.
- resaved: as transformers 4.52 and later saves what it read from the original.

Names: transformers (models/qwen2_5_vl,
t5 and siglip) and convert_hunyuan_video1_5_to_diffusers.py of diffusers.
"""

import re

from . import t5
from .names import Names, Rows

LAYOUTS = ("ours", "original", "diffusers", "resaved")
LAYERS_LEFT_OUT = 2  # of Qwen's, the last: the third last of the hidden states is read

_QWEN_LAYER = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
_SIGLIP_EMBEDDINGS = ("patch_embedding", "position_embedding")
_SIGLIP_LAYER = (
    "layer_norm1",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "layer_norm2",
    "mlp.fc1",
    "mlp.fc2",
)
# inside blocks.N, which transformers calls block.N.layer
_BYT5_BLOCK = {
    "norm1": "0.layer_norm",
    "attn.q": "0.SelfAttention.q",
    "attn.k": "0.SelfAttention.k",
    "attn.v": "0.SelfAttention.v",
    "attn.o": "0.SelfAttention.o",
    "norm2": "1.layer_norm",
    "ffn.gate": "1.DenseReluDense.wi_0",
    "ffn.fc1": "1.DenseReluDense.wi_1",
    "ffn.fc2": "1.DenseReluDense.wo",
}
_GLYPH = "module.text_tower.encoder."

# patterns of tensors left out on purpose, with the reason
DROPPED: dict[str, dict[str, str]] = {
    "qwen25vl": {
        r"(model\.)?(language_model\.)?norm\.weight": "states before the final norm are read",
        r"lm_head\.weight": "nothing is written, only read",
        r"(model\.)?visual\..+": "prompts are text",
    },
    "byt5": {
        rf"module\.(?!{re.escape(_GLYPH[7:])}).+": "what the encoder was trained with",
    },
    "siglip": {
        r"(vision_model\.)?head\..+": "patches are read, not their pool",
        r"text_model\..+": "pictures are read, not text",
        r"logit_(scale|bias)": "nothing is compared with text",
        r"(vision_model\.)?embeddings\.position_ids": "counted, not stored",
    },
}
_QWEN_LAYER_NUMBER = re.compile(r"(?:model\.)?(?:language_model\.)?layers\.(\d{1,3})\..+")


def qwen(names: Names) -> Rows:
    """Rows of Qwen2.5-VL's language model, of all its layers."""
    plain = ["embed_tokens.*", *(f"layers.N.{name}.*" for name in _QWEN_LAYER)]
    return tuple((n, f"model.{n}", n, f"model.language_model.{n}") for n in plain)


def siglip(names: Names) -> Rows:
    """Rows of SigLIP's vision tower."""
    places = [
        *((f"{name}.*", f"embeddings.{name}.*") for name in _SIGLIP_EMBEDDINGS),
        *((f"layers.N.{n}.*", f"encoder.layers.N.{n}.*") for n in _SIGLIP_LAYER),
        ("post_layernorm.*", "post_layernorm.*"),
    ]
    return tuple((a, f"vision_model.{b}", f"vision_model.{b}", b) for a, b in places)


def byt5(names: Names) -> Rows:
    """Rows of ByT5, whose table of bytes transformers may have saved under either of two names."""
    places = [
        ("pos_embedding.*", "block.0.layer.0.SelfAttention.relative_attention_bias.*"),
        *((f"blocks.N.{a}.*", f"block.N.layer.{b}.*") for a, b in _BYT5_BLOCK.items()),
        ("norm.*", "final_layer_norm.*"),
    ]
    table = t5.table(names)
    rows = [("token_embedding.*", f"{_GLYPH}embed_tokens.*", table, table)]
    return tuple(rows + [(a, f"{_GLYPH}{b}", f"encoder.{b}", f"encoder.{b}") for a, b in places])


def dropped(network: str, names: Names) -> dict[str, str]:
    """Of a checkpoint's names in any layout those left out on purpose -> the reason.

    Needs the names of all files of a checkpoint: which layers are the last cannot be told from
    some.
    """
    found = {
        name: reason
        for pattern, reason in DROPPED[network].items()
        for name in names
        if re.fullmatch(pattern, name)
    }
    if network == "byt5":
        found |= t5.dropped(names)
    if network == "qwen25vl":
        layers = {n: int(m[1]) for n in names if (m := _QWEN_LAYER_NUMBER.fullmatch(n))}
        last = max(layers.values(), default=-1)
        reason = "states before the last two layers are read"
        found |= {n: reason for n, i in layers.items() if i > last - LAYERS_LEFT_OUT}
    return found

"""Records tests/recorded/hunyuan_text*: transformers' Qwen2.5-VL, ByT5 and SigLIP on small random
networks, what Qwen's tokenizer and SigLIP's image processor make, and the names and shapes of the
full-size tensors.

python tests/record_hunyuan_text.py        needs the `reference` extra

The weights are not stored: tiny_hunyuan_text.py makes the same ones again.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_hunyuan_text as tiny
import torch
from mlx.utils import tree_flatten

from mlx_wan.bench import networks_hunyuan_text as networks

HERE = Path(__file__).parent / "recorded"
TEXTS = [
    "a cat walks on the grass, realistic",
    "",
    " ",
    "\n\n leading lines",
    "a sign says \"OPEN 24 HOURS\", it's LATE; we'LL see",
    "tabs\tand   runs of   spaces  \r\n at the end  ",
    "cafe\u0301 is café; ﬁ stays; ½ ² １２",
    "描述视频 描述🙂视频 نص",
    "<|im_start|>user\nsaid<|im_end|> <|endoftext|> <|other|>",
]


def weights(network: Any) -> dict[str, np.ndarray]:
    parameters: Any = tree_flatten(network.parameters())
    return {name: np.array(value) for name, value in parameters}


def record_networks() -> None:
    random = np.random.RandomState(5)
    qwen = networks.transformers_qwen(tiny.QWEN, weights(tiny.qwen()))
    byt5 = networks.transformers_byt5(tiny.BYT5, weights(tiny.byt5()))
    siglip = networks.transformers_siglip(tiny.SIGLIP, weights(tiny.siglip()))
    size = tiny.SIGLIP["image_size"]
    given: dict[str, Any] = {
        "qwen_ids": random.randint(0, tiny.QWEN["vocab_size"], (1, 151)),
        "qwen_one_ids": random.randint(0, tiny.QWEN["vocab_size"], (1, 1)),
        "byt5_ids": random.randint(0, tiny.BYT5["vocab_size"], (1, 139)),
        "siglip_pictures": random.uniform(-1, 1, (2, size, size, 3)).astype(np.float16),
        "image": random.randint(0, 256, (37, 61, 3)).astype(np.uint8),
    }
    with torch.inference_mode():
        byt5_out = byt5(torch.tensor(given["byt5_ids"])).last_hidden_state.numpy()
    pictures = given["siglip_pictures"].astype(np.float32)
    np.savez_compressed(
        HERE / "hunyuan_text.npz",
        **given,
        qwen=networks.qwen_states(qwen, given["qwen_ids"]),
        qwen_one=networks.qwen_states(qwen, given["qwen_one_ids"]),
        byt5=byt5_out,
        siglip=networks.siglip_rows(siglip, pictures),
        shown=networks.siglip_shown(given["image"], size),
    )


def record_tokens() -> None:
    tokenizer = networks.transformers_qwen_tokenizer()
    ids = {text: tokenizer(text)["input_ids"] for text in TEXTS}
    (HERE / "hunyuan_tokens.json").write_text(json.dumps(ids) + "\n")


def record_names() -> None:
    """Every tensor of the published sizes as transformers builds and saves them."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        SiglipVisionConfig,
        SiglipVisionModel,
        T5Config,
        T5EncoderModel,
    )

    qwen = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
        vision_config={"hidden_size": 1280, "out_hidden_size": 3584},
    )
    glyph = T5Config(
        vocab_size=1510,
        d_model=1472,
        d_kv=64,
        d_ff=3584,
        num_layers=12,
        num_heads=6,
        feed_forward_proj="gated-gelu",
    )
    so400m = SiglipVisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=27,
        num_attention_heads=16,
        image_size=384,
        patch_size=14,
    )
    with torch.device("meta"):
        built: dict[str, Any] = {
            "qwen25vl": Qwen2_5_VLForConditionalGeneration(qwen),
            "byt5": T5EncoderModel(glyph),
            "siglip": SiglipVisionModel(so400m),
        }
    names = {
        network: {name: list(value.shape) for name, value in model.state_dict().items()}
        for network, model in built.items()
    }
    packed = gzip.compress(json.dumps(names, separators=(",", ":")).encode(), mtime=0)
    (HERE / "hunyuan_text_names.json.gz").write_bytes(packed)


if __name__ == "__main__":
    record_networks()
    record_tokens()
    record_names()

"""HunyuanVideo 1.5's encoders for networks.py, against transformers; the parity tests and
tests/record_hunyuan_text.py use it too.

Qwen2.5-VL is its architecture at dim 896, SigLIP has 3 of its 27 layers at full width; one float32
forward of one prompt or picture.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

SIZES: dict[str, dict[str, Any]] = {
    "qwen": {
        **{"vocab_size": 1000, "dim": 896, "dim_ffn": 4736},
        **{"num_heads": 7, "num_kv_heads": 1, "num_layers": 4},
    },
    "siglip": {
        **{"dim": 1152, "dim_ffn": 4304, "num_heads": 16, "num_layers": 3},
        **{"image_size": 384, "patch_size": 14},
    },
}
CORPUS = [
    "a slow camera moves over blue waves at sunset, cinematic",
    'a neon sign that says "OPEN 24 HOURS" in the rain; it\'s late',
    "système user assistant 描述视频 café 1234567890\n\n\tand so on",
] * 4
_ADDED = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def make(encoder: str, tokens: int = 0) -> Arrays:
    """Random weights, and token ids or a picture."""
    from mlx_wan.bench.networks_mochi import random_weights

    random = np.random.RandomState(1)
    given = random.randint(0, 1000, (1, tokens))
    if encoder == "siglip":
        given = random.uniform(-1, 1, (1, 384, 384, 3)).astype(np.float32)
    return random_weights(_ours(encoder)) | {"given": given}


def ours(arrays: Arrays, encoder: str, **_: int) -> Callable[[], np.ndarray]:
    """One forward of our encoder."""
    import mlx_wan  # noqa: F401, I001 - loads the fast BLAS before MLX
    import mlx.core as mx
    from mlx_wan.bench.networks_mochi import load
    from mlx_wan.models import qwen25vl, siglip

    given, network = arrays.pop("given"), _ours(encoder)
    load(network, arrays)
    if encoder == "qwen":
        return lambda: np.array(qwen25vl.encode(network, given.tolist())[0])
    picture = mx.array(given)
    return lambda: np.array(siglip.encode(network, picture))


def reference(arrays: Arrays, encoder: str, **_: int) -> Callable[[], np.ndarray]:
    """One forward of transformers' encoder; of Qwen without the layers nobody reads."""
    import torch

    torch.set_num_threads(1)
    given = arrays.pop("given")
    if encoder == "siglip":
        tower = transformers_siglip(SIZES[encoder], arrays)
        return lambda: siglip_rows(tower, given)
    model = transformers_qwen(SIZES[encoder], arrays)
    model.layers, model.norm = model.layers[:-2], torch.nn.Identity()
    ids = torch.tensor(given)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return model(ids).last_hidden_state.numpy()

    return run


def _ours(encoder: str) -> Any:
    from mlx_wan.models.qwen25vl import QwenConfig, QwenEncoder
    from mlx_wan.models.siglip import SiglipConfig, SiglipEncoder

    if encoder == "qwen":
        return QwenEncoder(QwenConfig(**SIZES[encoder]))
    return SiglipEncoder(SiglipConfig(**SIZES[encoder]))


@lru_cache
def byte_bpe(size: int = 320) -> str:
    """A real byte-level BPE as a tokenizer.json, with Qwen's words and chat tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
    from tokenizers.trainers import BpeTrainer

    from mlx_wan.tokenizer_qwen import WORDS

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in _ADDED])
    return tokenizer.to_str()


def transformers_qwen(config: Mapping[str, Any], weights: Arrays) -> Any:
    """transformers' Qwen2_5_VLTextModel, with two more layers and a final norm of their own."""
    import torch
    from transformers import Qwen2_5_VLTextModel
    from transformers.models.qwen2_5_vl import configuration_qwen2_5_vl

    from mlx_wan.bench.networks_mochi import filled

    make_config: Any = configuration_qwen2_5_vl.Qwen2_5_VLTextConfig
    head = config["dim"] // config["num_heads"] // 2
    rope = {
        "rope_type": "default",
        "rope_theta": config.get("rope_theta", 1e6),
        "mrope_section": [1, 1, head - 2],
    }
    model = Qwen2_5_VLTextModel(
        make_config(
            vocab_size=config["vocab_size"],
            hidden_size=config["dim"],
            intermediate_size=config["dim_ffn"],
            num_hidden_layers=config["num_layers"] + 2,
            num_attention_heads=config["num_heads"],
            num_key_value_heads=config["num_kv_heads"],
            rms_norm_eps=config.get("eps", 1e-6),
            tie_word_embeddings=False,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            rope_parameters=rope,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():  # of what is not read too
            parameter.normal_(0, 0.5)
    own = {name: value.numpy() for name, value in model.state_dict().items()}
    return filled(model, own | weights)  # it has our names


def transformers_byt5(config: Mapping[str, Any], weights: Arrays) -> Any:
    """transformers' T5EncoderModel."""
    from mlx_wan.bench.networks_mochi import transformers_t5

    return transformers_t5(config, weights)


def transformers_siglip(config: Mapping[str, Any], weights: Arrays) -> Any:
    """transformers' SiglipVisionModel without its pooling head."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    from mlx_wan.bench.networks_mochi import filled

    settings: Any = SiglipVisionConfig(
        hidden_size=config["dim"],
        intermediate_size=config["dim_ffn"],
        num_hidden_layers=config["num_layers"],
        num_attention_heads=config["num_heads"],
        image_size=config["image_size"],
        patch_size=config["patch_size"],
    )
    settings.vision_use_head = False
    theirs = {}
    for name, array in weights.items():
        start = re.match("patch|position|layers", name)
        place = {"layers": "encoder."}.get(start[0], "embeddings.") if start else ""
        theirs[place + name] = np.moveaxis(array, -1, 1) if array.ndim == 4 else array
    return filled(SiglipVisionModel(settings), theirs)


def qwen_states(model: Any, ids: np.ndarray) -> np.ndarray:
    """The hidden states HunyuanVideo reads."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor(ids), output_hidden_states=True).hidden_states[-3].numpy()


def siglip_rows(model: Any, pictures: np.ndarray) -> np.ndarray:
    """pictures (B, H, W, 3) in [-1, 1] -> the last hidden state."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor(pictures).movedim(-1, 1)).last_hidden_state.numpy()


def siglip_shown(image: np.ndarray, image_size: int) -> np.ndarray:
    """What the image processor makes of uint8 (H, W, 3): (1, image_size, image_size, 3)."""
    from PIL import Image
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    square = {"height": image_size, "width": image_size}
    process: Any = SiglipImageProcessorPil(
        size=square, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )
    made = process(Image.fromarray(image), return_tensors="np")["pixel_values"]
    return np.moveaxis(made, 1, -1)


def transformers_qwen_tokenizer() -> Any:
    """transformers' Qwen2Tokenizer with the pieces of `byte_bpe` and Qwen's chat template."""
    import json

    from transformers import Qwen2Tokenizer

    content = json.loads(byte_bpe())
    merges: Any = [tuple(merge) for merge in content["model"]["merges"]]
    tokenizer: Any = Qwen2Tokenizer(vocab=content["model"]["vocab"], merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": list(_ADDED[1:])})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer

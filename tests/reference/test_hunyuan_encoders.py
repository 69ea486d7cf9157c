"""HunyuanVideo 1.5 from a string and a picture to embeddings, live, against diffusers' pipelines
with transformers' networks and tokenizers, all tiny and with our random weights."""

import json
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan_text as tiny
import torch
from diffusers import HunyuanVideo15ImageToVideoPipeline, HunyuanVideo15Pipeline
from diffusers.pipelines.hunyuan_video1_5.image_processor import generate_crop_size_list
from mlx.utils import tree_flatten
from PIL import Image
from transformers import ByT5Tokenizer
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from mlx_wan import Request, encode_prompt, make_plan, open_model
from mlx_wan.bench import networks_hunyuan_text as networks
from mlx_wan.conditioning.buckets import nearest_size, sizes
from mlx_wan.conditioning.hunyuan_prompt import BEFORE, SYSTEM, prompt_tokens
from mlx_wan.image import cover
from mlx_wan.models import byt5, qwen25vl, siglip
from mlx_wan.tokenizer_qwen import QwenTokenizer

pytestmark = pytest.mark.reference

PROMPTS = [
    "a cat walks on the grass, realistic",
    "",
    'a sign "OPEN" beside “CLOSED”, and again "OPEN"; it\'s 5 o\'clock',
    '  描述视频 "描述" cafe\u0301 🙂  ',
    'line one\nline two ""',
    "slow waves " * 30,
]


def arrays(network: Any) -> dict[str, np.ndarray]:
    parameters: Any = tree_flatten(network.parameters())
    return {name: np.array(value) for name, value in parameters}


def error(ours: mx.array, expected: torch.Tensor) -> float:
    a, b = np.array(ours), expected.numpy()
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("changes", [{}, {"num_kv_heads": 1}, {"num_kv_heads": 6}, {"dim": 96}])
@pytest.mark.parametrize("tokens", [1, 2, 47, 333])
def test_qwen(changes, tokens):
    config = tiny.QWEN | changes
    ours = tiny.qwen(tokens, **changes)
    ids = np.random.RandomState(tokens).randint(0, config["vocab_size"], (1, tokens))
    expected = networks.qwen_states(networks.transformers_qwen(config, arrays(ours)), ids)
    (states,) = qwen25vl.encode(ours, ids.tolist())
    assert error(states, torch.tensor(expected)) < 1e-5


@pytest.mark.parametrize("text_len", [20, 50, 1000])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_to_qwens_states(prompt, text_len, tmp_path):
    ours, tokenizer = tiny.qwen(), QwenTokenizer(tiny.tokenizer(tmp_path))
    start = len(tokenizer(BEFORE))
    with torch.inference_mode():
        expected, mask = HunyuanVideo15Pipeline._get_mllm_prompt_embeds(
            networks.transformers_qwen(tiny.QWEN, arrays(ours)),
            networks.transformers_qwen_tokenizer(),
            prompt,
            torch.device("cpu"),
            tokenizer_max_length=text_len,
            crop_start=start,
        )
    chat = prompt_tokens(tokenizer, prompt, text_len)
    (states,) = qwen25vl.encode(ours, [chat.ids])
    rows = states[0, chat.start :]
    assert chat.start == start and len(rows) == int(mask.sum())
    assert error(rows, expected[0, : len(rows)]) < 1e-5


def test_the_system_text_is_the_pipelines():
    import inspect

    defaults = inspect.signature(HunyuanVideo15Pipeline._get_mllm_prompt_embeds).parameters
    assert defaults["system_message"].default == SYSTEM


@pytest.mark.parametrize("glyph_len", [8, 256])
@pytest.mark.parametrize("prompt", [*PROMPTS, '"' + "x" * 300 + '"'])
def test_quoted_texts_to_byt5s_rows(prompt, glyph_len):
    ours = tiny.byt5()
    with torch.inference_mode():
        expected, mask = HunyuanVideo15Pipeline._get_byt5_prompt_embeds(
            ByT5Tokenizer(extra_ids=0),
            networks.transformers_byt5(tiny.BYT5, arrays(ours)),
            prompt,
            torch.device("cpu"),
            tokenizer_max_length=glyph_len,
        )
    text = byt5.glyph_text(prompt)
    if text is None:
        assert not mask.any()
        return
    (rows,) = byt5.encode(ours, [byt5.token_ids(text, glyph_len)])
    assert rows.shape[1] == int(mask.sum())
    assert error(rows[0], expected[0, : rows.shape[1]]) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [{}, {"dim": 48, "num_heads": 2, "image_size": 56}, {"patch_size": 9, "num_layers": 1}],
)
@pytest.mark.parametrize("size", [(61, 37), (480, 848), (45, 45), (16, 16)])
def test_a_picture_to_siglips_rows(changes, size):
    config = tiny.SIGLIP | changes
    ours = tiny.siglip(**changes)
    picture = np.random.RandomState(1).randint(0, 256, (*size, 3)).astype(np.uint8)
    square = {"height": config["image_size"], "width": config["image_size"]}
    half = [0.5, 0.5, 0.5]
    with torch.inference_mode():
        expected = HunyuanVideo15ImageToVideoPipeline._get_image_embeds(
            networks.transformers_siglip(config, arrays(ours)),
            SiglipImageProcessorPil(size=square, image_mean=half, image_std=half),
            Image.fromarray(picture),
            torch.device("cpu"),
        )
    rows = siglip.encode(ours, siglip.shown(picture, config["image_size"]))
    assert error(rows, expected) < 1e-5


def test_a_whole_plans_prompt(tmp_path):
    """Through the converted model, with an image and guidance, to what the network is told."""
    model = tiny.model(tmp_path / "model", "hunyuanvideo-1.5-480p-i2v")
    picture = np.random.RandomState(2).randint(0, 256, (90, 160, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "first.png")
    plan = make_plan(
        Request(
            PROMPTS[2],
            model=model,
            image=str(tmp_path / "first.png"),
            width=64,
            height=32,
            num_frames=5,
            steps=2,
        )
    )
    embeds = encode_prompt(plan, open_model(model))
    qwen = networks.transformers_qwen(tiny.QWEN, arrays(tiny.qwen(2)))
    glyphs = networks.transformers_byt5(tiny.BYT5, arrays(tiny.byt5(3)))
    cpu, start = torch.device("cpu"), len(QwenTokenizer(tiny.tokenizer(tmp_path))(BEFORE))
    with torch.inference_mode():
        text, mask = HunyuanVideo15Pipeline._get_mllm_prompt_embeds(
            qwen,
            networks.transformers_qwen_tokenizer(),
            [PROMPTS[2], ""],
            cpu,
            64,
            2,
            SYSTEM,
            start,
        )
        glyph, glyph_mask = HunyuanVideo15Pipeline._get_byt5_prompt_embeds(
            ByT5Tokenizer(extra_ids=0), glyphs, [PROMPTS[2], ""], cpu, 32
        )
    for i, made in enumerate((embeds.prompt_embeds, embeds.negative_prompt_embeds)):
        assert error(made.text[0], text[i][mask[i].bool()]) < 1e-5
    assert error(embeds.prompt_embeds.glyph[0], glyph[0][glyph_mask[0].bool()]) < 1e-5
    assert not glyph_mask[1].any() and embeds.negative_prompt_embeds.glyph is None
    shown = siglip.shown(cover(picture, (plan.width, plan.height)), 45)
    vision = networks.siglip_rows(
        networks.transformers_siglip(tiny.SIGLIP, arrays(tiny.siglip(5))), np.array(shown)
    )
    assert error(embeds.prompt_embeds.vision, torch.tensor(vision)) < 1e-5


@pytest.mark.parametrize("base", [640, 960])
def test_sizes_are_those_of_the_original(base):
    """Its list is diffusers' too; which of them it takes is written here as it does."""
    theirs = generate_crop_size_list(base, 16)
    assert [size[::-1] for size in theirs] == sizes((base // 16) ** 2)
    ratios = np.array([round(float(h) / float(w), 5) for h, w in theirs])
    random = np.random.RandomState(base)
    for width, height in random.randint(50, 4000, (200, 2)).tolist():
        nearest = theirs[np.abs(ratios - float(height) / float(width)).argmin()]
        assert nearest_size((width, height), base * base) == nearest[::-1]


def test_recorded_ids_are_of_this_tokenizer(tmp_path):
    from pathlib import Path

    recorded = Path(__file__).parents[1] / "recorded" / "hunyuan_tokens.json"
    theirs, ours = networks.transformers_qwen_tokenizer(), QwenTokenizer(tiny.tokenizer(tmp_path))
    for text, ids in json.loads(recorded.read_text()).items():
        assert theirs(text)["input_ids"] == ids == ours(text)

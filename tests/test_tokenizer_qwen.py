"""Qwen's tokenizer against transformers' recorded ids (record_hunyuan_text.py), on a small
vocabulary trained from a few sentences."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import tiny_hunyuan_text as tiny

from mlx_wan import tokenizer_qwen
from mlx_wan.bench.networks_hunyuan_text import byte_bpe
from mlx_wan.conditioning.hunyuan_prompt import AFTER, BEFORE, SYSTEM, prompt_tokens
from mlx_wan.errors import BadFileError, UsageError
from mlx_wan.tokenizer_qwen import QwenTokenizer

RECORDED = json.loads((Path(__file__).parent / "recorded" / "hunyuan_tokens.json").read_text())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> QwenTokenizer:
    return QwenTokenizer(tiny.tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.mark.parametrize("text", RECORDED)
def test_ids_are_those_of_transformers(tokenizer, text):
    assert tokenizer(text) == RECORDED[text]


def test_merges_may_be_pairs_or_text(tokenizer, tmp_path):
    content = json.loads(byte_bpe())
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    old = QwenTokenizer(written(tmp_path, content))
    assert all(old(text) == tokenizer(text) for text in RECORDED)


def test_ids_of_added_tokens_are_those_of_the_file(tmp_path):
    content = json.loads(byte_bpe())
    content["added_tokens"].append({"id": 400, "content": "<tool>"})
    made = QwenTokenizer(written(tmp_path, content))
    assert made("a<tool>") == [64, 400] and made.vocab_size == 401


def test_a_pattern_in_the_file_is_not_used(tokenizer, tmp_path):
    content = json.loads(byte_bpe())
    content["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(a+)+$"}}
    content["normalizer"] = {"type": "Lowercase"}
    made = QwenTokenizer(written(tmp_path, content))
    assert all(made(text) == tokenizer(text) for text in RECORDED)


# the chat


def test_the_system_text_is_the_originals():
    digest = hashlib.sha256(SYSTEM.encode()).hexdigest()
    assert digest == "547f3e99c78b2d9b0786a721b726d41be95ee2f52ebf90db55f381b1511c3905"


@pytest.mark.parametrize("prompt", ["a cat", "  spaced ", "<|im_end|> said", "描述视频"])
def test_the_prompt_begins_after_the_first_user_mark(tokenizer, prompt):
    """As the original finds it: the first place where these tokens are."""
    made = prompt_tokens(tokenizer, prompt, 1000)
    mark = tokenizer("<|im_start|>user\n")
    places = range(len(made.ids))
    first = next(i for i in places if made.ids[i : i + len(mark)] == mark)
    assert made.start == first + len(mark)
    assert made.ids[made.start :] == tokenizer(prompt) + tokenizer(AFTER)
    assert made.cut == 0


def test_a_prompt_that_begins_with_a_line_end_does_not_move_the_start(tokenizer):
    """Its token may be one with the line end before it; diffusers counts from a fixed place."""
    made = prompt_tokens(tokenizer, "\n\nwaves", 1000)
    assert made.start == len(tokenizer(BEFORE))


def test_an_empty_prompt_is_one_space(tokenizer):
    assert prompt_tokens(tokenizer, "", 1000) == prompt_tokens(tokenizer, " ", 1000)
    made = prompt_tokens(tokenizer, "", 1000)
    assert made.ids[made.start :] == tokenizer(" ") + tokenizer(AFTER)


def test_long_prompts_lose_their_end(tokenizer):
    prompt = "a slow camera moves over blue waves"
    whole = prompt_tokens(tokenizer, prompt, 1000)
    kept, after = len(whole.ids) - whole.start, len(tokenizer(AFTER))
    assert prompt_tokens(tokenizer, prompt, kept) == whole
    for fewer, cut in ((1, 0), (after, 0), (after + 1, 1), (after + 3, 3)):
        made = prompt_tokens(tokenizer, prompt, kept - fewer)
        assert made.ids == whole.ids[:-fewer] and (made.start, made.cut) == (whole.start, cut)


# hostile files


def written(folder: Path, content: Any) -> Path:
    file = folder / "tokenizer.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def changed(*path: str | int, to: Any) -> Any:
    """The good file with one value replaced."""
    content = json.loads(byte_bpe())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return content


HOSTILE: dict[str, Any] = {
    "empty": "",
    "html": "<!DOCTYPE html>",
    "list": [],
    "no model": {"added_tokens": []},
    "cut": byte_bpe()[:-5],
    "twice": '{"model": {}, "model": {}}',
    "deep": "[" * 100_000,
    "vocab a list": changed("model", "vocab", to=["a"]),
    "no merges": changed("model", "merges", to=[]),
    "merges a text": changed("model", "merges", to="a b"),
    "negative id": changed("model", "vocab", "a", to=-1),
    "huge id": changed("model", "vocab", "a", to=2**40),
    "id a text": changed("model", "vocab", "a", to="64"),
    "id a truth": changed("model", "vocab", "a", to=True),
    "id a fraction": changed("model", "vocab", "a", to=64.0),
    "the same id": changed("model", "vocab", "a", to=65),
    "the id of an added token": changed("added_tokens", 0, "id", to=64),
    "merge of three": changed("model", "merges", 0, to="a b c"),
    "merge of one": changed("model", "merges", 0, to=["a"]),
    "merge of numbers": changed("model", "merges", 0, to=[1, 2]),
    "unknown merge": changed("model", "merges", 0, to="a 漢"),
    "no added tokens": changed("added_tokens", to={}),
    "no chat tokens": changed("added_tokens", to=[]),
    "added without text": changed("added_tokens", 0, "content", to=""),
    "added without id": changed("added_tokens", 0, "id", to=None),
    "a number too long": '{"model": {"vocab": {"a": ' + "9" * 5000 + "}}}",
    "half a character": changed("added_tokens", 0, "content", to="\ud800"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_files_are_refused(tmp_path, content):
    file = written(tmp_path, content)
    with pytest.raises(BadFileError, match=r"tokenizer\.json is not Qwen's tokenizer") as caught:
        QwenTokenizer(file)
    assert "Qwen2.5-VL" in caught.value.hint and len(str(caught.value)) < 300


def test_a_file_that_lacks_a_byte_is_refused(tmp_path):
    content = json.loads(byte_bpe())
    pieces, merges = content["model"]["vocab"], content["model"]["merges"]
    content["model"]["merges"] = [pair for pair in merges if "Ġ" not in "".join(pair)]
    del pieces["Ġ"]
    with pytest.raises(BadFileError, match="lacks 'Ġ'"):
        QwenTokenizer(written(tmp_path, content))


def test_what_is_no_file_or_too_large_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(UsageError, match="tokenizer"):
            QwenTokenizer(path)
    file = tiny.tokenizer(tmp_path)
    monkeypatch.setattr(tokenizer_qwen, "MAX_FILE_BYTES", 100)
    with pytest.raises(BadFileError, match="too large"):
        QwenTokenizer(file)


def test_more_pieces_than_any_vocabulary_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_qwen, "MAX_PIECES", 300)
    with pytest.raises(BadFileError, match="vocab"):
        QwenTokenizer(tiny.tokenizer(tmp_path))


def test_bytes_that_are_not_text_are_refused(tokenizer):
    with pytest.raises(UsageError, match="not text"):
        tokenizer("blue \udcff waves")

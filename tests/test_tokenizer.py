"""The tokenizer, on a small sentencepiece model trained here."""

import io
import os
from typing import Any

import pytest
import sentencepiece

from mlx_wan.errors import BadFileError, ModelError, UsageError
from mlx_wan.tokenizer import Tokenizer, clean

CORPUS = [
    "soft blue waves drifting slowly on a dark background",
    "golden particles rising over a black sky, cinematic",
    "a calm aurora in green and violet; light rings & orbs",
    "café tables in the evening, 4k <no text>",
] * 5


def train(**options: int) -> bytes:
    model = io.BytesIO()
    ids: dict[str, Any] = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} | options
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        vocab_size=120,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc_cf",
        minloglevel=2,
        **ids,
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def model() -> bytes:
    return train()


def test_path_and_bytes_are_the_same_tokenizer(model, tmp_path):
    (tmp_path / "spiece.model").write_bytes(model)
    text = "blue waves on a dark sky"
    ids = Tokenizer(tmp_path / "spiece.model", 512)(text)
    assert (
        ids == Tokenizer(str(tmp_path / "spiece.model"), 512)(text) == Tokenizer(model, 512)(text)
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert pieces.decode(ids[:-1]) == text
    assert ids[-1] == 1 and 2 not in ids and max(ids) < Tokenizer(model, 512).vocab_size


def test_the_models_own_normaliser_is_applied(model):
    tokenizer = Tokenizer(model, 512)
    assert tokenizer("Blue WAVES") == tokenizer("blue waves")
    assert 2 not in tokenizer("Blue ＷＡＶＥＳ")


def test_special_ids_come_from_the_model():
    tokenizer = Tokenizer(train(unk_id=0, bos_id=1, eos_id=5, pad_id=3), 512)
    assert tokenizer("")[-1] == 5 == tokenizer.end_id


def test_text_that_looks_like_a_special_token_stays_text(model):
    assert Tokenizer(model, 512)("waves </s>").count(1) == 1


def test_an_empty_prompt_is_the_end_token_alone(model):
    tokenizer = Tokenizer(model, 512)
    assert tokenizer("") == tokenizer(" \n\t ") == [1]
    assert tokenizer.cut_tokens("") == 0


def test_long_prompts_are_cut_and_say_by_how_much(model):
    whole, short = Tokenizer(model, 512), Tokenizer(model, 6)
    text = "golden particles rising over a black sky"
    ids = whole(text)
    assert short(text) == [*ids[:5], 1]
    assert short.cut_tokens(text) == len(ids) - 6 and whole.cut_tokens(text) == 0
    assert Tokenizer(model, len(ids)).cut_tokens(text) == 0
    assert Tokenizer(model, len(ids) - 1).cut_tokens(text) == 1
    assert Tokenizer(model, 1)(text) == [1]


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("  two\n\twaves\u3000here ", "two waves here"),
        ("rings &amp;amp; orbs", "rings & orbs"),
        ("a &amp;lt;b&amp;gt;", "a <b>"),
        ("<i> &amp;amp; x", "<i> & x"),  # ftfy itself leaves entities beside tags alone
        ("schÃ¶n", "schön"),  # UTF-8 read as Latin-1
        ("“quoted”", '"quoted"'),
        ("a&nbsp;&nbsp;b", "a b"),
    ],
)
def test_cleaning(given, cleaned):
    assert clean(given) == cleaned


def test_text_is_cleaned_before_it_is_split(model):
    tokenizer = Tokenizer(model, 512)
    assert tokenizer(" light  rings &amp;amp;\norbs") == tokenizer("light rings & orbs")


def test_bytes_that_are_not_text_are_refused(model):
    with pytest.raises(UsageError, match="not text"):
        Tokenizer(model, 512)("blue \udcff waves")


@pytest.mark.parametrize("part", ["nothing", "half", "all but a byte", "junk", "zeros", "pickle"])
def test_damaged_models_are_refused(model, part, tmp_path):
    data = {
        "nothing": b"",
        "half": model[: len(model) // 2],
        "all but a byte": model[:-1],
        "junk": b"<!DOCTYPE html><title>404</title>",
        "zeros": bytes(4096),
        "pickle": b"\x80\x02}q\x00.",
    }[part]
    path = tmp_path / "spiece.model"
    path.write_bytes(data)
    for given in (path, data):
        with pytest.raises(BadFileError, match="not a sentencepiece model"):
            Tokenizer(given, 512)


def test_a_model_without_an_end_token_is_refused():
    with pytest.raises(BadFileError, match="no </s>"):
        Tokenizer(train(eos_id=-1, unk_id=1), 512)


def test_unreadable_paths_are_reported(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        Tokenizer(tmp_path / "missing", 512)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ModelError, match="not a file"):
            Tokenizer(path, 512)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(BadFileError, match="larger"):
        Tokenizer(large, 512)

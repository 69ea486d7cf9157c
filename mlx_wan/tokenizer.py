"""Prompt text -> token ids of a SentencePiece model, cut at the length a model was trained for."""

import html
import re
from pathlib import Path

import ftfy
import sentencepiece

from .errors import BadFileError, ModelError, UsageError

MAX_MODEL_BYTES = 64 * 2**20  # published ones have 0.8 and 4.5 MB


class Tokenizer:
    """A sentencepiece model: a path to `spiece.model`, or its bytes (ComfyUI's files hold them).

    Calling it gives at most `text_len` ids, the last of them `</s>`. The text is cleaned (`clean`)
    or not, then normalised by the rules inside the model; ids of special tokens are its own.
    """

    def __init__(self, model: Path | str | bytes, text_len: int, *, cleaned: bool = True):
        assert text_len >= 1, text_len
        name, data = ("spiece.model", model) if isinstance(model, bytes) else _read(Path(model))
        self.text_len, self.cleaned = text_len, cleaned
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(data)
        except RuntimeError as error:
            raise BadFileError(
                f"{name} is not a sentencepiece model: {error}",
                "take spiece.model from the model's repository",
            ) from None
        self.end_id = self._processor.eos_id()
        if self.end_id < 0:
            raise BadFileError(f"{name} has no </s> token; prompts end with one")

    def __call__(self, text: str) -> list[int]:
        return [*self._pieces(text)[: self.text_len - 1], self.end_id]

    def cut_tokens(self, text: str) -> int:
        """How many tokens at the end of `text` calling leaves out."""
        return max(0, len(self._pieces(text)) + 1 - self.text_len)

    @property
    def vocab_size(self) -> int:
        """Ids are below this; the text encoder's table may be longer (padded)."""
        return self._processor.GetPieceSize()

    def _pieces(self, text: str) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                "the prompt has bytes that are not text", "write it in UTF-8"
            ) from None
        return self._processor.EncodeAsIds(clean(text) if self.cleaned else text)


def clean(text: str) -> str:
    """Mojibake repaired, HTML entities resolved twice, runs of white space made one space."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip()


def _read(path: Path) -> tuple[str, bytes]:
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"the tokenizer {path} is not a file")
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise BadFileError(
                f"{path.name} is larger than any tokenizer ({MAX_MODEL_BYTES} bytes)"
            )
        return path.name, path.read_bytes()
    except OSError as error:
        raise ModelError(f"the tokenizer {path} cannot be read: {error.strerror}") from None

"""Text -> token ids with the SentencePiece model a checkpoint brings, cleaned as Wan cleans it."""

import html
import re
from pathlib import Path

from .errors import BadFileError

_MAX_BYTES = 100_000_000


class Tokenizer:
    """Ids of a text, `</s>` last, at most `text_len` of them (wan.md, section 7).

    Normalisation (case folding, NFKC) is the model's own and happens inside SentencePiece. Raises
    BadFileError when `model` (a path, or the file's bytes) is not a SentencePiece model.
    """

    def __init__(self, model: str | Path | bytes, text_len: int):
        from sentencepiece import SentencePieceProcessor

        self.text_len = text_len
        try:
            data = model if isinstance(model, bytes) else _read(Path(model))
            self._pieces = SentencePieceProcessor(model_proto=data)
        except (RuntimeError, ValueError, OSError) as error:
            name = "the tokenizer" if isinstance(model, bytes) else str(model)
            raise BadFileError(f"{name} is not a SentencePiece model: {error}") from None
        self.end = self._pieces.eos_id()
        if self.end < 0:
            raise BadFileError("the SentencePiece model has no end-of-text token")

    def __call__(self, text: str) -> list[int]:
        return [*self._ids(text)[: self.text_len - 1], self.end]

    def cut_tokens(self, text: str) -> int:
        """How many tokens at the end of `text` do not fit and are left out."""
        return max(0, len(self._ids(text)) + 1 - self.text_len)

    def _ids(self, text: str) -> list[int]:
        return list(self._pieces.encode(clean(text)))


def clean(text: str) -> str:
    """Mend encoding errors and HTML entities, collapse whitespace (tokenizers.py of Wan)."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return re.sub(r"\s+", " ", text).strip()


def _read(path: Path) -> bytes:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("the file is too large")
    return path.read_bytes()

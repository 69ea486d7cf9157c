"""Text -> token ids of Qwen's byte-level BPE, from its tokenizer.json.

Of the file only the pieces, merges and added tokens are taken; how text is cut into words is
Qwen's and written here, so no file can bring a pattern of its own.
"""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from .errors import BadFileError, UsageError
from .files import read_small
from .tensorfile import strict_json

MAX_FILE_BYTES = 64 * 2**20  # the published one has 7 MB
MAX_PIECES = 2**20  # and 151,643 pieces with 22 added tokens
# QwenLM/Qwen2.5's words (tokenizer.json): contractions, letters, single digits, signs, white space
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TOKENS = ("<|im_start|>", "<|im_end|>")
_HINT = "take tokenizer.json from Qwen/Qwen2.5-VL-7B-Instruct"


class QwenTokenizer:
    """Calling it gives the ids of a text; `<|im_start|>` and other added tokens in it are one."""

    def __init__(self, file: Path | str):
        name = Path(file).name
        raw = read_small(Path(file), MAX_FILE_BYTES, what=f"the tokenizer {file}", hint=_HINT)
        try:
            pieces, merges, added = _parts(strict_json(raw))
            # an added token that is a piece too keeps its id
            model = models.BPE(vocab=pieces | added, merges=merges)
        except Exception as error:  # the library raises Exception itself
            why = str(error)[:200]
            raise BadFileError(f"{name} is not Qwen's tokenizer: {why}", _HINT) from None
        self.vocab_size = 1 + max(*pieces.values(), *added.values())  # ids are below this
        self._tokenizer = Tokenizer(model)
        self._tokenizer.normalizer = normalizers.NFC()
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self._tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])

    def __call__(self, text: str) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                "the prompt has bytes that are not text", "write it in UTF-8"
            ) from None
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _parts(content: Any) -> tuple[dict[str, int], list[tuple[str, str]], dict[str, int]]:
    """Pieces, merges and added tokens of a tokenizer.json. Raises ValueError."""
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ValueError("it has no model")
    pieces, merges = content["model"].get("vocab"), content["model"].get("merges")
    tokens = content.get("added_tokens")
    for name, value, kind in (("vocab", pieces, dict), ("merges", merges, list)):
        if not isinstance(value, kind) or not 0 < len(value) <= MAX_PIECES:
            raise ValueError(f"its {name} is not as in a byte-level BPE")
    if not isinstance(tokens, list) or len(tokens) > MAX_PIECES:
        raise ValueError("it lists no added_tokens")
    added = dict(map(_added, tokens))
    ids = [*pieces.values(), *(number for text, number in added.items() if text not in pieces)]
    if not all(type(number) is int and 0 <= number < MAX_PIECES for number in ids):
        raise ValueError("an id is not a whole number, or too large")
    if len(set(ids)) < len(ids) or any(pieces.get(text, n) != n for text, n in added.items()):
        raise ValueError("two tokens have the same id, or one has two")
    missing = [text for text in CHAT_TOKENS if text not in added]
    missing += [byte for byte in pre_tokenizers.ByteLevel.alphabet() if byte not in pieces]
    if missing:
        raise ValueError(f"it lacks {missing[0]!r}")
    "".join((*pieces, *added)).encode()  # half a character, which JSON may hold, is no text
    return pieces, [_merge(one, pieces) for one in merges], added


def _added(token: Any) -> tuple[str, int]:
    if not isinstance(token, dict) or not isinstance(token.get("content"), str):
        raise ValueError("an added token has no text")
    if not token["content"] or type(token.get("id")) is not int:
        raise ValueError("an added token has no text or no id")
    return token["content"], token["id"]


def _merge(merge: Any, pieces: dict[str, int]) -> tuple[str, str]:
    """Of `"a b"`, as older files have it, or `["a", "b"]`."""
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(p, str) for p in pair):
        raise ValueError(f"the merge {str(merge)[:60]!r} is not of two pieces")
    if not all(piece in pieces for piece in (*pair, pair[0] + pair[1])):
        raise ValueError(f"the merge {str(merge)[:60]!r} is of unknown pieces")
    return pair[0], pair[1]

"""The tokenizer of a model, checked and as it is stored in the converted folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.presets import Preset
from mlx_wan.tensorfile import read_tensor
from mlx_wan.tokenizer_qwen import CHAT_TOKENS, MAX_FILE_BYTES, QwenTokenizer

from .discover import read_json
from .parts import Part, Parts

_MAX_SPIECE = 50_000_000


@dataclass(frozen=True)
class TokenizerFile:
    """One file: its network in config.json, name, contents, and where they are from."""

    network: str
    name: str
    data: bytes
    sources: tuple[Path, ...]


def find_tokenizer(found: Parts, preset: Preset, encoder: Part) -> TokenizerFile:
    """The tokenizer that belongs to a text encoder.

    Raises ModelError where there is none, or several; BadFileError for one that is damaged.
    """
    network = preset.components["tokenizer"][0]
    return {"sentencepiece": _sentencepiece, "byte_bpe": _byte_bpe}[network](found, encoder)


# --- SentencePiece -----------------------------------------------------------------------------


def _sentencepiece(found: Parts, encoder: Part) -> TokenizerFile:
    """From inside a ComfyUI text encoder, else spiece.model."""
    place = encoder.found.spiece
    if place is not None:
        if place.info.dtype not in ("U8", "I8") or place.info.nbytes > _MAX_SPIECE:
            raise BadFileError(f"{place.file} has a spiece_model that cannot be a tokenizer")
        file, raw = place.file, read_tensor(place.file, place.info).tobytes()
    else:
        file, raw = _spiece_file(found, encoder)
    _check_pieces(file, raw, encoder.config.vocab_size)
    return TokenizerFile("sentencepiece", "spiece.model", raw, (file,))


def _spiece_file(found: Parts, encoder: Part) -> tuple[Path, bytes]:
    paths = [path for path in found.discovery.tokenizers if path.suffix == ".model"]
    for path in paths:
        if path.stat().st_size > _MAX_SPIECE:
            raise BadFileError(f"{path} is too large to be a tokenizer")
    versions = {path.read_bytes(): path for path in paths}
    if len(versions) > 1:
        names = " and ".join(found.discovery.relative(path) for path in versions.values())
        raise ModelError(f"{found.root} has different tokenizers: {names}", "keep the right one")
    for raw, path in versions.items():
        return path, raw
    only_json = any(path.name == "tokenizer.json" for path in found.discovery.tokenizers)
    raise ModelError(
        f"{found.root} has no spiece.model" + (", and tokenizer.json is not read" * only_json),
        f"copy spiece.model of {encoder.found.form.tokenizer_from} into it; every release of the "
        "authors has it",
    )


def _check_pieces(file: Path, raw: bytes, vocab_size: int) -> None:
    import sentencepiece

    try:
        pieces = (
            sentencepiece.SentencePieceProcessor(model_proto=raw).get_piece_size() if raw else 0
        )
    except Exception:  # whatever its parser finds wrong
        pieces = 0
    if not pieces:
        raise BadFileError(f"{file} holds no SentencePiece model", "download it again")
    _check_size(file, pieces, vocab_size)


# --- byte-level BPE ----------------------------------------------------------------------------


def _byte_bpe(found: Parts, encoder: Part) -> TokenizerFile:
    """tokenizer.json, or made of vocab.json and merges.txt as transformers makes it."""
    paths = found.discovery.tokenizers
    made: dict[bytes, tuple[Path, ...]] = {}
    for path in paths:
        if path.name not in ("tokenizer.json", "vocab.json"):
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadFileError(f"{path} is too large to be a tokenizer")
        if path.name == "tokenizer.json":
            made[path.read_bytes()] = (path,)
        elif not path.with_name("tokenizer.json").is_file():
            raw, sources = _from_vocabulary(path)
            made[raw] = sources
    usable: list[tuple[bytes, tuple[Path, ...], int]] = []
    problems = []
    for raw, sources in made.items():
        try:
            usable.append((raw, sources, _pieces_of(raw)))
        except BadFileError as error:
            problems.append(BadFileError(f"{sources[0]}: {error.message}", error.hint))
    if not usable and problems:
        raise problems[0]
    if len(usable) > 1:
        names = " and ".join(found.discovery.relative(files[0]) for _, files, _ in usable)
        raise ModelError(f"{found.root} has different tokenizers: {names}", "keep the right one")
    for raw, sources, pieces in usable:
        _check_size(sources[0], pieces, encoder.config.vocab_size)
        return TokenizerFile("byte_bpe", "tokenizer.json", raw, sources)
    raise ModelError(
        f"{found.root} has no tokenizer.json",
        "copy it, or vocab.json and merges.txt, from Qwen/Qwen2.5-VL-7B-Instruct",
    )


def _from_vocabulary(vocabulary: Path) -> tuple[bytes, tuple[Path, ...]]:
    """A tokenizer.json, and the files it was made of."""
    merges, added = (vocabulary.with_name(n) for n in ("merges.txt", "tokenizer_config.json"))
    if not merges.is_file():
        raise ModelError(f"{vocabulary} has no merges.txt beside it", "download it again")
    if merges.stat().st_size > MAX_FILE_BYTES:
        raise BadFileError(f"{merges} is too large to be a tokenizer")
    pieces = read_json(vocabulary)
    try:
        lines = merges.read_text(encoding="utf-8").splitlines()
    except ValueError:
        raise BadFileError(f"{merges} is not UTF-8", "download it again") from None
    pairs = [line for line in lines if line and not line.startswith("#version")]
    tokens: list[dict[str, object]] = []
    files = [vocabulary, merges]
    if added.is_file():
        files.append(added)
        listed = read_json(added).get("added_tokens_decoder", {})
        if not isinstance(listed, dict):
            raise BadFileError(f"{added} has no table of added tokens", "download it again")
        for number, token in listed.items():
            text = token.get("content") if isinstance(token, dict) else None
            if not isinstance(text, str) or not number.isascii() or not number.isdigit():
                raise BadFileError(f"{added} has a token without a text or id", "download it again")
            tokens.append({"id": int(number[:12]), "content": text})
    else:  # Qwen2's, which follow its pieces: <|endoftext|>, then those of the chat
        first = len(pieces)
        names = ("<|endoftext|>", *CHAT_TOKENS)
        tokens = [{"id": first + i, "content": text} for i, text in enumerate(names)]
    content = {"model": {"vocab": pieces, "merges": pairs}, "added_tokens": tokens}
    return json.dumps(content, ensure_ascii=False).encode(), tuple(files)


def _pieces_of(raw: bytes) -> int:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        file.write_bytes(raw)
        return QwenTokenizer(file).vocab_size


def _check_size(file: Path, pieces: int, vocab_size: int) -> None:
    if pieces > vocab_size:
        raise ModelError(
            f"{file} has {pieces:,} pieces; the text encoder knows {vocab_size:,}",
            "take tokenizer and text encoder from one release",
        )

"""Train a tokenizer of our own captions, and carry trained embeddings over to it.

python -m mlx_wan.bench.mini.text --run RUN        writes RUN/spiece.model

Not used by the weights that ship: theirs came with the first model (453 pieces).
"""

import argparse
import string
from io import BytesIO
from pathlib import Path

import numpy as np
import sentencepiece as spm

from .dataset import entry
from .themes import DOING, THEMES, TITLE_NOUNS, TITLE_SUBJECTS, UNKNOWN, draw_title

VOCABULARY = 600
TOKENIZER_FILE = "spiece.model"


def train(captions: int = 20_000, seed: int = 0) -> bytes:
    """SentencePiece unigram; its normaliser folds case, as the pieces are all lower case."""
    rng = np.random.default_rng(seed)
    lines = [entry(i).caption(rng) for i in range(captions)]
    lines = [line for line in lines if line.isascii() and line]
    lines += [draw_title(rng) for _ in range(captions // 10)]
    phrases = [phrase for theme in THEMES for phrase in theme.phrases]
    lines += [*phrases, *TITLE_NOUNS, *TITLE_SUBJECTS, *UNKNOWN, *DOING] * (captions // 1000)
    model = BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=VOCABULARY,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        normalization_rule_name="nmt_nfkc_cf",
        required_chars=string.ascii_lowercase + string.digits + "-+/&%#!?.,:;'\"()",
        split_digits=True,
        num_threads=1,
        minloglevel=1,
    )
    return model.getvalue()


def transfer(
    old: spm.SentencePieceProcessor, new: spm.SentencePieceProcessor, embedding: np.ndarray
) -> np.ndarray:
    """Embeddings for a new vocabulary: a known piece keeps its row, others average their parts."""
    known = {old.id_to_piece(i): i for i in range(old.get_piece_size())}
    rows = np.zeros((new.get_piece_size(), embedding.shape[1]), dtype=np.float32)
    for i in range(len(rows)):
        piece = new.id_to_piece(i)
        parts = [known[piece]] if piece in known else old.encode(piece.replace("▁", " "))
        rows[i] = embedding[parts or [2]].mean(axis=0)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / TOKENIZER_FILE).write_bytes(train())


if __name__ == "__main__":
    main()

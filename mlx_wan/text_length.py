"""How many tokens a text will have, without its tokenizer: for what a run is expected to cost."""

_LARGE, _SMALL = 32_000, 200  # pieces: UMT5's 256,000 and wan-mini's 453 are of three kinds


def expected_tokens(text: str, vocab_size: int, most: int) -> int:
    """Tokens of a text, its end included, at most `most`; about right, by the kind of letters."""
    dense = sum(ord(letter) > 0x2E7F for letter in text)  # Chinese, Japanese, Korean
    if vocab_size >= _LARGE:
        count = dense / 1.1 + (len(text) - dense) / 4
    else:  # letters such a vocabulary does not know become one token for a run of them
        count = dense * 0.44 + (len(text) - dense) / (1.8 if vocab_size > _SMALL else 1.1)
    return max(1, min(most, round(count) + 1))

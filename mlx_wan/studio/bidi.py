"""Right-to-left text: which parts of a line run which way (Unicode Standard Annex 9).

Without explicit embeddings and isolates, which `text.clean` takes out. Rule names are the annex's.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache

_NEUTRAL = {"B", "S", "WS", "ON"}
_PAIRS = "()[]{}⟨⟩⟦⟧⟪⟫〈〉《》「」『』【】〔〕〖〗〘〙（）［］｛｝｟｠｢｣⁽⁾₍₎⌈⌉⌊⌋"
_BRACKETS = dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True))
_MAX_OPEN = 63  # brackets; with more, none are paired (BD16)
_CLOSING = {close: opening for opening, close in _BRACKETS.items()}


def is_right_to_left(text: str) -> bool:
    """Whether the first strong character of the paragraph runs right to left (P2, P3)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return True
        if kind == "L":
            return False
    return False


def levels(text: str, right_to_left: bool) -> list[int]:
    """The embedding level of every character: even runs left to right, odd right to left."""
    base = int(right_to_left)
    original = [_kind(character) for character in text]
    kinds = list(original)
    edge = "R" if base else "L"
    _weak(kinds, edge)
    _brackets(text, kinds, edge)
    _neutral(kinds, edge)
    out = [base + _raise(kind, base) for kind in kinds]
    _trailing_spaces(original, out, base)
    return out


def visual_runs(levels: list[int]) -> list[tuple[int, int, int]]:
    """(start, end, level) of the runs as they stand from left to right (L2)."""
    runs: list[tuple[int, int, int]] = []
    for position, level in enumerate(levels):
        if runs and runs[-1][2] == level:
            runs[-1] = (runs[-1][0], position + 1, level)
        else:
            runs.append((position, position + 1, level))
    for threshold in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(runs):
            end = start
            while end < len(runs) and runs[end][2] >= threshold:
                end += 1
            runs[start:end] = runs[start:end][::-1]
            start = max(end, start + 1)
    return runs


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    # unassigned characters are refused elsewhere
    return unicodedata.bidirectional(character) or "L"


def _weak(kinds: list[str], edge: str) -> None:
    before = edge
    for i, kind in enumerate(kinds):  # W1; BN takes part like a mark (5.2)
        if kind in ("NSM", "BN"):
            kinds[i] = before
        else:
            before = kind
    strong = edge
    for i, kind in enumerate(kinds):  # W2, W3
        if kind in ("L", "R", "AL"):
            strong = kind
        if kind == "EN" and strong == "AL":
            kinds[i] = "AN"
    kinds[:] = ["R" if kind == "AL" else kind for kind in kinds]
    for i in range(1, len(kinds) - 1):  # W4
        around = (kinds[i - 1], kinds[i + 1])
        if (kinds[i] in ("ES", "CS") and around == ("EN", "EN")) or (
            kinds[i] == "CS" and around == ("AN", "AN")
        ):
            kinds[i] = around[0]
    _each_run(kinds, lambda kind: kind == "ET", _join_numbers)  # W5
    kinds[:] = ["ON" if kind in ("ET", "ES", "CS") else kind for kind in kinds]  # W6
    strong = edge
    for i, kind in enumerate(kinds):  # W7
        if kind in ("L", "R"):
            strong = kind
        if kind == "EN" and strong == "L":
            kinds[i] = "L"


def _join_numbers(kinds: list[str], start: int, end: int) -> None:
    if "EN" in (kinds[start - 1] if start else "", kinds[end] if end < len(kinds) else ""):
        kinds[start:end] = ["EN"] * (end - start)


def _brackets(text: str, kinds: list[str], edge: str) -> None:
    """Paired brackets take the direction of what is inside them (N0)."""
    for start, end in _pairs(text, kinds):
        inside = {_strong(kind) for kind in kinds[start + 1 : end]} - {None}
        if edge in inside:
            found = edge
        elif inside:
            before = next((s for k in reversed(kinds[:start]) if (s := _strong(k))), edge)
            found = before if before in inside else edge
        else:
            continue
        for position in (start, end):
            kinds[position] = found
            follow = position + 1
            while follow < len(kinds) and _kind(text[follow]) == "NSM":
                kinds[follow] = found
                follow += 1


def _pairs(text: str, kinds: list[str]) -> list[tuple[int, int]]:
    pairs, opened = [], list[tuple[str, int]]()
    for position, character in enumerate(text):
        if kinds[position] != "ON":
            continue
        if character in _BRACKETS:
            if len(opened) == _MAX_OPEN:
                return []
            opened.append((character, position))
        elif character in _CLOSING:
            for depth in range(len(opened) - 1, -1, -1):
                if opened[depth][0] == _CLOSING[character]:
                    pairs.append((opened[depth][1], position))
                    del opened[depth:]
                    break
    return sorted(pairs)


def _strong(kind: str) -> str | None:
    return {"L": "L", "R": "R", "EN": "R", "AN": "R"}.get(kind)


def _neutral(kinds: list[str], edge: str) -> None:
    def fill(kinds: list[str], start: int, end: int) -> None:  # N1, N2
        before = _strong(kinds[start - 1]) if start else edge
        after = _strong(kinds[end]) if end < len(kinds) else edge
        kinds[start:end] = [before if before == after and before else edge] * (end - start)

    _each_run(kinds, lambda kind: kind in _NEUTRAL, fill)


def _each_run(
    kinds: list[str],
    wanted: Callable[[str], bool],
    do: Callable[[list[str], int, int], None],
) -> None:
    start = 0
    while start < len(kinds):
        end = start
        while end < len(kinds) and wanted(kinds[end]):
            end += 1
        if end > start:
            do(kinds, start, end)
        start = max(end, start + 1)


def _raise(kind: str, base: int) -> int:
    """I1 and I2."""
    if base:
        return 0 if kind == "R" else 1
    return {"R": 1, "AN": 2, "EN": 2}.get(kind, 0)


def _trailing_spaces(original: list[str], out: list[int], base: int) -> None:
    """Spaces at the end of the line go to its end (L1)."""
    for position in range(len(out) - 1, -1, -1):
        if original[position] not in ("WS", "S", "B", "BN"):
            return
        out[position] = base

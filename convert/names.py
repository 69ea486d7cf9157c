"""Tensor names of other layouts and ours: a table of rows, read as rules.

A row names the same tensor in several columns, ours first. `N` and `M` stand for numbers, a final
`*` for weight, bias or gamma. `[1/3]` behind a foreign name says that ours is the second of three
equal shares of its rows, so every tensor of ours is a contiguous part of one foreign tensor.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

Names = Collection[str]
Row = tuple[str, ...]
Rows = tuple[Row, ...]
OURS = 0  # the first column
_SHARE = re.compile(r"\[(\d)/(\d)\]$")


@dataclass(frozen=True)
class Share:
    """Where a tensor of ours is in a foreign checkpoint: one of `of` equal shares of the rows."""

    name: str
    index: int = 0
    of: int = 1


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    becomes: str  # for `expand`
    index: int
    of: int


def from_ours(rows: Rows, column: int, names: Iterable[str]) -> dict[str, Share]:
    """Our name -> where that tensor is in the layout of a column, by the first row that fits."""
    found: dict[str, Share] = {}
    for name in names:
        for rule in _rules(rows, OURS, column):
            if match := rule.pattern.fullmatch(name):
                found[name] = Share(match.expand(rule.becomes), rule.index, rule.of)
                break
    return found


def to_ours(rows: Rows, column: int, names: Iterable[str]) -> dict[str, list[str]]:
    """Foreign name -> our names in the order of its rows, for those in the table."""
    found: dict[str, list[str]] = {}
    for name in names:
        shares: dict[int, str] = {}
        for rule in _rules(rows, column, OURS):
            if rule.index not in shares and (match := rule.pattern.fullmatch(name)):
                shares[rule.index] = match.expand(rule.becomes)
                if len(shares) == rule.of:
                    break
        if shares:
            found[name] = [shares[index] for index in sorted(shares)]
    return found


def inside(places: Row, rows: Iterable[Row]) -> list[Row]:
    """Rows of a block put at its places, one for each column."""
    return [tuple(".".join(pair) for pair in zip(places, row, strict=True)) for row in rows]


@lru_cache
def _rules(rows: Rows, source: int, target: int) -> tuple[_Rule, ...]:
    return tuple(_rule(row[source], row[target]) for row in rows)


def _rule(source: str, target: str) -> _Rule:
    """("blocks.N.ffn.0.*", "blocks.N.ffn.fc1.*") -> a pattern and what `expand` makes of it."""
    share = _SHARE.search(source) or _SHARE.search(target)
    index, of = (int(share[1]), int(share[2])) if share else (0, 1)
    source, target = (_SHARE.sub("", name) for name in (source, target))
    groups = {"N": r"(?P<N>0|[1-9]\d{0,2})", "M": r"(?P<M>0|[1-9]\d{0,2})", "*": r"(?P<leaf>\w+)"}
    pattern = r"\.".join(_part(part, groups, escape=True) for part in source.split("."))
    marks = {"N": r"\g<N>", "M": r"\g<M>", "*": r"\g<leaf>"}
    becomes = ".".join(_part(part, marks, escape=False) for part in target.split("."))
    return _Rule(re.compile(pattern), becomes, index, of)


def _part(part: str, marks: dict[str, str], *, escape: bool) -> str:
    """One part of a name with its placeholder filled: "N", "*", or a final star as in "proj_*"."""
    if part in marks:
        return marks[part]
    stem = part.removesuffix("*")
    return (re.escape(stem) if escape else stem) + (marks["*"] if stem != part else "")

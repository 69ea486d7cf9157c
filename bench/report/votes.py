"""What people preferred: one line of `votes.jsonl` for each vote, and what follows from them."""

import json
import os
import re
import stat
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.files import locked
from mlx_wan.tensorfile import strict_json

from .stats import Interval, bootstrap_interval, bradley_terry_intervals, evidence, sign_test

FILE = "votes.jsonl"
CHOICES = ("left", "right", "tie")
MAX_RATER = 40
_MAX_BYTES = 32_000_000
_PAIR = re.compile(r"([a-z0-9_]{1,40})-\d{1,19}")


@dataclass(frozen=True)
class Vote:
    """`left` and `right` are the variants as they stood on the screen; `pair` is PROMPT-SEED."""

    pair: str
    left: str
    right: str
    choice: str
    rater: str
    time: str

    @property
    def prompt(self) -> str:
        return self.pair.rpartition("-")[0]

    @property
    def question(self) -> tuple[str, str, frozenset[str]]:
        """Who was asked what: of several answers the last one counts."""
        return self.rater, self.pair, frozenset((self.left, self.right))

    def share(self, variant: str) -> float:
        """1 when `variant` won, 0 when it lost, half for a tie."""
        if self.choice == "tie":
            return 0.5
        return float((self.left if self.choice == "left" else self.right) == variant)


@dataclass(frozen=True)
class Preference:
    """B against A by votes. Wins are of prompts: their votes are averaged before they count."""

    votes: int
    raters: int
    wins: int
    losses: int
    ties: int
    win_rate: Interval | None
    mean_win_rate: float
    sign_p: float
    evidence: float


def read_votes(folder: Path) -> tuple[list[Vote], int]:
    """All votes, the last one for each question, and how many lines could not be read.

    Raises BadFileError when the file is none of its own, or too large.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return [], 0
    try:
        with open(_open(path, os.O_RDONLY), "rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadFileError(
            f"{path} cannot be read: {error.strerror}", "move it away; a link is not followed"
        ) from None
    if len(raw) > _MAX_BYTES:
        raise BadFileError(f"{path} is too large", f"accepted: up to {_MAX_BYTES:,} bytes")
    last: dict[Any, Vote] = {}
    unreadable = 0
    for line in raw.split(b"\n"):
        if not line.strip():
            continue
        vote = _vote(line)
        if vote is None:
            unreadable += 1
        else:
            last.pop(vote.question, None)
            last[vote.question] = vote
    return list(last.values()), unreadable


def add_vote(folder: Path, pair: str, left: str, right: str, choice: str, rater: str) -> Vote:
    """Append a vote in one write and wait for the disk. Raises MlxWanError when it cannot be."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    vote = Vote(pair, left, right, choice, rater, now)
    line = json.dumps(asdict(vote), ensure_ascii=False).encode() + b"\n"
    path = folder / FILE
    try:
        with locked(path) as number:
            size = os.lseek(number, 0, os.SEEK_END)
            if size and os.pread(number, 1, size - 1) != b"\n":
                line = b"\n" + line  # a line that was cut short stays alone
            if os.write(number, line) != len(line):
                raise OSError(None, "it was not written whole")
            os.fsync(number)
    except OSError as error:
        raise MlxWanError(
            f"the vote cannot be stored in {path}: {error.strerror}", "check space and permissions"
        ) from None
    return vote


def check_rater(name: Any) -> str:
    """A rater's name as it is stored. Raises UsageError."""
    text = unicodedata.normalize("NFC", name).strip() if isinstance(name, str) else ""
    sound = 1 <= len(text) <= MAX_RATER and not any(
        unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for letter in text
    )
    if not sound:
        raise UsageError("this is no name for a rater", f"accepted: 1 to {MAX_RATER} letters")
    return text


def preference(votes: Sequence[Vote], a: str, b: str, seed: int = 0) -> Preference | None:
    """What the votes between two variants say; None without any."""
    own = [vote for vote in votes if {vote.left, vote.right} == {a, b}]
    if not own:
        return None
    by_prompt: dict[str, list[float]] = {}
    for vote in own:
        by_prompt.setdefault(vote.prompt, []).append(vote.share(b))
    shares = np.array([fmean(found) for found in by_prompt.values()])
    wins, losses = int((shares > 0.5).sum()), int((shares < 0.5).sum())
    return Preference(
        votes=len(own),
        raters=len({vote.rater for vote in own}),
        wins=wins,
        losses=losses,
        ties=len(shares) - wins - losses,
        win_rate=bootstrap_interval(shares, seed=seed),
        mean_win_rate=float(shares.mean()),
        sign_p=sign_test(wins, losses),
        evidence=evidence(wins, losses),
    )


def strengths(
    votes: Sequence[Vote], variants: Sequence[str], seed: int = 0
) -> dict[str, Interval | None]:
    """Bradley-Terry strengths, which sum to 1; each prompt counts as much as any other."""
    number = {id: index for index, id in enumerate(variants)}
    by_prompt: dict[str, list[Vote]] = {}
    for vote in votes:
        if vote.left in number and vote.right in number:
            by_prompt.setdefault(vote.prompt, []).append(vote)
    wins = np.zeros((len(by_prompt), len(variants), len(variants)))
    for index, asked in enumerate(by_prompt.values()):
        pairs: dict[frozenset[str], list[Vote]] = {}
        for vote in asked:
            pairs.setdefault(frozenset((vote.left, vote.right)), []).append(vote)
        for same in pairs.values():
            one, other = sorted((same[0].left, same[0].right))
            share = fmean(vote.share(one) for vote in same)
            wins[index, number[one], number[other]] += share
            wins[index, number[other], number[one]] += 1 - share
    if not by_prompt:
        return dict.fromkeys(variants)
    return dict(zip(variants, bradley_terry_intervals(wins, seed=seed), strict=True))


def _vote(line: bytes) -> Vote | None:
    """A line's vote, or None when it is none."""
    try:
        data = strict_json(line)
        names = ("pair", "left", "right", "choice", "rater", "time")
        if not isinstance(data, dict) or not all(isinstance(data.get(n), str) for n in names):
            return None
        vote = Vote(*(data[name] for name in names))
        check_rater(vote.rater)
    except (ValueError, UsageError):
        return None
    ids = re.fullmatch("[a-z]", vote.left) and re.fullmatch("[a-z]", vote.right)
    sound = ids and vote.left != vote.right and vote.choice in CHOICES and len(vote.time) <= 40
    return vote if sound and _PAIR.fullmatch(vote.pair) else None


def _open(path: Path, flags: int) -> int:
    """A regular file of its own: no link is followed, no pipe waited for."""
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(None, "it is not a file")
    return number

"""What people are asked, blind: pairs in random order, sides drawn anew, names that tell nothing.

Which variant is on which side is known only here. The browser gets random words for a question and
for its two videos; from those words alone nothing follows.
"""

import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_wan.bench.ab.results import StoredExperiment
from mlx_wan.errors import UsageError

from .build import BASELINE
from .media import Videos
from .votes import CHOICES, Vote, add_vote, check_rater

MAX_RATERS = 200
_DICE = secrets.SystemRandom()


@dataclass(frozen=True)
class Question:
    """Two variants of one pair; `id` and the two `tokens`, left and right, are random words."""

    pair: str
    prompt: str
    sides: tuple[str, str]
    videos: tuple[Path, Path]
    id: str = ""
    tokens: tuple[str, str] = ("", "")

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        return self.pair, frozenset(self.sides)


class Voting:
    """Hands out each rater's next question and stores the answers; safe for several threads."""

    def __init__(self, experiment: StoredExperiment, videos: Videos, votes: Iterable[Vote]):
        self._folder = experiment.folder
        self._questions = _questions(experiment, videos)
        self._answered: dict[str, set[tuple[str, frozenset[str]]]] = {}
        self._open: dict[str, Question] = {}  # by rater
        self._lock = threading.Lock()
        for vote in votes:
            rater, pair, sides = vote.question
            self._answered.setdefault(rater, set()).add((pair, sides))

    @property
    def total(self) -> int:
        return len(self._questions)

    def next_question(self, rater: Any) -> dict[str, Any]:
        """What the page shows `rater` next. Raises UsageError for a name that is none."""
        name = check_rater(rater)
        with self._lock:
            return self._next(name)

    def answer(self, id: Any, choice: Any) -> dict[str, Any]:
        """Store an answer; returns what comes next.

        Raises UsageError for another choice or a question that is not open, MlxWanError when the
        vote cannot be stored.
        """
        if choice not in CHOICES:
            raise UsageError("this is no choice", f"accepted: {', '.join(CHOICES)}")
        with self._lock:
            rater = next((name for name, one in self._open.items() if one.id == id), None)
            if rater is None:
                raise UsageError("this question is not open any more", "load the page again")
            asked = self._open[rater]
            add_vote(self._folder, asked.pair, *asked.sides, choice, rater)
            del self._open[rater]
            self._answered.setdefault(rater, set()).add(asked.key)
            return self._next(rater)

    def video(self, token: str) -> Path | None:
        """The video behind a word of an open question."""
        with self._lock:
            for asked in self._open.values():
                for own, path in zip(asked.tokens, asked.videos, strict=True):
                    if secrets.compare_digest(own.encode(), token.encode()):
                        return path
        return None

    def _next(self, rater: str) -> dict[str, Any]:
        answered = self._answered.get(rater, set())
        left = [one for one in self._questions if one.key not in answered]
        told: dict[str, Any] = {"done": self.total - len(left), "total": self.total}
        if not left:
            return told | {"question": None}
        if rater not in self._open:
            if len(self._open) >= MAX_RATERS:
                raise UsageError("too many people vote at once", "answer a question that is open")
            self._open[rater] = _drawn(_DICE.choice(left))
        asked = self._open[rater]
        urls = [f"/video/{token}" for token in asked.tokens]
        question = {"id": asked.id, "prompt": asked.prompt, "left": urls[0], "right": urls[1]}
        return told | {"question": question}


def _questions(experiment: StoredExperiment, videos: Videos) -> list[Question]:
    """Every variant against the first one, wherever both have a video."""
    texts = {prompt.id: prompt.text for prompt in experiment.prompts}
    found = []
    for (prompt, seed), runs in videos.items():
        for id, run in runs.items():
            first = runs.get(BASELINE)
            if id != BASELINE and first is not None and first.video and run.video:
                sides, paths = (BASELINE, id), (first.video, run.video)
                found.append(Question(f"{prompt}-{seed}", texts[prompt], sides, paths))
    return found


def _drawn(question: Question) -> Question:
    """With sides and words of its own."""
    words = [secrets.token_urlsafe(16) for _ in range(3)]
    drawn = replace(question, id=words[0], tokens=(words[1], words[2]))
    if _DICE.random() < 0.5:
        return drawn
    return replace(drawn, sides=drawn.sides[::-1], videos=drawn.videos[::-1])

"""From a topic or three texts to a storyboard: what is shown, what is said, and when.

The same topic always gives the same storyboard; a seed gives another variation of its pictures.
"""

import hashlib
import math
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mlx_wan.errors import UsageError
from mlx_wan.presets import EMBEDDED, Preset

from .background import CROSSFADE
from .mini_words import COUNT_WORDS, MOVEMENTS, NOUNS, STILL
from .names import linkedin_name, slug, youtube_name
from .storyboard import MAX_SHOTS, MIN_SHOT, Shot, Storyboard, TextBlock, check_duration
from .text import clean
from .themes import GENERAL, THEMES, Theme
from .timing import Words, in_parts, spans

LINKEDIN_FORMATS = ("square", "wide")
_LOOP_SECONDS = 8.0  # a loop is worth looking at for so long
_MOST_PICTURES = 24  # of a long video made of loops

_OPENING = ("slow push in", "slow low-angle push in", "the camera glides slowly forward")
_MIDDLE = (
    "slow tracking shot from left to right",
    "the camera drifts slowly to the right",
    "slow aerial glide",
    "slow orbit around it",
    "static camera, only the scene moves",
)
_CLOSING = ("slow pull back, calm ending", "the camera rises slowly", "static wide shot, very calm")
_FINISH = "cinematic, photorealistic, shallow depth of field, calm empty space in the middle"

# of wan-mini's words for each motif, the one whose pictures are meant
_NOUNS = {motif: nouns[0] for motif, nouns in NOUNS.items()} | {
    "waves": NOUNS["waves"][1],
    "gradient": NOUNS["gradient"][1],
}
_COUNTED = {
    "orbs": (COUNT_WORDS["orbs"]["few"][0], COUNT_WORDS["orbs"]["several"][0]),
    "particles": (COUNT_WORDS["particles"]["several"][0], COUNT_WORDS["particles"]["many"][0]),
}
_DRIFTING = {way: MOVEMENTS[way][1] for way in ("left", "right")} | {"up": MOVEMENTS["up"][2]}
_MOVING = (MOVEMENTS["left"][0], MOVEMENTS["right"][0])
_MOVES = {
    "orbs": (_DRIFTING["up"], _DRIFTING["left"], _DRIFTING["right"]),
    "particles": (MOVEMENTS["up"][1], _DRIFTING["up"], _DRIFTING["right"]),
    "waves": _MOVING,
    "sweep": _MOVING,
    "aurora": _MOVING,
    "rings": (MOVEMENTS["out"][0],),
    "gradient": (STILL[0], STILL[1], STILL[4]),
}


@dataclass(frozen=True)
class Pictures:
    """How a model is asked for pictures: concrete scenes, or the abstract motion wan-mini knows;
    and after how many seconds the next one comes."""

    abstract: bool = False
    seconds: float = 4.5


def pictures_for(preset: Preset) -> Pictures:
    """What suits a model: about one native clip a shot, crossfade included, or a loop's while."""
    native = (preset.num_frames - 1) / preset.fps * preset.stretch
    seconds = _LOOP_SECONDS if preset.loops else max(native - CROSSFADE, 1.0)
    return Pictures(preset.id == EMBEDDED, seconds)


def linkedin_storyboard(
    topic: str,
    duration: float = 10,
    format_name: str = "square",
    *,
    pictures: Pictures = Pictures(),
    seed: int = 0,
    image: str | None = None,
) -> Storyboard:
    """A topic as the title over moving pictures of it. Raises UsageError.

    A long topic is shown sentence by sentence. With an `image` there is one shot, which begins
    with it.
    """
    if format_name not in LINKEDIN_FORMATS:
        raise UsageError(
            f"format is {format_name!r}; LinkedIn videos are square or wide",
            "for a vertical video there is `mlx-wan youtube`",
        )
    board = topic_storyboard(
        topic, duration, format_name, pictures=pictures, seed=seed, image=image
    )
    return replace(board, name=linkedin_name(topic, duration))


def topic_storyboard(
    topic: str,
    duration: float,
    format_name: str,
    *,
    pictures: Pictures = Pictures(),
    seed: int = 0,
    image: str | None = None,
) -> Storyboard:
    """`linkedin_storyboard` in any format, named after the topic."""
    check_duration(duration)
    topic = clean(topic, "the topic")
    first, *others = in_parts(topic)
    words = [Words("title", first), *(Words("content", part) for part in others)]
    texts = _timed(words, duration)
    shots = _shots(topic, [("", duration)], pictures, seed, image)
    return Storyboard(format_name, duration, shots, texts, topic, slug(topic))


def youtube_storyboard(
    hook: str | None = None,
    content: str | None = None,
    cta: str | None = None,
    duration: float = 30,
    *,
    pictures: Pictures = Pictures(),
    seed: int = 0,
    image: str | None = None,
) -> Storyboard:
    """A vertical short: hook, content and call to action, each over its own pictures.

    What is left out leaves its time to the others; one must be given. Raises UsageError.
    """
    check_duration(duration)
    words = []
    for role, text in (("hook", hook), ("content", content), ("cta", cta)):
        if text is not None:
            whole = clean(text, role)
            seen = in_parts(whole) if role == "content" else [whole]
            words += [Words(role, one) for one in seen]
    if not words:
        raise UsageError("there is nothing to say", "give --hook, --content or --cta")
    texts = _timed(words, duration)
    parts = [
        (role, sum(text.end - text.start for text in texts if text.role == role))
        for role in dict.fromkeys(text.role for text in texts)
    ]
    topic = " ".join(one.text for one in words)
    shots = _shots(topic, parts, pictures, seed, image)
    return Storyboard("shorts", duration, shots, texts, words[0].text, youtube_name(duration))


def themes_of(topic: str) -> list[Theme]:
    """What a topic is about, the most likely first; at most two, and GENERAL for neither."""
    text = unicodedata.normalize("NFKC", topic).casefold()
    tokens = re.findall(r"\w+", text)
    counted = [(sum(_matches(word, tokens, text) for word in t.words), t) for t in THEMES]
    found = sorted((one for one in counted if one[0]), key=lambda one: -one[0])
    return [theme for _, theme in found[:2]] or [GENERAL]


def _matches(word: str, tokens: Sequence[str], text: str) -> int:
    stem = word.rstrip("*")
    if not re.match(r"[\w-]", stem, re.ASCII) and not re.match("[à-öø-ÿœа-я]", stem):
        return stem in text  # scripts without spaces, and Arabic with its prefixes
    if word.endswith("*"):
        return sum(token.startswith(stem) for token in tokens)
    return tokens.count(word)


def _timed(words: Sequence[Words], duration: float) -> tuple[TextBlock, ...]:
    times = spans(words, duration)
    return tuple(
        TextBlock(one.role, one.text, start, end)
        for one, (start, end) in zip(words, times, strict=True)
    )


def _shots(
    topic: str,
    parts: Sequence[tuple[str, float]],
    pictures: Pictures,
    seed: int,
    image: str | None,
) -> tuple[Shot, ...]:
    """Shots for parts of a video, each (role, seconds)."""
    total = math.fsum(seconds for _, seconds in parts)
    if image is not None or min(seconds for _, seconds in parts) < 2 * MIN_SHOT:
        parts = [("", total)]
    each = max(pictures.seconds, total / (_MOST_PICTURES if pictures.abstract else MAX_SHOTS / 2))
    lengths: list[tuple[str, float]] = []
    for role, seconds in parts:
        count = 1 if image is not None else max(1, math.ceil(seconds / each - 1e-6))
        lengths += [(role, length) for length in _equal(seconds, count)]
    prompts = _prompts(topic, [role for role, _ in lengths], pictures, seed)
    return tuple(
        Shot(prompt, length, image=image if number == 0 else None)
        for number, (prompt, (_, length)) in enumerate(zip(prompts, lengths, strict=True))
    )


def _equal(seconds: float, count: int) -> list[float]:
    """Parts of about the same length, in hundredths of a second, that add up."""
    ends = [round(seconds * number / count, 2) for number in range(count)] + [seconds]
    return [round(end - start, 6) for start, end in pairwise(ends)]


def _prompts(topic: str, roles: Sequence[str], pictures: Pictures, seed: int) -> list[str]:
    themes = themes_of(topic)
    digest = hashlib.sha256(f"{seed}:{topic}".encode()).digest()
    rng = random.Random(digest)
    write = _abstract if pictures.abstract else _concrete
    return write(themes, roles, rng)


def _concrete(themes: list[Theme], roles: Sequence[str], rng: random.Random) -> list[str]:
    """Scenes of the themes in turn, none twice before all were shown, in one light."""
    decks = [rng.sample(theme.scenes, len(theme.scenes)) for theme in themes]
    cameras = rng.sample(_MIDDLE, len(_MIDDLE))
    prompts = []
    for number, role in enumerate(roles):
        deck = decks[number % len(decks)]
        scene = deck[number // len(decks) % len(deck)]
        if role == "hook" or number == 0:
            camera = rng.choice(_OPENING)
        elif role == "cta" or number == len(roles) - 1:
            camera = rng.choice(_CLOSING)
        else:
            camera = cameras[number % len(cameras)]
        prompts.append(
            f"{scene}. {camera.capitalize()}. {themes[0].light.capitalize()}, {_FINISH}."
        )
    return prompts


def _abstract(themes: list[Theme], roles: Sequence[str], rng: random.Random) -> list[str]:
    """One background and family of colours; motif, direction and second colour change."""
    theme = themes[0]
    background = rng.choice(theme.backgrounds)
    motifs = rng.sample(theme.motifs, len(theme.motifs))
    colours = list(theme.colours)
    prompts = []
    for number in range(len(roles)):
        motif = motifs[number % len(motifs)]
        colour = colours[number // len(motifs) % len(colours)]
        count = f"{rng.choice(_COUNTED[motif])} " if motif in _COUNTED else ""
        move = rng.choice(_MOVES[motif])
        prompts.append(f"slow {count}{colour} {_NOUNS[motif]} {move}, on a {background} background")
    return prompts

"""Describes a `Look` in one English sentence, drawn from a small grammar. Numpy only.

`[prefix] [count] [colour] noun | [speed] [movement] | [background] [suffix]`: each attribute is
named most of the time, the rest the model has to make up. Prefixes and suffixes carry no meaning.
"""

import numpy as np

from mlx_wan.studio.mini_words import COUNT_WORDS, MOVEMENTS, NOUNS, STILL

from .looks import Look, pick
from .themes import words

SPEED_WORDS: dict[str, tuple[str, ...]] = {
    "slow": words("slow|slowly|gently|calm|softly"),
    "medium": words("steadily|at a steady pace|moving smoothly|flowing"),
    "fast": words("fast|quickly|rapidly|energetic|at high speed"),
}
ADVERBS = words("slowly|gently|softly|steadily|quickly|rapidly|at a steady pace|at high speed")
BACKGROUND_PHRASES = words(
    "on a {} background|over a {} background|against {}|on {}|in front of a {} backdrop|"
    "with a {} background|{} background|over {}"
)
PREFIXES = words(
    "abstract motion background, |a video of |abstract |loop of |motion graphics: |"
    "background with |seamless loop, |minimal "
)
SUFFIXES = words(
    ", cinematic|, 4k|, no text|, high quality|, elegant|, for social media|, smooth|"
    ", seamless loop|, soft light"
)

NAMED = {"colour": 0.95, "background": 0.85, "direction": 0.85, "speed": 0.7, "count": 0.7}
UNNAMED_BACKGROUNDS = ("black", "navy", "charcoal")  # what a short prompt gets, 70 % of the time

NEGATIVES = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走",
    "blurry, low quality, distorted, watermark, text",
    "worst quality, static, overexposed, ugly, jpeg artifacts",
    "text, subtitles, logo, people, faces, noise",
)


def caption(look: Look, rng: np.random.Generator, everything: bool = False) -> str:
    """One random sentence for the look; `everything` names every attribute and adds nothing."""

    def says(attribute: str) -> bool:
        return everything or rng.random() < NAMED[attribute]

    noun = pick(rng, NOUNS[look.motif])
    thing = f"{look.shade} {noun}" if says("colour") else noun
    if look.motif in COUNT_WORDS and says("count"):
        thing = f"{pick(rng, COUNT_WORDS[look.motif][look.count])} {thing}"
    movement = pick(rng, MOVEMENTS[look.direction] if look.direction else STILL)
    moves = says("direction") if look.direction else rng.random() < 0.5
    words = [thing, movement] if moves else [thing]
    if says("speed"):
        speed = pick(rng, SPEED_WORDS[look.speed])
        if speed not in ADVERBS:
            words[0] = f"{speed} {words[0]}"
        elif moves and rng.random() < 0.5 and not speed.startswith("at "):
            words[1] = f"{speed} {movement}"
        else:
            words.append(speed)
    # A background that is rarely left unsaid stays likely to be one of the usual three.
    unnamed = 0.5 if look.background in UNNAMED_BACKGROUNDS else 0.07
    if everything or rng.random() >= unnamed:
        words.append(pick(rng, BACKGROUND_PHRASES).format(look.background_shade))
    sentence = _arrange(words, rng)
    if everything:
        return sentence
    return _dress(sentence, rng)


def _arrange(words: list[str], rng: np.random.Generator) -> str:
    if len(words) > 1 and "background" in words[-1] and rng.random() < 0.15:
        words = [words[-1].removeprefix("with "), *words[:-1]]
        return ", ".join(words)
    style = rng.random()
    if style < 0.4:
        return ", ".join(words)
    return ". ".join(words) if style < 0.5 else " ".join(words)


def _dress(sentence: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        sentence = pick(rng, PREFIXES) + sentence
    if rng.random() < 0.3:
        sentence += pick(rng, SUFFIXES)
    if rng.random() < 0.3:
        sentence = sentence[0].upper() + sentence[1:]
    return sentence + "." if rng.random() < 0.15 else sentence


def dress_theme(phrase: str, rng: np.random.Generator) -> str:
    """A theme's phrase as people type it: alone, or with a word that carries no meaning."""
    kind = rng.random()
    if kind < 0.25:
        return phrase + pick(rng, SUFFIXES)
    if kind < 0.35:
        return f"{phrase} background"
    if kind < 0.45:
        return pick(rng, ("a video of ", "background for ", "intro for ", "abstract ")) + phrase
    return phrase[0].upper() + phrase[1:] if kind < 0.6 else phrase


def unconditional(rng: np.random.Generator) -> str:
    """What stands for "no prompt": mostly the empty string, else a common negative prompt."""
    return "" if rng.random() < 2 / 3 else pick(rng, NEGATIVES)

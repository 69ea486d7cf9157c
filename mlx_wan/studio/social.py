"""LinkedIn videos and YouTube shorts: from what a person says to a storyboard and a production.

The commands, the batch and the Python face all make them with these functions.
"""

import sys
from dataclasses import dataclass
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.loading import find_model, open_model

from .produce import Production, make_production
from .profiles import profile_for
from .storyboard import Shot, Storyboard, check_duration
from .templates import (
    Pictures,
    linkedin_storyboard,
    pictures_for,
    topic_storyboard,
    youtube_storyboard,
)

LINKEDIN_DURATION, YOUTUBE_DURATION = 10.0, 30.0


@dataclass(frozen=True)
class Picturing:
    """What decides the pictures: the model and its way of being asked, seed, first image.

    `expand` has them written by a language model: True for the installed one, or which.
    """

    model: str | None = None
    seed: int | None = None
    image: str | None = None
    expand: bool | str = False

    def pictures(self) -> Pictures:
        return pictures_for(open_model(find_model(self.model)).preset)


def linkedin_board(
    topic: str,
    duration: float | None = None,
    format_name: str | None = None,
    picturing: Picturing = Picturing(),
) -> Storyboard:
    """A topic as a storyboard; None is LINKEDIN_DURATION and square. Raises UsageError."""
    pictures = picturing.pictures()
    board = linkedin_storyboard(
        topic,
        LINKEDIN_DURATION if duration is None else duration,
        "square" if format_name is None else format_name,
        pictures=pictures,
        seed=picturing.seed or 0,
        image=picturing.image,
    )
    return _expanded(board, topic, picturing, pictures)


def youtube_board(
    hook: str | None,
    content: str | None,
    cta: str | None,
    duration: float | None = None,
    picturing: Picturing = Picturing(),
) -> Storyboard:
    """Hook, content and call to action as a storyboard. Raises UsageError."""
    pictures = picturing.pictures()
    board = youtube_storyboard(
        hook,
        content,
        cta,
        YOUTUBE_DURATION if duration is None else duration,
        pictures=pictures,
        seed=picturing.seed or 0,
        image=picturing.image,
    )
    return _expanded(board, message_of(board), picturing, pictures)


def titled_board(
    prompt: str,
    duration: float,
    format_name: str,
    picturing: Picturing = Picturing(),
    *,
    has_text: bool = True,
) -> Storyboard:
    """A prompt as the title over pictures of it, in any format; without text, as the picture."""
    if has_text:
        return topic_storyboard(
            prompt,
            duration,
            format_name,
            pictures=picturing.pictures(),
            seed=picturing.seed or 0,
            image=picturing.image,
        )
    check_duration(duration)  # or a shot would be blamed for it
    return Storyboard(format_name, duration, (Shot(prompt, duration, image=picturing.image),))


def board_production(
    board: Storyboard,
    *,
    quality: str | None = None,
    has_text_overlay: bool | None = None,
    fast: bool = False,
    **making: Any,
) -> Production:
    """The production of a storyboard; `making` goes to make_production.

    Without a quality, what the board says decides it: its words, or where it has none its
    pictures. Raises UsageError for `fast` where the model has no step-distilled weights.
    """
    if fast:
        preset = open_model(find_model(making.get("model"))).preset
        raise UsageError(
            f"{preset.id} has no step-distilled weights installed, which fast needs",
            "leave --fast out; --quality low, or fewer --steps, is quicker too",
        )
    if board.texts:
        choice = profile_for(quality, message_of(board), has_text_overlay=has_text_overlay)
    else:
        prompts = " ".join(shot.prompt for shot in board.shots)
        choice = profile_for(quality, board.title or prompts, has_text_overlay=False)
    return make_production(board, choice=choice, **making)


def message_of(board: Storyboard) -> str:
    """Everything a storyboard says, in order; the bars keep one text's numbers from the next's."""
    return " | ".join(text.text for text in sorted(board.texts, key=lambda text: text.start))


def _expanded(
    board: Storyboard, topic: str, picturing: Picturing, pictures: Pictures
) -> Storyboard:
    if not picturing.expand:
        return board
    from .expand import expand, local_model, mlx_lm_generate

    folder = local_model(None if picturing.expand is True else picturing.expand)
    _tell(f"pictures by the language model in {folder}")
    generate = mlx_lm_generate(folder, len(board.shots))
    return expand(board, topic, generate, abstract=pictures.abstract, tell=_tell)


def _tell(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)

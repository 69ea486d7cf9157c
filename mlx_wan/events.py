"""What a run tells whoever watches it: progress bars, logs, a page."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """`done` of `total` units of a stage are finished; `detail` is for people.

    Stages, in order: "encode", "denoise", "decode", and of a finished video "contrast", "video".
    Units are prompts and images, steps, frames.
    """

    stage: str
    done: int
    total: int
    detail: str = ""


Report = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The report for nobody."""

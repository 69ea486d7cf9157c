"""What a finished video shows and says, and when: shots, text, transitions. Plain data."""

from dataclasses import dataclass

from .formats import FORMATS, Format

TRANSITIONS = ("cut", "crossfade")
ROLES = ("title", "hook", "content", "cta")


@dataclass(frozen=True)
class Shot:
    """One picture that moves: what the model is asked for, and for how many seconds.

    `transition` leads into this shot. `image` is its first frame, for models that take one.
    """

    prompt: str
    duration: float
    transition: str = "crossfade"
    image: str | None = None


@dataclass(frozen=True)
class TextBlock:
    """Words on the picture from `start` to `end`, in seconds; `role` decides size and weight."""

    role: str
    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Storyboard:
    """A video of `duration` seconds; the shots' durations add up to it."""

    format_name: str
    duration: float
    shots: tuple[Shot, ...]
    texts: tuple[TextBlock, ...] = ()
    title: str = ""

    @property
    def format(self) -> Format:
        return FORMATS[self.format_name]

    @property
    def num_frames(self) -> int:
        return self.format.num_frames(self.duration)

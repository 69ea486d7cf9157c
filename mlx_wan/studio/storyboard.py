"""What a finished video shows and says, and when: shots, text, transitions. Plain data, checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from mlx_wan.errors import UsageError
from mlx_wan.settings import shown

from .formats import FORMATS, Format

TRANSITIONS = ("cut", "crossfade")
ROLES = ("title", "hook", "content", "cta")

MIN_DURATION, MAX_DURATION = 1.0, 600.0  # seconds of a video
MIN_SHOT = 0.5  # seconds; a crossfade has to fit into it
MAX_SHOTS, MAX_TEXTS = 400, 200
MAX_PROMPT, MAX_TEXT = 20_000, 2_000  # characters
MAX_NAME_BYTES = 180  # of a file name; what lies beside the video has longer ones


@dataclass(frozen=True)
class Shot:
    """One picture that moves: what the model is asked for, and for how many seconds.

    `transition` leads into this shot. `image` is its first frame, for models that take one.
    """

    prompt: str
    duration: float
    transition: str = "crossfade"
    image: str | None = None

    def __post_init__(self) -> None:
        _check_text("prompt", self.prompt, MAX_PROMPT)
        _check_seconds("a shot's duration", self.duration, MIN_SHOT, MAX_DURATION)
        _check_one_of("transition", self.transition, TRANSITIONS)
        if self.image is not None:
            _check_text("image", self.image, 4096)


@dataclass(frozen=True)
class TextBlock:
    """Words on the picture from `start` to `end`, in seconds; `role` decides size and weight."""

    role: str
    text: str
    start: float
    end: float

    def __post_init__(self) -> None:
        _check_one_of("role", self.role, ROLES)
        _check_text("text", self.text, MAX_TEXT)
        _check_seconds("a text's start", self.start, 0, MAX_DURATION)
        _check_seconds("a text's end", self.end, 0, MAX_DURATION)
        if self.end <= self.start:
            raise UsageError(
                f"the {self.role} {shown(self.text)} ends at {self.end:g} s "
                f"and starts at {self.start:g} s",
                "end comes after start; both are seconds from the beginning of the video",
            )


@dataclass(frozen=True)
class Storyboard:
    """A video of `duration` seconds; the shots' durations add up to it, to half a frame.

    `name` is the file's, without .mp4; where it is empty the title makes it.
    """

    format_name: str
    duration: float
    shots: tuple[Shot, ...]
    texts: tuple[TextBlock, ...] = ()
    title: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        _check_one_of("format", self.format_name, tuple(FORMATS))
        check_duration(self.duration)
        _check_count("shots", self.shots, 1, MAX_SHOTS)
        _check_count("texts", self.texts, 0, MAX_TEXTS)
        if self.title:
            _check_text("title", self.title, MAX_TEXT)
        _check_name(self.name)
        total = math.fsum(shot.duration for shot in self.shots)
        if abs(total - self.duration) > 0.5 / self.format.fps:
            raise UsageError(
                f"the shots last {total:.6g} s together; the video lasts {self.duration:g} s",
                "change the duration, or a shot's, so that they add up",
            )
        for block in self.texts:
            if block.end > self.duration + 1e-6:
                raise UsageError(
                    f"the {block.role} {shown(block.text)} ends at {block.end:g} s, "
                    f"after the video's {self.duration:g} s",
                    "texts lie inside the video",
                )

    @property
    def format(self) -> Format:
        return FORMATS[self.format_name]

    @property
    def num_frames(self) -> int:
        return self.format.num_frames(self.duration)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for YAML and JSON, without what is empty; `from_dict` is the inverse."""
        return _without_defaults(
            {
                "format": self.format_name,
                "duration": _plain(self.duration),
                "title": self.title,
                "name": self.name,
                "shots": [
                    _without_defaults(
                        {
                            "prompt": shot.prompt,
                            "duration": _plain(shot.duration),
                            "transition": shot.transition,
                            "image": shot.image,
                        }
                    )
                    for shot in self.shots
                ],
                "texts": [
                    {
                        "role": block.role,
                        "text": block.text,
                        "start": _plain(block.start),
                        "end": _plain(block.end),
                    }
                    for block in self.texts
                ],
            }
        )

    @classmethod
    def from_dict(cls, values: Any) -> "Storyboard":
        """A storyboard from plain data. Raises UsageError naming what is wrong and where."""
        data = _known(values, "the storyboard", _FIELDS, ("format", "duration", "shots"))
        data["format_name"] = data.pop("format")
        for name, kind in (("shots", Shot), ("texts", TextBlock)):
            entries = data.get(name, [])
            if not isinstance(entries, list):
                _refuse(f"{name} is {shown(entries)}", f"accepted: a list of {name}")
            data[name] = tuple(
                _part(kind, entry, f"{name}[{index}]") for index, entry in enumerate(entries)
            )
        return cls(**data)


_FIELDS = ("format", "duration", "title", "name", "shots", "texts")


def check_duration(seconds: Any) -> None:
    """Raise UsageError unless a video can last so long."""
    _check_seconds("duration", seconds, MIN_DURATION, MAX_DURATION)


def _part(kind: type, entry: Any, where: str) -> Any:
    names = tuple(field.name for field in fields(kind))
    required = ("prompt", "duration") if kind is Shot else names
    data = _known(entry, where, names, required)
    try:
        return kind(**data)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from None


def _known(
    values: Any, where: str, names: Sequence[str], required: Sequence[str]
) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        _refuse(f"{where} is {shown(values)}", f"accepted: {', '.join(names)}, each with its value")
    for name in values:
        if name not in names:
            _refuse(f"{where} has {shown(name)}", f"accepted: {', '.join(names)}")
    for name in required:
        if name not in values:
            _refuse(f"{where} has no {name}", f"needed: {', '.join(required)}")
    return dict(values)


def _check_text(name: str, value: Any, most: int) -> None:
    if not isinstance(value, str):
        _refuse(f"{name} is {shown(value)}; accepted: text", "put it in quotes")
    if not value.strip():
        _refuse(f"{name} is empty", "leave it out, or say something")
    if len(value) > most:
        _refuse(f"{name} has {len(value):,} characters", f"accepted: up to {most:,}")
    if "\0" in value:
        _refuse(f"{name} contains a NUL character", "remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not valid Unicode text", "save it as UTF-8") from None


def _check_seconds(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        _refuse(f"{name} is {shown(value)}", f"accepted: {low:g} to {high:g} seconds")


def _check_one_of(name: str, value: Any, accepted: Sequence[str]) -> None:
    if value not in accepted:
        _refuse(f"{name} is {shown(value)}", f"accepted: {', '.join(accepted)}")


def _check_count(name: str, value: Any, low: int, high: int) -> None:
    if not low <= len(value) <= high:
        _refuse(f"there are {len(value)} {name}", f"accepted: {low} to {high}")


def _check_name(value: Any) -> None:
    if value == "":
        return
    _check_text("name", value, MAX_NAME_BYTES)
    odd = sorted({c for c in value if not c.isprintable() or c in '/\\:*?"<>|'})
    if odd or value[0] in ".-~ " or value[-1] in ". " or len(value.encode()) > MAX_NAME_BYTES:
        _refuse(
            f"name is {shown(value)}",
            f"a plain file name without .mp4, up to {MAX_NAME_BYTES} bytes",
        )


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(message, hint)


def _plain(seconds: float) -> float:
    """10.0 as 10: files are for people."""
    return int(seconds) if seconds == int(seconds) else seconds


def _without_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Without empty texts, lists and images, and without what a shot has anyway."""
    return {
        name: value
        for name, value in values.items()
        if value not in ("", None, []) and (name, value) != ("transition", "crossfade")
    }

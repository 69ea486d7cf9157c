"""What a person asked for: plain data, checked for sense, with no knowledge of any model."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .errors import UsageError

MAX_PROMPT_CHARACTERS = 20_000
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Request:
    """One video to make. `None` means: let the model's preset decide.

    `guidance_scale` is a number for every expert, or a mapping from expert name to number.
    `duration` is in seconds and excludes `num_frames`. `super_resolution` is the model that makes
    the video larger; all other settings are of the first, small one.
    """

    prompt: str
    model: str | None = None
    image: str | None = None
    last_image: str | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    duration: float | None = None
    fps: int | None = None
    steps: int | None = None
    guidance_scale: float | Mapping[str, float] | None = None
    shift: float | None = None
    solver: str | None = None
    seed: int | None = None
    output: str | None = None
    super_resolution: str | None = None

    def __post_init__(self) -> None:
        _check_prompt("prompt", self.prompt)
        if self.negative_prompt is not None:
            _check_text("negative_prompt", self.negative_prompt)
        for name, low, high in (
            ("width", 8, 8192),
            ("height", 8, 8192),
            ("num_frames", 1, 100_000),
            ("fps", 1, 240),
            ("steps", 1, 1000),
            ("seed", 0, MAX_SEED),
        ):
            _check_integer(name, getattr(self, name), low, high)
        _check_number("duration", self.duration, 0.01, 3600)
        _check_number("shift", self.shift, 0.01, 100)
        scales = self.guidance_scale
        for scale in scales.values() if isinstance(scales, Mapping) else (scales,):
            if scale is None and scales is not None:
                raise UsageError("guidance_scale has no number for an expert", "leave it out")
            _check_number("guidance_scale", scale, 0, 100)
        for name in ("model", "image", "last_image", "output", "solver", "super_resolution"):
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name))
                if not getattr(self, name):
                    raise UsageError(f"{name} is empty", f"leave {flag(name)} out for the default")
        if self.duration is not None and self.num_frames is not None:
            raise UsageError(
                f"duration {self.duration:g} s and num_frames {self.num_frames} were both given",
                "give one of --duration and --num-frames",
            )
        if self.last_image is not None and self.image is None:
            raise UsageError("last_image was given without image", "give the first frame: --image")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Request":
        """Build from names as in a config file; raises UsageError for unknown names."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"unknown setting {name!r}", f"known: {', '.join(known)}")
        if "prompt" not in values:
            raise UsageError("there is no prompt", "say what to show, in one or two sentences")
        return cls(**values)


def flag(name: str) -> str:
    """The command line's spelling of a field: `num_frames` -> `--num-frames`."""
    return "--" + name.replace("_", "-")


def parse_guidance_scale(text: str) -> float | dict[str, float]:
    """`"4"` -> 4.0; `"high_noise=4,low_noise=3"` -> one number per expert."""
    accepted = "a number, or one per expert as in high_noise=4,low_noise=3"
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.split("=") for part in text.split(",")]
        scales = {name.strip(): float(value) for name, value in pairs}
        if len(scales) < len(pairs):
            raise UsageError(f"guidance_scale is {text!r}", "give each expert one number")
        return scales
    except ValueError:
        raise UsageError(f"guidance_scale is {text!r}", f"accepted: {accepted}") from None


def _check_prompt(name: str, value: Any) -> None:
    _check_text(name, value)
    if not value.strip():
        raise UsageError("the prompt is empty", "say what to show, in one or two sentences")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r}; accepted: text", f"put {name} in quotes")
    if len(value) > MAX_PROMPT_CHARACTERS:
        raise UsageError(
            f"{name} has {len(value):,} characters; accepted: up to {MAX_PROMPT_CHARACTERS:,}",
            "models read a few hundred words at most",
        )
    if "\0" in value:
        raise UsageError(f"{name} contains a NUL character", "remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not valid Unicode text", "save it as UTF-8") from None


def _check_integer(name: str, value: Any, low: int, high: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(
            f"{name} is {value!r}; accepted: a whole number from {low} to {high}",
            f"leave {flag(name)} out for the model's default",
        )


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise UsageError(
            f"{name} is {value!r}; accepted: a number from {low:g} to {high:g}",
            f"leave {flag(name)} out for the model's default",
        )

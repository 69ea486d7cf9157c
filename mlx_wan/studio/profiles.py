"""Quality profiles: how much work a message deserves, and the rule that chooses one."""

from dataclasses import dataclass
from enum import StrEnum

from mlx_wan.errors import UsageError

from .figures import find_figure
from .scenery import ambient_sign, is_quote, is_scenery, motion_sign, speaks, text_sign


@dataclass(frozen=True)
class Profile:
    """How a video is rendered and encoded.

    `area` is pixels of the model's frames, in the format's shape; a model with sizes of its own
    renders those. `text_encoder_bits` None is full precision as converted. The document behind
    this product names CLIP as the small encoder; the models here were trained on another one only,
    so the small one is theirs in 8 bits. `crf` and `preset` are x264's, kept low: soft gradients
    band at the usual 23.
    """

    name: str
    title: str
    area: int
    steps: int
    text_encoder_bits: int | None
    crf: int
    preset: str
    purpose: str


PROFILES = {
    one.name: one
    for one in (
        Profile(
            "high",
            "high density",
            area=1280 * 720,
            steps=30,
            text_encoder_bits=None,
            crf=16,
            preset="slow",
            purpose="data, statistics, infographics, text-heavy messages",
        ),
        Profile(
            "medium",
            "medium density",
            area=832 * 480,
            steps=20,
            text_encoder_bits=8,
            crf=18,
            preset="medium",
            purpose="quotes, simple messages, motion",
        ),
        Profile(
            "low",
            "low density",
            area=832 * 480,
            steps=15,
            text_encoder_bits=8,
            crf=18,
            preset="medium",
            purpose="ambient loops, establishing shots, B-roll",
        ),
    )
}


class QualityProfile(StrEnum):
    """The profiles by the names the Python face uses."""

    HIGH_DENSITY = "high"
    MEDIUM_DENSITY = "medium"
    LOW_DENSITY = "low"

    @property
    def profile(self) -> Profile:
        return PROFILES[self.value]


@dataclass(frozen=True)
class Choice:
    """A profile, and why: `reason` is printed and recorded."""

    profile: Profile
    reason: str

    def __str__(self) -> str:
        return f"{self.profile.name} ({self.reason})"


MOST_SIMPLE = 240  # characters of a message that still counts as simple


def choose_quality(message: str, *, has_text_overlay: bool | None = None) -> Choice:
    """The profile a message deserves, and why.

    Data in it or text over the picture take the most, a quote, a simple message or motion less, an
    ambient picture that says nothing the least. `has_text_overlay` None leaves it to the message.
    """
    level, reason = _level(message, has_text_overlay)
    return Choice(PROFILES[level], reason)


def _level(message: str, has_text_overlay: bool | None) -> tuple[str, str]:
    if figure := find_figure(message):
        return "high", f"data in the message: {figure}"
    if has_text_overlay:
        return "high", "text is laid over the picture"
    ambient, motion = ambient_sign(message), motion_sign(message)
    if has_text_overlay is None:
        if sign := text_sign(message):
            return "high", f"text in the picture: {sign}"
        if is_quote(message):
            return "medium", "a quote"
    if ambient:
        return "low", f"ambient: {ambient}"
    if is_scenery(message):
        return "low", "scenery without a message"
    if has_text_overlay is None and len(message.strip()) > MOST_SIMPLE:
        return "high", f"a long text: {len(message.strip())} characters"
    if motion:
        return "medium", f"motion: {motion}"
    if not message.strip():
        return "low", "no message"
    if has_text_overlay is None or is_quote(message) or speaks(message):
        return "medium", "a simple message"
    return "low", "no text over the picture, nothing to read"


def profile_for(
    quality: str | None, message: str, *, has_text_overlay: bool | None = None
) -> Choice:
    """The profile of a name; for None and "auto" what the message deserves. Raises UsageError."""
    if quality is None or quality == "auto":
        return choose_quality(message, has_text_overlay=has_text_overlay)
    if not isinstance(quality, str) or quality not in PROFILES:
        accepted = ", ".join(["auto", *PROFILES])
        raise UsageError(f"quality is {quality!r}", f"accepted: {accepted}")
    return Choice(PROFILES[str(quality)], "as asked for")

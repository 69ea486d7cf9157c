"""The brand: who signs a video, in which colours, and where. A small, checked TOML file."""

import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.files import complete_or_absent, read_small
from mlx_wan.home import expanded, home
from mlx_wan.settings import shown

POSITIONS = ("bottom-right", "bottom-left", "top-right", "top-left")
MAX_NAME = 60
MAX_FILE_BYTES = 64 * 2**10
MIN_OPACITY = 0.65  # below, no scrim reaches a contrast of 4.5 : 1
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")

_TEMPLATE = """\
# Who signs your videos, and how they look. Check it with `mlx-wan brand preview`.

name = "Arthur Dell"        # the signature; up to 60 characters
position = "bottom-right"   # or bottom-left, top-right, top-left: always inside the safe area
opacity = 0.92              # of the signature, 0.65 to 1
font = "Inter"              # or a .ttf or .otf file, looked for beside this file
# logo = "logo.png"         # a PNG, best with transparency, looked for beside this file

[colours]
text = "#FFFFFF"            # words; where the picture is bright, `background` is taken instead
accent = "#2E5CFF"          # the call to action and small marks
background = "#0B1020"      # behind words where the picture needs it
"""


@dataclass(frozen=True)
class Brand:
    """A signature and its look; colours are "#RRGGBB", `font` is "Inter" or a font file.

    Raises UsageError for a value that cannot be drawn. The files are looked into when used.
    """

    name: str = "Arthur Dell"
    text: str = "#FFFFFF"
    accent: str = "#2E5CFF"
    background: str = "#0B1020"
    font: str = "Inter"
    logo: str | None = None
    position: str = "bottom-right"
    opacity: float = 0.92

    def __post_init__(self) -> None:
        _check_name(self.name, self.logo)
        for field in ("text", "accent", "background"):
            _check_colour(field, getattr(self, field))
        for field in ("font", "logo"):
            value = getattr(self, field)
            if not (isinstance(value, str) and value) and not (field == "logo" and value is None):
                raise UsageError(f"brand: {field} is {shown(value)}; accepted: a file name")
        if self.position not in POSITIONS:
            raise UsageError(
                f"brand: position is {shown(self.position)}; accepted: {', '.join(POSITIONS)}"
            )
        if not _is_number(self.opacity) or not MIN_OPACITY <= self.opacity <= 1:
            raise UsageError(
                f"brand: opacity is {shown(self.opacity)}; accepted: {MIN_OPACITY} to 1",
                "a fainter signature could not be read",
            )
        self._check_contrast()

    def _check_contrast(self) -> None:
        """A scrim can only help as far as `background` behind `text` does."""
        from .contrast import AIM, colour_ratio

        text, behind = self.colour("text"), self.colour("background")
        for words, under in ((text, behind), (behind, text)):
            mixed = tuple(
                round(one * self.opacity + other * (1 - self.opacity))
                for one, other in zip(words, under, strict=True)
            )
            found = colour_ratio((mixed[0], mixed[1], mixed[2]), under)
            if found < AIM + 0.15:
                raise UsageError(
                    f"brand: text {self.text} on background {self.background} at opacity "
                    f"{self.opacity:g} has a contrast of {found:.1f} : 1; needed: {AIM + 0.15:.0f}",
                    "take a darker and a lighter colour, or more opacity",
                )

    def colour(self, field: str) -> tuple[int, int, int]:
        """(red, green, blue) of `text`, `accent` or `background`, 0 to 255."""
        red, green, blue = bytes.fromhex(getattr(self, field)[1:])
        return red, green, blue

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def brand_path() -> Path:
    return home() / "brand.toml"


def load_brand(path: str | Path | None = None) -> Brand:
    """The brand in the file at `path`; without one, MLX_WAN_HOME/brand.toml or the default.

    Raises UsageError naming the line or value that is wrong.
    """
    file = expanded(path) if path is not None else brand_path()
    if path is None and not file.exists():
        return Brand()
    return _brand_from(_read(file), file)


def check_files(brand: Brand) -> None:
    """Open the font and the logo. Raises MlxWanError for one that cannot be used."""
    from .fonts import face_for
    from .logo import load_logo

    face_for("n", brand.font)
    if brand.logo is not None:
        load_logo(brand.logo)


def write_template(path: Path) -> Path:
    """The default brand with comments, to be edited. Raises UsageError when there is a file."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already", "edit it, or move it away first")
    with complete_or_absent(path) as partial:
        partial.write_text(_TEMPLATE, encoding="utf-8")
    return path


def _read(file: Path) -> dict[str, Any]:
    what = f"brand file {file}"
    raw = read_small(file, MAX_FILE_BYTES, what=what, hint="`mlx-wan brand init` writes one")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"brand file {file} is not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"brand file {file} is not UTF-8 text") from None
    except RecursionError:
        raise UsageError(f"brand file {file} is nested too deeply") from None
    except ValueError as error:  # a number with too many digits
        raise UsageError(f"brand file {file} is not valid TOML: {error}") from None


def _brand_from(values: dict[str, Any], file: Path) -> Brand:
    colours = values.pop("colours", {})
    if not isinstance(colours, dict):
        raise UsageError(f"brand file {file}: colours must be a table, [colours]")
    _refuse_unknown(values, ("name", "position", "opacity", "font", "logo", "colours"), file, "")
    _refuse_unknown(colours, ("text", "accent", "background"), file, "colours.")
    for field in ("font", "logo"):
        value = values.get(field)
        if isinstance(value, str) and value and not (field == "font" and value == "Inter"):
            values[field] = str(file.absolute().parent / expanded(value))
    try:
        return Brand(**values, **colours)
    except UsageError as error:
        raise UsageError(f"{error.message}, in {file}", error.hint) from None


def _refuse_unknown(
    given: dict[str, Any], accepted: tuple[str, ...], file: Path, where: str
) -> None:
    for key in given:
        if key not in accepted:
            raise UsageError(
                f"brand file {file}: {where}{key} is not known; accepted: {', '.join(accepted)}"
            )


def _check_name(name: object, logo: object) -> None:
    if not isinstance(name, str):
        raise UsageError(f"brand: name is {shown(name)}; accepted: text")
    if not name.strip() and logo is None:
        raise UsageError("brand: name is empty", "give a name, a logo or both; or use --no-brand")
    if len(name) > MAX_NAME:
        raise UsageError(f"brand: name has {len(name)} characters; accepted: up to {MAX_NAME}")


def _check_colour(field: str, value: object) -> None:
    if not isinstance(value, str) or not _COLOUR.fullmatch(value):
        raise UsageError(
            f"brand: colour {field} is {shown(value)}; accepted: #RRGGBB", 'as in "#2E5CFF"'
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

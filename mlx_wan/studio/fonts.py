"""The fonts words are set in: only files that are installed with mlx-wan, or the brand's own.

System fonts are never used, so the same words make the same picture on every machine.
"""

import importlib.resources
import struct
import unicodedata
from collections.abc import Callable
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import regex

from mlx_wan.errors import UsageError

MAX_FONT_BYTES = 32 * 2**20
_SCRIPTS = """
    Arabic Hebrew Devanagari Bengali Tamil Telugu Thai Gujarati Gurmukhi Kannada Malayalam Oriya
    Sinhala Khmer Lao Myanmar Georgian Armenian Ethiopic
"""
_NOTO = ("NotoSans", *(f"NotoSans{script}" for script in _SCRIPTS.split()))
_EMOJI_SLICES = 11  # each emoji sequence is whole in one of them
_EMOJI = regex.compile(r"\p{Emoji_Presentation}|\p{Emoji}\ufe0f|\u20e3|\p{Regional_Indicator}")
_JOINER, _AS_TEXT = "\u200d", "\ufe0e"

EM = 64_000  # units of an em in which glyphs are placed


class Face:
    """One font, opened when it is first asked for something."""

    def __init__(
        self, name: str, read: Callable[[], bytes], index: int = 0, coloured: bool = False
    ):
        self.name = name
        self.coloured = coloured
        self._read, self._index = read, index
        self._fonts: dict[int, Any] = {}

    @cached_property
    def _face(self) -> Any:
        import uharfbuzz

        return uharfbuzz.Face(uharfbuzz.Blob(self._read()), self._index)

    @cached_property
    def characters(self) -> frozenset[int]:
        """The code points it has a glyph for."""
        return frozenset(self._face.unicodes)

    def font(self, weight: int) -> Any:
        """A uharfbuzz.Font of the weight nearest to `weight`, EM units to an em."""
        import uharfbuzz

        if weight not in self._fonts:
            font = uharfbuzz.Font(self._face)
            wanted = {"wght": weight, "opsz": 32}  # the cut for large sizes
            font.set_variations(
                {
                    axis.tag: min(max(wanted[axis.tag], axis.min_value), axis.max_value)
                    for axis in self._face.axis_infos
                    if axis.tag in wanted
                }
            )
            font.scale = (EM, EM)
            self._fonts[weight] = font
        return self._fonts[weight]

    def has(self, cluster: str) -> bool:
        """Whether every visible character of the cluster has a glyph."""
        return all(ord(c) in self.characters or is_invisible(c) for c in cluster)


@lru_cache(maxsize=4096)
def is_invisible(character: str) -> bool:
    """Joiners, direction marks and selectors: they shape what is around them."""
    return bool(regex.fullmatch(r"\p{Default_Ignorable_Code_Point}", character))


def faces(own: str = "Inter") -> tuple[Face, ...]:
    """The fonts for words, first to last: `own` ("Inter" or a font file), then all others."""
    return _faces(own)


@cache
def _faces(own: str) -> tuple[Face, ...]:
    inter = _installed("fontpkg_inter", "files/Inter[opsz,wght].ttf")
    first = (inter,) if own == "Inter" else (_own_face(Path(own)), inter)
    return (
        *first,
        *(_installed("manimgx_fonts", f"{name}[wght].ttf") for name in _NOTO),
        _installed("noto_cjk_sans_jp_bold", "NotoSansCJKjp-Bold.otf"),
        _installed("manimgx_fonts", "NotoSansSymbols[wght].ttf"),
        _installed("manimgx_fonts", "NotoEmoji[wght].ttf"),
    )


@cache
def emoji_faces() -> tuple[Face, ...]:
    path = importlib.resources.files("mlx_wan") / "assets" / "fonts" / "NotoColorEmoji.ttc"
    read = cache(path.read_bytes)
    return tuple(Face(f"NotoColorEmoji {n}", read, n, True) for n in range(_EMOJI_SLICES))


def face_for(cluster: str, own: str = "Inter", before: Face | None = None) -> Face:
    """The font for one grapheme cluster; `before` is preferred for punctuation and spaces.

    Raises UsageError naming the character when no font has it: boxes are never drawn.
    """
    if _is_emoji(cluster) and (face := _emoji_face(cluster)):
        return face
    if before is not None and not before.coloured and _is_common(cluster) and before.has(cluster):
        return before
    for face in faces(own):
        if face.has(cluster):
            return face
    if face := _emoji_face(cluster):
        return face
    plain = unicodedata.normalize("NFKC", cluster)
    way = f"write it as {plain}" if plain.isalnum() and plain != cluster else "leave it out"
    raise UsageError(f"no font has {describe(cluster, own)}", way)


def describe(cluster: str, own: str = "Inter") -> str:
    """The characters nobody has, as in `U+1F9FF NAZAR AMULET`."""
    known = (*faces(own), *emoji_faces())
    missing = [
        c for c in cluster if not is_invisible(c) and not any(ord(c) in f.characters for f in known)
    ]
    return " with ".join(
        f"U+{ord(c):04X} {unicodedata.name(c, 'without a name')}" for c in missing or cluster
    )


@lru_cache(maxsize=1024)
def _is_common(cluster: str) -> bool:
    return bool(regex.match(r"[\p{Script=Common}\p{Script=Inherited}--\p{Nd}]", cluster, regex.V1))


def _is_emoji(cluster: str) -> bool:
    return _AS_TEXT not in cluster and bool(
        _EMOJI.search(cluster)
        or (_JOINER in cluster and regex.search(r"\p{Extended_Pictographic}", cluster))
    )


@lru_cache(maxsize=1024)
def _emoji_face(cluster: str) -> Face | None:
    """The slice that has all of a sequence has its joined form too."""
    return next((face for face in emoji_faces() if face.has(cluster)), None)


def _installed(package: str, file: str) -> Face:
    def read() -> bytes:
        return importlib.resources.files(package).joinpath(file).read_bytes()

    return Face(file.rpartition("/")[2], read)


def _own_face(path: Path) -> Face:
    """A font file from outside; HarfBuzz checks its tables and takes nothing that is damaged."""
    hint = 'give a .ttf or .otf file, or font = "Inter"'
    try:
        if not path.is_file():
            raise UsageError(f"brand: font {path} does not exist", hint)
        if path.stat().st_size > MAX_FONT_BYTES:
            raise UsageError(
                f"brand: font {path.name} has {path.stat().st_size / 2**20:.0f} MB; "
                f"accepted: up to {MAX_FONT_BYTES // 2**20}",
                hint,
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"brand: font {path} cannot be read: {reason}", hint) from None
    if data[:4] not in (b"\0\1\0\0", b"OTTO", b"true"):
        raise UsageError(f"brand: font {path.name} is not a TrueType or OpenType font", hint)
    if _is_cut(data):
        raise UsageError(f"brand: font {path.name} is cut short", hint)
    face = Face(path.name, lambda: data)
    if ord("n") not in face.characters or not _has_ink(face):
        raise UsageError(f"brand: font {path.name} is damaged or has no letters", hint)
    return face


def _is_cut(data: bytes) -> bool:
    """Whether a table of the font lies beyond its end."""
    count = int.from_bytes(data[4:6], "big")
    if not count or len(data) < 12 + 16 * count:
        return True
    places = struct.iter_unpack(">4sIII", data[12 : 12 + 16 * count])
    return any(offset + length > len(data) for _, _, offset, length in places)


def _has_ink(face: Face) -> bool:
    font = face.font(400)
    extents = font.get_glyph_extents(font.get_nominal_glyph(ord("n")))
    return extents is not None and extents.width > 0

"""The zip archive inside a `.pth`: where each stored member lies, checked before it is trusted.

PyTorch writes its members uncompressed, so a tensor is a range of bytes of the file. Nothing is
unpacked here; anything PyTorch does not write (compression, encryption, overlaps) is refused.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mlx_wan.errors import BadFileError
from mlx_wan.tensorfile import open_regular

MAX_MEMBERS = 100_000
_MAX_DIRECTORY = 32_000_000
_LOCAL = struct.Struct("<4s5H3I2H")  # header in front of a member
_CENTRAL = struct.Struct("<4s6H3I5H2I")  # its entry in the directory
_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_FULL32 = 0xFFFFFFFF  # "see the 64-bit field"
_LEGACY_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")

DOWNLOAD_AGAIN = "download the file again; this copy is incomplete"
RESAVE = (
    "load it with PyTorch and save it with torch.save of version 1.6 or newer, or as safetensors"
)


@dataclass(frozen=True)
class Member:
    """Byte range of one stored member, `end` exclusive."""

    start: int
    end: int


def read_members(path: Path) -> dict[str, Member]:
    """Members of a `.pth` by name, without the folder they all lie in ("data.pkl", "data/0", ...).

    Raises BadFileError for anything that is not a whole, plain archive as PyTorch writes it.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        _check_kind(path, file.read(512))
        offset, length, count = _find_directory(path, file, size)
        entries = _directory(path, _read_at(file, offset, length), count)
        members = {}
        position = 0
        for name, start, nbytes in sorted(entries, key=lambda entry: entry[1]):
            if start < position:
                _refuse(path, f"has members that overlap, at {name!r}")
            member = _locate(path, file, name, start, nbytes)
            if member.end > offset:
                _refuse(path, f"has a member that runs over its end, {name!r}")
            position = member.end
            members[name] = member
    return _without_folder(path, members)


def _refuse(path: Path, problem: str, hint: str | None = None) -> NoReturn:
    raise BadFileError(f"{path} {problem}", hint)


def _read_at(file: Any, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _check_kind(path: Path, head: bytes) -> None:
    if head.startswith(b"PK\x03\x04"):
        return
    if not head:
        _refuse(path, "is empty", DOWNLOAD_AGAIN)
    if head[257:262] == b"ustar" or (head[:1] == b"\x80" and _LEGACY_MAGIC in head[:32]):
        _refuse(path, "is in PyTorch's old format from before version 1.6", RESAVE)
    if head[:1] == b"\x80":
        _refuse(path, "is a bare pickle, not a PyTorch archive", RESAVE)
    if head.startswith(b"version https://git-lfs"):
        _refuse(path, "is only a Git LFS pointer", "fetch the real file with `git lfs pull`")
    _refuse(path, "is no PyTorch archive: it does not begin like a zip file")


def _find_directory(path: Path, file: Any, size: int) -> tuple[int, int, int]:
    """Offset, length and number of entries of the central directory."""
    tail_start = max(0, size - (_END.size + 0xFFFF))
    tail = _read_at(file, tail_start, size - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        _refuse(path, "is cut off: the directory at its end is missing", DOWNLOAD_AGAIN)
    _, disk, start_disk, _, count, length, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        _refuse(path, "has bytes after the end of its archive")
    end = tail_start + at
    if at >= _END64_LOCATOR.size:
        place = at - _END64_LOCATOR.size
        signature, _, where, _ = _END64_LOCATOR.unpack_from(tail, place)
        if signature == b"PK\x06\x07":
            end = where
            raw = _read_at(file, where, _END64.size) if where + _END64.size <= size else b""
            if len(raw) != _END64.size or raw[:4] != b"PK\x06\x06":
                _refuse(path, "has a broken 64-bit directory")
            _, _, _, _, disk, start_disk, _, count, length, offset = _END64.unpack(raw)
    if disk or start_disk:
        _refuse(path, "is one part of an archive in several parts")
    if count > MAX_MEMBERS or length > _MAX_DIRECTORY:
        _refuse(path, f"lists {count:,} members; {MAX_MEMBERS:,} are the limit")
    if offset + length > end:
        _refuse(path, "has a directory that lies outside the file", DOWNLOAD_AGAIN)
    return offset, length, count


def _directory(path: Path, raw: bytes, count: int) -> list[tuple[str, int, int]]:
    """(name, offset of the local header, bytes) of every member."""
    entries: dict[str, tuple[int, int]] = {}
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(raw) or raw[position : position + 4] != b"PK\x01\x02":
            _refuse(path, "has a broken directory")
        fields = _CENTRAL.unpack_from(raw, position)
        flags, method, stored, nbytes = fields[3], fields[4], fields[8], fields[9]
        name_length, extra_length, comment_length, start = (*fields[10:13], fields[16])
        position += _CENTRAL.size
        name = _name(path, raw[position : position + name_length])
        extra = raw[position + name_length : position + name_length + extra_length]
        position += name_length + extra_length + comment_length
        nbytes, stored, start = _widen(path, extra, nbytes, stored, start)
        if name in entries:
            _refuse(path, f"has the member {name!r} twice")
        if flags & 1:
            _refuse(path, f"has an encrypted member, {name!r}")
        if method or stored != nbytes:
            _refuse(path, f"has a compressed member, {name!r}; PyTorch stores them as they are")
        entries[name] = (start, nbytes)
    if position != len(raw):
        _refuse(path, "has a broken directory")
    return [(name, start, nbytes) for name, (start, nbytes) in entries.items()]


def _widen(path: Path, extra: bytes, *values: int) -> list[int]:
    """The 64-bit values for those that do not fit in 32 bits, from the zip64 extra field."""
    position, wide = 0, b""
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            wide = extra[position + 4 : position + 4 + length]
        position += 4 + length
    widened = []
    for value in values:
        if value == _FULL32:
            if len(wide) < 8:
                _refuse(path, "has a broken directory")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        widened.append(value)
    return widened


def _name(path: Path, raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(path, "has a member whose name is not UTF-8")
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or ".." in parts or "" in parts:
        _refuse(path, f"has a member with an unsafe name, {name[:80]!r}")
    return name


def _locate(path: Path, file: Any, name: str, start: int, nbytes: int) -> Member:
    raw = _read_at(file, start, _LOCAL.size)
    if len(raw) != _LOCAL.size or raw[:4] != b"PK\x03\x04":
        _refuse(path, f"has a directory that does not match its members, at {name!r}")
    fields = _LOCAL.unpack(raw)
    method, name_length, extra_length = fields[3], fields[9], fields[10]
    if file.read(name_length) != name.encode() or method:
        _refuse(path, f"has a directory that does not match its members, at {name!r}")
    data = start + _LOCAL.size + name_length + extra_length
    return Member(data, data + nbytes)


def _without_folder(path: Path, members: dict[str, Member]) -> dict[str, Member]:
    folders = {name.partition("/")[0] for name in members}
    if len(folders) != 1 or not all("/" in name for name in members):
        _refuse(path, "is a zip file, but not one that PyTorch wrote")
    return {name.partition("/")[2]: member for name, member in members.items()}

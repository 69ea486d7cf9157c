"""Safetensors headers, checked by us before anything else reads the file.

`mx.load` accepts overlapping tensors, holes, negative and fractional sizes; a file from outside is
untrusted until `read_header` has passed it.
"""

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .errors import BadFileError

ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
# numpy has neither bfloat16 nor float8: their bits are handed out as unsigned integers
NUMPY_TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "F8_E4M3": np.uint8,
    "F8_E5M2": np.uint8,
    "U16": np.uint16,
    "I16": np.int16,
    "F16": np.float16,
    "BF16": np.uint16,
    "U32": np.uint32,
    "I32": np.int32,
    "F32": np.float32,
    "U64": np.uint64,
    "I64": np.int64,
    "F64": np.float64,
}

MAX_HEADER_BYTES = 100_000_000
MAX_TENSORS = 100_000
MAX_NAME_LENGTH = 512
MAX_DIMS = 8
MAX_DIM = 2**31 - 1
_MAX_VALUES = 3_000_000  # commas: keeps a hostile header from becoming gigabytes of objects


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: `start` and `end` are byte offsets from the beginning of the file.

    `strides` (in elements) are only set for tensors of a `.pth` that are not stored row by row.
    """

    dtype: str  # the names of safetensors: "F32", "BF16", ...
    shape: tuple[int, ...]
    start: int
    end: int
    strides: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        return self.end - self.start


def read_header(path: str | Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file in the order they lie in it, names to places.

    Raises BadFileError unless the header is exactly what the format allows: known dtypes, whole
    sizes, and tensors that cover the data without holes or overlaps.
    """
    path = Path(path)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 10:
            _refuse(path, f"is no safetensors file: it has only {size} bytes", _DOWNLOAD)
        if length > MAX_HEADER_BYTES:
            _refuse(path, f"is no safetensors file: its header would have {length:,} bytes")
        if 8 + length > size:
            _refuse(
                path, f"is cut off: its header ends at byte {8 + length:,} of {size:,}", _DOWNLOAD
            )
        raw = file.read(length)
    header = _parse(path, raw)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(path, "has a __metadata__ that is not a table of texts")
    if len(header) > MAX_TENSORS:
        _refuse(path, f"lists {len(header):,} tensors; {MAX_TENSORS:,} are the limit")
    tensors = {name: _tensor(path, name, entry, 8 + length) for name, entry in header.items()}
    tensors = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)))
    _check_cover(path, tensors, 8 + length, size)
    return tensors


def read_tensor(path: str | Path, info: TensorInfo) -> np.ndarray:
    """One tensor, mapped from the file: no byte is read until it is used.

    bfloat16 and float8 come as the unsigned integers that hold their bits.
    """
    dtype = np.dtype(NUMPY_TYPES[info.dtype])
    if info.end == info.start:
        return np.zeros(info.shape, dtype)
    count = info.nbytes // dtype.itemsize
    flat = np.memmap(path, dtype, mode="r", offset=info.start, shape=(count,))
    if info.strides is None:
        return flat.reshape(info.shape)
    steps = tuple(step * dtype.itemsize for step in info.strides)
    return np.lib.stride_tricks.as_strided(flat, info.shape, steps, writeable=False)


def open_regular(path: Path) -> Any:
    """Open a file for unbuffered reading; devices, pipes and folders are refused."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            _refuse(path, "is not a regular file")
        return path.open("rb", buffering=0)
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror}") from None


def strict_json(raw: bytes) -> Any:
    """JSON as the standard has it: UTF-8, no NaN, and no name twice in one object.

    Raises ValueError; nesting too deep for the parser counts as that too.
    """
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


_DOWNLOAD = "download the file again; this copy is incomplete"


def _refuse(path: Path, problem: str, hint: str | None = None) -> NoReturn:
    raise BadFileError(f"{path} {problem}", hint)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"the name {name[:80]!r} appears twice")
        table[name] = value
    return table


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    if not raw.startswith(b"{"):
        _refuse(path, "is no safetensors file: its header does not begin with {")
    if raw.count(b",") > _MAX_VALUES:
        _refuse(path, f"has a header of more than {_MAX_VALUES:,} values")
    try:
        header = strict_json(raw)
    except ValueError as error:
        _refuse(path, f"has a broken header: {error}")
    if not isinstance(header, dict):
        _refuse(path, "has a header that is no table")
    return header


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    shown = name[:80]
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        _refuse(path, f"has a tensor with an unusable name: {shown!r}")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(path, f"describes {shown!r} with other fields than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        _refuse(
            path, f"stores {shown!r} as {str(dtype)[:20]!r}", f"known are {', '.join(ITEM_BYTES)}"
        )
    if not isinstance(shape, list) or not all(_is_count(size, MAX_DIM) for size in shape):
        _refuse(path, f"gives {shown!r} the impossible shape {str(shape)[:80]}")
    if len(shape) > MAX_DIMS:
        _refuse(path, f"gives {shown!r} {len(shape):,} dimensions; {MAX_DIMS} are the limit")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(_is_count(offset, 2**63) for offset in offsets)
        or offsets[0] > offsets[1]
    ):
        _refuse(path, f"gives {shown!r} the impossible data_offsets {str(offsets)[:80]}")
    needed, given = math.prod(shape) * ITEM_BYTES[dtype], offsets[1] - offsets[0]
    if given != needed:
        _refuse(path, f"gives {shown!r} {given:,} bytes; {dtype} {shape} needs {needed:,}")
    return TensorInfo(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _is_count(value: Any, limit: int) -> bool:
    return type(value) is int and 0 <= value <= limit  # True is an int in Python, not here


def _check_cover(path: Path, tensors: Mapping[str, TensorInfo], data_start: int, size: int) -> None:
    position = data_start
    for name, info in tensors.items():
        if info.start < position:
            _refuse(path, f"has tensors that overlap, at {name[:80]!r}")
        if info.start > position:
            _refuse(path, f"has {info.start - position:,} bytes that belong to no tensor")
        position = info.end
    if position > size:
        _refuse(path, f"is cut off: its tensors end at byte {position:,} of {size:,}", _DOWNLOAD)
    if position < size:
        _refuse(path, f"has {size - position:,} bytes after its last tensor")

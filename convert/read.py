"""Source files read once, front to back: every byte is hashed, the tensors' bytes handed out.

Files are read with plain reads into buffers that are used again, not mapped: mapped pages would
count as our memory, and a fault per page is slower than one read of megabytes.
"""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mlx_wan.errors import BadFileError
from mlx_wan.tensorfile import ITEM_BYTES, NUMPY_TYPES, open_regular

from .digest import HASH_BEHIND, Digest
from .jobs import TensorJob

PIECE_BYTES = 8 << 20
_GAP_BYTES = 1 << 20
READ_AHEAD = 3
WRITE_BEHIND = 3
# read, being converted, to be written, to be hashed
_ON_THE_WAY = READ_AHEAD + 1 + WRITE_BEHIND + HASH_BEHIND
T = TypeVar("T")


@dataclass(frozen=True)
class Piece:
    """Part of a tensor, or all of it: whole rows if it is to be quantised, else any elements.

    `data` is flat, in the source's dtype (bfloat16 and float8 as unsigned integers). Its memory is
    used again when _ON_THE_WAY more pieces were read.
    """

    job: TensorJob
    data: np.ndarray
    last: bool


class Ring:
    """Buffers that take turns; one more than there can be pieces on the way."""

    def __init__(self, nbytes: int = PIECE_BYTES):
        self._nbytes = nbytes
        self._buffers = deque(np.empty(nbytes, np.uint8) for _ in range(_ON_THE_WAY + 1))

    def take(self, nbytes: int) -> np.ndarray:
        """`nbytes` of memory, from the oldest buffer unless that is too small."""
        if nbytes > self._nbytes:
            return np.empty(nbytes, np.uint8)
        self._buffers.rotate(-1)
        return self._buffers[0][:nbytes]


def read_pieces(
    file: Path, jobs: list[TensorJob], ring: Ring, digest: Digest | None = None
) -> Iterator[Piece]:
    """The tensors of `jobs`, which lie in `file`, in the order of the file.

    With a `digest`, all of the file passes through it, including what is between the tensors.
    """
    with open_regular(file) as source:
        position = 0
        for job in sorted(jobs, key=lambda job: job.info.start):
            if digest is not None and position < job.info.start:
                _hash_gap(source, job.info.start - position, digest)
                position = job.info.start
            # tensors may share bytes in a .pth: those were hashed before
            fresh = position == job.info.start
            source.seek(job.info.start)
            yield from _tensor_pieces(source, job, ring, digest if fresh else None)
            position = max(position, job.info.end)
            source.seek(position)
        if digest is not None:
            _hash_gap(source, None, digest)


def piece_bytes(job: TensorJob) -> int:
    """How much of a tensor is handled at a time: whole rows of it, if it is to be quantised."""
    if job.whole:
        return job.info.nbytes
    if job.quantization is None:
        return PIECE_BYTES
    row = job.reorder.shape[1] * ITEM_BYTES[job.info.dtype]
    return max(1, PIECE_BYTES // row) * row


def read_ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same items, prepared by a thread a few steps ahead; its errors are raised here."""
    end: Any = object()
    with closing(items), ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, end) for _ in range(READ_AHEAD))
        while (item := coming.popleft().result()) is not end:
            yield item
            coming.append(thread.submit(next, items, end))


def _tensor_pieces(
    source: Any, job: TensorJob, ring: Ring, digest: Digest | None
) -> Iterator[Piece]:
    dtype = NUMPY_TYPES[job.info.dtype]
    left, step = job.info.nbytes, piece_bytes(job)
    if not left:
        yield Piece(job, np.empty(0, dtype), True)
    while left:
        memory = ring.take(min(step, left))
        _fill(source, memory)
        if digest is not None:
            digest.update(memory)
        left -= len(memory)
        yield Piece(job, memory.view(dtype), not left)


def _hash_gap(source: Any, length: int | None, digest: Digest) -> None:
    """Feed the next `length` bytes (None: the rest of the file) to the digest."""
    while length is None or length > 0:
        data = source.read(_GAP_BYTES if length is None else min(_GAP_BYTES, length))
        digest.update(data)
        if length is not None:
            length -= len(data)
        if not data:
            break


def _fill(source: Any, memory: np.ndarray) -> None:
    while len(memory):
        count = source.readinto(memory)
        if not count:
            raise BadFileError(f"{source.name} became shorter while it was read")
        memory = memory[count:]

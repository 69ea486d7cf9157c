"""The converted folder on disk: shards, their index, and what it takes to go on after a stop.

Everything is written into DEST.partial. A shard counts once its hash stands in the journal there;
the folder gets its name when all of it is complete.
"""

import json
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import BadFileError, ModelError

from .digest import Digest
from .jobs import Stored, TensorJob
from .read import WRITE_BEHIND

SHARD_BYTES = 5_000_000_000
_JOURNAL = "journal.json"
_SYNC_BYTES = 32 << 20
_DROP_BEHIND = 160 << 20


@dataclass(frozen=True)
class Shard:
    """One file of the converted model: `path` is relative to its folder."""

    path: str
    jobs: tuple[TensorJob, ...]
    header: bytes
    nbytes: int


def plan_shards(folder: str, jobs: list[TensorJob], limit: int | None = None) -> list[Shard]:
    """Split the jobs of a component over files of at most `limit` bytes, keeping their order."""
    limit = limit or SHARD_BYTES
    groups: list[list[TensorJob]] = [[]]
    size = 0
    for job in jobs:
        nbytes = sum(output.nbytes for output in job.outputs()) + 400  # and its part of the header
        if groups[-1] and size + nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(job)
        size += nbytes
    shards = []
    for number, group in enumerate(groups, 1):
        header = safetensors_header([stored for job in group for stored in job.outputs()])
        nbytes = len(header) + sum(stored.nbytes for job in group for stored in job.outputs())
        path = f"{folder}/model-{number:05}-of-{len(groups):05}.safetensors"
        shards.append(Shard(path, tuple(group), header, nbytes))
    return shards


def safetensors_header(tensors: Iterable[Stored]) -> bytes:
    """The beginning of a safetensors file in which these tensors follow one another."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    position = 0
    for tensor in tensors:
        end = position + tensor.nbytes
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


def shard_index(shards: list[Shard]) -> bytes:
    """`model.safetensors.index.json` of a component."""
    outputs = [
        (shard, stored) for shard in shards for job in shard.jobs for stored in job.outputs()
    ]
    index = {
        "metadata": {"total_size": sum(stored.nbytes for _, stored in outputs)},
        "weight_map": {stored.name: Path(shard.path).name for shard, stored in outputs},
    }
    return json.dumps(index, indent=1).encode()


class Writer:
    """Appends to a file in a thread of its own, and hashes what it writes in another.

    Arrays handed to `append` must stay as they are until WRITE_BEHIND + HASH_BEHIND further calls
    have returned.
    """

    def __init__(self, path: Path):
        self._file = path.open("wb", buffering=0)
        self._digest = Digest()
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()
        self._sent = 0  # bytes the disk has been asked to write

    def append(self, data: Any) -> None:
        if len(self._pending) >= WRITE_BEHIND:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._write, data))

    def _write(self, data: Any) -> None:
        self._digest.update(data)
        view = memoryview(data)
        while len(view):
            view = view[self._file.write(view) :]
        if self._file.tell() - self._sent >= _SYNC_BYTES:
            self._send()

    def _send(self) -> None:
        """Let the disk begin, and drop from memory what it has.

        Otherwise all of a shard waits for the fsync at its end, and the system's file cache fills
        with what nobody reads soon. This one call starts writing changed pages and drops others.
        """
        end = self._file.tell()
        if hasattr(os, "posix_fadvise"):  # not on macOS
            start = max(0, self._sent - _DROP_BEHIND)
            os.posix_fadvise(self._file.fileno(), start, end - start, os.POSIX_FADV_DONTNEED)
        self._sent = end

    def finish(self) -> str:
        """Wait until everything is on the disk; returns the SHA-256."""
        while self._pending:
            self._pending.popleft().result()
        os.fsync(self._file.fileno())
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._thread.shutdown(cancel_futures=True)
        self._digest.close()
        self._file.close()


class Journal:
    """What of a conversion is done, kept in its .partial folder.

    `fingerprint` stands for the sources and settings; work of another conversion is never taken.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.path = folder / _JOURNAL
        self._fingerprint = fingerprint
        self.shards: dict[str, dict[str, Any]] = {}  # relative path -> size and sha256
        self.sources: dict[str, str] = {}  # source file -> sha256
        if any(folder.iterdir()):
            self._load(folder)
        self.save()

    def _load(self, folder: Path) -> None:
        remove = f"delete {folder} to start again, or choose another destination"
        try:
            state = json.loads(self.path.read_bytes())
            fingerprint, shards, sources = state["fingerprint"], state["shards"], state["sources"]
            sizes = {name: entry["size"] for name, entry in shards.items()}
        except FileNotFoundError:
            raise ModelError(f"{folder} exists and is no interrupted conversion", remove) from None
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            raise BadFileError(f"{self.path} is damaged", remove) from None
        if fingerprint != self._fingerprint:
            raise ModelError(
                f"{folder} is an interrupted conversion of another source or with other settings",
                remove,
            )
        self.sources = sources
        self.shards = {
            name: shards[name]
            for name, size in sizes.items()
            if (folder / name).is_file() and (folder / name).stat().st_size == size
        }

    def save(self) -> None:
        state = {
            "fingerprint": self._fingerprint,
            "shards": self.shards,
            "sources": dict(self.sources),  # the reading thread adds to it
        }
        write_atomically(self.path, json.dumps(state, indent=1).encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that it is there whole or not at all, also after a power cut."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync_folder(path: Path) -> None:
    """Make the names in a folder last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

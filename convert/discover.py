"""Checkpoints in a folder: which files belong together, and what their headers list.

Nothing is decided here about what they are; no tensor data is read.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.tensorfile import TensorInfo, read_header, strict_json

from .pickle import read_pth

_MAX_FILES = 4000
_MAX_JSON = 50_000_000
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
_INDEX = ".safetensors.index.json"
DOWNLOAD_AGAIN = "download it again; this copy is incomplete"
_TOKENIZERS = ("spiece.model", "spm.model", "tokenizer.json", "vocab.json")
# several networks in one file: ComfyUI checkpoints say whose a tensor is by these
_PREFIX = re.compile(
    r"model\.diffusion_model\.|first_stage_model\.|vae\.|text_encoders\.\w{1,40}\.transformer\."
)


@dataclass(frozen=True)
class Place:
    """A tensor in a file, by the full name it has there."""

    file: Path
    key: str
    info: TensorInfo


@dataclass(frozen=True)
class Checkpoint:
    """Tensors that belong together. `path` is the file, or the index of several."""

    path: Path
    tensors: dict[str, Place]  # by name, without a prefix such as "model.diffusion_model."
    files: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        return self.path.parent


@dataclass
class Discovery:
    """What a source folder holds. A problem only matters if nothing else fills its place."""

    root: Path
    checkpoints: list[Checkpoint] = field(default_factory=list)
    problems: list[BadFileError] = field(default_factory=list)
    tokenizers: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)  # formats we do not take

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def discover(source: Path) -> Discovery:
    """Look through a folder and those below it (hidden ones excepted), or at one file.

    Raises ModelError for an interrupted download and for folders that cannot be one model.
    """
    if source.is_file():
        found = Discovery(source.parent)
        _read_folder(found, source.parent, [source.name])
        return found
    found = Discovery(source)
    count = 0
    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        count += len(names)
        if count > _MAX_FILES:
            raise ModelError(
                f"{source} holds more than {_MAX_FILES:,} files",
                "give the folder of one model",
            )
        _read_folder(found, Path(folder), sorted(names))
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table from outside. Raises BadFileError."""
    try:
        if path.stat().st_size > _MAX_JSON:
            _refuse(path, f"is larger than {_MAX_JSON:,} bytes")
        table = strict_json(path.read_bytes())
    except (ValueError, OSError) as error:
        _refuse(path, f"cannot be read as JSON: {error}")
    if not isinstance(table, dict):
        _refuse(path, "is no JSON table")
    return table


def _refuse(path: Path, problem: str, hint: str | None = DOWNLOAD_AGAIN) -> NoReturn:
    raise BadFileError(f"{path} {problem}", hint)


def _read_folder(found: Discovery, folder: Path, names: list[str]) -> None:
    for name in names:
        if name.endswith(".incomplete"):
            _refuse(folder / name, "is an interrupted download")
        if name in _TOKENIZERS:
            found.tokenizers.append(folder / name)
        if name.endswith((".gguf", ".bin", ".ckpt")):
            found.unreadable.append(folder / name)
    for read in _readers(folder, names):
        try:
            found.checkpoints += read()
        except BadFileError as error:
            found.problems.append(error)


def _readers(folder: Path, names: list[str]) -> Iterator[Any]:
    """One function per checkpoint of this folder, which reads its headers."""
    taken: set[str] = set()
    for name in names:
        if name.endswith(_INDEX):
            stem = name.removesuffix(_INDEX)
            taken |= {n for n in names if (m := _SHARD.fullmatch(n)) and m[1] == stem}
            yield lambda path=folder / name: _read_indexed(path)
    series: dict[tuple[str, str], list[str]] = {}
    for name in names:
        if name in taken:
            continue
        if match := _SHARD.fullmatch(name):
            series.setdefault((match[1], match[3]), []).append(name)
        elif name.endswith(".safetensors"):
            yield lambda path=folder / name: _split(path, _places(path, read_header(path)), (path,))
        elif name.endswith((".pth", ".pt")):
            yield lambda path=folder / name: _split(path, _places(path, read_pth(path)), (path,))
    for (stem, total), members in series.items():
        yield lambda stem=stem, total=total, members=members: _read_series(
            folder, stem, int(total), members
        )


def _places(path: Path, tensors: dict[str, TensorInfo]) -> dict[str, Place]:
    return {name: Place(path, name, info) for name, info in tensors.items()}


def _split(path: Path, places: dict[str, Place], files: tuple[Path, ...]) -> list[Checkpoint]:
    """One checkpoint, or one for each prefix when a file holds several networks."""
    groups: dict[str, dict[str, Place]] = {}
    for name, place in places.items():
        match = _PREFIX.match(name)
        prefix = match[0] if match else ""
        groups.setdefault(prefix, {})[name.removeprefix(prefix)] = place
    return [Checkpoint(path, tensors, files) for tensors in groups.values()]


def _read_indexed(path: Path) -> list[Checkpoint]:
    """The shards an index lists; it and they must agree on every tensor."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        _refuse(path, "has no weight_map")
    shards: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard:
            _refuse(path, f"puts {name[:80]!r} in {str(shard)[:80]!r}, which is no file beside it")
        shards.setdefault(shard, set()).add(name)
    return _join(path, [path.parent / shard for shard in sorted(shards)], shards)


def _read_series(folder: Path, stem: str, total: int, members: list[str]) -> list[Checkpoint]:
    """Shards without an index: only their numbers tell whether one is missing."""
    if not 0 < total <= _MAX_FILES:
        _refuse(folder / members[0], "has an impossible number of parts in its name")
    shards = [folder / f"{stem}-{i:05}-of-{total:05}.safetensors" for i in range(1, total + 1)]
    return _join(shards[0], shards, None)


def _join(path: Path, shards: list[Path], listed: dict[str, set[str]] | None) -> list[Checkpoint]:
    places: dict[str, Place] = {}
    for shard in shards:
        if not shard.is_file():
            _refuse(shard, f"is missing; {path.name} says it belongs to the checkpoint")
        tensors = read_header(shard)
        if listed is not None and tensors.keys() != listed[shard.name]:
            name = sorted(tensors.keys() ^ listed[shard.name])[0]
            which = "lacks" if name in listed[shard.name] else "holds"
            _refuse(shard, f"{which} {name[:80]!r}, against what {path.name} says")
        for name, info in tensors.items():
            if name in places:
                _refuse(shard, f"holds {name[:80]!r}, which {places[name].file.name} has too")
            places[name] = Place(shard, name, info)
    return _split(path, places, tuple(shards))

"""The models we know, as data: `models.yaml` read into frozen dataclasses."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# bits a weight takes, with the scales of 64 weights in the quantised ones
BITS = {"bf16": 16.0, "8 bit": 8.5, "6 bit": 6.5, "4 bit": 4.5}


@dataclass(frozen=True)
class License:
    """`restrictions` in plain words; empty where there are none beyond the licence's notice."""

    name: str
    url: str
    restrictions: str
    short: str = ""  # for tables, where the name is long


@dataclass(frozen=True)
class SourceFile:
    """A file of a repository; `size` in bytes and `sha256` are None where they are not known."""

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """A repository files come from. `revision` is a commit, or None while none is pinned.

    `files` are what a conversion needs; without any, the downloader's own choice holds. `license`
    is None where it is that of the model. A gated one is only given to those who asked for it.
    """

    repo: str
    revision: str | None = None
    files: tuple[SourceFile, ...] = ()
    license: License | None = None
    gated: bool = False


@dataclass(frozen=True)
class Score:
    """A published figure, or with `as_stated` one that was told without a publication."""

    value: float
    metric: str
    as_stated: bool
    source: str
    date: str | None


@dataclass(frozen=True)
class KnownModel:
    """`parameters` of all denoisers together; `preset` is None while its network is not built.

    All of its `sources` are needed; the first is the model itself. `distilled` names its companion
    for few steps, `base` the model such a companion belongs to.
    """

    id: str
    name: str
    version: str
    task: str
    parameters: int | None
    architecture: str
    license: License
    sources: tuple[Source, ...]
    preset: str | None
    defaults: dict[str, Any] = field(default_factory=dict)
    active_parameters: int | None = None
    quality_score: Score | None = None
    distilled: str | None = None
    base: str | None = None

    @property
    def minimum_memory(self) -> dict[str, int]:
        """Bytes of the largest denoiser's weights alone, by precision: below this nothing runs.

        What a video of some size needs besides is what `mlx-wan plan` says.
        """
        count = self.active_parameters or self.parameters
        return {name: int(count * bits / 8) for name, bits in BITS.items()} if count else {}

    @property
    def source(self) -> Source:
        """Where the model itself is published."""
        return self.sources[0]

    @property
    def size(self) -> int | None:
        """Bytes to download; None while a file's size is not known."""
        if not all(source.files for source in self.sources):
            return None
        sizes = [file.size for source in self.sources for file in source.files]
        return sum(size for size in sizes if size) if None not in sizes else None

    @property
    def licenses(self) -> dict[License, list[str]]:
        """Every licence of what is fetched -> the repositories under it, the model's own first."""
        found: dict[License, list[str]] = {self.license: []}
        for source in self.sources:
            found.setdefault(source.license or self.license, []).append(source.repo)
        return found


@cache
def known_models() -> dict[str, KnownModel]:
    """Every built-in entry by id, in the order of `models.yaml`. Not to be changed."""
    import yaml

    text = Path(__file__).with_name("models.yaml").read_text(encoding="utf-8")
    return {id: _model(id, data) for id, data in yaml.safe_load(text)["models"].items()}


def _model(id: str, data: dict[str, Any]) -> KnownModel:
    score = data.get("quality_score")
    return KnownModel(
        id=id,
        **data
        | {
            "license": License(**data["license"]),
            "sources": tuple(_source(source) for source in data["sources"]),
            "quality_score": Score(**score) if score else None,
        },
    )


def _source(data: dict[str, Any]) -> Source:
    license = data.get("license")
    return Source(
        **data
        | {
            "files": tuple(SourceFile(**file) for file in data["files"]),
            "license": License(**license) if license else None,
        }
    )

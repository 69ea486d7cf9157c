"""The models we know, as data: `models.yaml` read into frozen dataclasses."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# bits a weight takes, with the scales of 64 weights in the quantised ones
BITS = {"bf16": 16.0, "8 bit": 8.5, "4 bit": 4.5}


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
    """Where a model is published. `revision` is a commit, or None while none is pinned.

    `files` are what a conversion needs; without any, the downloader's own choice holds. What lies
    in other repositories is named in `needs_besides`.
    """

    repo: str
    revision: str | None = None
    files: tuple[SourceFile, ...] = ()
    gated: bool = False
    needs_besides: tuple[str, ...] = ()


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

    `distilled` names its companion for few steps, `base` the model such a companion belongs to.
    """

    id: str
    name: str
    version: str
    task: str
    parameters: int | None
    architecture: str
    license: License
    source: Source
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
    def size(self) -> int | None:
        """Bytes to download; None while a file's size is not known."""
        sizes = [file.size for file in self.source.files]
        return sum(size for size in sizes if size) if sizes and None not in sizes else None


@cache
def known_models() -> dict[str, KnownModel]:
    """Every built-in entry by id, in the order of `models.yaml`. Not to be changed."""
    import yaml

    text = Path(__file__).with_name("models.yaml").read_text(encoding="utf-8")
    return {id: _model(id, data) for id, data in yaml.safe_load(text)["models"].items()}


def _model(id: str, data: dict[str, Any]) -> KnownModel:
    source, score = dict(data["source"]), data.get("quality_score")
    source["files"] = tuple(SourceFile(**file) for file in source["files"])
    source["needs_besides"] = tuple(source.get("needs_besides", ()))
    return KnownModel(
        id=id,
        **data
        | {
            "license": License(**data["license"]),
            "source": Source(**source),
            "quality_score": Score(**score) if score else None,
        },
    )

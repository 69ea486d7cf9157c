"""`ModelRegistry` and `ModelMetadata`: the registry as Python knows it, on the same file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.settings import shown

from . import catalogue
from .promotion import activate, model_folder
from .recording import add_model, record_benchmark
from .status import ModelStatus, list_models


@dataclass(frozen=True)
class ModelMetadata:
    """What there is to say about a model.

    `parameters` is a number or a text like "14B", `source` a repository of the hub or a web
    address, `quality_score` what its publisher states, `performance` measured figures by name.
    """

    name: str
    version: str = ""
    parameters: int | float | str | None = None
    architecture: str = ""
    license: str = ""
    source: str = ""
    file_size_gb: float | None = None
    quality_score: float | None = None
    performance: Mapping[str, Any] | str | None = field(default=None)
    active: bool = False


class ModelRegistry:
    """The models of this machine. Every call reads the file anew; others may write it too."""

    def add_model(self, metadata: ModelMetadata) -> str:
        """Note a model; returns the id it goes by. With `active` it is activated as well.

        A built-in model is known already and only activated. Raises UsageError for wrong values
        or one that was added before, and what `set_active` raises, before anything is noted.
        """
        if not isinstance(metadata, ModelMetadata):
            raise UsageError(f"add_model takes ModelMetadata, not {type(metadata).__name__}")
        name = model_id(metadata.name)
        if metadata.active and model_folder(name) is None:
            raise UsageError(
                f"{metadata.name} cannot be active: it is not converted yet",
                "add it inactive, download and convert it, then set_active",
            )
        if name not in catalogue.known_models():
            about = asdict(metadata)
            del about["active"]
            about["parameters"] = count_of(metadata.parameters)
            add_model(name, about)
        elif metadata.performance:
            figures = metadata.performance
            stated = dict(figures) if isinstance(figures, Mapping) else figures
            record_benchmark(name, {"stated": stated})
        if metadata.active:
            self.set_active(name)
        return name

    def set_active(self, name: str, force_reason: str | None = None) -> None:
        """Make a converted model the default; raises UsageError without evidence (`activate`)."""
        activate(model_id(name), force_reason)

    def list_models(self) -> list[ModelMetadata]:
        """Every known model, the active one first."""
        return [_metadata(status) for status in list_models()]

    def get_active(self) -> ModelMetadata | None:
        """The active model, which may be the embedded one."""
        return next((model for model in self.list_models() if model.active), None)

    def __iter__(self) -> Iterator[ModelMetadata]:
        return iter(self.list_models())


def model_id(name: str) -> str:
    """ "Wan2.2-T2V-A14B" -> "wan2.2-t2v-a14b": lower case, dashes; raises UsageError if empty."""
    if not isinstance(name, str):
        raise UsageError(f"a model's name is a text, not {type(name).__name__}")
    known = {model.name.lower(): id for id, model in catalogue.known_models().items()}
    id = known.get(name.lower()) or re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")
    if not id:
        raise UsageError(
            f"{shown(name)} gives a model no name", "accepted: letters, digits, dots and dashes"
        )
    return id


def count_of(parameters: int | float | str | None) -> int | None:
    """14_000_000_000 for "14B"; None for what is no number."""
    if isinstance(parameters, str):
        found = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*([kmbt]?)\s*", parameters.lower())
        if not found:
            return None
        return round(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}[found[2]])
    if isinstance(parameters, bool) or parameters is None or not 0 < parameters < 2**53:
        return None
    return round(parameters)


def _metadata(status: ModelStatus) -> ModelMetadata:
    known, about = status.known, status.about or {}
    size = status.bytes_on_disk or (known.size if known else None)
    score = known.quality_score.value if known and known.quality_score else None
    return ModelMetadata(
        name=status.name,
        version=known.version if known else "",
        parameters=known.parameters if known else None,
        architecture=known.architecture if known else "",
        license=known.license.name if known else "",
        source=known.source.repo if known else "",
        file_size_gb=round(size / 1e9, 2) if size else about.get("file_size_gb"),
        quality_score=score if score is not None else about.get("quality_score"),
        performance=(status.benchmarks[-1] if status.benchmarks else about.get("performance")),
        active=status.state == "active",
    )

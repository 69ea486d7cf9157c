"""Every model there is, with its state: what `mlx-wan models` lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError
from mlx_wan.home import models_folder
from mlx_wan.loading import installed_models, open_model
from mlx_wan.presets import EMBEDDED

from .catalogue import KnownModel, known_models
from .content import Registry
from .promotion import model_folder
from .recording import all_models
from .store import read_registry

STATES = ("active", "converted", "downloaded", "known", "missing", "broken")


@dataclass(frozen=True)
class ModelStatus:
    """A model and what is here of it. `problem` says what is wrong with a broken or missing one.

    `known` is None for a model of the models folder that is neither built in nor added; `made_from`
    is the built-in one that it is a conversion of, under whatever name.
    """

    name: str
    state: str
    known: KnownModel | None
    about: dict[str, Any] | None  # as it was added
    folder: Path | None
    fingerprint: str | None
    bytes_on_disk: int | None
    precision: str | None
    benchmarks: tuple[dict[str, Any], ...]
    problem: str | None = None
    made_from: KnownModel | None = None


def list_models() -> list[ModelStatus]:
    """The active one first, then by how far they have come, then as the catalogue has them."""
    registry, known = read_registry(), all_models()
    names = dict.fromkeys([*known, *registry.models, *installed_models()])
    if registry.active is not None:
        names.setdefault(registry.active)
    active = registry.active or (EMBEDDED if not _real_installed() else None)
    found = [_status(name, registry, known.get(name), active) for name in names]
    found.sort(key=lambda status: STATES.index(status.state) if status.state in STATES[:4] else 0)
    found.sort(key=lambda status: status.name != active)
    return found


def _real_installed() -> bool:
    return any(name != EMBEDDED for name in installed_models())


def _all_there(downloads: list[dict[str, Any]]) -> bool:
    return bool(downloads) and all(Path(download["folder"]).is_dir() for download in downloads)


def _status(
    name: str, registry: Registry, known: KnownModel | None, active: str | None
) -> ModelStatus:
    entry = registry.models.get(name) or {"about": None, "downloads": [], "benchmarks": []}
    folder = model_folder(name)
    state, problem = "known", None
    fingerprint = size = precision = made_from = None
    if folder is not None:
        state = "active" if name == active else "converted"
        try:
            opened = open_model(folder)
            fingerprint = opened.fingerprint
            size = sum(component.nbytes for component in opened.components.values())
            precision, made_from = opened.precision, opened.preset.id
        except MlxWanError as error:
            state, problem = "broken", error.message
    elif name == active:
        state, problem = "missing", f"it is the active model and not in {models_folder()}"
    elif _all_there(entry["downloads"]):
        state = "downloaded"
    benchmarks = tuple(entry["benchmarks"])
    return ModelStatus(
        name,
        state,
        known,
        entry["about"],
        folder,
        fingerprint,
        size,
        precision,
        benchmarks,
        problem,
        known_models().get(made_from or ""),
    )

"""What happened to models is noted here: added, downloaded, converted, measured, removed."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_wan.errors import BadFileError, UsageError
from mlx_wan.home import models_folder
from mlx_wan.presets import EMBEDDED
from mlx_wan.presets.near import meant
from mlx_wan.settings import shown

from . import catalogue
from .catalogue import KnownModel, License, Source, SourceFile
from .content import MAX_TEXT, ContentError, Registry, from_json, is_name, is_plain, is_repo
from .store import change_registry, read_registry, repair

if TYPE_CHECKING:
    from mlx_wan.hub import Snapshot

HISTORY, BENCHMARKS, EVIDENCE = 1000, 100, 200  # as many are kept, the newest

_REPORT_FORMAT = "mlx-wan-ab"


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def active_model() -> str | None:
    """Name of the active model; None while none was ever installed.

    Raises BadFileError for a damaged file, of which a copy is kept.
    """
    return read_registry().active


def set_active(name: str, action: str = "installed", reason: str | None = None) -> None:
    """Make a model the default without asking for evidence. A damaged registry is kept aside."""
    _mend()
    with change_registry() as registry:
        note(registry, action, name, reason)
        registry.active = name


def _mend() -> None:
    try:
        read_registry()
    except BadFileError:
        repair()


def note(registry: Registry, action: str, name: str, reason: str | None) -> None:
    """Add to the history what is about to be done to the registry."""
    reason = None if reason is None else reason[:MAX_TEXT]
    done = {"time": now(), "action": action, "model": name}
    registry.history.append({**done, "previous": registry.active, "reason": reason})
    del registry.history[:-HISTORY]


def record_installed(folder: Path, model: str) -> None:
    """Note that `model` was converted into `folder`: the first in the models folder is active.

    Folders elsewhere are used by path and not noted, nor is a copy of the embedded model, nor one
    whose name cannot be printed. A damaged registry is kept aside.
    """
    inside = folder.parent.resolve() == models_folder().resolve()
    if not inside or model == EMBEDDED or not is_name(folder.name):
        return
    _mend()
    with change_registry() as registry:  # two conversions may end at once
        if registry.active is None:
            note(registry, "installed", folder.name, "the first model that was converted")
            registry.active = folder.name


@dataclass(frozen=True)
class Download:
    """Files of one commit of a repository, in `folder`, whose sizes and hashes were right."""

    repo: str
    revision: str
    folder: str
    files: tuple[SourceFile, ...]
    time: str


def record_downloads(id: str, snapshots: "Iterable[Snapshot]") -> None:
    """Note what was downloaded of a model and checked, in place of what was noted before.

    Raises UsageError for an unknown model.
    """
    find_known(id)
    downloads = [
        {
            "repo": snapshot.listing.repo,
            "revision": snapshot.listing.commit,
            "folder": str(snapshot.folder),
            "files": [
                {"path": file.path, "size": file.size, "sha256": file.sha256}
                for file in snapshot.listing.files
            ],
            "time": now(),
        }
        for snapshot in snapshots
    ]
    with change_registry() as registry:
        registry.entry(id)["downloads"] = downloads


def downloaded(id: str) -> tuple[Download, ...]:
    """What was downloaded of a model, by repository, whether or not it is still there."""
    entry = read_registry().models.get(id)
    return tuple(
        Download(**{**told, "files": tuple(SourceFile(**file) for file in told["files"])})
        for told in (entry["downloads"] if entry else ())
    )


def record_benchmark(name: str, figures: Mapping[str, Any]) -> None:
    """Keep measured figures of a model: plain JSON, with machine and versions in it."""
    figures = dict(figures)
    _check_name(name)
    if not is_plain(figures):
        raise UsageError("a benchmark is plain JSON with finite numbers")
    with change_registry() as registry:
        benchmarks = registry.entry(name)["benchmarks"]
        benchmarks.append({"time": now(), **figures})
        del benchmarks[:-BENCHMARKS]


def record_ab_report(report: Mapping[str, Any]) -> None:
    """Keep the essence of an A/B report: whose weights were compared, and the verdict on b.

    A report of the same comparison replaces the one before. Raises UsageError for what is none.
    """
    if report.get("format") != _REPORT_FORMAT or report.get("version") != 1:
        raise UsageError(
            "this is not the report of an A/B comparison", "`mlx-wan bench report DIR`"
        )
    try:
        essence = {
            **{side: {k: report[side][k] for k in ("model", "fingerprint")} for side in ("a", "b")},
            **{name: report.get(name) for name in ("verdict", "path", "sha256", "finished")},
        }
        from_json({**Registry(evidence=[essence]).to_json()})
    except (KeyError, TypeError, ContentError) as error:
        raise UsageError(f"the report of the A/B comparison is damaged: {error}") from None
    with change_registry() as registry:
        kept = [item for item in registry.evidence if item["path"] != essence["path"]]
        registry.evidence = [*kept, essence][-EVIDENCE:]


def add_model(name: str, about: Mapping[str, Any]) -> None:
    """Note a model of one's own, inactive. `about` has the fields of ModelMetadata but the name.

    Raises UsageError when there is such a model already.
    """
    about = dict(about)
    _check_name(name)
    if not is_plain(about):
        wrong = next((key for key, value in about.items() if not is_plain({key: value})), None)
        raise UsageError(
            f"{wrong or 'the description'} of the model is {shown(about.get(wrong or '', about))}",
            f"accepted: finite numbers and texts of up to {MAX_TEXT:,} characters",
        )
    if name in catalogue.known_models():
        raise UsageError(f"{name} is known already", f"`mlx-wan models show {name}`")
    with change_registry() as registry:
        entry = registry.entry(name)
        if entry["about"] is not None:
            raise UsageError(f"{name} was added already", f"`mlx-wan models remove {name}` first")
        entry["about"] = about


def remove_model(name: str) -> None:
    """Forget what was noted of a model; no file is touched, built-in entries stay known.

    Raises UsageError for the active model, and when nothing was noted.
    """
    with change_registry() as registry:
        if name == registry.active:
            raise UsageError(f"{name} is the active model", "activate another one first")
        if name not in registry.models:
            raise UsageError(
                f"nothing is noted of {shown(name)} that could be removed",
                f"files lie in {models_folder()} and in the hub's cache",
            )
        note(registry, "removed", name, None)
        del registry.models[name]


def all_models() -> dict[str, KnownModel]:
    """The built-in entries and those that were added, by name."""
    models = dict(catalogue.known_models())
    for name, entry in read_registry().models.items():
        if name not in models and entry["about"] is not None:
            models[name] = _known(name, entry["about"])
    return models


def find_known(id: str) -> KnownModel:
    """Raises UsageError when there is none of this name."""
    models = all_models()
    if id not in models:
        raise UsageError(
            f"there is no known model {shown(id)}",
            f"{meant(id)}`mlx-wan models list` shows them; any other repository: "
            "`mlx-wan convert OWNER/NAME`",
        )
    return models[id]


def _known(name: str, about: dict[str, Any]) -> KnownModel:
    def text(key: str) -> str:
        value = about.get(key)
        return value if isinstance(value, str) else ""

    parameters = about.get("parameters")
    return KnownModel(
        id=name,
        name=text("name") or name,
        version=text("version"),
        task="",
        parameters=parameters if type(parameters) is int and parameters > 0 else None,
        architecture=text("architecture"),
        license=License(text("license") or "not stated", "", ""),
        sources=(Source(text("source") if is_repo(text("source")) else ""),),
        preset=None,
    )


def _check_name(name: str) -> None:
    if not is_name(name):
        raise UsageError(
            f"{shown(name)} is no name for a model", "letters, digits, dots and dashes; no slash"
        )

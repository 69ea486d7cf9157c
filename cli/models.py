"""`mlx-wan models`: what models there are, what is here of them, and which one is the default."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .models_download import download
from .models_verify import verify
from .options import Json

if TYPE_CHECKING:
    from mlx_wan.registry.status import ModelStatus

models_app = typer.Typer(
    name="models",
    help="Models: what there is, download, evidence, and which one is the default.",
    no_args_is_help=False,
    rich_markup_mode="rich",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of `mlx-wan models list`.")]


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """Models: what there is, download, evidence, and which one is the default."""
    if context.invoked_subcommand is None:
        list_()


@models_app.command("list")
def list_(as_json: Json = False) -> None:
    """Every known model: the active one first, then what is converted, downloaded, known."""
    from mlx_wan.registry.status import list_models

    from .models_tables import print_models

    found = list_models()
    if as_json:
        print(json.dumps({"ok": True, "models": [_told(status) for status in found]}))
    else:
        print_models(found)


@models_app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Everything known of one model: licence, source, defaults, memory, scores, evidence."""
    from mlx_wan.registry import read_registry

    from .models_tables import print_model

    status = _find(name)
    evidence = [
        item
        for item in read_registry().evidence
        if status.fingerprint in (item["a"]["fingerprint"], item["b"]["fingerprint"])
    ]
    if as_json:
        print(json.dumps({"ok": True, "evidence": evidence} | _told(status)))
    else:
        print_model(status, evidence)


@models_app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")],
    source: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Repository on the hub, to download from.")
    ] = "",
    version: Annotated[str, typer.Option(help="Its version.")] = "",
    parameters: Annotated[str | None, typer.Option(help="How many: 14B, 1.3B.")] = None,
    architecture: Annotated[str, typer.Option(help="In a few words.")] = "",
    license: Annotated[str, typer.Option(help="Its licence.")] = "",
    quality_score: Annotated[
        float | None, typer.Option(help="A score its publisher states.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Note a model of your own, inactive: to download, convert and compare it by name."""
    from mlx_wan.errors import UsageError
    from mlx_wan.registry import known_models
    from mlx_wan.registry.metadata import ModelMetadata, ModelRegistry, count_of, model_id

    if (known := model_id(name)) in known_models():
        raise UsageError(f"{known} is known already", f"`mlx-wan models show {known}`")
    if parameters is not None and count_of(parameters) is None:
        raise UsageError(f"--parameters is {parameters!r}", "write it as 14B, 1.3B or 800M")
    about = ModelMetadata(
        name, version, parameters, architecture, license, source, None, quality_score
    )
    id = ModelRegistry().add_model(about)
    _done(as_json, {"id": id}, f"{id} is added, inactive")


@models_app.command()
def remove(name: Name, as_json: Json = False) -> None:
    """Forget what was noted of a model: its entry, download and figures. No file is deleted."""
    from mlx_wan.registry import remove_model

    remove_model(name)
    _done(as_json, {"id": name}, f"nothing is noted of {name} any more; its files are untouched")


@models_app.command()
def activate(
    name: Name,
    force: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Without a passed A/B report, for this reason."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a converted model the default, when an A/B report of these very weights says PASS."""
    from mlx_wan.registry.promotion import activate as activate_model

    reason = activate_model(name, force)
    _done(as_json, {"active": name, "reason": reason}, f"{name} is active: {reason}")


@models_app.command()
def rollback(as_json: Json = False) -> None:
    """Make the model active again that was before."""
    from mlx_wan.registry.promotion import rollback as roll_back

    name = roll_back()
    _done(as_json, {"active": name}, f"{name} is active again")


@models_app.command()
def history(as_json: Json = False) -> None:
    """Which model was active when, and why."""
    from mlx_wan.registry import read_registry

    from .models_tables import print_history

    entries = read_registry().history
    if as_json:
        print(json.dumps({"ok": True, "history": entries}))
    else:
        print_history(entries)


@models_app.command()
def repair(as_json: Json = False) -> None:
    """Begin a new registry when the file is damaged; the damaged one is kept."""
    from mlx_wan import registry

    kept = registry.repair()
    told = f"the damaged file is kept as {kept}" if kept else "nothing is damaged"
    _done(as_json, {"kept": str(kept) if kept else None}, told)


models_app.command()(download)
models_app.command()(verify)


def _find(name: str) -> "ModelStatus":
    from mlx_wan.errors import UsageError
    from mlx_wan.presets.near import meant
    from mlx_wan.registry.status import list_models
    from mlx_wan.settings import shown

    found = {status.name: status for status in list_models()}
    if name not in found:
        hint = f"{meant(name)}`mlx-wan models list` shows them"
        raise UsageError(f"there is no model {shown(name)}", hint)
    return found[name]


def _told(status: "ModelStatus") -> dict[str, Any]:
    """A model for scripts: what is known and what is here, bytes and counts as numbers."""
    known = asdict(status.known) if status.known else {}
    known.pop("id", None)
    return {
        "id": status.name,
        "state": status.state,
        "problem": status.problem,
        "folder": str(status.folder) if status.folder else None,
        "fingerprint": status.fingerprint,
        "bytes_on_disk": status.bytes_on_disk,
        "precision": status.precision,
        "benchmarks": list(status.benchmarks),
        "about": status.about,
        "known": known or None,
        "made_from": status.made_from.id if status.made_from else None,
        "minimum_memory": status.known.minimum_memory if status.known else {},
    }


def _done(as_json: bool, facts: dict[str, Any], words: str) -> None:
    if as_json:
        print(json.dumps({"ok": True} | facts))
    else:
        print(words, file=sys.stderr)

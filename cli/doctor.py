"""`mlx-wan doctor`: what this machine offers and what is installed."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Json


def doctor(
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Measure this machine's rates first, under a minute; for `plan`."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Report device, memory, BLAS in use, versions and the models found."""
    if calibrate:
        _calibrate()
    facts = _facts()
    if as_json:
        print(json.dumps({"ok": True} | facts))
        return
    models = facts.pop("models")
    for label, value in facts.items():
        print(f"{label + ':':18}{value}")
    print(f"{'models:':18}{len(models)}")
    for name, about in models.items():
        print(f"  {name}: {about}")


def _calibrate() -> None:
    """Measure and store; what else runs meanwhile makes every later prediction too slow."""
    import sys

    from rich.console import Console
    from rich.progress import Progress

    from mlx_wan.roofline.calibrate import measure
    from mlx_wan.roofline.store import write_calibration

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("calibrating")

        def report(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total, description=f"calibrating: {what}")

        rates = measure(report=report)
    print(f"calibrated: {write_calibration(rates)}", file=sys.stderr)


def _calibration() -> str:
    from mlx_wan.errors import MlxWanError
    from mlx_wan.roofline.store import AGAIN, read_calibration

    try:
        found = read_calibration()
    except MlxWanError as error:
        return f"unusable: {error.message}; {error.hint}"
    if found is None:
        return f"none; {AGAIN.replace('again', 'once')}"
    fastest = max(rate for _, _, rate in found.rates.points["linear"])
    return f"{found.date[:10]}, {fastest / 1e9:,.0f} GFLOP/s in matmul, mlx {found.versions['mlx']}"


def _facts() -> dict[str, Any]:
    import mlx.core as mx

    from mlx_wan import __version__, blas
    from mlx_wan.home import models_folder
    from mlx_wan.memory import available_memory

    device = mx.default_device()
    name = dict(mx.device_info()).get("device_name", "")
    return {
        "mlx-wan": __version__,
        "mlx": version("mlx"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "device": f"{device.type.name} {name}".strip(),
        "memory available": f"{available_memory() / 2**30:.1f} GiB",
        "blas": blas.status(),
        "calibration": _calibration(),
        "models folder": str(models_folder()),
        "default model": _default_model(),
        "models": _models(),
    }


def _models() -> dict[str, str]:
    from mlx_wan.home import models_folder
    from mlx_wan.loading import embedded_model, installed_models

    folders = [models_folder() / name for name in installed_models()]
    found = {folder.name: _about(folder) for folder in folders}
    if embedded_model().name not in found:
        found[embedded_model().name] = f"built in: {_about(embedded_model())}"
    return found


def _about(path: Path) -> str:
    from mlx_wan.errors import MlxWanError
    from mlx_wan.loading import open_model

    try:
        folder = open_model(path)
    except MlxWanError as error:
        return f"broken: {error.message}"
    size = sum(component.nbytes for component in folder.components.values())
    return f"{folder.preset.title}, {size / 2**30:.2f} GiB, {folder.precision}"


def _default_model() -> str:
    from mlx_wan.errors import MlxWanError
    from mlx_wan.loading import find_model

    try:
        return find_model(None).name
    except MlxWanError as error:
        return f"none: {error.message}"

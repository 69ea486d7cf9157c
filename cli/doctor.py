"""`mlx-wan doctor`: what this machine offers and what is installed."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .options import Json


def doctor(as_json: Json = False) -> None:
    """Report device, memory, BLAS in use, versions and the models found."""
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
    kinds = {
        f"{c.quantization['bits']}-bit" if c.quantization else c.dtype
        for c in folder.components.values()
        if c.network != "sentencepiece"
    }
    return f"{folder.preset.title}, {size / 2**30:.2f} GiB, {'/'.join(sorted(kinds))}"


def _default_model() -> str:
    from mlx_wan.errors import MlxWanError
    from mlx_wan.loading import find_model

    try:
        return find_model(None).name
    except MlxWanError as error:
        return f"none: {error.message}"

"""Which installed model is the default: `registry.json` in MLX_WAN_HOME.

The first real model that is converted into the models folder becomes the active one. From then on
a missing model is an error; the embedded one is no longer put in its place.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from .errors import BadFileError
from .files import complete_or_absent, free_name
from .home import home, models_folder
from .presets import EMBEDDED
from .settings import shown
from .tensorfile import strict_json

FORMAT = "mlx-wan-registry"
VERSION = 1
_MAX_BYTES = 1_000_000
_ACCEPTED = f'accepted: an object with "format" {FORMAT!r}, "version" {VERSION} and "active"'


def registry_file() -> Path:
    return home() / "registry.json"


def active_model() -> str | None:
    """Name of the active model in the models folder; None while none was ever installed.

    Raises BadFileError for a damaged file, of which a copy is kept.
    """
    return _read()["active"]


def set_active(name: str) -> None:
    """Make a model of the models folder the default. A damaged registry is kept and replaced."""
    try:
        data = _read()
    except BadFileError:
        data = _empty()
    text = json.dumps({**data, "active": name}, indent=1) + "\n"
    with complete_or_absent(registry_file()) as partial:
        partial.write_text(text, encoding="utf-8")


def record_installed(folder: Path, model: str) -> None:
    """Note that `model` was converted into `folder`: the first in the models folder is active.

    Folders elsewhere are used by path and not noted, nor is a copy of the embedded model.
    """
    inside = folder.parent.resolve() == models_folder().resolve()
    if not inside or model == EMBEDDED:
        return
    try:
        active = active_model()
    except BadFileError:
        active = None
    if active is None:
        set_active(folder.name)


def _empty() -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "active": None}


def _read() -> dict[str, Any]:
    file = registry_file()
    try:
        if not os.path.lexists(file):
            return _empty()
        if file.exists() and not file.is_file():  # a pipe or device may never end
            raise BadFileError(f"{file} cannot be read: it is no file", "mend or move it")
        if file.stat().st_size > _MAX_BYTES:
            raise BadFileError(f"{file} is too large to be the list of models", _ACCEPTED)
        data = strict_json(file.read_bytes())
    except OSError as error:
        raise BadFileError(f"{file} cannot be read: {error.strerror}", "mend or move it") from None
    except ValueError as error:
        raise _damaged(file, f"is not valid JSON: {error}") from None
    problem = _problem(data)
    if problem:
        raise _damaged(file, problem)
    return data


def _problem(data: Any) -> str | None:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        return "is not the list of models that mlx-wan writes"
    version, active = data.get("version"), data.get("active")
    if type(version) is not int or version != VERSION:
        return f"has version {shown(version)}; this mlx-wan reads {VERSION}"
    if active is not None and (not isinstance(active, str) or not _is_name(active)):
        return f"names {shown(active)} as the active model"
    return None


def _is_name(text: str) -> bool:
    """Whether it can be the name of a folder in the models folder, and of no other place."""
    return text not in ("", ".", "..") and not set(text) & set("/\\\0")


def _damaged(file: Path, problem: str) -> BadFileError:
    """The error for a damaged registry, whose contents are kept under another name."""
    try:
        contents, kept = file.read_bytes(), file.with_name("registry.damaged.json")
        copies = [path for path in file.parent.glob("registry.damaged*.json") if path.is_file()]
        if contents not in [path.read_bytes() for path in copies]:
            shutil.copyfile(file, free_name(kept))
    except OSError:
        return BadFileError(f"{file} {problem}", "move it away, or give --model")
    return BadFileError(
        f"{file} {problem}", f"a copy is kept as {kept.name}; delete it, or give --model"
    )

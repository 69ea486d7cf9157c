"""The file itself: read whole, changed by one process at a time, replaced whole, never lost."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.files import (
    MissingFileError,
    complete_or_absent,
    free_name,
    locked,
    make_folder,
    read_small,
)
from mlx_wan.home import home
from mlx_wan.tensorfile import strict_json

from .content import ContentError, Registry, from_json

_MAX_BYTES = 8_000_000


def registry_file() -> Path:
    return home() / "registry.json"


def read_registry() -> Registry:
    """The state as it is; an empty one while no file was written.

    Raises BadFileError for a damaged file, of which a copy is kept.
    """
    file = registry_file()
    try:
        data = read_small(file, _MAX_BYTES)
    except MissingFileError:
        if os.path.lexists(file):  # a link to nowhere
            raise BadFileError(f"{file} leads to no file", "mend or move it") from None
        return Registry()
    except BadFileError as error:
        raise BadFileError(error.message, "`mlx-wan models repair` moves it away") from None
    except UsageError as error:
        raise BadFileError(error.message, "mend or move it") from None
    try:
        return from_json(strict_json(data))
    except ContentError as error:
        raise _damaged(file, str(error)) from None
    except ValueError as error:
        raise _damaged(file, f"is not valid JSON: {error}") from None


@contextmanager
def change_registry() -> Iterator[Registry]:
    """The state, to be changed in the block and written at its end; nothing is when it raises.

    Other processes wait. Raises BadFileError for a damaged file and MlxWanError when it cannot be
    written.
    """
    with _locked():
        registry = read_registry()
        before = json.dumps(registry.to_json())
        yield registry
        if json.dumps(registry.to_json()) != before:
            write_registry(registry)


def write_registry(registry: Registry) -> None:
    """Raises MlxWanError, and leaves the file, for what could not be read again or not written."""
    file, hint = registry_file(), "`mlx-wan models remove NAME` makes room"
    text = (json.dumps(registry.to_json(), indent=1) + "\n").encode()
    try:
        from_json(strict_json(text))
    except ValueError as error:  # ContentError is one
        raise MlxWanError(f"{file} is left as it was; changed, it {error}", hint) from None
    if len(text) > _MAX_BYTES:
        raise MlxWanError(
            f"{file} is left as it was; changed, it has {len(text)} bytes, accepted: {_MAX_BYTES}",
            hint,
        )
    with complete_or_absent(file) as partial:
        partial.write_bytes(text)


def repair() -> Path | None:
    """Move a damaged registry away and begin a new one with the active model, if it says which.

    The new name of the damaged file; None when there was nothing to repair.
    """
    with _locked():
        file = registry_file()
        try:
            read_registry()
            return None
        except BadFileError:
            pass
        kept = free_name(file.with_name("registry.broken.json"))
        registry = Registry(active=_readable_active(file))
        try:
            file.rename(kept)
        except OSError as error:
            raise MlxWanError(f"{file} cannot be moved: {error.strerror}") from None
        write_registry(registry)
        return kept


def _readable_active(file: Path) -> str | None:
    """The active model of a file that is damaged elsewhere."""
    with suppress(MlxWanError, ValueError):
        data = strict_json(read_small(file, _MAX_BYTES))
        if isinstance(data, dict):
            with suppress(ContentError):
                return from_json({**Registry().to_json(), "active": data.get("active")}).active
    return None


@contextmanager
def _locked() -> Iterator[None]:
    path = registry_file().with_name("registry.lock")
    make_folder(path.parent)
    with locked(path):
        yield


def _damaged(file: Path, problem: str) -> BadFileError:
    """The error for a damaged registry, whose contents are kept under another name."""
    hint = "`mlx-wan models repair` begins a new one; or give --model"
    try:
        contents = file.read_bytes()
        copies = [path for path in file.parent.glob("registry.damaged*.json") if path.is_file()]
        kept = next((path for path in copies if path.read_bytes() == contents), None)
        if kept is None:
            kept = free_name(file.with_name("registry.damaged.json"))
            shutil.copyfile(file, kept)
    except OSError:
        return BadFileError(f"{file} {problem}", hint)
    return BadFileError(f"{file} {problem}", f"a copy is kept as {kept.name}; {hint}")

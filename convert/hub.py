"""Where a source is: a folder or file here, or a repository of the Hugging Face hub.

Naming a repository is asking for its download; nothing else ever goes online. The hub's own cache
is used, so a second conversion downloads nothing.
"""

import re
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path

from mlx_wan import hub
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.events import Event, Report
from mlx_wan.home import expanded
from mlx_wan.hub.listing import NEEDED
from mlx_wan.hub.transport import OfflineError
from mlx_wan.registry.catalogue import known_models

from .families import FAMILIES

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def find_source(
    source: str | Path, model: str | None, report: Report
) -> tuple[Path, dict[str, str]]:
    """The folder or file of a source, downloaded if it is a hub id; and what to record of it."""
    path = expanded(source)
    if path.exists():
        if (path / "config.json").is_file() and b'"mlx-wan"' in _beginning(path / "config.json"):
            raise UsageError(f"{path} is converted already", "it can be used as it is, as --model")
        return path.absolute(), {"path": str(source)}
    if not isinstance(source, str) or not _HUB_ID.fullmatch(source):
        raise ModelError(
            f"{source} does not exist",
            "give a folder, or a repository of the hub such as Wan-AI/Wan2.2-T2V-A14B",
        )
    return download(source, model, report)


def download(repo: str, model: str | None, report: Report) -> tuple[Path, dict[str, str]]:
    """Fetch what a conversion needs of a repository, at one commit, every file checked."""
    try:
        listing = hub.list_files(repo)
    except OfflineError as offline:
        folder = _from_an_earlier_time(repo, offline)
        return folder, {"path": repo, "revision": folder.name}
    names = wanted_files(repo, [file.path for file in listing.files], model)
    wanted = hub.choose(listing, pins=[hub.Pin(name) for name in names])
    told = f"{repo}: {len(names)} files, {wanted.size / 1e9:.2f} GB"
    report(Event("download", 0, wanted.size, told))
    done = hub.download(wanted, report)
    return done.folder, {"path": repo, "revision": listing.commit}


def _from_an_earlier_time(repo: str, offline: OfflineError) -> Path:
    """The folder of a repository in the cache, as it was left by the last download."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(repo, allow_patterns=list(NEEDED), local_files_only=True)
    except Exception:  # whatever it misses
        raise ModelError(
            f"{repo} is neither a folder here nor in the cache, and the hub does not answer: "
            f"{offline.message}",
            "go online, or download it elsewhere and give its folder",
        ) from None
    return Path(folder).absolute()


def wanted_files(repo: str, names: list[str], model: str | None) -> list[str]:
    """Which files of a repository make the model. Raises UsageError where that is left open."""
    if any(name.startswith("split_files/") for name in names):
        return _of_comfyui(repo, names, model)
    known = [one for one in known_models().values() if one.source.repo == repo and one.preset]
    chosen = [one for one in known if model in (one.preset, None)]
    if known and len(chosen) != 1:
        raise UsageError(
            f"{repo} holds several models" if chosen else f"{repo} is not known to hold {model}",
            f"choose one with --model: {', '.join(str(one.preset) for one in known)}",
        )
    for one in chosen:
        listed = [file.path for file in one.source.files]
        if len(one.sources) > 1:
            raise UsageError(
                f"{one.id} needs more than {repo} holds",
                f"to fetch and convert all of it: mlx-wan models download {one.id} --convert",
            )
        if listed and set(listed) <= set(names):  # not the other layouts it may hold
            return listed
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in NEEDED)]


def _of_comfyui(repo: str, names: list[str], model: str | None) -> list[str]:
    """ComfyUI's repositories hold many models side by side; below split_files/ some make one."""
    tables = {preset: files for one in FAMILIES for preset, files in one.split_files.items()}
    if model is None:
        raise UsageError(
            f"{repo} holds several models", f"choose one with --model: {', '.join(tables)}"
        )
    if model not in tables:
        raise UsageError(
            f"ComfyUI's files of {model} are without its tokenizer",
            f"to fetch and convert it from elsewhere: mlx-wan models download {model} --convert",
        )
    patterns = tables[model]
    wanted = [
        [name for name in names if fnmatch(name, f"split_files/{pattern}")] for pattern in patterns
    ]
    if not all(wanted):
        raise ModelError(f"{repo} has no {patterns[wanted.index([])]}", "it holds other models")
    return [name for group in wanted for name in group]


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(200)

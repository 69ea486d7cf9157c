"""What `registry.json` holds, checked value by value: a person may have edited it, or worse."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlx_wan.settings import shown

FORMAT, VERSION = "mlx-wan-registry", 3
MAX_TEXT, MAX_ITEMS, MAX_DEPTH = 4_000, 5_000, 6
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
VERDICTS = ("PASS", "FAIL", "NOT ENOUGH EVIDENCE")
ACTIONS = ("installed", "activated", "forced", "rolled back", "removed")


class ContentError(ValueError):
    """What is wrong with a registry, to be put after its file's name: "names 7 as ..."."""


@dataclass
class Registry:
    """The whole state. What is in the lists and dicts is plain JSON, as the functions below check.

    `models`: name -> {"about": {...}|None, "downloads": [...], "benchmarks": [...]};
    `evidence`: the essence of A/B reports; `history`: what was active when, and why.
    """

    active: str | None = None
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def entry(self, name: str) -> dict[str, Any]:
        """The entry of a model; a new one where there is none."""
        return self.models.setdefault(name, {"about": None, "downloads": [], "benchmarks": []})

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "active": self.active,
            "models": self.models,
            "evidence": self.evidence,
            "history": self.history,
        }


def from_json(data: Any) -> Registry:
    """Raises ContentError for what is no registry, or one of a later version."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ContentError("is not the list of models that mlx-wan writes")
    version = data.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ContentError(f"has version {shown(version)}; this mlx-wan reads 1 to {VERSION}")
    for number in range(version, VERSION):
        data = _MIGRATIONS[number](data)
    active = data.get("active")
    if active is not None and (not isinstance(active, str) or not is_name(active)):
        raise ContentError(f"names {shown(active)} as the active model")
    models = _part(data, "models", dict)
    for name, entry in models.items():
        if not is_name(name):
            raise ContentError(f"has a model with the name {shown(name)}")
        _check(entry, _ENTRY, f"the model {shown(name)}")
        _check_plain(entry["about"], f"the model {shown(name)}")
    evidence, history = _part(data, "evidence", list), _part(data, "history", list)
    for item in evidence:
        _check(item, _EVIDENCE, "a comparison")
    for item in history:
        _check(item, _HISTORY, "the history")
    return Registry(active, models, evidence, history)


def is_name(text: str) -> bool:
    """Whether it can be the name of a folder in the models folder, and of no other place."""
    bad = text in ("", ".", "..") or len(text.encode("utf-8", "replace")) > 200
    return not bad and text.isprintable() and not set(text) & set("/\\")


def is_repo(text: str) -> bool:
    """Whether it can be a repository's name on the hub: OWNER/NAME."""
    return _REPO.fullmatch(text) is not None and ".." not in text


def _with_lists(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew the active model only."""
    return {"active": data.get("active"), "models": {}, "evidence": [], "history": []}


def _with_downloads(data: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew models of one repository only."""
    models = _part(data, "models", dict)
    for name, entry in models.items():
        if not isinstance(entry, dict) or "download" not in entry or "downloads" in entry:
            raise ContentError(f"describes the model {shown(name)} with {shown(entry)}")
    return {**data, "models": {name: _in_a_list(entry) for name, entry in models.items()}}


def _in_a_list(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in entry.items() if name != "download"}
    only = entry["download"]
    return {**kept, "downloads": [] if only is None else [only]}


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _with_lists,
    2: _with_downloads,
}


def _part(data: dict[str, Any], name: str, kind: type[list] | type[dict]) -> Any:
    part = data.get(name)
    if not isinstance(part, kind):
        raise ContentError(f"has {shown(part)} as {name!r}")
    if len(part) > MAX_ITEMS:
        raise ContentError(f"has {len(part)} {name}; accepted: up to {MAX_ITEMS}")
    return part


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and _encodable(value)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _matching(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list) and len(value) <= MAX_ITEMS and all(map(check, value))
    )


def _shaped(fields: dict[str, Callable[[Any], bool]]) -> Callable[[Any], bool]:
    """A check of objects with exactly these fields."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() == fields.keys()
        and all(check(value[name]) for name, check in fields.items())
    )


def _name(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)


_FILE = {"path": _text, "size": _count, "sha256": _matching(_SHA256)}
_DOWNLOAD = {
    "repo": _text,
    "revision": _matching(_COMMIT),
    "folder": _text,
    "files": _list_of(_shaped(_FILE)),
    "time": _matching(_TIME),
}
_ENTRY = {
    "about": _or_none(lambda value: isinstance(value, dict)),
    "downloads": _list_of(_shaped(_DOWNLOAD)),
    "benchmarks": _list_of(lambda value: isinstance(value, dict) and is_plain(value)),
}
_SIDE = _shaped({"model": _text, "fingerprint": _text})
_EVIDENCE = {
    "a": _SIDE,
    "b": _SIDE,
    "verdict": lambda value: value in VERDICTS if isinstance(value, str) else False,
    "path": _or_none(_text),
    "sha256": _matching(_SHA256),
    "finished": _text,
}
_HISTORY = {
    "time": _matching(_TIME),
    "action": lambda value: value in ACTIONS if isinstance(value, str) else False,
    "model": _name,
    "previous": _or_none(_name),
    "reason": _or_none(_text),
}


def _check(value: Any, fields: dict[str, Callable[[Any], bool]], where: str) -> None:
    if not isinstance(value, dict) or value.keys() != fields.keys():
        raise ContentError(f"describes {where} with {shown(value)}")
    for name, check in fields.items():
        if not check(value[name]):
            raise ContentError(f"has {shown(value[name])} as {name!r} of {where}")


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether it is JSON of a reasonable size that prints: finite numbers, whole characters."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return abs(value) < 2**53
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return _text(value)
    if depth >= MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return len(value) <= MAX_ITEMS and all(
            _text(name) and is_plain(item, depth + 1) for name, item in value.items()
        )
    return (
        isinstance(value, list | tuple)
        and len(value) <= MAX_ITEMS
        and all(is_plain(item, depth + 1) for item in value)
    )


def _check_plain(value: Any, where: str) -> None:
    if not is_plain(value):
        raise ContentError(f"describes {where} with {shown(value)}")

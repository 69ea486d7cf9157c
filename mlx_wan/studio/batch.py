"""Many videos from one file: what is in it, item by item, and what of it is done already.

A file is YAML, JSON or CSV: a list of items, or `videos` with `defaults` for all of them. An item
is a `kind` (linkedin, youtube, generate) and the same settings as its command.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError, UsageError
from mlx_wan.files import write_json
from mlx_wan.home import expanded, home
from mlx_wan.record import read_json
from mlx_wan.settings import shown

from .storyboard_file import read_data, read_text

KINDS = ("linkedin", "youtube", "generate")
MAX_ITEMS = 1000
_PATHS = ("image", "last_image", "brand", "storyboard", "output")
_NOT_ONLY_TEXT = ("guidance_scale", "tags")
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


@dataclass(frozen=True)
class Item:
    """One video of a batch. `line` is where it begins in the file, where that is known; `key` is
    the same for the same item in the same file, run after run."""

    number: int
    line: int | None
    kind: str
    values: dict[str, Any]
    key: str

    @property
    def where(self) -> str:
        return f"item {self.number}" + (f" (line {self.line})" if self.line else "")

    @property
    def title(self) -> str:
        said = (self.values.get(name) for name in ("topic", "hook", "prompt", "storyboard"))
        text = next((text for text in said if isinstance(text, str)), "")
        return text if len(text) <= 50 else text[:49] + "…"


def read_batch(
    path: str | Path, kinds: Mapping[str, Mapping[str, type]]
) -> tuple[list[Item], list[str]]:
    """The items of a batch file that make sense, and what is wrong with the others, line by line.

    `kinds` has the settings of each kind and their types, which the words of a CSV become. Paths
    are relative to the file. Raises UsageError when the file itself cannot be read.
    """
    path = expanded(path)
    is_csv = path.suffix.lower() == ".csv"
    entries = _csv_entries(path) if is_csv else _data_entries(path)
    if not entries:
        raise UsageError(f"{path} has no videos", "a list of items, each with its kind")
    if len(entries) > MAX_ITEMS:
        raise UsageError(f"{path} has {len(entries)} items", f"accepted: up to {MAX_ITEMS}")
    items, problems = [], []
    seen: Counter[str] = Counter()
    for number, (line, entry) in enumerate(entries, 1):
        item = Item(number, line, "", {}, "")
        try:
            kind, values = _settled(entry, kinds, path.absolute().parent, from_words=is_csv)
        except MlxWanError as error:
            problems.append(f"{item.where}: {error}")
            continue
        about = json.dumps([kind, values], sort_keys=True, default=str)
        seen[about] += 1
        key = hashlib.sha256(f"{about}{seen[about]}".encode()).hexdigest()[:24]
        items.append(Item(number, line, kind, values, key))
    return items, problems


class Progress:
    """Which items of a batch file are done, kept in MLX_WAN_HOME so that another run goes on."""

    def __init__(self, batch: str | Path):
        name = hashlib.sha256(str(expanded(batch).absolute()).encode()).hexdigest()[:24]
        self.path = home() / "batches" / f"{name}.json"
        self._done: dict[str, dict[str, Any]] = {}
        try:
            found = read_json(self.path)
            self._done = {key: dict(value) for key, value in found["done"].items()}
        except (MlxWanError, ValueError, KeyError, TypeError, AttributeError):
            pass  # nothing is done, or nobody knows it

    def video(self, item: Item) -> Path | None:
        """The item's finished video, if it still exists: where it was made, or in the library."""
        known = self._done.get(item.key)
        if known is None:
            return None
        path = Path(str(known.get("path")))
        if path.is_file():
            return path
        if not known.get("id"):
            return None
        from mlx_wan import library

        try:
            return library.find(str(known["id"])).video
        except MlxWanError:
            return None

    def finished(self, item: Item, video: str, id: str | None) -> None:
        """Remember it at once: the next item may be the one that is killed."""
        self._done[item.key] = {"path": str(Path(video).absolute()), "id": id}
        write_json(self.path, {"done": self._done})


def _data_entries(path: Path) -> list[tuple[int | None, Any]]:
    data = read_data(path)
    defaults: dict[str, Any] = {}
    if isinstance(data, dict):
        unknown = sorted(data.keys() - {"videos", "defaults"}, key=str)
        defaults = data.get("defaults") or {}
        if unknown or not isinstance(defaults, dict):
            raise UsageError(
                f"{path} has {shown(unknown[0] if unknown else defaults)}",
                "accepted: videos (a list) and defaults (settings for all of them)",
            )
        data = data.get("videos")
    if not isinstance(data, list):
        raise UsageError(f"{path} holds no list of videos", "a list of items, each with its kind")
    lines = _yaml_lines(path, len(data))
    return [
        (line, defaults | entry if isinstance(entry, dict) else entry)
        for line, entry in zip(lines, data, strict=True)
    ]


def _yaml_lines(path: Path, count: int) -> list[int | None]:
    """The line each item begins at; JSON is YAML too."""
    import yaml

    try:
        node = yaml.compose(read_text(path), yaml.SafeLoader)
        if isinstance(node, yaml.MappingNode):
            node = next(value for key, value in node.value if key.value == "videos")
        lines = [one.start_mark.line + 1 for one in node.value]
    except (yaml.YAMLError, AttributeError, StopIteration, RecursionError):
        lines = []
    return list(lines) if len(lines) == count else [None] * count


def _csv_entries(path: Path) -> list[tuple[int | None, Any]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    entries: list[tuple[int | None, Any]] = []
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        if len(set(names)) < len(names):
            raise UsageError(f"{path} names a column twice", "the first line has the names")
        reader.fieldnames = names
        for row in reader:
            extra = row.pop(None, None)  # type: ignore[call-overload]  # more cells than columns
            cells = {name: cell.strip() for name, cell in row.items() if cell and cell.strip()}
            if cells or extra:
                breaks = sum(cell.count("\n") for cell in (*row.values(), *(extra or ())) if cell)
                entries.append((reader.line_num - breaks, extra if extra else cells))
    except csv.Error as error:
        raise UsageError(f"{path} is no valid CSV: line {reader.line_num}: {error}") from None
    return entries


def _settled(
    entry: Any, kinds: Mapping[str, Mapping[str, type]], folder: Path, *, from_words: bool
) -> tuple[str, dict[str, Any]]:
    """Kind and settings of an entry, by our names, in their types, paths from the file's folder."""
    if not isinstance(entry, dict):
        raise UsageError(f"it is {shown(entry)}", "an item has a kind and settings by name")
    values = {str(name).strip().lower().replace("-", "_"): v for name, v in entry.items()}
    kind = values.pop("kind", values.pop("command", None))
    if kind not in KINDS:
        raise UsageError(
            f"its kind is {shown(kind)}" if kind is not None else "it has no kind",
            f"accepted: {', '.join(KINDS)}",
        )
    known = kinds[kind]
    worded = {name for name, type_ in known.items() if type_ in (str, Path)} - {*_NOT_ONLY_TEXT}
    for name, value in list(values.items()):
        if value is None:
            del values[name]
        elif name not in known:
            raise UsageError(
                f"{kind} has no setting {shown(name)}", f"it has: {', '.join(sorted(known))}"
            )
        elif from_words:
            values[name] = _from_word(name, value, known[name])
        elif known[name] is bool and not isinstance(value, bool):
            raise UsageError(f"{name} is {shown(value)}", "accepted: true or false")
        elif name in worded and not isinstance(value, str):
            raise UsageError(f"{name} is {shown(value)}", "accepted: text, in quotes")
    for name in _PATHS:
        if values.get(name):
            values[name] = str(folder / expanded(values[name]))
    tags = values.get("tags")
    if isinstance(tags, str):
        values["tags"] = [tag.strip() for tag in tags.split(",") if tag.strip()]
    elif tags is not None and not (
        isinstance(tags, list) and all(isinstance(t, str) for t in tags)
    ):
        raise UsageError(f"tags is {shown(tags)}", "accepted: a list of words")
    return kind, values


def _from_word(name: str, word: str, kind: type) -> Any:
    try:
        if kind is bool:
            if word.lower() not in (*_TRUE, *_FALSE):
                raise ValueError
            return word.lower() in _TRUE
        return kind(word) if kind in (int, float) else word
    except ValueError:
        accepted = {bool: "yes or no", int: "a whole number", float: "a number"}[kind]
        raise UsageError(f"{name} is {shown(word)}", f"accepted: {accepted}") from None

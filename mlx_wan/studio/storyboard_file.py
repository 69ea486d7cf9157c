"""Storyboards as files: YAML or JSON in, YAML out, and the schema that documents both.

A file comes from anyone: it is small, plain data, without aliases (a few lines of them expand to
gigabytes) and without a name given twice (the last one would win silently).
"""

from pathlib import Path
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.files import read_small
from mlx_wan.home import expanded

from .formats import FORMATS
from .storyboard import (
    MAX_DURATION,
    MAX_PROMPT,
    MAX_SHOTS,
    MAX_TEXT,
    MAX_TEXTS,
    MIN_DURATION,
    MIN_SHOT,
    ROLES,
    TRANSITIONS,
    Storyboard,
)

MAX_FILE_BYTES = 2**20
MAX_DIGITS = 100  # of a whole number; Python shows none of more than 4,300


def load_storyboard(path: str | Path) -> Storyboard:
    """The storyboard in a YAML or JSON file; a relative image is relative to the file.

    Raises UsageError saying what is wrong, and where.
    """
    path = expanded(path)
    data = read_data(path)
    if isinstance(data, dict) and isinstance(data.get("shots"), list):
        for shot in data["shots"]:
            if isinstance(shot, dict) and isinstance(shot.get("image"), str) and shot["image"]:
                shot["image"] = str(path.parent / expanded(shot["image"]))
    try:
        return Storyboard.from_dict(data)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from None


def storyboard_yaml(storyboard: Storyboard) -> str:
    """The storyboard as YAML for people; `load_storyboard` makes the same one of it."""
    import yaml

    return yaml.safe_dump(storyboard.to_dict(), allow_unicode=True, sort_keys=False, width=100)


def read_data(path: Path) -> Any:
    """What a small YAML or JSON file holds, as plain data. Raises UsageError."""
    text = read_text(path)
    try:
        if path.suffix.lower() == ".json":
            from mlx_wan.tensorfile import strict_json

            return strict_json(text.encode())
        return _read_yaml(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "YAML"
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{path} is not valid {kind}: {problem}") from None


def storyboard_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a storyboard file; an editor completes and checks with it."""
    seconds = {"type": "number", "maximum": MAX_DURATION}
    shot = {
        "prompt": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_PROMPT,
            "description": "What the model shows. Texts are drawn by the studio, not by the model.",
        },
        "duration": seconds | {"minimum": MIN_SHOT, "description": "Seconds of this shot."},
        "transition": {
            "enum": list(TRANSITIONS),
            "default": "crossfade",
            "description": "How this shot begins.",
        },
        "image": {
            "type": "string",
            "description": "Its first frame, for models that take one; relative to this file.",
        },
    }
    text = {
        "role": {
            "enum": list(ROLES),
            "description": "Decides size, weight and place: title, hook, content or cta.",
        },
        "text": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TEXT,
            "description": "The words, readable in the time at about 15 characters a second.",
        },
        "start": seconds | {"minimum": 0, "description": "Seconds from the video's beginning."},
        "end": seconds | {"minimum": 0, "description": "Seconds; after start, inside the video."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mlx-wan storyboard",
        "description": "What a finished video shows and says, and when. YAML or JSON.",
        **_object(
            {
                "format": {
                    "enum": list(FORMATS),
                    "description": "; ".join(
                        f"{f.name}: {f.title}, {f.width}x{f.height} at {f.fps} fps"
                        for f in FORMATS.values()
                    ),
                },
                "duration": seconds
                | {
                    "minimum": MIN_DURATION,
                    "description": "Seconds of the video; the shots' durations add up to it.",
                },
                "title": {
                    "type": "string",
                    "maxLength": MAX_TEXT,
                    "description": "For the record and the library; it is not drawn.",
                },
                "name": {
                    "type": "string",
                    "description": "The video's file name, without .mp4.",
                },
                "shots": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_SHOTS,
                    "items": _object(shot, ["prompt", "duration"]),
                },
                "texts": {
                    "type": "array",
                    "maxItems": MAX_TEXTS,
                    "items": _object(text, list(text)),
                },
            },
            ["format", "duration", "shots"],
        ),
    }


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def read_text(path: Path) -> str:
    try:
        return read_small(path, MAX_FILE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", "save it as UTF-8") from None


def _read_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data only: no aliases, no merge keys, no name twice, no endless numbers."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError(f"aliases are not accepted{_where(self.peek_event().start_mark)}")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise ValueError(f"a name is not text{_where(key.start_mark)}")
                if key.tag == "tag:yaml.org,2002:merge":
                    raise ValueError(f"merge keys are not accepted{_where(key.start_mark)}")
                if key.value in seen:
                    where = _where(key.start_mark)
                    raise ValueError(f"the name {key.value[:80]!r} appears twice{where}")
                seen.add(key.value)
            return super().construct_mapping(node, deep)

        def construct_scalar(self, node: Any) -> Any:
            if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
                raise ValueError(f"a number is too long{_where(node.start_mark)}")
            return super().construct_scalar(node)

    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise ValueError(f"{problem}{_where(mark) if mark else ''}") from None
    except (LookupError, AttributeError, TypeError, OverflowError):  # as in `!!bool perhaps`
        raise ValueError("a value is not of the type it is said to have") from None


def _where(mark: Any) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})"

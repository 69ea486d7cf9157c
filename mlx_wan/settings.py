"""A converted folder's config.json, checked value by value before anything relies on it."""

import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import PurePosixPath
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from .errors import BadFileError
from .models import TOKENIZERS

DTYPES = ("bfloat16", "float16", "float32")
BITS = (4, 6, 8)
GROUP_SIZES = (32, 64, 128)
_MAX_SETTING = 2**20  # no width, length or count in a network's config is larger
_MAX_LAYERS = 1024


def network_settings(owner: str, config_class: type, values: Mapping[str, Any]) -> Any:
    """A network's config dataclass from plain data: every field there, of its type, in bounds.

    Raises BadFileError naming the field; the class itself may refuse what does not fit together.
    """
    kinds = get_type_hints(config_class)
    unknown = sorted(values.keys() - kinds.keys())
    if unknown:
        raise BadFileError(f"{owner} has unknown settings: {', '.join(unknown)[:200]}", _AGAIN)
    required = {f.name for f in fields(config_class) if f.default is MISSING}
    missing = sorted(required - values.keys())
    if missing:
        raise BadFileError(f"{owner} lacks settings: {', '.join(missing)}", _AGAIN)
    for name, value in values.items():
        if not _fits(name, value, kinds[name]):
            raise BadFileError(f"{owner} has {name} {shown(value)} in its config", _AGAIN)
    return config_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def check_component(name: str, entry: Any, sizes: Mapping[str, Any]) -> None:
    """Raise BadFileError unless `entry` describes a component, with files listed in `sizes`."""

    def refuse(what: str, value: Any) -> NoReturn:
        raise BadFileError(f"config.json has {what} {shown(value)} for {name[:80]}", _AGAIN)

    if not isinstance(entry, dict):
        refuse("the description", entry)
    network, files = entry.get("network"), entry.get("files")
    if not isinstance(network, str):
        refuse("the network", network)
    if not isinstance(entry.get("config"), dict):
        refuse("the settings", entry.get("config"))
    if network not in TOKENIZERS and entry.get("dtype") not in DTYPES:
        refuse("the dtype", entry.get("dtype"))
    quantization = entry.get("quantization")
    if quantization is not None and not _is_quantization(quantization):
        refuse("the quantization", quantization)
    if not isinstance(files, list) or not files:
        refuse("the files", files)
    for file in files:
        if not isinstance(file, str) or not is_inside(file) or files.count(file) > 1:
            refuse("the file", file)
        if type(sizes.get(file)) is not int:
            refuse("no size of the file", file)


def has_type(value: Any, kind: Any) -> bool:
    """Whether a value has an annotated type, through tuples, unions and dataclasses.

    Numbers must be finite; True and False are none.
    """
    if isinstance(kind, UnionType):
        return any(has_type(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]  # all our tuples are of one kind
        return isinstance(value, tuple) and all(has_type(entry, item) for entry in value)
    if is_dataclass(kind):
        kinds = get_type_hints(kind)
        return type(value) is kind and all(has_type(getattr(value, n), kinds[n]) for n in kinds)
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return type(value) is kind


def is_inside(relative: str) -> bool:
    """Whether a path stays below the folder it is relative to."""
    path = PurePosixPath(relative)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def shown(value: Any) -> str:
    """A wrong value as an error shows it: short, on one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python prints no number of thousands of digits
        text = f"a {type(value).__name__} too large to be shown"
    return text if len(text) <= 60 else text[:57] + "..."


_AGAIN = "convert the checkpoint again"


def _is_quantization(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"bits", "group_size"}
        and all(type(number) is int for number in value.values())
        and value["bits"] in BITS
        and value["group_size"] in GROUP_SIZES
    )


def _fits(name: str, value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        item, *others = get_args(kind)
        length = None if others == [...] else 1 + len(others)
        return (
            isinstance(value, list)
            and len(value) <= _MAX_LAYERS
            and (length is None or len(value) == length)
            and all(_fits(name, entry, item) for entry in value)
        )
    if kind is bool:
        return type(value) is bool
    if kind is int:
        most = _MAX_LAYERS if name.endswith(("_layers", "_blocks")) else _MAX_SETTING
        return type(value) is int and 1 <= value <= most
    is_number = type(value) in (int, float)
    return is_number and abs(value) <= _MAX_SETTING and (name != "eps" or 0 < value < 1)

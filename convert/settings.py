"""A config.json beside a checkpoint, and what the shapes of tensors tell without one."""

import sys
from collections.abc import Mapping
from typing import Any

from mlx_wan.errors import BadFileError

from .axes import Shape

Shapes = Mapping[str, Shape]


class Settings:
    """A config.json from outside: values are checked when they are asked for."""

    def __init__(self, values: Mapping[str, Any], where: str):
        self.values = values
        self.where = where

    def whole(self, names: tuple[str, ...], default: int, limit: int = 2**31 - 1) -> int:
        """A positive whole number under the first of `names` that is there."""
        name, value = self._find(names, default)
        if type(value) is not int or not 0 < value <= limit:
            self.refuse(name, value, f"a whole number from 1 to {limit:,}")
        return value

    def number(self, names: tuple[str, ...], default: float) -> float:
        name, value = self._find(names, default)
        if type(value) not in (int, float) or not 0 < value < 1:
            self.refuse(name, value, "a number between 0 and 1")
        return float(value)

    def numbers(self, name: str, length: int) -> tuple[float, ...] | None:
        """A list of `length` finite numbers, or None when there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        fits = isinstance(value, list) and len(value) == length
        most = sys.float_info.max
        if not fits or not all(type(x) in (int, float) and abs(x) <= most for x in value):
            self.refuse(name, value, f"a list of {length} numbers")
        return tuple(float(x) for x in value)

    def between(
        self, names: tuple[str, ...], default: float, least: float, most: float = 2.0**20
    ) -> float:
        """A number from `least` to `most` under the first of `names` that is there."""
        name, value = self._find(names, default)
        if type(value) not in (int, float) or not least <= value <= most:
            self.refuse(name, value, f"a number from {least:g} to {most:g}")
        return float(value)

    def wholes(self, names: tuple[str, ...], length: int, most: int) -> tuple[int, ...] | None:
        """A list of `length` whole numbers from 1 to `most`, or None when there is none."""
        name, value = self._find(names, None)
        if value is None:
            return None
        fits = isinstance(value, list) and len(value) == length
        if not fits or not all(type(x) is int and 0 < x <= most for x in value):
            self.refuse(name, value, f"a list of {length} whole numbers up to {most:,}")
        return tuple(value)

    def statistics(
        self, z_dim: int
    ) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
        """Mean and deviation of each of the latents' channels, where both are told."""
        mean, std = (self.numbers(name, z_dim) for name in ("latents_mean", "latents_std"))
        if std is not None and not all(value > 0 for value in std):
            self.refuse("latents_std", std, "positive")
        return (mean, std) if mean is not None and std is not None else (None, None)

    def agree(self, names: tuple[str, ...], found: Any) -> None:
        """Raise unless the config is silent about it or says what the tensors say."""
        name, value = self._find(names, found)
        if value != found or isinstance(value, bool) != isinstance(found, bool):
            self.refuse(name, value, f"{found}, as its tensors have it")

    def agree_all(self, found: Mapping[tuple[str, ...], Any]) -> None:
        for names, value in found.items():
            self.agree(names, value)

    def refuse(self, name: str, value: Any, accepted: str) -> None:
        raise BadFileError(
            f"the config.json of {self.where} has {name} = {str(value)[:60]!r}, not {accepted}",
            "download the file again",
        )

    def _find(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        for name in names:
            if self.values.get(name) is not None:
                return name, self.values[name]
        return names[0], default


def count(shapes: Shapes, stem: str) -> int:
    """How many `stem`.0, `stem`.1, ... there are. Raises ValueError where one is missing."""
    place = stem.count(".") + 1
    parts = [name.split(".") for name in shapes if name.startswith(f"{stem}.")]
    numbers = {int(part[place]) for part in parts if part[place].isdigit()}
    if numbers != set(range(len(numbers))):
        gap = min(set(range(max(numbers))) - numbers)
        raise ValueError(f"{stem}.{gap} is missing")
    return len(numbers)

"""Values from a result folder's JSON, checked one by one; links and pipes are not followed."""

import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.files import read_small
from mlx_wan.settings import shown
from mlx_wan.tensorfile import strict_json

MAX_BYTES = 16_000_000
MOST_BYTES = 2**53
HINT = "it was changed; remove the run's folder, and `bench ab` makes it again"
ACCESS = "check its permissions and its disk"


def read_object(file: Path) -> dict[str, Any]:
    """An object from a small regular file, not through a link."""
    check_kind(file, stat.S_ISREG, "a file")
    try:
        data = strict_json(read_small(file, MAX_BYTES, hint=HINT))
    except UsageError as error:  # it is there and cannot be opened
        raise MlxWanError(error.message, ACCESS) from None
    except ValueError as error:
        raise BadFileError(f"{file} is not valid JSON: {error}", HINT) from None
    if not isinstance(data, dict):
        raise BadFileError(f"{file} holds a {type(data).__name__}, not an object", HINT)
    return data


def check_kind(path: Path, is_kind: Callable[[int], bool], what: str) -> None:
    """Raises BadFileError where there is something else or nothing, MlxWanError where it cannot
    be known."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise BadFileError(f"{path} is missing", HINT) from None
    except OSError as error:
        raise MlxWanError(f"{path} cannot be read: {error.strerror}", ACCESS) from None
    if not is_kind(mode):
        raise BadFileError(f"{path} is not {what} of its own", "a link or pipe is not followed")


@dataclass(frozen=True)
class Checker:
    """Values of a JSON object from outside, each of its type and in bounds."""

    owner: Path
    data: dict[str, Any]

    def text(self, name: str) -> str:
        value: Any = self.data.get(name)
        if not isinstance(value, str) or len(value) > 10_000:
            self._refuse(name)
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.data.get(name) is None else self.text(name)

    def count(self, name: str, most: int) -> int:
        value: Any = self.data.get(name)
        if type(value) is not int or not 0 <= value <= most:
            self._refuse(name)
        return value

    def optional_count(self, name: str) -> int | None:
        return None if self.data.get(name) is None else self.count(name, MOST_BYTES)

    def number(self, name: str, most: float) -> float:
        value: Any = self.data.get(name)
        if not _is_number(value) or not 0 <= value <= most:
            self._refuse(name)
        return float(value)

    def optional_number(self, name: str, most: float) -> float | None:
        return None if self.data.get(name) is None else self.number(name, most)

    def numbers(self, name: str, most: float) -> dict[str, float]:
        table = self._table(name)
        if not all(_is_number(value) and 0 <= value <= most for value in table.values()):
            self._refuse(name)
        return table

    def number_list(self, name: str, most: float) -> tuple[float, ...]:
        values: Any = self.data.get(name, [])
        if not isinstance(values, list) or len(values) > 10_000:
            self._refuse(name)
        if not all(_is_number(value) and 0 <= value <= most for value in values):
            self._refuse(name)
        return tuple(values)

    def texts(self, name: str) -> dict[str, str]:
        table = self._table(name)
        if not all(isinstance(value, str) and len(value) <= 200 for value in table.values()):
            self._refuse(name)
        return table

    def text_list(self, name: str) -> tuple[str, ...]:
        values: Any = self.data.get(name, [])
        if not isinstance(values, list) or len(values) > 1000:
            self._refuse(name)
        if not all(isinstance(value, str) and len(value) <= 10_000 for value in values):
            self._refuse(name)
        return tuple(values)

    def metrics(self, name: str) -> dict[str, float | None]:
        table = self._table(name)
        if not all(value is None or _is_number(value) for value in table.values()):
            self._refuse(name)
        return table

    def gates(self, name: str) -> dict[str, bool]:
        table = self._table(name)
        if not all(type(value) is bool for value in table.values()):
            self._refuse(name)
        return table

    def file(self, name: str, wanted: str) -> Path:
        """A file that lies right beside: no path of the JSON is ever followed."""
        if self.data.get(name) != wanted:
            self._refuse(name)
        path = self.owner.with_name(wanted)
        check_kind(path, stat.S_ISREG, "a file")
        return path

    def _table(self, name: str) -> dict[str, Any]:
        table: Any = self.data.get(name, {})
        if not isinstance(table, dict) or len(table) > 200 or any(len(key) > 80 for key in table):
            self._refuse(name)
        return table

    def _refuse(self, name: str) -> NoReturn:
        raise BadFileError(f"{self.owner} has {name} {shown(self.data.get(name))}", HINT)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max

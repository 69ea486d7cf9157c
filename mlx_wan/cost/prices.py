"""What clouds charge for a second of video: a dated table, or the user's own file in its form."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import BadFileError
from mlx_wan.files import read_small
from mlx_wan.home import home
from mlx_wan.settings import shown
from mlx_wan.tensorfile import strict_json

FORMAT, VERSION = "mlx-wan-prices", 1
_MAX_BYTES, _MAX_ROWS, _MAX_TEXT, _MAX_PRICE = 1 << 20, 200, 200, 1e6
_DATE = re.compile(r"20\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_HINT = "copy the form of the built-in table: `mlx-wan cost --json` prints it"


@dataclass(frozen=True)
class Price:
    """For one second of video, from `lowest` to `highest`; `kind` "published" or "second-hand"."""

    service: str
    size: str
    lowest: float
    highest: float
    as_of: str
    source: str
    kind: str


@dataclass(frozen=True)
class Prices:
    currency: str
    as_of: str
    note: str
    prices: tuple[Price, ...]


def read_prices(path: Path | None = None) -> Prices:
    """The table at `path`, else `prices.json` in MLX_WAN_HOME, else the one that comes with us.

    Raises UsageError for a file that cannot be read, BadFileError for one that is not in the form.
    """
    own = home() / "prices.json"
    if path is None:
        path = own if own.is_file() else Path(__file__).with_name("prices.json")
    raw = read_small(path, _MAX_BYTES)
    try:
        return _prices(strict_json(raw))
    except (ValueError, KeyError, TypeError) as error:
        told = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BadFileError(f"{path} is no table of prices: {told[:200]}", _HINT) from None


def _prices(data: Any) -> Prices:
    if not isinstance(data, dict) or (data.get("format"), data.get("version")) != (FORMAT, VERSION):
        raise ValueError(f'"format" is not "{FORMAT}" with "version" {VERSION}')
    rows = data["prices"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= _MAX_ROWS:
        raise ValueError(f'"prices" is no list of 1 to {_MAX_ROWS}')
    return Prices(
        currency=_matching(data["currency"], _CURRENCY, "a currency like USD"),
        as_of=_matching(data["as_of"], _DATE, "a date like 2026-09-20"),
        note=_text(data.get("note", "")),
        prices=tuple(map(_price, rows)),
    )


def _price(row: Any) -> Price:
    if not isinstance(row, dict):
        raise ValueError(f"a price is {shown(row)}")
    bounds = row["per_second"]
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(map(_is_price, bounds)):
        raise ValueError(f'"per_second" is {shown(bounds)}, not [lowest, highest] above 0')
    if bounds[0] > bounds[1]:
        raise ValueError(f'"per_second" is {shown(bounds)}: the lowest comes first')
    return Price(
        service=_text(row["service"]),
        size=_text(row["size"]),
        lowest=float(bounds[0]),
        highest=float(bounds[1]),
        as_of=_matching(row["as_of"], _DATE, "a date like 2026-09-20"),
        source=_text(row["source"]),
        kind=_text(row.get("kind", "own")),
    )


def _is_price(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= _MAX_PRICE


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError(f"{shown(value)} is no text of up to {_MAX_TEXT} letters")
    return value


def _matching(value: Any, form: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{shown(value)} is not {what}")
    return value

"""The calibration on disk: `calibration.json` in MLX_WAN_HOME, of this machine or refused."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import BadFileError, MlxWanError
from mlx_wan.files import MissingFileError, read_small, write_json
from mlx_wan.home import home
from mlx_wan.tensorfile import strict_json

from .machine import machine, versions
from .rates import Point, Rates
from .work import KINDS

FORMAT, VERSION = "mlx-wan-calibration", 2
_FROM_ZERO = ("overhead", "start", "tensor", "widen", "frame")
_MAX_BYTES, _MAX_POINTS = 1 << 20, 200
AGAIN = "measure again: mlx-wan doctor --calibrate"


@dataclass(frozen=True)
class Calibration:
    rates: Rates
    date: str
    versions: dict[str, str]


def calibration_file() -> Path:
    return home() / "calibration.json"


def write_calibration(rates: Rates) -> Path:
    """Store what was measured now, with machine and versions."""
    data = {
        "format": FORMAT,
        "version": VERSION,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "rates": asdict(rates),
    }
    return write_json(calibration_file(), data)


def read_calibration() -> Calibration | None:
    """What was measured on this machine, None when nothing was.

    Raises BadFileError for a damaged file, MlxWanError for one of another machine.
    """
    path = calibration_file()
    try:
        raw = read_small(path, _MAX_BYTES)
    except MissingFileError:
        return None
    try:
        data = strict_json(raw)
        if data["format"] != FORMAT or data["version"] != VERSION:
            raise ValueError("it has another format or version")
        rates = _rates(data["rates"])
        date, told = _text(data["date"]), {k: _text(v) for k, v in data["versions"].items()}
        measured_on = dict(data["machine"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFileError(f"{path} is no calibration: {str(error)[:100]}", AGAIN) from None
    for name, value in machine().items():
        if measured_on.get(name) != value:
            was = str(measured_on.get(name))[:60]
            raise MlxWanError(f"{path} was measured with {name} {was!r}, this is {value!r}", AGAIN)
    return Calibration(rates, date, told)


def _rates(data: dict[str, Any]) -> Rates:
    points: dict[str, tuple[Point, ...]] = {}
    for kind in KINDS:
        rows = data["points"][kind]
        if not isinstance(rows, list) or not 1 <= len(rows) <= _MAX_POINTS:
            raise ValueError(f"{kind} has no list of points")
        points[kind] = tuple((_above(w), _above(s), _above(r)) for w, s, r in rows)
    pair = data["pair"]
    if not isinstance(pair, list) or not 1 <= len(pair) <= _MAX_POINTS:
        raise ValueError("pair is no list")
    numbers = {name: _number(data[name]) for name in _FROM_ZERO}
    return Rates(
        points,
        load=_above(data["load"]),
        factor=_above(data["factor"]),
        pair=tuple((_above(s), _above(f)) for s, f in pair),
        **numbers,
    )


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1e30:
        raise ValueError("a rate is no number that can be")
    return float(value)


def _above(value: Any) -> float:
    if _number(value) < 1e-12:
        raise ValueError("a rate is not above 0")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is none")
    return value[:100]

"""What only the owner knows: tariff and purchase, from flags or `[cost]` in config.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.files import MissingFileError, read_small
from mlx_wan.home import home
from mlx_wan.settings import shown

_MAX_BYTES = 1 << 20
# name -> (least, most)
_BOUNDS = {
    "tariff": (0, 100),
    "wall_factor": (1, 10),
    "watts": (0.1, 100_000),
    "purchase_price": (0, 1e9),
    "life_years": (0.1, 50),
    "hours_per_day": (0.01, 24),
}


@dataclass(frozen=True)
class Inputs:
    """`tariff` per kWh and `purchase_price` in one currency. None: not told, so not counted.

    `wall_factor`: power from the wall for each watt the chip's counters see. `watts`: power from
    the wall while generating, as the owner measured it, where nothing else does. The purchase is
    spread over `life_years` of `hours_per_day` in use: by default 8, a working day. A machine that
    makes videos day and night is the exception, and 24 would tell everybody else a third of what
    an hour costs them.
    """

    currency: str = "USD"
    tariff: float | None = None
    wall_factor: float = 1.0
    watts: float | None = None
    purchase_price: float | None = None
    life_years: float = 3.0
    hours_per_day: float = 8.0

    @property
    def hour(self) -> float | None:
        """Depreciation of one hour in use."""
        if self.purchase_price is None:
            return None
        return self.purchase_price / (self.life_years * 365.25 * self.hours_per_day)


def read_inputs(flags: Mapping[str, Any]) -> Inputs:
    """The flags that were given over the config's. Raises UsageError for what cannot be."""
    values = _config() | {name: value for name, value in flags.items() if value is not None}
    known = {field.name for field in fields(Inputs)}
    for name, value in values.items():
        if name not in known:
            raise UsageError(
                f"[cost] of config.toml has {name!r}", f"known: {', '.join(sorted(known))}"
            )
        if name == "currency":
            good = isinstance(value, str) and len(value) == 3 and value.isascii()
            if not good or not value.isalpha() or not value.isupper():
                raise UsageError(f"currency is {shown(value)}", "three letters, as in USD or EUR")
            continue
        least, most = _BOUNDS[name]
        if type(value) not in (int, float) or not least <= value <= most:
            raise UsageError(f"{name} is {shown(value)}", f"accepted: {least:g} to {most:g}")
    return Inputs(**values)


def _config() -> dict[str, Any]:
    path = home() / "config.toml"
    try:
        data = tomllib.loads(read_small(path, _MAX_BYTES).decode("utf-8"))
    except MissingFileError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}", "mend it or remove it") from None
    section = data.get("cost", {})
    if not isinstance(section, dict):
        raise UsageError(f"{path} has cost = {shown(section)}", "write a section [cost]")
    return section

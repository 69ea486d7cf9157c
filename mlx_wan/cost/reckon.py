"""Records -> what the videos took and cost. Records are files and may say anything."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .inputs import Inputs
from .prices import Prices

_MOST_SECONDS, _MOST_JOULES = 1e8, 1e12


@dataclass(frozen=True)
class Cost:
    """Of one video, or of several together; None where it is not known, never 0.

    `seconds` of making and `length` of the video, in seconds; `kwh` from the wall, "measured" by
    the chip's counters or "your watts"; `energy` and `depreciation` in the currency of the inputs.
    """

    seconds: float
    length: float
    kwh: float | None
    kwh_basis: str | None
    energy: float | None
    depreciation: float | None

    @property
    def money(self) -> float | None:
        """Energy and depreciation, of what is known."""
        known = [part for part in (self.energy, self.depreciation) if part is not None]
        return sum(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"money": self.money}


@dataclass(frozen=True)
class Bill:
    """All that was made: accepted videos, and rejected ones, which cost as much.

    `per_second`: money of all of it for each second of accepted video.
    """

    accepted: int
    rejected: int
    total: Cost
    rejected_cost: Cost

    @property
    def per_second(self) -> float | None:
        money, length = self.total.money, self.total.length
        return None if money is None or length <= 0 else money / length


def cost_of(record: Mapping[str, Any], inputs: Inputs) -> Cost:
    """What a record's video took and cost."""
    times = record.get("seconds")
    known = times.values() if isinstance(times, dict) else ()
    seconds = sum(_number(value, _MOST_SECONDS) for value in known)
    joules = _joules(record)
    kwh, basis = None, None
    if joules is not None:
        kwh, basis = joules / 3.6e6 * inputs.wall_factor, "measured"
    elif inputs.watts is not None:
        kwh, basis = inputs.watts * seconds / 3.6e6, "your watts"
    hour = inputs.hour
    return Cost(
        seconds=seconds,
        length=_length(record),
        kwh=kwh,
        kwh_basis=basis,
        energy=None if kwh is None or inputs.tariff is None else kwh * inputs.tariff,
        depreciation=None if hour is None else hour * seconds / 3600,
    )


def bill(
    accepted: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]], inputs: Inputs
) -> Bill:
    """Of all videos together. Rejected ones have no length: nobody watches them."""
    good = [cost_of(record, inputs) for record in accepted]
    bad = [cost_of(record, inputs) for record in rejected]
    lengths = sum(cost.length for cost in good)
    return Bill(len(good), len(bad), _sum([*good, *bad], lengths), _sum(bad, 0.0))


def beside_clouds(length: float, prices: Prices) -> list[dict[str, Any]]:
    """What each service of the table charges for so many seconds of video."""
    return [
        asdict(price) | {"from": price.lowest * length, "to": price.highest * length}
        for price in prices.prices
    ]


def _sum(costs: Sequence[Cost], length: float) -> Cost:
    bases = {cost.kwh_basis for cost in costs if cost.kwh_basis}
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        length=length,
        kwh=_known_sum([cost.kwh for cost in costs]),
        kwh_basis=" and ".join(sorted(bases)) or None,
        energy=_known_sum([cost.energy for cost in costs]),
        depreciation=_known_sum([cost.depreciation for cost in costs]),
    )


def _known_sum(values: Sequence[float | None]) -> float | None:
    """None as soon as one is not known: a sum of the others would look like all."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _joules(record: Mapping[str, Any]) -> float | None:
    energy = record.get("energy")
    value = energy.get("joules") if isinstance(energy, dict) else None
    return _number(value, _MOST_JOULES) or None


def _length(record: Mapping[str, Any]) -> float:
    if _number(record.get("duration"), _MOST_SECONDS):
        return _number(record["duration"], _MOST_SECONDS)
    plan = record.get("plan")
    frames, fps = (plan.get("num_frames"), plan.get("fps")) if isinstance(plan, dict) else (0, 0)
    rate = _number(fps, 1e4)
    return _number(frames, 1e7) / rate if rate else 0.0


def _number(value: Any, most: float) -> float:
    return float(value) if type(value) in (int, float) and 0 <= value <= most else 0.0

"""Apple's chips by published figures, for what-if questions: predictions, never measurements."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mlx_wan.errors import UsageError

from .rates import Point, Rates
from .work import ACTIVATION, ADD, ATTENTION, CONV2D, CONV3D, LINEAR, NORM

_SSD = 5e9  # bytes a second that weights come with from the built-in SSD
# an upsampling on Metal is four 2x2 convolutions, 4/9 of what is counted
_PHASES = 9 / 4
_BYTES = {NORM: 8, ACTIVATION: 8, ADD: 12}  # of one element, in and out


@dataclass(frozen=True)
class Chip:
    """`tflops` is what is planned with, `bandwidth` in GB/s."""

    id: str
    name: str
    gpu_cores: int
    tflops: float
    bandwidth: float
    basis: str
    as_of: str

    def rates(self) -> Rates:
        flops: dict[str, float] = dict.fromkeys((LINEAR, ATTENTION, CONV3D), self.tflops * 1e12)
        flops[CONV2D] = _PHASES * self.tflops * 1e12
        flops |= {kind: self.bandwidth * 1e9 / each for kind, each in _BYTES.items()}
        points: dict[str, tuple[Point, ...]] = {
            kind: ((1.0, 1.0, rate),) for kind, rate in flops.items()
        }
        return Rates(points, load=_SSD)


@cache
def chips() -> dict[str, Chip]:
    """The table by id, in its order."""
    data: dict[str, Any] = json.loads(Path(__file__).with_name("chips.json").read_text("utf-8"))
    return {row["id"]: Chip(**row, as_of=data["as_of"]) for row in data["chips"]}


def find_chip(name: str) -> Chip:
    """A chip by its id, or without its cores: of several the one with the fewest.

    "m3" is no "m3-max": a plain chip has a fraction of what the larger ones of its name do.
    """
    wanted = name.strip().lower().replace(" ", "-")
    known = chips()
    if wanted in known:
        return known[wanted]
    alike = [chip for id, chip in known.items() if id == f"{wanted}-{chip.gpu_cores}"]
    if not alike:
        raise UsageError(
            f"there is no chip {name!r} in the table", f"there are: {', '.join(known)}"
        )
    return min(alike, key=lambda chip: chip.gpu_cores)


def this_chip(told: str) -> Chip | None:
    """The chip the system names ("Apple M3 Ultra"), of several the one with the fewest cores."""
    if not told.startswith("Apple "):
        return None
    try:
        return find_chip(told.removeprefix("Apple "))
    except UsageError:
        return None

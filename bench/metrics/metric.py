"""What is told about a figure: its unit, which way is better, its formula and who says so."""

from dataclasses import dataclass
from typing import Literal, Protocol

from .frames import Frame

Better = Literal["higher", "lower", "none"]
Kind = Literal["quality", "gate", "information"]
Values = dict[str, float | None]


@dataclass(frozen=True)
class Metric:
    """`kind` is "quality" when it decides, "gate" for a property a video has or lacks (1 or 0).

    What depends on the content as much as on its quality (colours, noise against texture) is
    "information", whichever way is better.
    """

    name: str
    unit: str
    better: Better
    kind: Kind
    formula: str
    source: str


class Watcher(Protocol):
    """Takes the frames of one video in order, one at a time, and tells its figures at the end."""

    def see(self, frame: Frame) -> None: ...

    def figures(self) -> Values: ...

"""`mlx-wan plan`: what `generate` would do and need, without doing it."""

from typing import Any

from . import options as o
from .deliver import show
from .planned import planned


@o.takes(o.VIDEO)
def plan(flags: dict[str, Any], as_json: o.Json = False) -> None:
    """Print every choice, the predicted peak memory of each stage, tokens and operations.

    Refuses what cannot fit in memory and names the nearest size that does (exit code 1).
    """
    show(planned(flags), as_json)

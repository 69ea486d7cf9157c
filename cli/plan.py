"""`mlx-wan plan`: what `generate` would do and need, without doing it."""

from typing import Annotated, Any

import typer

from . import options as o
from .deliver import show
from .planned import planned


@o.takes(o.VIDEO)
def plan(
    flags: dict[str, Any],
    chip: Annotated[
        str | None,
        typer.Option(help="Predict the time on a chip of the table instead, as in m3-ultra-80."),
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Print every choice, predicted seconds and peak memory of each stage, and operations.

    Refuses what cannot fit in memory and names the nearest size that does (exit code 1).
    """
    if chip is not None:  # a wrong name is told before anything is planned
        from mlx_wan.roofline.chips import find_chip

        find_chip(chip)
    show(planned(flags), as_json, predicted=True, chip=chip)

"""`mlx-wan plan`: what `generate` would do and need, without doing it."""

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from mlx_wan.errors import UsageError

from . import options as o
from .deliver import show
from .planned import Published, planned


@o.takes(o.VIDEO)
def plan(
    flags: dict[str, Any],
    chip: Annotated[
        str | None,
        typer.Option(help="Predict the time on a chip of the table instead, as in m3-ultra-80."),
    ] = None,
    quantize: Annotated[
        int | None,
        typer.Option(help="Plan a published model in 8, 6 or 4 bits instead of 16."),
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Print every choice, predicted seconds and peak memory of each stage, and operations.

    Refuses what cannot fit in memory and names the nearest size that does (exit
    code 1). A model of `mlx-wan models` that is not converted is planned as it
    was published; notes say so, and whether it fits.
    """
    if quantize is not None:
        from mlx_wan.settings import BITS

        if quantize not in BITS:
            raise UsageError(
                f"quantize is {quantize}", f"accepted: {', '.join(map(str, BITS))}, or leave it out"
            )
    if chip is not None:  # a wrong name is told before anything is planned
        from mlx_wan.roofline.chips import find_chip

        find_chip(chip)
    from mlx_wan.cpu import counting_for_gpu

    with counting_for_gpu() if chip is not None else nullcontext():
        show(planned(flags, Published(quantize)), as_json, predicted=True, chip=chip)

"""A bar in bytes on stderr, with speed and time left, for downloads and conversions."""

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlx_wan.events import Event, Report


@contextmanager
def transfer_progress() -> "Iterator[Report]":
    """A report that draws one bar per stage; without a terminal it only says what begins."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        tasks: dict[str, Any] = {}

        def report(event: "Event") -> None:
            if event.stage == "download" and event.done == 0:
                print(f"downloading {event.detail}", file=sys.stderr)
            if event.stage not in tasks:  # begun where it is, or what is here counts as speed
                for shown in tasks.values():
                    bars.update(shown, visible=False)
                tasks[event.stage] = bars.add_task(
                    event.stage, total=event.total, completed=event.done, detail=""
                )
            bars.update(
                tasks[event.stage], completed=event.done, detail=escape(_short(event.detail))
            )

        yield report


def _short(text: str) -> str:
    """The end of a long path, where files differ."""
    return text if len(text) <= 36 else f"…{text[-35:]}"

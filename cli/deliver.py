"""Plans and productions as commands show and make them: tables, progress, results, JSON."""

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .library_tables import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlx_wan.events import Event, Report
    from mlx_wan.plan import Plan
    from mlx_wan.studio.produce import Production


def deliver(made: "Plan | Production", *, dry_run: bool, as_json: bool) -> None:
    """Make the video and print its path, or only show the plan."""
    check_output(made)  # a name that is taken is refused before the work, in a dry run too
    if dry_run:
        show(made, as_json)
        return
    done = make(made)
    if as_json:
        print(json.dumps({"ok": True} | done, ensure_ascii=False))
    else:
        print(f"seed {made.seed}", file=sys.stderr)
        print(done["path"])


def check_output(made: "Plan | Production") -> None:
    """Raise UsageError when the video cannot be written where it is to go."""
    from mlx_wan.plan import Plan

    if isinstance(made, Plan):
        from mlx_wan.run import output_path

        output_path(made)
    else:
        from mlx_wan.studio.produce import output_path as finished_path

        finished_path(made)


def make(
    made: "Plan | Production",
    networks: Any = None,
    *,
    tags: "Sequence[str]" = (),
    told: set[str] | None = None,
) -> dict[str, Any]:
    """Make the video, with progress on stderr; says where it is, for JSON.

    `tags` are for a Plan, a Production has its own. Notes that are in `told` are not repeated.
    """
    from mlx_wan.plan import Plan

    told = set() if told is None else told
    if isinstance(made, Plan):
        from mlx_wan import run

        _print_notes(made.notes, told)
        with progress() as report:
            result = run.generate(made, report, tags=tags)
        done = {"path": str(result.video), "record_path": str(result.record_path)}
        return done | {"record": result.record}
    from mlx_wan.studio import produce as studio

    print(f"quality {made.profile.name}: {made.reason}", file=sys.stderr)
    _print_notes([*made.notes, *_unknown_signer(made)], told)
    try:
        with progress() as report:
            finished = studio.produce(made, report, networks=networks)
    except KeyboardInterrupt:
        print("note: the same command goes on where it stopped", file=sys.stderr)
        raise
    return {
        "path": str(finished.video),
        "record_path": str(finished.record_path),
        "poster": str(finished.poster),
        "id": finished.id,
        "record": finished.record,
    }


def show(
    made: "Plan | Production", as_json: bool, *, predicted: bool = False, chip: str | None = None
) -> None:
    """Print a plan on stdout: as a table for people, or as the JSON a record holds.

    `predicted`: with the seconds of each stage, here or on a chip of the table.
    """
    more, rows = {}, []
    if predicted:
        from mlx_wan.plan import Plan
        from mlx_wan.roofline.predict import predict

        told = predict([made] if isinstance(made, Plan) else made.plans, chip)
        more, rows = {"prediction": told.to_dict()}, _time_rows(told)
    if as_json:
        print(json.dumps({"ok": True} | recorded(made) | more, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in [*_rows(made), *rows]:
        table.add_row(label, _plain(text))
    Console().print(table)


def _time_rows(told: Any) -> list[tuple[str, str]]:
    """Predicted seconds of each stage, and where they come from."""
    from mlx_wan.studio.forecast import spoken

    def text(seconds: float) -> str:
        return spoken(seconds) if seconds >= 10 else f"about {seconds:.2g} s"

    if told.seconds is None:
        return [("time by stage", told.note)]
    where = f" on {told.chip}" if told.chip else ""
    rows = [(f"time{where}, {stage}", text(value)) for stage, value in told.seconds.items()]
    return [*rows, (f"time{where}, rendering", text(told.total)), ("time is", told.note)]


def recorded(made: "Plan | Production") -> dict[str, Any]:
    """What a record would hold of it."""
    from mlx_wan.plan import Plan

    return {"plan": made.to_dict()} if isinstance(made, Plan) else made.recorded()


def _rows(made: "Plan | Production") -> list[tuple[str, str]]:
    from mlx_wan.plan import Plan, describe

    if isinstance(made, Plan):
        return describe(made)
    from mlx_wan.studio.produce import describe_production

    return describe_production(made)


def _print_notes(notes: "Sequence[str]", told: set[str]) -> None:
    for note in notes:
        if note not in told:
            print(f"note: {note}", file=sys.stderr)
        told.add(note)


def _unknown_signer(made: "Production") -> list[str]:
    """A line for who has not said yet who they are."""
    from mlx_wan.studio.brand import Brand, brand_path

    if made.brand != Brand() or brand_path().exists():
        return []
    return [f"signed {made.brand.name}; `mlx-wan brand init` writes a file for your own name"]


@contextmanager
def progress() -> "Iterator[Report]":
    """Progress bars on stderr: stage, unit, seconds per unit and time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def report(event: "Event") -> None:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(
                    event.stage, total=event.total, detail="", rate=""
                )
            task = bars.tasks[tasks[event.stage]]
            elapsed = task.elapsed or 0.0
            rate = f"{elapsed / event.done:.2f} s each" if event.done and event.total > 1 else ""
            bars.update(
                task.id,
                total=event.total,
                completed=event.done,
                detail=_plain_str(event.detail),
                rate=rate,
            )

        yield report


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(plain(text))  # prompts may contain [brackets] that Rich would read as style


def _plain_str(text: str) -> str:
    from rich.markup import escape

    return escape(text)

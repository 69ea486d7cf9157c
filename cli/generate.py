"""`mlx-wan generate`: a prompt (and an image) to an MP4 and its record."""

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlx_wan.events import Event, Report


def generate(
    prompt: o.Prompt = None,
    model: o.Model = None,
    output: o.Output = None,
    image: o.Image = None,
    last_image: o.LastImage = None,
    negative_prompt: o.NegativePrompt = None,
    config: o.Config = None,
    width: o.Width = None,
    height: o.Height = None,
    num_frames: o.NumFrames = None,
    duration: o.Duration = None,
    fps: o.Fps = None,
    steps: o.Steps = None,
    guidance_scale: o.GuidanceScale = None,
    shift: o.Shift = None,
    solver: o.Solver = None,
    seed: o.Seed = None,
    memory_limit: o.MemoryLimit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and stop; no weight is read.")
    ] = False,
    as_json: o.Json = False,
) -> None:
    """Make a video from a prompt, or from an image and a prompt.

    Prints the path of the finished MP4; its record (plan, seed, hashes, times) lies beside it.
    What is not given comes from the model's own defaults.
    """
    flags = dict(locals())
    for other in ("dry_run", "as_json"):
        del flags[other]
    plan = o.plan_from(flags)
    if dry_run:
        show_plan(plan, as_json)
        return
    from mlx_wan import run

    run.output_path(plan)  # a taken name is refused before the work, not after
    for note in plan.notes:
        print(f"note: {note}", file=sys.stderr)
    with progress() as report:
        result = run.generate(plan, report)
    if as_json:
        done = {"ok": True, "path": str(result.video), "record_path": str(result.record_path)}
        print(json.dumps(done | {"record": result.record}, ensure_ascii=False))
    else:
        print(f"seed {plan.seed}", file=sys.stderr)
        print(result.video)


def show_plan(plan: Any, as_json: bool) -> None:
    """Print a plan on stdout: as a table for people, or as the JSON a record holds."""
    if as_json:
        print(json.dumps({"ok": True, "plan": plan.to_dict()}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    from mlx_wan.plan import describe

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in describe(plan):
        table.add_row(label, _plain(text))
    Console().print(table)


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
            bars.update(task.id, completed=event.done, detail=_plain_str(event.detail), rate=rate)

        yield report


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # prompts may contain [brackets] that Rich would read as style


def _plain_str(text: str) -> str:
    from rich.markup import escape

    return escape(text)

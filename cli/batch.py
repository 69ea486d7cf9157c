"""`mlx-wan batch`: many videos from one file, all checked before the first one starts."""

import json
import sys
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from mlx_wan.errors import MlxWanError, UsageError

from . import options as o
from .library_tables import plain
from .tables import print_table

if TYPE_CHECKING:
    from mlx_wan.plan import Plan
    from mlx_wan.studio.batch import Item, Progress
    from mlx_wan.studio.produce import Production


def batch(
    file: Annotated[
        Path, typer.Argument(help="YAML, JSON or CSV: items with a kind and its settings.")
    ],
    memory_limit: o.MemoryLimit = None,
    dry_run: o.DryRun = False,
    as_json: o.Json = False,
) -> None:
    """Make many videos: `kind` is linkedin, youtube or generate, the rest are that command's flags.

    Everything is checked first. A video that fails does not stop the others. Given again, the same
    command goes on where it stopped; finished videos are not made twice.
    """
    from mlx_wan.studio.batch import Progress, read_batch

    from .planned import memory_bytes

    items, problems = read_batch(file, _kinds())
    done = Progress(file)
    videos = {item.key: done.video(item) for item in items}
    pending = [item for item in items if videos[item.key] is None]
    plans = _planned(pending, memory_bytes(memory_limit), problems)
    if problems:
        _refuse(problems, as_json)
    if not as_json or not dry_run:
        _print_plan(items, plans)
    rows = [_row(item, "done", str(videos[item.key])) for item in items if videos[item.key]]
    if dry_run:
        from .deliver import recorded

        planned = [_row(i, "planned", "") | recorded(plans[i.key]) for i in pending]
        if as_json:
            print(json.dumps({"ok": True, "items": _sorted(rows + planned)}, ensure_ascii=False))
        return
    rows = _sorted(rows + _make_all(pending, plans, done))
    failed = sum(row["state"] == "failed" for row in rows)
    if as_json:
        print(json.dumps({"ok": not failed, "items": rows}, ensure_ascii=False))
    else:
        _print_table(rows)
    if failed:
        print(f"error: {failed} of {len(rows)} videos failed", file=sys.stderr)
        raise typer.Exit(1)


def _make_all(
    items: "list[Item]", plans: "dict[str, Plan | Production]", done: "Progress"
) -> list[dict[str, Any]]:
    from mlx_wan.pipeline import Networks

    from .deliver import make

    networks, rows, told_notes = Networks(), [], set[str]()
    for count, item in enumerate(items, 1):
        told = f"{count} of {len(items)}: {item.kind} {item.title}"
        print(plain(told), file=sys.stderr)
        try:
            tags = item.values.get("tags") or ()
            made = make(plans[item.key], networks, tags=tags, told=told_notes)
            done.finished(item, made["path"], made["record"].get("id"))
            rows.append(_row(item, "made", made["path"]))
        except MlxWanError as error:
            rows.append(_row(item, "failed", str(error)))
        except Exception as error:  # whatever it is, the other videos can still be made
            rows.append(_row(item, "failed", f"{type(error).__name__}: {error}"))
        if rows[-1]["state"] == "failed":
            print(f"failed: {plain(rows[-1]['result'])[:500]}", file=sys.stderr)
    return rows


def _planned(
    items: "list[Item]", limit: int | None, problems: list[str]
) -> "dict[str, Plan | Production]":
    """Each item's plan; what is wrong is added to `problems`."""
    plans: dict[str, Plan | Production] = {}
    outputs: dict[str, str] = {}
    for item in items:
        try:
            plans[item.key] = made = _plan(item, limit)
            if made.output is not None:
                if made.output in outputs:
                    raise UsageError(f"output is that of {outputs[made.output]} too")
                outputs[made.output] = item.where
        except MlxWanError as error:
            problems.append(f"{item.where}: {error}")
    return plans


def _plan(item: "Item", limit: int | None) -> "Plan | Production":
    from mlx_wan.request import parse_guidance_scale

    from .deliver import check_output
    from .planned import plan_values
    from .studio_options import social_production

    values = {name: value for name, value in item.values.items() if value is not False}
    if isinstance(scale := values.get("guidance_scale"), str):
        values["guidance_scale"] = parse_guidance_scale(scale)
    if item.kind != "generate":
        made: Plan | Production = social_production(item.kind, values, limit)
    else:
        made = plan_values(values, limit)  # a Plan holds no tags; they are given with it
    check_output(made)
    return made


def _kinds() -> dict[str, dict[str, type]]:
    """The settings of each kind and their types, as their commands have them."""
    from . import linkedin, youtube
    from . import studio_options as s

    video = {name: kind for name, kind in o.VIDEO.items() if name not in ("config", "from_record")}
    linked = {"topic": linkedin.Topic, "duration": s.Duration, "format": linkedin.Format}
    short = dict.fromkeys(("hook", "content", "cta"), youtube.Hook) | {"duration": s.Duration}
    tables = {"generate": video, "linkedin": linked | s.SOCIAL, "youtube": short | s.SOCIAL}
    kinds = {
        kind: {name: _type(annotation) for name, annotation in table.items()} | {"tags": str}
        for kind, table in tables.items()
    }
    for table_ in kinds.values():
        table_.pop("memory_limit")
    return kinds


def _type(annotation: Any) -> type:
    kind = get_args(annotation)[0]
    return get_args(kind)[0] if isinstance(kind, UnionType) else kind


def _refuse(problems: list[str], as_json: bool) -> None:
    """All that is wrong, and nothing is made."""
    problems.sort(key=lambda line: int(line.split()[1].rstrip(":")))
    told = f"mistakes in the items: {len(problems)}; nothing was made"
    for problem in problems:
        print(f"error: {plain(problem)}", file=sys.stderr)
    print(f"error: {told}", file=sys.stderr)
    if as_json:
        print(json.dumps({"ok": False, "error": told, "errors": problems, "exit_code": 2}))
    raise typer.Exit(2)


def _row(item: "Item", state: str, result: str) -> dict[str, Any]:
    about = {"number": item.number, "line": item.line, "kind": item.kind, "title": item.title}
    return about | {"state": state, "result": result}


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["number"])


def _print_plan(items: "list[Item]", plans: "dict[str, Plan | Production]") -> None:
    """What will be made, and how much work it is, on stderr."""
    from mlx_wan.plan import Plan
    from mlx_wan.studio.forecast import forecast, spoken

    rows, seconds, times = [], 0.0, []
    for item in items:
        made = plans.get(item.key)
        if made is None:
            rows.append((str(item.number), item.kind, item.title, "done", "", ""))
            continue
        runs = [made] if isinstance(made, Plan) else made.plans
        length = made.num_frames / made.fps if isinstance(made, Plan) else made.storyboard.duration
        what = "as rendered" if isinstance(made, Plan) else made.storyboard.format_name
        seconds += length
        times.append(forecast(made))
        work = f"{sum(run.flops for run in runs) / 1e12:,.3g} TFLOP"
        cells = (f"{length:g} s {what}", runs[0].model, work)
        rows.append((str(item.number), item.kind, item.title, *cells))
    known = [time for time in times if time is not None]
    total = sum(known) if len(known) == len(times) else None
    print_table(("", "kind", "", "video", "model", "work"), rows, stderr=True)
    print(f"{len(plans)} to make, {seconds:g} s; time: {spoken(total)}", file=sys.stderr)


def _print_table(rows: list[dict[str, Any]]) -> None:
    names = ("number", "kind", "title", "state", "result")
    print_table(("", "kind", "", "", ""), [tuple(str(row[name]) for name in names) for row in rows])

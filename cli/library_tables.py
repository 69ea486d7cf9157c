"""How the library's videos look on a terminal. Titles come from files: no markup, no codes."""

import calendar
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from mlx_wan.library import Entry
    from mlx_wan.library.verify import Findings


def print_entries(entries: "list[Entry]", total: int) -> None:
    """The newest first, one line each."""
    from rich.table import Table
    from rich.text import Text

    columns: dict[str, list[Any]] = {
        "id": [Text(entry.id, style="cyan") for entry in entries],
        "made": [made_text(entry)[:10] for entry in entries],
        "where": [where_text(entry) for entry in entries],
        "model": [plain(entry.model)[:20] for entry in entries],
        "length": [length_text(entry.duration) for entry in entries],
        "size": [size_text(entry.size) for entry in entries],
        "tags": [", ".join(entry.tags)[:30] for entry in entries],
        "title": [Text(plain(entry.title)) for entry in entries],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    if console().width < 100:  # room for the title; `library show` tells them
        columns = {name: cells for name, cells in columns.items() if name not in ("size", "tags")}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        right = name in ("length", "size")
        # a narrow terminal breaks words; an id is never cut, commands take it whole
        whole = name not in ("tags", "title")
        table.add_column(name, no_wrap=whole, justify="right" if right else "left", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    console().print(table)
    if total > len(entries):
        print(f"{len(entries)} of {total}; --limit 0 shows all", file=sys.stderr)


def print_entry(entry: "Entry") -> None:
    from rich.table import Table
    from rich.text import Text

    fps = f" at {entry.fps:g} fps" if entry.fps else ""
    rows = {
        "id": entry.id,
        "title": entry.title,
        "made": made_text(entry),
        "where": where_text(entry),
        "video": str(entry.video),
        "record": str(entry.record_path),
        "poster": str(entry.poster) if entry.poster_sha256 else "",
        "model": entry.model,
        "picture": f"{entry.width} x {entry.height}{fps}" if entry.width else "",
        "length": length_text(entry.duration),
        "size": size_text(entry.size),
        "tags": ", ".join(entry.tags),
        "text": " / ".join(entry.texts.split("\n")),
        "prompts": " / ".join(entry.prompts.split("\n")),
        "sha256": entry.sha256,
    }
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows.items():
        if text:
            table.add_row(name, Text(plain(text)))
    console().print(table)


def print_findings(findings: "Findings") -> None:
    for problem in findings.problems:
        name = f" ({problem.id})" if problem.id else ""
        print(f"{problem.kind:8} {plain(problem.path)}{name}: {plain(problem.what)}")
    for path in findings.rejected:
        print(f"note: {plain(path)} came out broken and was kept for a look", file=sys.stderr)
    print(f"{findings.checked} read, problems: {len(findings.problems)}", file=sys.stderr)


def print_line(done: str, entry: "Entry") -> None:
    print(f"{done}  {entry.id}  {plain(str(entry.video))}")


@contextmanager
def progress(what: str) -> "Iterator[Callable[[int, int], None]]":
    """A bar on stderr for (bytes done, bytes in all)."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    nobody = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=nobody) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def console() -> "Console":
    """As wide as the terminal; wide enough for whole lines where there is none."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(width=wide, highlight=False)


def plain(text: str) -> str:
    """On one line and without terminal codes, which titles, prompts and paths may contain."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def where_text(entry: "Entry") -> str:
    return f"archive/{entry.stage}" if entry.archived else entry.stage


def made_text(entry: "Entry") -> str:
    """The local time it was made."""
    try:
        seconds = calendar.timegm(time.strptime(entry.created, "%Y-%m-%dT%H:%M:%SZ"))
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # a date nobody has, as 2026-99-99
        return entry.created


def length_text(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds else ""


def size_text(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

"""A table on the terminal; what is in it may come from files: no markup, no codes."""

import os
import sys
from collections.abc import Sequence

from .library_tables import plain


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: slice = slice(0),
    stderr: bool = False,
) -> None:
    """`numbers`: which columns are. Cells are folded where a terminal is too narrow, and
    whole where there is none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(header):
        justify = "right" if number in range(len(header))[numbers] else "left"
        table.add_column(Text(plain(name)), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    piped = not (stderr or sys.stdout.isatty() or "COLUMNS" in os.environ)
    Console(stderr=stderr, width=10_000 if piped else None, highlight=False).print(table)

"""Dying before a chosen line: what the benches that kill a process between any two lines share."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

Ours = Callable[[str], bool]  # whether the lines of a file, by its path, are counted


def killed(pid: int) -> int:
    """Wait for a child; 1 when a signal ended it, else 0."""
    return int(os.WIFSIGNALED(os.waitpid(pid, 0)[1]))


def count_lines(work: Callable[[], Any], ours: Ours) -> int:
    """How many lines of our files run while `work` does."""
    last = [0]
    _trace(lambda line: last.__setitem__(0, line), ours)
    try:
        work()
    finally:
        sys.settrace(None)
    return last[0]


def die_before(last_line: int, ours: Ours) -> None:
    """Have SIGKILL end this process before that line of our files runs, counted from now."""
    _trace(lambda line: os.kill(os.getpid(), signal.SIGKILL * (line == last_line)), ours)


def _trace(call: Callable[[int], Any], ours: Ours) -> None:
    """Have `call` told a running number before every line of our files."""
    count = 0

    def before_line(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            call(count)
        return before_line

    def before_call(frame: Any, event: str, argument: Any) -> Any:
        return before_line if ours(frame.f_code.co_filename) else None

    sys.settrace(before_call)

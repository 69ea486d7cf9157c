"""What a figure was measured with: machine, versions and commit."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlx_wan.roofline import machine as roofline


def machine() -> dict[str, Any]:
    """Chip, cores, memory in bytes, system, the device MLX uses and, on Linux, its BLAS."""
    found = roofline.machine()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"chip": found["chip"], "cores": found["cores"], "memory": memory} | found


def versions() -> dict[str, str]:
    """Of what decides pictures and speed."""
    return roofline.versions() | {"python": platform.python_version(), "av": version("av")}


def commit() -> str | None:
    """The commit of the source tree this runs from, with "+" when it was changed; else None."""
    import mlx_wan

    root = Path(mlx_wan.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    found = _told("git", "-C", str(root), "rev-parse", "HEAD")
    changed = _told("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f"{found}+" if found and changed else found


def facts() -> dict[str, Any]:
    return {"machine": machine(), "versions": versions(), "commit": commit()}


def _told(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None

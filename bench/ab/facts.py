"""What a figure was measured with: machine, versions and commit."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Chip, cores, memory in bytes, system, the device MLX uses and, on Linux, its BLAS."""
    import mlx.core as mx

    from mlx_wan import blas

    return {
        "chip": _chip(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.machine()}",
        "device": mx.default_device().type.name,
        "blas": blas.status(),
    }


def versions() -> dict[str, str]:
    """Of what decides pictures and speed."""
    from importlib.metadata import version

    from mlx_wan import __version__

    named = {name: version(name) for name in ("mlx", "numpy", "av")}
    return {"mlx_wan": __version__, "python": platform.python_version(), **named}


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


def _chip() -> str:
    if sys.platform == "darwin":
        return _told("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _told(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None

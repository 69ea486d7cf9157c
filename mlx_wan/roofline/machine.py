"""Which machine a figure is of."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _facts() -> tuple[tuple[str, Any], ...]:
    import mlx.core as mx

    from mlx_wan import blas

    return (
        ("chip", chip()),
        ("cores", os.cpu_count()),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("device", mx.default_device().type.name),
        ("blas", blas.status()),
    )


def machine() -> dict[str, Any]:
    """What decides its speed: a figure is of this machine when all of it is the same."""
    return dict(_facts())


def versions() -> dict[str, str]:
    from importlib.metadata import version

    from mlx_wan import __version__

    return {"mlx_wan": __version__, "mlx": version("mlx"), "numpy": version("numpy")}


def chip() -> str:
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                ("sysctl", "-n", "machdep.cpu.brand_string"),
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            ).stdout.strip()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

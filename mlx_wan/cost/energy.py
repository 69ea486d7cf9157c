"""Energy of a run where the platform measures it: on Apple silicon with the `energy` extra.

zeus-apple-silicon reads the chip's own counters (IOReport), without root. They cover CPU, GPU,
Neural Engine and memory, not what the power supply and everything else take from the wall.
"""

import itertools
import sys
from typing import Any

COVERS = "CPU, GPU, Neural Engine and memory; not the wall"
_numbers = itertools.count()


class EnergyMeter:
    """Counts from when it is made. `joules` is None, never 0, where nothing measures."""

    def __init__(self) -> None:
        self._monitor, self._window = _begun()
        self._joules: float | None = None

    def joules(self) -> float | None:
        """From when it was made to when this is first asked."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            self._joules = self._read(monitor)
        return self._joules

    def _read(self, monitor: Any) -> float | None:
        try:
            found = monitor.end_window(self._window)
            parts = ("cpu_total_mj", "gpu_mj", "ane_mj", "dram_mj")
            known = [value for value in (getattr(found, p, None) for p in parts) if value]
        except Exception:  # whatever a counter of the system does, the video is made
            return None
        return sum(known) / 1000 if known else None


def energy_of(joules: float | None) -> dict[str, Any]:
    """What a record holds of it."""
    return {"joules": joules and round(joules, 1), "covers": COVERS if joules else None}


def _begun() -> tuple[Any, str]:
    if sys.platform != "darwin":
        return None, ""
    try:
        from zeus_apple_silicon import AppleEnergyMonitor

        monitor, window = AppleEnergyMonitor(), f"mlx-wan-{next(_numbers)}"
        monitor.begin_window(window)
    except Exception:  # not installed, or a chip it does not know
        return None, ""
    return monitor, window

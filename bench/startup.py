"""How long `mlx-wan --help` takes, beside an empty Python: `python -m mlx_wan.bench.startup`."""

import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

RUNS = 9


def main() -> None:
    """Alternate the two commands and print medians of wall seconds."""
    command = Path(sys.executable).with_name("mlx-wan")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "mlx-wan --help": [str(command), "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, words in commands.items():
            start = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for name, values in seconds.items():
        print(f"{name:16} median {median(values):.3f} s of {RUNS} runs")


if __name__ == "__main__":
    main()

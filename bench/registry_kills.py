"""Kills writers of the registry at random moments, and counts what was lost or damaged.

    python -m mlx_wan.bench.registry_kills [--kills 1000]

Two processes add models to one registry, each noting in a log of its own, after the call has
returned, what it added. Again and again one of them is killed with SIGKILL and started anew. After
each kill the file is read: it has to be valid, and to hold everything that was noted.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_WRITER = """
import sys
from mlx_wan.registry import add_model, remove_model
who, log = sys.argv[1], open(sys.argv[2], "a", buffering=1)
number = int(sys.argv[3])
while True:
    name = f"{who}-{number}"
    try:
        add_model(name, {"license": "x" * 200})
    except Exception as error:
        if "already" not in str(error):
            raise
    log.write(name + "\\n")
    if number >= 40:  # the file stays small; what is removed is noted as well
        remove_model(f"{who}-{number - 40}")
    number += 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MLX_WAN_HOME"] = home
        began = time.monotonic()
        added, lost, damaged = kill_writers(Path(home), args.kills, random.Random(args.seed))
    took = time.monotonic() - began
    print(
        f"{args.kills} kills, {added} models added by two processes: {lost} lost, "
        f"{damaged} damaged; {took:.0f} s"
    )
    sys.exit(bool(lost or damaged))


def kill_writers(home: Path, kills: int, rng: random.Random) -> tuple[int, int, int]:
    """Models added, of which lost, and how often the file was damaged."""
    names = ("first", "second")
    writers = {who: start(home, who) for who in names}
    lost = damaged = 0
    try:
        for _ in range(kills):
            who = rng.choice(names)
            before = (home / who).stat().st_size
            until = time.monotonic() + 20  # it has begun to write, then at any moment
            while (home / who).stat().st_size == before and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.03)
            writers[who].send_signal(signal.SIGKILL)
            writers[who].wait()
            missing, broken = check(home, names)
            lost, damaged = lost + missing, damaged + broken
            writers[who] = start(home, who)
    finally:
        for writer in writers.values():
            writer.kill()
            writer.wait()
    return sum(len((home / who).read_text().split()) for who in names), lost, damaged


def start(home: Path, who: str) -> subprocess.Popen[bytes]:
    log = home / who
    log.touch()
    done = log.read_text().split()
    number = str(int(done[-1].split("-")[1]) + 1 if done else 0)
    return subprocess.Popen([sys.executable, "-c", _WRITER, who, str(log), number])


def check(home: Path, names: tuple[str, ...]) -> tuple[int, int]:
    """How many of the models noted lately are missing, and whether the file is damaged."""
    from mlx_wan.errors import MlxWanError
    from mlx_wan.registry import read_registry

    noted = {name for who in names for name in (home / who).read_text().split()[-30:]}
    try:
        registry = read_registry()
    except MlxWanError as error:
        print(error, file=sys.stderr)
        return 0, 1
    # the one that goes on may have removed its oldest meanwhile; the last 30 stay 10 turns more
    return len(noted - registry.models.keys()), 0


if __name__ == "__main__":
    main()

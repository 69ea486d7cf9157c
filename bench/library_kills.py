"""How many videos does `kill -9` cost the library? Archive, restore and promote are killed at
random points, run again, and everything is counted.

    python -m mlx_wan.bench.library_kills --trials 400 [--other-disk FOLDER] [--json]

Each trial runs one command on some videos in a child process and kills it (SIGKILL): "line" before
a random line of `mlx_wan/library`, so between any two steps; "time" after a random time, so inside
a write, an fsync or a commit; "twice" does it again to the run that mends; "two" to one of two
processes doing the same at once. Before anything is mended, every video must be somewhere, whole.
Then the command runs again, to its end, and every video must be where it belongs, once, whole,
with record and poster, and once in a sound index, and nothing else may be left.

A kill leaves the system's disk cache alone: what a power cut takes is not measured here.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mlx_wan.library import Filters, actions, chosen, copying, open_library
from mlx_wan.library.journal import FOLDER
from mlx_wan.library.places import OWN_FOLDER, STAGES
from mlx_wan.record import new_id

from .tracing import count_lines, die_before, killed

KILLS = ("line", "time", "twice", "two")
COMMANDS = ("archive", "restore", "promote")
FAULTS = ("lost", "corrupt", "not indexed", "elsewhere", "left over", "refused")

Goals = dict[str, tuple[bool, str]]  # id -> archived, stage


def bring(goals: Goals) -> None:
    """What is run and killed: each video to its goal, by the functions behind the commands."""
    with open_library() as library:
        for id, (archived, stage) in goals.items():
            entry = chosen(library, id)
            if archived:
                actions.archive(library, entry)
            elif entry.archived:
                actions.restore(library, entry)
            else:
                actions.promote(library, entry, stage)


class Bench:
    """A library of random bytes; `videos` has the hashes of each one's files by suffix."""

    def __init__(self, root: Path, archive: Path, seed: int):
        self.root, self.archive, self.dice = root, archive, random.Random(seed)
        self.videos: dict[str, dict[str, str]] = {}
        self.lines: dict[str, int] = {}  # of one video's move, per command
        self.seconds: dict[str, float] = {}
        self.tally: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []

    def prepare(self) -> None:
        for number in range(9):
            self._make_video(number)
        for command in COMMANDS:  # 6 into the archive and back
            self._measure_seconds(command)
            self._measure_lines(command)

    def trial(self, kill: str) -> None:
        command = self.dice.choice(COMMANDS)
        goals = self._goals(command, self.dice.choice((1, 1, 2, 3)))
        if not goals:  # nothing is archived, or everything
            command = "archive" if command == "restore" else "restore"
            goals = self._goals(command, 2)
        wanted = self._now() | goals
        self.tally[kill, "trials"] += 1
        killed = self._kill(command, goals, kill)
        self.tally[kill, "kills"] += killed
        self.tally[kill, self._phase()] += killed
        self._fault(kill, command, "lost", self._lost())
        if kill == "twice":
            self.tally[kill, "kills"] += self._kill(command, goals, self.dice.choice(KILLS[:2]))
            self._fault(kill, command, "lost", self._lost())
        try:
            bring(goals)
        except Exception as error:
            self._fault(kill, command, "refused", [f"{type(error).__name__}: {error}"])
        self._check(kill, command, wanted)

    def _make_video(self, number: int) -> None:
        """Several have the same name, in different stages; some have no poster."""
        stage = STAGES[number % 3]
        video = self.root / stage / f"clip {number // 3}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        parts = {".mp4": self.dice.randbytes(self.dice.randrange(1000, 600_000))}
        if number % 4:
            parts[".png"] = self.dice.randbytes(5000)
        for suffix, data in parts.items():
            video.with_suffix(suffix).write_bytes(data)
        record = {"format": "mlx-wan-record", "version": 1, "id": new_id(), "video": video.name}
        video.with_suffix(".json").write_text(json.dumps(record | {"title": f"video {number}"}))
        with open_library(create=True) as library:
            id = actions.add(library, video, None, stage).id
        self.videos[id] = {s: hashlib.sha256(data).hexdigest() for s, data in parts.items()}

    def _measure_seconds(self, command: str) -> None:
        goals = self._goals(command, 3)
        start = time.perf_counter()
        bring(goals)
        self.seconds[command] = (time.perf_counter() - start) / len(goals)

    def _measure_lines(self, command: str) -> None:
        goals = self._goals(command, 3)
        self.lines[command] = count_lines(lambda: bring(goals), _ours) // len(goals)

    def _goals(self, command: str, count: int) -> Goals:
        now = self._now()
        fitting = [id for id, (archived, _) in now.items() if archived == (command == "restore")]
        goals = {}
        for id in self.dice.sample(fitting, min(count, len(fitting))):
            stage = now[id][1]
            if command == "promote":
                stage = self.dice.choice([other for other in STAGES if other != stage])
            goals[id] = (command == "archive", stage)
        return goals

    def _now(self) -> Goals:
        with open_library() as library:
            return {e.id: (e.archived, e.stage) for e in library.index.select(Filters())}

    def _kill(self, command: str, goals: Goals, kill: str) -> int:
        """1 when a process was killed, 0 when it was faster."""
        if kill == "twice":
            kill = self.dice.choice(KILLS[:2])
        if kill == "line":
            last = self.dice.randrange(1, self.lines[command] * len(goals) + 100)
            return killed(_fork(goals, last))
        pids = [_fork(goals) for _ in range(2 if kill == "two" else 1)]
        time.sleep(self.dice.random() * self.seconds[command] * len(goals))
        os.kill(pids[0], signal.SIGKILL)
        return next(iter([killed(pid) for pid in pids]))

    def _phase(self) -> str:
        """How far the killed one had come, by its journal."""
        for path in (self.root / OWN_FOLDER / FOLDER).glob("*.json"):
            return str(json.loads(path.read_bytes())["phase"])
        return "elsewhen"

    def _files(self) -> set[Path]:
        every = {path for root in (self.root, self.archive) for path in root.rglob("*")}
        return {path for path in every if path.is_file() and OWN_FOLDER not in path.parts}

    def _lost(self) -> list[str]:
        """Videos of which there is no whole file under any name."""
        hashes = {_sha256(file) for file in self._files() if file.suffix in (".mp4", ".png")}
        return [id for id, parts in self.videos.items() if not {*parts.values()} <= hashes]

    def _check(self, kill: str, command: str, wanted: Goals) -> None:
        def fault(what: str, *found: object) -> None:
            self._fault(kill, command, what, [str(one) for one in found])

        files = self._files()
        with open_library() as library:
            library.index.check()
            entries = {entry.id: entry for entry in library.index.select(Filters())}
        fault("not indexed", *sorted(self.videos.keys() - entries.keys()))
        for id, entry in entries.items():
            if (entry.archived, entry.stage) != wanted[id]:
                fault("elsewhere", entry.video)
            if not {entry.video, entry.record_path} <= files:
                fault("lost", entry.video)
                continue
            for suffix, sha256 in self.videos[id].items():
                part = entry.video.with_suffix(suffix)
                if part not in files or _sha256(part) != sha256:
                    fault("corrupt", part)
            record = json.loads(entry.record_path.read_bytes())
            if (record["id"], record["video"]) != (id, entry.video.name):
                fault("corrupt", entry.record_path)
            files -= {entry.video, entry.record_path, entry.poster}
        fault("left over", *files, *(self.root / OWN_FOLDER / FOLDER).glob("*.json"))

    def _fault(self, kill: str, command: str, what: str, found: list[str]) -> None:
        if found:
            self.tally[kill, what] += len(found)
            self.faults.append(f"{command}, kill {kill}: {what}: {', '.join(found)}")


def _fork(goals: Goals, last_line: int | None = None) -> int:
    """A child that runs `bring`, and kills itself before line number `last_line`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if last_line is not None:
            die_before(last_line, _ours)
        bring(goals)
        os._exit(0)
    except BaseException as error:
        print(f"child: {type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)


def _ours(file: str) -> bool:
    """Whether a file is the library's."""
    return file.startswith(str(Path(actions.__file__).parent))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(base: Path, other: Path, trials: int, seed: int) -> Bench:
    """`trials` trials with the library below `base` and the archive below `other`."""
    root, archive = base / "videos", other / "archive"
    archive.mkdir()
    os.environ |= {"MLX_WAN_LIBRARY": str(root), "MLX_WAN_ARCHIVE": str(archive)}
    copying._CHUNK = 1 << 16  # more places to die in
    bench = Bench(root, archive, seed)
    bench.prepare()
    for number in range(trials):
        bench.trial(KILLS[number % len(KILLS)])
    return bench


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=400, help="on each pair of disks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--other-disk", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    columns = ("trials", "kills", "copying", "placing", "elsewhen", *FAULTS)
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    for disks in ("one disk", "two disks"):
        with tempfile.TemporaryDirectory() as base:
            place = given.other_disk if disks == "two disks" else Path(base)
            if not place.is_dir() or (disks == "two disks" and _same_disk(place, base)):
                continue
            with tempfile.TemporaryDirectory(dir=place) as other:
                start = time.perf_counter()
                bench = run(Path(base), Path(other), given.trials, given.seed)
                seconds = time.perf_counter() - start
        faults += bench.faults
        for kill in KILLS:
            told = {column: bench.tally[kill, column] for column in columns}
            rows.append({"disks": disks, "kill": kill} | told)
        print(f"{disks}: {seconds:.0f} s, lines per move {bench.lines}", file=sys.stderr)
    total = {column: sum(row[column] for row in rows) for column in columns}
    rows.append({"disks": "all", "kill": "all"} | total)
    if given.json:
        print(json.dumps({"rows": rows, "faults": faults}))
    else:
        print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
        for row in [{name: name for name in rows[0]}, *rows]:
            print("".join(f"{row[name]!s:>{max(len(name), 9) + 2}}" for name in row))
        print("\n".join(faults))
    sys.exit(1 if faults else 0)


def _same_disk(one: Path, other: str) -> bool:
    return one.stat().st_dev == Path(other).stat().st_dev


if __name__ == "__main__":
    main()

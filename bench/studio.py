"""What the studio costs beside encoding, and whether its memory stays flat.

    python -m mlx_wan.bench.studio [--seconds 30] [--rounds 3] [--quality medium]

A short (1080x1920, 30 frames a second) of looping clips in wan-mini's size, three shots, with words
and signature. Time: all stages after decoding (joining, retiming, contrast pass, upscaling, words,
encoding, checking, poster) over encoding the same frames alone with the same settings. For that the
frames are read from a lossless file, and the time that reading alone takes is subtracted. Memory:
the peak of a process making 60 s over that of one making 10 s. Each run is a process of its own.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

TIME_LIMIT, MEMORY_LIMIT = 2.5, 1.2
SIZE = (48, 80)  # wan-mini's shape for shorts
STRETCH = 3.0


def storyboard(seconds: float) -> Any:
    from mlx_wan.studio.storyboard import Shot, Storyboard, TextBlock

    third = seconds / 3
    texts = (
        TextBlock("hook", "The AI skills premium is real", 0.0, third),
        TextBlock("content", "AI-skilled workers earn 56% more in 2026", third, 2 * third),
        TextBlock("cta", "Connect with Arthur Dell", 2 * third, seconds),
    )
    return Storyboard("shorts", seconds, tuple(Shot("a picture", third) for _ in range(3)), texts)


def make_clips(folder: Path) -> None:
    """Three soft loops: coloured lights going round, as wan-mini draws them."""
    from mlx_wan.studio.clips import write_clip

    y, x = np.mgrid[: SIZE[1], : SIZE[0]] / SIZE[0]
    for number, colour in enumerate(((40, 90, 200), (200, 120, 40), (60, 180, 120))):
        frames = []
        for angle in np.linspace(0, 2 * np.pi, 17):
            light = np.zeros_like(x)
            for lamp in range(4):
                turn = angle + lamp * np.pi / 2 + number
                far = (x - 0.5 - 0.35 * np.cos(turn)) ** 2 + (y - 0.8 - 0.6 * np.sin(turn)) ** 2
                light += np.exp(-far * 12)
            frames.append(20 + light[..., None] * np.array(colour))
        pixels = np.clip(frames, 0, 255).astype(np.uint8)
        write_clip([pixels], folder / f"{number}.mkv", 16, loops=True)


def finished(folder: Path, seconds: float) -> Iterator[np.ndarray]:
    """The frames of the finished video, as a production makes them."""
    from mlx_wan.studio.background import Background
    from mlx_wan.studio.brand import Brand
    from mlx_wan.studio.clips import open_clip
    from mlx_wan.studio.overlay import Overlay

    board = storyboard(seconds)
    clips = [[open_clip(folder / f"{number}.mkv")] for number in range(3)]
    background = Background(board, clips, stretch=STRETCH)
    overlay = Overlay(board, Brand())
    overlay.measure(background.previews(180))
    for index, frame in enumerate(background.frames()):
        overlay.draw(frame, index)
        yield frame


def save(frames: Iterator[np.ndarray], path: Path, quality: str) -> None:
    from mlx_wan.studio.profiles import PROFILES
    from mlx_wan.studio.video_io import save_video

    profile = PROFILES[quality]
    chunks = (frame[None] for frame in frames)
    save_video(chunks, path, fps=30, crf=profile.crf, preset=profile.preset)


def studio(folder: Path, seconds: float, quality: str) -> None:
    from mlx_wan.studio.poster import BestFrame

    best = BestFrame(every=15)
    save(best.watch(finished(folder, seconds)), folder / "studio.mp4", quality)
    best.save(folder / "studio.png")


def keep(folder: Path, seconds: float, quality: str) -> None:
    """The finished frames once more, losslessly and quick to read: x264 at crf 0 in RGB."""
    import av

    with av.open(str(folder / "frames.mkv"), "w") as container:
        stream = container.add_stream("libx264rgb", rate=30)
        stream.width, stream.height, stream.pix_fmt = 1080, 1920, "rgb24"
        stream.options = {"preset": "ultrafast", "crf": "0"}
        for number, frame in enumerate(finished(folder, seconds)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def kept(folder: Path) -> Iterator[np.ndarray]:
    import av

    with av.open(str(folder / "frames.mkv")) as container:
        container.streams.video[0].thread_type = "AUTO"
        for picture in container.decode(video=0):
            yield picture.to_ndarray(format="rgb24")


def read(folder: Path, seconds: float, quality: str) -> None:
    for _ in kept(folder):
        pass


def encode(folder: Path, seconds: float, quality: str) -> None:
    save(kept(folder), folder / "encode.mp4", quality)


TASKS: dict[str, Callable[[Path, float, str], None]] = {
    task.__name__: task for task in (studio, keep, read, encode)
}


def run(task: str, folder: Path, seconds: float, quality: str) -> dict[str, float]:
    """Wall and processor seconds and the peak bytes of a task, in a process of its own."""
    (folder / f"{task}.mp4").unlink(missing_ok=True)
    words = [sys.executable, "-m", "mlx_wan.bench.studio", "--task", task]
    words += ["--folder", str(folder), "--seconds", str(seconds), "--quality", quality]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def timed(task: str, folder: Path, seconds: float, quality: str) -> dict[str, float]:
    start, used = time.perf_counter(), time.process_time()
    TASKS[task](folder, seconds, quality)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "wall": time.perf_counter() - start,
        "processor": time.process_time() - used,
        "peak": peak * (1 if sys.platform == "darwin" else 1024),
    }


def compare(seconds: float, rounds: int, quality: str, folder: Path) -> None:
    make_clips(folder)
    run("keep", folder, seconds, quality)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ("studio", "read", "encode")}
    for _ in range(rounds):
        for task, found in results.items():
            found.append(run(task, folder, seconds, quality))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {sys.platform}")
    size = (folder / "studio.mp4").stat().st_size * 8 / seconds / 1e6
    print(f"{seconds:g} s short, quality {quality}, {size:.1f} Mbit/s; median of {rounds}\n")
    print("| clock | studio | encoding alone | ratio | at most |\n|---|---|---|---|---|")
    for clock in ("wall", "processor"):
        whole = statistics.median(one[clock] for one in results["studio"])
        pairs = zip(results["encode"], results["read"], strict=True)
        alone = statistics.median(one[clock] - other[clock] for one, other in pairs)
        print(f"| {clock} | {whole:.1f} s | {alone:.1f} s | {whole / alone:.2f} | {TIME_LIMIT} |")
    peaks = {long: run("studio", folder, long, quality)["peak"] for long in (10, 60)}
    told = " | ".join(f"{peak / 2**20:.0f} MiB" for peak in peaks.values())
    print("\n| peak memory of 10 s | of 60 s | ratio | at most |\n|---|---|---|---|")
    print(f"| {told} | {peaks[60] / peaks[10]:.2f} | {MEMORY_LIMIT} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quality", choices=("high", "medium", "low"), default="medium")
    parser.add_argument("--task", choices=tuple(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        print(json.dumps(timed(given.task, given.folder, given.seconds, given.quality)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(given.seconds, given.rounds, given.quality, Path(folder))


if __name__ == "__main__":
    main()

"""Does conversion run at the speed of the disk, in little memory?

Makes a checkpoint of about 6.6 GB in the original layout (the shapes and names of Wan 2.1 T2V-1.3B
with its VAE, one layer of UMT5-XXL), then in turns copies it and converts it, each in a process of
its own. Every run ends when its files are on the disk (fsync).

    python -m mlx_wan.bench.convert [--folder DIR] [--rounds 2] [--layers 30]
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import mlx_wan

OPTIONS: dict[str, dict[str, int]] = {"bf16": {}, "bf16 + q8": {"quantize": 8}}
_SHARE, _MEMORY = 0.60, 1500  # what must hold: of the copy's speed; MB resident


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where to work; default: the temp folder")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layers", type=int, default=30, help="fewer make a smaller checkpoint")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(*arguments.child)
    work = Path(tempfile.mkdtemp(prefix="mlx-wan-bench-", dir=arguments.folder))
    try:
        return measure(work, arguments.rounds, arguments.layers)
    finally:
        shutil.rmtree(work)


def measure(work: Path, rounds: int, layers: int) -> int:
    """Print the table; 1 if a limit is not kept."""
    free = shutil.disk_usage(work).free
    needed = 7.5e9 * layers / 30 * 2.2
    if free < needed:
        print(
            f"{work} has {free / 1e9:.1f} GB free; this needs {needed / 1e9:.0f}", file=sys.stderr
        )
        return 1
    source, target = work / "source", work / "target"
    run("make", source, layers)
    nbytes = sum(file.stat().st_size for file in source.iterdir())
    print(
        f"{nbytes / 1e9:.2f} GB source, {rounds} rounds; {platform.machine()}, "
        f"{os.cpu_count()} cores, mlx-wan {mlx_wan.__version__}, load {os.getloadavg()[0]:.1f}\n"
    )
    runs: dict[str, list[Run]] = {"copy": [], **{name: [] for name in OPTIONS}}
    for _ in range(rounds):
        for name, options in OPTIONS.items():
            runs["copy"].append(run("copy", source, str(target)))
            shutil.rmtree(target)
            runs[name].append(run("convert", source, json.dumps([str(target), options])))
            shutil.rmtree(target)
    base = statistics.median(each.seconds for each in runs["copy"])
    kept = True
    print(f"{'':12}{'seconds':>9}{'MB/s read':>11}{'of copy':>9}{'CPU s':>8}{'peak MB':>9}")
    for name, each in runs.items():
        seconds = statistics.median(one.seconds for one in each)
        cpu, peak = statistics.median(one.cpu for one in each), max(one.peak for one in each)
        print(
            f"{name:12}{seconds:9.1f}{nbytes / seconds / 1e6:11.0f}{base / seconds:9.0%}"
            f"{cpu:8.1f}{peak:9.0f}"
        )
        kept = kept and base / seconds >= _SHARE and peak < _MEMORY
    for name, each in runs.items():
        print(f"every {name}, seconds: {' '.join(f'{one.seconds:.1f}' for one in each)}")
    print(
        f"at least {_SHARE:.0%} of the copy's speed, below {_MEMORY} MB: {'yes' if kept else 'NO'}"
    )
    return 0 if kept else 1


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float
    peak: float  # resident MB


def run(task: str, source: Path, argument: object) -> Run:
    """Do a task in a new process. This one must stay small: a child's peak begins with ours."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "mlx_wan.bench.convert"]
    process = subprocess.Popen([*command, "--child", task, str(source), str(argument)])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{task} failed")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    return Run(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, peak)


def child(task: str, source: str, argument: str) -> int:
    if task == "make":
        make_checkpoint(Path(source), int(argument))
    elif task == "copy":
        copy(Path(source), Path(argument))
    else:
        from mlx_wan.convert import convert

        target, options = json.loads(argument)
        convert(source, target, **options)
    return 0


def make_checkpoint(folder: Path, layers: int) -> None:
    import numpy as np

    from mlx_wan.convert.families import foreign_shapes
    from mlx_wan.convert.sizes import expected_shapes
    from mlx_wan.models.umt5 import UMT5Config
    from mlx_wan.models.vae_wan21 import WanVAE21Config
    from mlx_wan.models.wan import WanConfig

    from .synthetic import spiece_model, stream_pth, stream_safetensors

    noise = np.random.default_rng(0).standard_normal(1 << 24, np.float32) * np.float32(0.02)

    def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.resize(noise, shape)

    def shapes(network: str, config: object) -> dict[str, tuple[int, ...]]:
        return foreign_shapes(network, "original", expected_shapes(network, config))

    transformer = WanConfig(1536, 8960, 12, layers, 16, 16, text_dim=4096)
    encoder = UMT5Config(4096, 4096, 4096, 10240, 64, num_layers=1)
    stream_safetensors(
        folder / "diffusion_pytorch_model.safetensors", shapes("wan_transformer", transformer), fill
    )
    (folder / "config.json").write_text(json.dumps(asdict(transformer)))
    stream_pth(folder / "Wan2.1_VAE.pth", shapes("wan_vae21", WanVAE21Config()), fill)
    encoder_file = folder / "models_t5_umt5-xxl-enc-bf16.pth"
    stream_pth(encoder_file, shapes("umt5", encoder), fill, "BF16")
    (folder / "spiece.model").write_bytes(spiece_model())
    for file in folder.iterdir():
        sync(file)


def copy(source: Path, target: Path) -> None:
    target.mkdir()
    for file in source.iterdir():
        shutil.copyfile(file, target / file.name)
        sync(target / file.name)


def sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


if __name__ == "__main__":
    sys.exit(main())

"""VBench's scores of our videos: exported, measured in an environment of its own, read back.

    python -m mlx_wan.bench.metrics.vbench DIR --python VBENCH_ENV/bin/python

takes the videos of an A/B folder. VBench (github.com/Vchitect/VBench) pins old libraries, wants
CUDA and downloads its own weights, so it shares nothing with us but files: videos and prompts go
out, its JSON comes back as vbench.json beside each video, where `measure` finds it.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_wan.errors import BadFileError, GenerationError, MlxWanError, UsageError
from mlx_wan.files import complete_or_absent

from .metric import Metric, Values

# Those for which VBench takes videos of other prompts than its own (mode custom_input).
DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)
SCORES = "vbench.json"
_MAX_BYTES = 50_000_000
_LARGEST = 1e6

METRICS = tuple(
    Metric(
        f"vbench_{dimension}",
        "",
        "higher",
        "information" if dimension == "dynamic_degree" else "quality",
        f"VBench's {dimension} in mode custom_input, as it comes, not normalised. None when it was "
        "not run.",
        "Huang et al., VBench, CVPR 2024, arXiv:2311.17982; github.com/Vchitect/VBench",
    )
    for dimension in DIMENSIONS
)
NOT_RUN = "VBench was not run: python -m mlx_wan.bench.metrics.vbench DIR --python ENV/bin/python"


def export_videos(videos: Sequence[tuple[Path, str]], folder: Path) -> None:
    """(video, prompt) pairs as VBench takes them: videos/00000.mp4 ... and prompts.json.

    sources.json is ours and says which video is which.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already", "nothing is overwritten; give another folder")
    (folder / "videos").mkdir(parents=True)
    names = [f"{index:05}.mp4" for index in range(len(videos))]
    for name, (video, _) in zip(names, videos, strict=True):
        shutil.copyfile(video, folder / "videos" / name)
    prompts = {name: prompt for name, (_, prompt) in zip(names, videos, strict=True)}
    sources = {name: str(video.absolute()) for name, (video, _) in zip(names, videos, strict=True)}
    for file, data in (("prompts.json", prompts), ("sources.json", sources)):
        (folder / file).write_text(json.dumps(data, indent=1, ensure_ascii=False))


def command(folder: Path, python: Path, dimensions: Sequence[str] = DIMENSIONS) -> list[str]:
    """What runs VBench on an exported folder.

    Not its own `vbench evaluate`, which puts the paths into a line for the shell.
    """
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    return [
        *(str(python), *launch, "-m", "vbench.launch.evaluate"),
        *("--videos_path", str((folder / "videos").absolute()), "--mode", "custom_input"),
        *("--prompt_file", str((folder / "prompts.json").absolute())),
        *("--output_path", str((folder / "results").absolute())),
        *("--dimension", *dimensions),
    ]


def run_vbench(
    folder: Path, python: Path, dimensions: Sequence[str] = DIMENSIONS
) -> dict[str, Values]:
    """Runs it to its end; its messages go to stderr. Raises GenerationError when it fails."""
    if not python.is_file():
        raise UsageError(f"{python} is not there", "give the Python of VBench's own environment")
    done = subprocess.run(command(folder, python, dimensions), stdout=sys.stderr, check=False)
    results = sorted((folder / "results").glob("*_eval_results.json"))
    if done.returncode or not results:
        raise GenerationError(
            f"VBench ended with code {done.returncode} and {len(results)} results",
            "see its messages above; it needs CUDA and its weights",
        )
    return read_results(results[-1])


def read_results(file: Path) -> dict[str, Values]:
    """VBench's JSON -> values by the video's name, then by metric of ours."""
    data = _read(file)
    found: dict[str, Values] = {}
    for dimension in DIMENSIONS:
        if dimension not in data:
            continue
        pair = data[dimension]
        videos = pair[1] if isinstance(pair, list) and len(pair) == 2 else None
        if not isinstance(videos, list):
            raise BadFileError(f"{file} has no videos for {dimension}", "run VBench again")
        for video in videos:
            path = video.get("video_path") if isinstance(video, dict) else None
            if not isinstance(path, str):
                raise BadFileError(f"{file} names no video for {dimension}", "run VBench again")
            values = found.setdefault(Path(path).name, {})
            values[f"vbench_{dimension}"] = _number(video.get("video_results"))
    return found


def store(folder: Path, found: Mapping[str, Values]) -> int:
    """Writes vbench.json beside each video that was exported; returns how many were."""
    sources, count = _read(folder / "sources.json"), 0
    for name, values in found.items():
        source = sources.get(name)
        if isinstance(source, str) and Path(source).is_file():
            target = Path(source).with_name(SCORES)
            target.unlink(missing_ok=True)
            with complete_or_absent(target) as partial:
                partial.write_text(json.dumps(values))
            count += 1
    return count


def stored(video: Path) -> Values:
    """What vbench.json beside a video says; None for each score where there is none."""
    names = [metric.name for metric in METRICS]
    file = video.with_name(SCORES)
    if not file.exists():
        return dict.fromkeys(names, None)
    data = _read(file)
    return {name: _number(data.get(name)) for name in names}


def _read(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file() or file.stat().st_size > _MAX_BYTES:
            raise BadFileError(f"{file} is no file of scores", "run VBench again")
        data = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadFileError(f"{file} cannot be read: {error}", "run VBench again") from error
    if not isinstance(data, dict):
        raise BadFileError(f"{file} holds no scores", "run VBench again")
    return data


def _number(value: Any) -> float | None:
    """True and False, as VBench says of motion, are 1 and 0."""
    if not isinstance(value, int | float) or abs(value) > _LARGEST or not math.isfinite(value):
        return None
    return float(value)


def main() -> int:
    from mlx_wan.bench.ab.results import read_experiment, read_runs

    parser = argparse.ArgumentParser(description="VBench's scores of an A/B folder's videos")
    parser.add_argument("report", type=Path, help="the folder of `mlx-wan bench ab --report`")
    parser.add_argument("--python", type=Path, required=True, help="of VBench's environment")
    options = parser.parse_args()
    try:
        experiment = read_experiment(options.report)
        texts = {prompt.id: prompt.text for prompt in experiment.prompts}
        runs = [run for run in read_runs(experiment) if run.done]
        folder = options.report / "vbench"
        videos = [(run.video, texts[run.run.prompt]) for run in runs if run.video]
        export_videos(videos, folder)
        print(store(folder, run_vbench(folder, options.python)), "videos scored", file=sys.stderr)
    except MlxWanError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

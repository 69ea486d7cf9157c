"""VBench's scores of our videos: exported, measured in an environment of its own, read back.

    python -m mlx_wan.bench.metrics.vbench DIR --python VBENCH_ENV/bin/python

takes the videos of an A/B folder. VBench (github.com/Vchitect/VBench) pins old libraries, wants
CUDA and downloads its own weights, so it shares nothing with us but files: videos and prompts go
out, its JSON comes back as vbench.json beside each video, where `measure` finds it.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mlx_wan.errors import GenerationError, MlxWanError, UsageError
from mlx_wan.files import write_json

from .metric import Values
from .vbench_scores import DIMENSIONS, read_results, store


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
    write_json(folder / "prompts.json", prompts)
    write_json(folder / "sources.json", sources)


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

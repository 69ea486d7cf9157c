"""VBench's scores as they lie beside our videos: read from its JSON, written, read back."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlx_wan.errors import BadFileError, UsageError
from mlx_wan.files import read_small, write_json
from mlx_wan.tensorfile import strict_json

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


def read_results(file: Path) -> dict[str, Values]:
    """VBench's JSON -> values by the video's name, then by metric of ours."""
    data = _read(file, json.loads)  # it is Python that wrote it, and may have put NaN
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
            write_json(Path(source).with_name(SCORES), values)
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


def _read(file: Path, parse: Callable[[bytes], Any] = strict_json) -> dict[str, Any]:
    try:
        data = parse(read_small(file, _MAX_BYTES))
    except UsageError as error:
        raise BadFileError(error.message, "run VBench again") from None
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{file} holds no scores: {error}", "run VBench again") from None
    if not isinstance(data, dict):
        raise BadFileError(f"{file} holds no scores", "run VBench again")
    return data


def _number(value: Any) -> float | None:
    """True and False, as VBench says of motion, are 1 and 0."""
    if not isinstance(value, int | float) or abs(value) > _LARGEST or not math.isfinite(value):
        return None
    return float(value)

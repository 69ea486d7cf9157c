"""Result folders of A/B comparisons as `bench ab` leaves them, with small real videos."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_wan.studio.video_io import save_video

HASHES = {"a": "a" * 64, "b": "b" * 64, "c": "c" * 64}
COLOURS = {"a": (40, 90, 200), "b": (220, 110, 30), "c": (20, 150, 110)}


@dataclass(frozen=True)
class Told:
    """A metric as `mlx_wan.bench.metrics` describes one."""

    unit: str = ""
    better: str = "higher"
    kind: str = "quality"
    formula: str = "mean of what is seen"


METRICS = {
    "sharpness": Told(),
    "flicker": Told("levels", "lower"),
    "text_legibility": Told(),
    "psnr": Told("dB", "higher", "information"),
}


def make_folder(
    folder: Path,
    *,
    variants: int = 2,
    prompts: int = 8,
    seeds: int = 2,
    text: str = "slow aurora over a dark sea, prompt {number}",
    change: Callable[[str, dict[str, Any]], None] = lambda variant, run: None,
    with_videos: bool = True,
    num_frames: int = 25,
) -> Path:
    """A finished comparison of equal variants; `change` edits each run before it is written."""
    dice = np.random.default_rng(1)
    ids = "abc"[:variants]
    experiment: dict[str, Any] = {
        "format": "mlx-wan-experiment",
        "version": 1,
        "created": "2026-11-23T01:00:00Z",
        "commit": None,
        "machine": {"chip": "some chip", "cores": 2, "memory": 2**34},
        "versions": {"mlx": "0.32.2"},
        "repeats": 1,
        "seeds": list(range(seeds)),
        "prompts": [
            {"id": f"p{n:02}", "text": text.format(number=n), "density": "low"}
            for n in range(prompts)
        ],
        "variants": {
            id: {
                "label": f"wan-mini:steps={20 - 6 * n}",
                "model": "wan-mini",
                "fingerprint": HASHES[id],
                "settings": {"steps": 20 - 6 * n, "fps": 12},
            }
            for n, id in enumerate(ids)
        },
        "plan_differences": {"steps": [20 - 6 * n for n in range(variants)]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.json").write_text(json.dumps(experiment))
    videos = {id: make_video(folder / f".{id}.mp4", id, num_frames) for id in ids if with_videos}
    for prompt in experiment["prompts"]:
        level = dice.normal(0, 1, 4)
        for seed in range(seeds):
            for id in ids:
                values = level + dice.normal(0, 0.3, 4)
                run = {
                    "variant": id,
                    "prompt": prompt["id"],
                    "seed": seed,
                    "repeat": 1,
                    "warmup": False,
                    "state": "done",
                    "error": None,
                    "video": "video.mp4",
                    "latents": None,
                    "seconds": _seconds(10 * float(dice.lognormal(0, 0.01))),
                    "seconds_per_step": 0.4,
                    "peak_memory": {"encode": 10**7, "denoise": 3 * 10**7, "decode": 2 * 10**7},
                    "work": {"flops": 1e9},
                    "hashes": {},
                    "metrics": dict(zip(METRICS, map(float, values), strict=True)),
                    "gates": {"moving": True, "not_black": True},
                    "started": "2026-11-23T01:00:00Z",
                    "finished": "2026-11-23T01:00:10Z",
                }
                change(id, run)
                place = folder / "runs" / f"{id}-{prompt['id']}-{seed}"
                place.mkdir(parents=True)
                if with_videos and run["state"] == "done":
                    (place / "video.mp4").write_bytes(videos[id].read_bytes())
                (place / "run.json").write_text(json.dumps(run))
    return folder


def make_video(path: Path, variant: str, num_frames: int = 25) -> Path:
    """A bar that wanders once over a field of the variant's colour, at 12 frames per second."""
    frames = np.zeros((num_frames, 96, 96, 3), np.uint8)
    frames[:] = COLOURS[variant]
    for number in range(num_frames):
        frames[number, :, number * 90 // num_frames :][:, :6] = 240
    return save_video([frames], path, fps=12, preset="ultrafast")


def fails(run: dict[str, Any], error: str = "killed by signal 9") -> None:
    """Turn a run into one that gave no video."""
    run |= {"state": "failed", "error": error, "video": None, "seconds": {}, "peak_memory": {}}
    run |= {"metrics": {}, "gates": {}}


def _seconds(total: float) -> dict[str, float]:
    shares = {"encode": 0.1, "denoise": 0.6, "decode": 0.25, "save": 0.05}
    return {stage: round(total * share, 6) for stage, share in shares.items()}

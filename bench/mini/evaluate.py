"""Scores a converted wan-mini on held-out prompts that name every attribute, beside real clips.

Samples go through the engine; the judge (`probe`) is independent of the trainer. What it says of
real clips for the same prompts is the most a model can reach.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_wan.loading import open_model
from mlx_wan.request import Request

from .captions import caption
from .clips import SMALL_SIZES, render
from .dataset import HELD_OUT_SEED
from .judge import Judge, answers, closure, direction, load_judge
from .looks import DIRECTIONS, MOTIFS, Look, draw_look
from .sample import contact_sheet, sample

QUESTIONS = ("colour", "motif", "background", "light", "direction")


@dataclass(frozen=True)
class Trial:
    look: Look
    prompt: str
    width: int
    height: int
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="+", help="converted model folder")
    parser.add_argument("--judge", type=Path, required=True, help="written by `probe`")
    parser.add_argument("--per-motif", type=int, default=8, help="prompts of each of 7 motifs")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--guidance-scale", type=float, default=None)
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets and scores.json")
    args = parser.parse_args()
    judge, trials = load_judge(args.judge), draw_trials(args.per_motif)
    table = {"real clips": score(judge, trials, [real(trial) for trial in trials])}
    for model in args.model:
        began, folder = time.time(), open_model(model)
        clips = [
            sample(folder, request(trial, args.steps, args.guidance_scale)) for trial in trials
        ]
        table[model.name] = score(judge, trials, clips)
        print(f"{model.name}: {time.time() - began:.0f} s for {len(clips)} clips", flush=True)
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            contact_sheet(clips[:: max(1, len(clips) // 28)], args.sheets / f"{model.name}.jpg")
    print_table(table)
    if args.sheets:
        (args.sheets / "scores.json").write_text(json.dumps(table, indent=1))


def draw_trials(per_motif: int) -> list[Trial]:
    trials = []
    for i in range(per_motif * len(MOTIFS)):
        rng = np.random.default_rng((HELD_OUT_SEED, i))
        look = draw_look(rng, motif=MOTIFS[i % len(MOTIFS)])
        width, height = SMALL_SIZES[i // len(MOTIFS) % len(SMALL_SIZES)]
        trials.append(Trial(look, caption(look, rng, everything=True), width, height, seed=i))
    return trials


def real(trial: Trial) -> np.ndarray:
    return render(trial.look, trial.width, trial.height)


def request(trial: Trial, steps: int | None, guidance_scale: float | None) -> Request:
    return Request(
        trial.prompt,
        width=trial.width,
        height=trial.height,
        seed=trial.seed,
        steps=steps,
        guidance_scale=guidance_scale,
    )


def score(judge: Judge, trials: list[Trial], clips: list[np.ndarray]) -> dict[str, float]:
    """Share of right answers to each question, motif by motif too, and the loop closure."""
    right: dict[str, list[bool]] = {question: [] for question in QUESTIONS}
    by_motif: dict[str, list[bool]] = {f"motif {motif}": [] for motif in MOTIFS}
    gaps = np.array([closure(clip) for clip in clips])
    for trial, clip, told in zip(trials, clips, answers(judge, clips), strict=True):
        look = trial.look
        right["colour"].append(told["colour"] == look.colour)
        right["motif"].append(told["motif"] == look.motif)
        right["background"].append(told["background"] == look.background)
        right["light"].append((told["light"] == "dark") == look.is_dark)
        if look.direction:
            way = direction(clip, DIRECTIONS[look.motif])
            right["direction"].append(way == look.direction)
            by_motif.setdefault(f"direction {look.motif}", []).append(way == look.direction)
        by_motif[f"motif {look.motif}"].append(told["motif"] == look.motif)
    scores = {name: float(np.mean(hits)) for name, hits in {**right, **by_motif}.items()}
    scores["closure"] = float(gaps[:, 0].sum() / gaps[:, 1].sum())
    scores["frame change"] = float(gaps[:, 1].mean())
    return scores


def print_table(table: dict[str, dict[str, float]]) -> None:
    print(" " * 20 + "".join(f"{name[:16]:>18}" for name in table))
    for row in table["real clips"]:
        print(f"{row:20}" + "".join(f"{scores[row]:18.2f}" for scores in table.values()))


if __name__ == "__main__":
    main()

"""Scores wan-mini on held-out prompts beside real clips, its VAE and its experts: the whole table.

python -m mlx_wan.bench.mini.evaluate       the weights that ship, 6 minutes on two CPU cores

Needs no torch. Samples go through the engine; the judge is independent of the trainer, and what it
says of real clips for the same prompts is the most a model can reach.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlx_wan.loading import ModelFolder, embedded_model, open_model

from .clips import Clip
from .judge import Judge, load_judge
from .sample import ROLES, sample
from .scores import (
    QUESTIONS,
    Scores,
    Trial,
    draw_trials,
    expert_losses,
    prompt_scores,
    vae_scores,
)

# the least share of the real clips' score
BARS = {"colour": 0.90, "background": 0.88, "motif": 0.92, "light": 1.00, "direction": 0.80}
MAX_CLOSURE = 1.5
VAE_CLIPS, LOSS_CLIPS = 126, 42
VAE_BARS = {"mean dB": (30.0, np.inf), "worst dB": (24.0, np.inf), "flicker": (0.9, 1.1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=embedded_model())
    parser.add_argument("--per-motif", type=int, default=30, help="prompts of each of 7 motifs")
    parser.add_argument("--prompts-only", action="store_true", help="not the VAE and the experts")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--shift", type=float)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--card", type=Path, help="also put the table into this model card")
    args = parser.parse_args()
    began, folder, judge = time.time(), open_model(args.model), load_judge()
    settings = {name: getattr(args, name) for name in ("steps", "guidance_scale", "shift")}
    trials = draw_trials(args.per_motif)
    tables: list[str] = []
    figures: dict[str, Any] = {"real": prompt_scores(judge, trials, [t.real() for t in trials])}
    clips = sampled(folder, trials, settings)
    figures["model"] = prompt_scores(judge, trials, clips)
    show(tables, prompt_table(figures["real"], figures["model"], len(trials)))
    if not args.prompts_only:
        figures["vae"] = vae_scores(folder, VAE_CLIPS)
        show(tables, vae_table(figures["vae"]))
        few = max(7, len(trials) // 3 // 7 * 7)
        figures["experts"] = played(folder, judge, trials[:few], clips[:few], settings)
        figures["losses"] = expert_losses(folder, LOSS_CLIPS)
        show(tables, expert_table(figures["experts"], figures["losses"], few))
    show(tables, f"weights {folder.fingerprint[:12]}, {time.time() - began:.0f} s")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    if args.card:
        args.card.write_text(with_scores(args.card.read_text(), "\n\n".join(tables)))


def show(tables: list[str], table: str) -> None:
    tables.append(table)
    print(table + "\n", flush=True)


def with_scores(card: str, table: str) -> str:
    """The card with the block under its heading "Scores" replaced."""
    before, heading, rest = card.partition("## Scores\n")
    text, _, after = rest.partition("```text\n")
    assert heading and "```\n" in after, "the card has no block for the scores"
    return f"{before}{heading}{text}```text\n{table}\n```\n" + after.split("```\n", 1)[1]


def sampled(folder: ModelFolder, trials: list[Trial], settings: dict, **role: Any) -> list[Clip]:
    return [sample(folder, trial.request(**settings), **role) for trial in trials]


def played(
    folder: ModelFolder, judge: Judge, trials: list[Trial], clips: list[Clip], settings: dict
) -> dict[str, Scores]:
    """The scores with the experts as trained, swapped, and each of them alone."""
    scores = {}
    for name, played_by in ROLES.items():
        made = sampled(folder, trials, settings, played_by=played_by) if played_by else clips
        scores[name] = prompt_scores(judge, trials, made)
    return scores


def prompt_table(real: Scores, model: Scores, count: int) -> str:
    lines = [
        f"{count} held-out prompts, a seed each; right answers",
        f"{'':20}{'real clips':>12}{'wan-mini':>12}{'share':>9}{'bar':>7}",
    ]
    for name in (*QUESTIONS, *(row for row in real if " " in row)):
        share, bar = model[name] / real[name] if real[name] else np.nan, BARS.get(name)
        line = f"{name:20}{real[name]:12.3f}{model[name]:12.3f}{share:9.2f}"
        lines.append(line + (f"{bar:7.2f}  {verdict(share >= bar - 1e-9)}" if bar else ""))
    line = f"{'closure':20}{real['closure']:12.2f}{model['closure']:12.2f}{'':9}{MAX_CLOSURE:7.2f}"
    return "\n".join([*lines, f"{line}  {verdict(model['closure'] <= MAX_CLOSURE)}"])


def vae_table(scores: Scores) -> str:
    lines = [f"the VAE alone, {VAE_CLIPS} held-out clips"]
    for name, (low, high) in VAE_BARS.items():
        bar = f"{low:g} to {high:g}" if np.isfinite(high) else f"at least {low:g}"
        good = verdict(low <= scores[name] <= high)
        lines.append(f"{name:20}{scores[name]:12.2f}   {bar}: {good}")
    return "\n".join(lines)


def expert_table(scores: dict[str, Scores], losses: dict[str, Scores], count: int) -> str:
    rows = (*QUESTIONS, "closure")
    lines = [f"the experts in other roles, {count} of the prompts"]
    lines.append(" " * 20 + "".join(f"{row:>12}" for row in rows))
    for name, row in scores.items():
        lines.append(f"{name:20}" + "".join(f"{row[question]:12.3f}" for question in rows))
    lines += ["", "loss at noise levels (the high-noise expert is for 0.875 and above)"]
    lines.append(" " * 20 + "".join(f"{sigma:>8}" for sigma in next(iter(losses.values()))))
    for name, row in losses.items():
        lines.append(f"{name:20}" + "".join(f"{loss:8.3f}" for loss in row.values()))
    return "\n".join(lines)


def verdict(good: bool) -> str:
    return "pass" if good else "MISS"


if __name__ == "__main__":
    main()

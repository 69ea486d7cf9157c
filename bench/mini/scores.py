"""What `evaluate` measures: prompts followed, the VAE alone, and each expert's loss by noise level.

Everything is held out: no trainer uses these seeds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_wan.loading import ModelFolder, load_network, load_tokenizer
from mlx_wan.models.umt5 import encode
from mlx_wan.request import Request

from .captions import caption
from .clips import SMALL_SIZES, Clip, at_phase, render
from .dataset import HELD_OUT_SEED
from .judge import Judge, answers, closure, direction
from .looks import DIRECTIONS, MOTIFS, Look, draw_look

QUESTIONS = ("colour", "background", "motif", "light", "direction")
NOISE_LEVELS = (0.97, 0.93, 0.89, 0.8, 0.6, 0.4, 0.2)

Scores = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """A prompt that names every attribute of a look, and the seed of its noise."""

    look: Look
    prompt: str
    width: int
    height: int
    seed: int

    def real(self) -> Clip:
        return render(self.look, self.width, self.height)

    def request(self, **settings: Any) -> Request:
        given: dict[str, Any] = {"prompt": self.prompt, "seed": self.seed, "model": "wan-mini"}
        return Request(**given, width=self.width, height=self.height, **settings)


def draw_trials(per_motif: int) -> list[Trial]:
    """As many prompts for each motif, over all sizes; the first n are always the same."""
    trials = []
    for i in range(per_motif * len(MOTIFS)):
        rng = np.random.default_rng((HELD_OUT_SEED, i))
        look = draw_look(rng, motif=MOTIFS[i % len(MOTIFS)])
        width, height = SMALL_SIZES[i // len(MOTIFS) % len(SMALL_SIZES)]
        trials.append(Trial(look, caption(look, rng, everything=True), width, height, seed=i))
    return trials


def prompt_scores(judge: Judge, trials: list[Trial], clips: list[Clip]) -> Scores:
    """Share of right answers to each question, motif by motif too, and the loop closure."""
    right: dict[str, list[bool]] = {question: [] for question in QUESTIONS}
    by_motif: dict[str, list[bool]] = {f"motif {motif}": [] for motif in MOTIFS}
    by_motif |= {f"direction {motif}": [] for motif in MOTIFS if DIRECTIONS[motif]}
    gaps = np.array([closure(clip) for clip in clips])
    for trial, clip, told in zip(trials, clips, answers(judge, clips), strict=True):
        look = trial.look
        for question in ("colour", "background", "motif"):
            right[question].append(told[question] == getattr(look, question))
        right["light"].append((told["light"] == "dark") == look.is_dark)
        by_motif[f"motif {look.motif}"].append(told["motif"] == look.motif)
        if look.direction:
            way = direction(clip, DIRECTIONS[look.motif])
            right["direction"].append(way == look.direction)
            by_motif[f"direction {look.motif}"].append(way == look.direction)
    scores = {name: float(np.mean(hits)) for name, hits in {**right, **by_motif}.items()}
    scores["closure"] = float(gaps[:, 0].sum() / gaps[:, 1].sum())
    return scores


def held_out_clips(count: int) -> Iterator[tuple[Trial, Clip]]:
    """Real clips of all motifs and sizes, each started at another frame."""
    for i, trial in enumerate(draw_trials(-(-count // len(MOTIFS)))[:count]):
        yield trial, at_phase(trial.real(), i % 16)


def vae_scores(folder: ModelFolder, count: int) -> Scores:
    """PSNR in dB, mean and worst of whole clips; the change between frames over the originals'."""
    vae = load_network(folder["vae"])
    psnr, change = [], []
    for _, clip in held_out_clips(count):
        chunks = vae.decode_chunks(latents_of(vae, clip))
        made = np.concatenate([np.array(chunk[0]) for chunk in chunks])
        made = np.clip((made + 1) * 127.5, 0, 255).round()
        psnr.append(10 * np.log10(255**2 / np.square(made - clip).mean()))
        change.append([_flicker(clip), _flicker(made)])
    before, after = np.sum(change, axis=0)
    return {
        "mean dB": float(np.mean(psnr)),
        "worst dB": float(np.min(psnr)),
        "flicker": float(after / before),
    }


def _flicker(clip: np.ndarray) -> float:
    return float(np.abs(np.diff(clip.astype(np.float32), axis=0)).mean())


def latents_of(vae: Any, clip: Clip) -> mx.array:
    """Latents (1, T, H, W, C) of a clip."""
    latents = vae.encode(mx.array(clip.astype(np.float32) / 127.5 - 1)[None])
    mx.eval(latents)
    return latents


def expert_losses(folder: ModelFolder, count: int) -> dict[str, Scores]:
    """Mean squared error of the velocity each expert predicts, at noise levels of both."""
    vae, tokenizer = load_network(folder["vae"]), load_tokenizer(folder)
    encoder = load_network(folder["text_encoder"], widen=False)
    networks = {expert.name: load_network(folder[expert.name]) for expert in folder.preset.experts}
    losses: dict[str, dict[str, list[float]]] = {
        name: {f"{sigma:.2f}": [] for sigma in NOISE_LEVELS} for name in networks
    }
    for i, (trial, clip) in enumerate(held_out_clips(count)):
        clean = latents_of(vae, clip)
        embeds = encode(encoder, [tokenizer(trial.prompt)])[0]
        noise = mx.random.normal(clean.shape, key=mx.random.key(i))
        for name, network in networks.items():
            condition = network.condition(embeds, network.grid(clean.shape))
            for sigma in NOISE_LEVELS:
                told = network((1 - sigma) * clean + sigma * noise, 1000 * sigma, condition)
                error = np.square(np.array(told - (noise - clean))).mean()
                losses[name][f"{sigma:.2f}"].append(float(error))
    return {
        name: {sigma: float(np.mean(errors)) for sigma, errors in by_sigma.items()}
        for name, by_sigma in losses.items()
    }

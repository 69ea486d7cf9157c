"""Train the VAE: images, then short clips, then a stronger KL.

python -m mlx_wan.bench.mini.train_vae --run RUN [--init CHECKPOINT] [--steps N]

A new VAE has new latents: run `encode` and the transformer's training again before it ships.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .clips import SMALL_SIZES, at_phase
from .dataset import HELD_OUT_SEED, entry
from .torch_vae import MiniVAE, fold, initialise, load_vae, unfold
from .training import Optimiser, Run, rate, save

VAE_FILE = "Wan2.1_VAE.pth"
Stage = tuple[float, int, int, float]  # share of the steps, batch, frames, weight of the KL
STAGES = ((0.3, 8, 1, 2e-4), (0.25, 3, 5, 1e-3), (0.15, 2, 9, 1e-3), (0.3, 2, 9, 6e-3))
FINE_TUNING = ((0.5, 3, 5, 6e-3), (0.5, 2, 9, 6e-3))  # from weights that went through STAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="a checkpoint folder in the original layout")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--report", type=int, default=60, help="held-out clips at the end")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = Run(args.run, "vae")
    if args.init:
        vae = load_vae(args.init)
        unfold(vae)
    else:
        vae = MiniVAE()
        initialise(vae, torch.Generator().manual_seed(args.seed))
    kernels = [p for p in vae.parameters() if p.ndim >= 4 and p[0].numel() > 1]
    optimiser = Optimiser(vae, kernels, args.lr, ema=0.998)
    start = run.resume(optimiser)
    stages = FINE_TUNING if args.init else STAGES
    for step in run.steps(start, args.steps):
        rng = np.random.default_rng((args.seed, step))
        torch.manual_seed(args.seed + step)
        _, batch, frames, kl_weight = _stage(stages, step / args.steps)
        clips = draw_clips(rng, batch, frames)
        loss, error, kl = vae_loss(vae, clips, kl_weight, pooled=rng.random() < 0.25)
        loss.backward()
        optimiser.step(rate(step, args.steps))
        if step % 20 == 0:
            psnr = -10 * np.log10(error / 4)
            run.say(f"step {step} frames {frames} loss {loss.item():.4f} {psnr:.1f} dB kl {kl:.2f}")
        run.keep(optimiser, step + 1, last=step + 1 == args.steps)
    finish(run, vae, optimiser, args.report)


def _stage(stages: tuple[Stage, ...], progress: float) -> Stage:
    """The stage that this share of the run belongs to."""
    for stage in stages:
        progress -= stage[0]
        if progress < 0:
            return stage
    return stages[-1]


def draw_clips(rng: np.random.Generator, batch: int, frames: int) -> Tensor:
    """Random clips of one size from a random start, flipped or reversed: (B, 3, T, H, W)."""
    width, height = SMALL_SIZES[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    clips = []
    for _ in range(batch):
        sizes = ((width, height),) * 3
        clip = entry(int(rng.integers(2**30)), sizes=sizes).render()
        clip = at_phase(clip, int(rng.integers(16)))[:frames]
        axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
        clips.append(np.flip(clip, axes))
    return to_tensor(np.stack(clips))


def to_tensor(clips: np.ndarray) -> Tensor:
    """uint8 (B, T, H, W, 3) to float (B, 3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(clips)).permute(0, 4, 1, 2, 3) / 127.5 - 1


def vae_loss(
    vae: MiniVAE, clips: Tensor, kl_weight: float, pooled: bool
) -> tuple[Tensor, float, float]:
    """The loss, and the squared error and KL per latent element for the log.

    `pooled`: halved latents shall decode to halved video, which keeps the latent space smooth.
    """
    mean, log_variance = vae.encode(clips)
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    if pooled:
        z, clips = F.avg_pool3d(z, (1, 2, 2)), F.avg_pool3d(clips, (1, 2, 2))
    out = vae.decode(z)
    loss = _charbonnier(out - clips) + kl_weight * kl
    for axis in (2, 3, 4):
        if out.shape[axis] > 1:
            loss = loss + 0.3 / (1 if axis == 2 else 2) * _slope(out, clips, axis)
    return loss, F.mse_loss(out, clips).item(), kl.item()


def _charbonnier(difference: Tensor) -> Tensor:
    return (difference.square() + 1e-6).sqrt().mean()


def _slope(out: Tensor, clips: Tensor, axis: int) -> Tensor:
    return F.l1_loss(out.diff(dim=axis), clips.diff(dim=axis))


def finish(run: Run, vae: MiniVAE, optimiser: Optimiser, clips: int) -> None:
    """Fold the latent statistics of the averaged weights in and report on held-out clips."""
    vae.load_state_dict(optimiser.average)
    mean, std = latent_statistics(vae)
    fold(vae, mean, std)
    half = {name: weight.half() for name, weight in vae.state_dict().items()}
    save(run.folder / VAE_FILE, half)
    psnr = reconstruction(vae, clips)
    run.say(f"held out: mean {psnr.mean():.2f} dB, worst {psnr.min():.2f} dB")


@torch.no_grad()
def latent_statistics(vae: MiniVAE, n: int = 120) -> tuple[Tensor, Tensor]:
    means = []
    for index in range(n):
        clip = to_tensor(entry(index, sizes=(SMALL_SIZES[0],) * 3).render()[None])
        means.append(vae.encode(clip)[0].flatten(2)[0])
    values = torch.cat(means, dim=1)  # (16, n * positions)
    return values.mean(dim=1), values.std(dim=1)


@torch.no_grad()
def reconstruction(vae: MiniVAE, n: int) -> np.ndarray:
    """PSNR in dB of n held-out clips, decoded from the mean."""
    psnr = []
    for index in range(n):
        clip = to_tensor(entry(index, HELD_OUT_SEED).render()[None])
        out = vae.decode(vae.encode(clip)[0]).clamp(-1, 1)
        psnr.append(-10 * np.log10(F.mse_loss(out, clip).item() / 4))
    return np.array(psnr)


if __name__ == "__main__":
    main()

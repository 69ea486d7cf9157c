"""Does the VAEs' memory stay flat as the video gets longer, and what the planner's estimate says.

    python -m mlx_wan.bench.decode_memory [--size 192] [--base-dim 32] [--frames 21 81]

Peak MLX memory of the networks' work beside their weights and the video itself, which is passed in
or taken out chunk by chunk. The peak for the longer video may be at most 1.15 of the shorter one's.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx

from mlx_wan.models import vae_hunyuan, vae_wan21, vae_wan22


def peak(work: Callable[[], object]) -> int:
    """Peak bytes of `work` above what is there already."""
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    work()
    return mx.get_peak_memory() - before


def measure(vae: Any, frames: int, size: int) -> tuple[int, int]:
    """Peak bytes of decoding and encoding `frames` of size x size."""
    stride = vae.config.stride
    t, side = 1 + (frames - 1) // stride[0], size // stride[1]
    latents = mx.random.normal((1, t, side, side, vae.config.z_dim))
    mx.eval(latents)

    def decode() -> None:
        for _ in vae.decode_chunks(latents):
            pass

    def video() -> Iterator[mx.array]:
        for _ in range(frames):
            yield mx.random.uniform(-1, 1, (1, 1, size, size, 3))

    return peak(decode), peak(lambda: mx.eval(vae.encode(video())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--base-dim", type=int, default=32)
    parser.add_argument("--frames", type=int, nargs=2, default=(21, 81))
    arguments = parser.parse_args()
    size, base = arguments.size, arguments.base_dim
    few, many = arguments.frames
    vae21, vae22 = (
        vae_wan21.WanVAE21(vae_wan21.WanVAE21Config(base_dim=base)),
        vae_wan22.WanVAE22(vae_wan22.WanVAE22Config(base_dim=base, decoder_base_dim=base)),
    )
    widths = (base, base, 2 * base, 4 * base, 4 * base)
    hunyuan = vae_hunyuan.HunyuanVAE(vae_hunyuan.HunyuanVAEConfig(block_out_channels=widths))
    networks: list[tuple[str, Any, Any]] = [
        ("2.1", vae_wan21, vae21),
        ("2.2", vae_wan22, vae22),
        ("HunyuanVideo 1.5", vae_hunyuan, hunyuan),
    ]
    print(f"{size}x{size}, width {base}, float32, {mx.default_device()}; MiB\n")
    print(f"| network | {few} frames | {many} frames | ratio | at most | estimate |")
    print("|---|---|---|---|---|---|")
    for name, module, vae in networks:
        mx.eval(vae.parameters())
        estimates = (
            f(vae.config, size, size, num_frames=many)
            for f in (module.decode_memory, module.encode_memory)
        )
        peaks = zip(measure(vae, few, size), measure(vae, many, size), estimates, strict=True)
        for task, (short, long, estimate) in zip(("decode", "encode"), peaks, strict=True):
            row = [f"{amount / 2**20:.0f}" for amount in (short, long)]
            row += [f"{long / short:.3f}", "1.15", f"{estimate / 2**20:.0f}"]
            print(f"| {name} {task} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()

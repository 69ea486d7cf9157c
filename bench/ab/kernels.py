"""The engine's own functions alone, at small sizes and at those of the real models.

"real" is a piece of Wan 2.2 A14B's work at 832x480 and 81 frames: what one submission to the
device holds, where the whole would take minutes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import mlx.core as mx

from mlx_wan import cpu
from mlx_wan.attention import attention
from mlx_wan.errors import UsageError
from mlx_wan.models.vae_wan_blocks import CausalConv3d, History
from mlx_wan.models.wan import rotary_table

from .facts import facts
from .summary import spread

Size = dict[str, int]


@dataclass(frozen=True)
class Prepared:
    """A kernel ready to run: `run` makes arrays, not yet evaluated.

    `flops` are two for each multiply-add, `nbytes` what it must at least read and write.
    """

    run: Callable[[], Any]
    shape: str
    flops: float
    nbytes: float


def matmul(rows: int, dim: int) -> Prepared:
    """(rows, dim) @ (dim, dim), as in a block's linears."""
    x, weight = _random(rows, dim), _random(dim, dim)
    nbytes = x.itemsize * (2 * rows * dim + dim * dim)
    return Prepared(lambda: x @ weight.T, f"{rows}x{dim} @ {dim}x{dim}", 2 * rows * dim**2, nbytes)


def self_attention(heads: int, queries: int, keys: int, head_dim: int = 128) -> Prepared:
    """softmax(q k^T) v in the engine's pieces."""
    q = _random(1, heads, queries, head_dim)
    k, v = (_random(1, heads, keys, head_dim) for _ in range(2))
    shape = f"{heads} heads, {queries} queries, {keys} keys of {head_dim}"
    flops = 4 * heads * queries * keys * head_dim
    nbytes = q.itemsize * heads * head_dim * 2 * (queries + keys)
    return Prepared(lambda: attention(q, k, v, scale=head_dim**-0.5), shape, flops, nbytes)


def conv3d(frames: int, height: int, width: int, channels: int) -> Prepared:
    """The VAE's causal 3x3x3 convolution of a chunk, nothing before it."""
    layer = CausalConv3d(channels, channels)
    layer.weight, layer.bias = _random(channels, 3, 3, 3, channels), _random(channels)
    x = _random(1, frames, height, width, channels)
    mx.eval(layer.parameters())
    pixels = frames * height * width
    shape = f"{frames} x {width}x{height}, {channels} channels"
    nbytes = x.itemsize * (2 * pixels * channels + 27 * channels**2)
    return Prepared(lambda: layer(x, History()), shape, 2 * 27 * pixels * channels**2, nbytes)


def rotary(rows: int, dim: int, head_dim: int = 128) -> Prepared:
    """RMS norm of queries or keys, then the rotary embedding."""
    x, weight = _random(1, rows, dim, dtype=mx.float32), mx.ones((dim,))
    table = rotary_table((1, 1, rows), head_dim)
    mx.eval(table)
    nbytes = 4 * (2 * rows * dim + rows * head_dim)
    return Prepared(
        lambda: cpu.rms_norm(x, weight, 1e-6, table), f"{rows}x{dim}", 10 * rows * dim, nbytes
    )


def norm(rows: int, dim: int) -> Prepared:
    """Layer norm with a block's scale and shift."""
    x = _random(1, rows, dim, dtype=mx.float32)
    scale, shift = (_random(1, 1, dim, dtype=mx.float32) for _ in range(2))
    return Prepared(
        lambda: cpu.layer_norm(x, scale, shift, 1e-6),
        f"{rows}x{dim}",
        8 * rows * dim,
        4 * 2 * rows * dim,
    )


KERNELS: dict[str, tuple[Callable[..., Prepared], dict[str, Size]]] = {
    "matmul": (matmul, {"small": {"rows": 512, "dim": 512}, "real": {"rows": 4096, "dim": 5120}}),
    "attention": (
        self_attention,
        {
            "small": {"heads": 4, "queries": 512, "keys": 512},
            "real": {"heads": 8, "queries": 640, "keys": 32760},
        },
    ),
    "conv3d": (
        conv3d,
        {
            "small": {"frames": 1, "height": 48, "width": 80, "channels": 32},
            "real": {"frames": 1, "height": 480, "width": 832, "channels": 96},
        },
    ),
    "rotary": (rotary, {"small": {"rows": 512, "dim": 512}, "real": {"rows": 4096, "dim": 5120}}),
    "norm": (norm, {"small": {"rows": 512, "dim": 512}, "real": {"rows": 4096, "dim": 5120}}),
}
SIZES = ("small", "real")


def measure_kernels(
    names: Sequence[str] = tuple(KERNELS),
    sizes: Sequence[str] = SIZES,
    runs: int = 7,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Each kernel at each size: wall seconds, GFLOP/s and GB/s by the median, as plain data.

    The first run of each, which compiles, is not counted. Raises UsageError for unknown names.
    """
    for what, given, known in (("kernel", names, list(KERNELS)), ("size", sizes, list(SIZES))):
        for name in given:
            if name not in known:
                raise UsageError(f"there is no {what} {name!r}", f"there are: {', '.join(known)}")
    if not 1 <= runs <= 10_000:
        raise UsageError(f"runs is {runs}", "accepted: 1 to 10,000")
    rows = []
    for name in names:
        for size in sizes:
            make, known_sizes = KERNELS[name]
            rows.append({"kernel": name, "size": size} | _measured(make(**known_sizes[size]), runs))
            report(rows[-1])
            mx.clear_cache()
    about = {"format": "mlx-wan-kernels", "version": 1, "dtype": str(_dtype()).split(".")[-1]}
    return about | facts() | {"runs": runs, "kernels": rows}


def _measured(kernel: Prepared, runs: int) -> dict[str, Any]:
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        mx.eval(kernel.run())
        seconds.append(time.perf_counter() - start)
    found = spread(seconds[1:])
    assert found is not None
    return {
        "shape": kernel.shape,
        "seconds": asdict(found),
        "gflops": kernel.flops / found.median / 1e9,
        "gbytes_per_second": kernel.nbytes / found.median / 1e9,
    }


def _dtype() -> mx.Dtype:
    return mx.float32 if cpu.is_cpu() else mx.bfloat16


def _random(*shape: int, dtype: mx.Dtype | None = None) -> mx.array:
    """Normal numbers, evaluated; in the dtype networks compute in here."""
    made = mx.random.normal(shape, key=mx.random.key(sum(shape))).astype(dtype or _dtype())
    mx.eval(made)
    return made

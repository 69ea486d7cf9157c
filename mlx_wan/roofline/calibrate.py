"""Measures this machine's rates with the engine's own functions, in well under a minute.

Each function at a few widths and sizes, then wan-mini's transformer and a wider one, alone and as
a guidance pair: what they take against the sum of their operations is the rest of the model.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import attention
from mlx_wan.loading import embedded_model, load_network, load_tokenizer, open_model
from mlx_wan.models.vae_wan_blocks import CausalConv3d, History, upsample_conv
from mlx_wan.models.wan import WanConfig, WanTransformer, forward_work

from . import work
from .rates import Point, Rates, alone
from .stages import tensor_count

Clock = Callable[[], float]
Report = Callable[[int, int, str], None]  # done, of how many, what comes next

ROUNDS, RUNS, MOST_SECONDS = 2, 7, 0.2  # RUNS and seconds of one measurement in a round
_MOST_NETWORK = 8  # times as long for a whole network
_LINEAR = [(w, n) for w in (64, 128, 256, 512, 1024) for n in (16, 128, 1024)]
_ATTENTION = [(d, n) for d in (64, 128) for n in (32, 128, 400, 1200)]
_CONV3D = [(c, side) for c in (8, 32, 96) for side in (8, 24, 72)]
_CONV2D = [(c, side) for c in (16, 64, 192) for side in (8, 32)]
_ELEMENTS = (1 << 12, 1 << 16, 1 << 20)
_HEADS, _FRAMES = 2, 4
# patches of whole forwards: wan-mini's (two) and the wider network's
_GRIDS = ((5, 4, 4), (5, 10, 10), (5, 14, 14))
_WIDE = WanConfig(
    dim=512, ffn_dim=2048, num_heads=4, num_layers=2, in_dim=16, out_dim=16, text_dim=128
)


def measure(clock: Clock = time.perf_counter, report: Report = lambda *_: None) -> Rates:
    """The rates of the default device. `clock` may be one of CPU time, on a busy machine."""
    start = _start(clock)  # before anything else is: it counts what the first use takes
    jobs: list[tuple[str, Callable[[], tuple[str, Point]]]] = []
    for kind, run, sizes in (
        (work.LINEAR, _linear, _LINEAR),
        (work.ATTENTION, _attention, _ATTENTION),
        (work.CONV3D, _conv3d, _CONV3D),
        (work.CONV2D, _conv2d, _CONV2D),
        (work.NORM, _norm, [(1, n) for n in _ELEMENTS]),
        (work.ACTIVATION, _activation, [(1, n) for n in _ELEMENTS]),
        (work.ADD, _add, [(1, n) for n in _ELEMENTS]),
    ):
        jobs += [(kind, partial(_point, kind, run, *size, clock)) for size in sizes]
    total = ROUNDS * (len(jobs) + 1)
    best: list[Point] = []
    networks: list[list[tuple[float, float]]] = []
    for number in range(ROUNDS):  # at two moments: what else runs seldom slows both
        for done, (kind, job) in enumerate(jobs):
            report(number * (len(jobs) + 1) + done, total, kind)
            found = job()[1]
            if number:
                best[done] = max(best[done], found)  # the same width and size, the higher rate
            else:
                best.append(found)
            mx.clear_cache()
        report(number * (len(jobs) + 1) + len(jobs), total, "networks")
        networks.append([_forwards(network, grid, clock) for network, grid in _networks()])
    points: dict[str, tuple[Point, ...]] = {}
    for (kind, _), point in zip(jobs, best, strict=True):
        points[kind] = (*points.get(kind, ()), point)
    load = _load(clock)
    rates = Rates(points, load=load, start=start, tensor=_tensor(clock), frame=_frame(clock))
    # the pair's share also grows where something else has the other core
    least = [tuple(map(min, zip(*found, strict=True))) for found in zip(*networks, strict=True)]
    rates = _with_networks(rates, [(one, factor) for one, factor in least])
    report(total, total, "done")
    return rates


def _point(
    kind: str, run: Callable[..., Any], width: int, size: int, clock: Clock
) -> tuple[str, Point]:
    function, op = run(width, size)
    return kind, (op.width, op.size, op.amount / _timed(function, clock))


def _timed(function: Callable[[], Any], clock: Clock) -> float:
    """Seconds of one call, evaluated: the median of the better half, less noise than all have."""
    mx.eval(function())
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 3 or (len(found) < RUNS and time.perf_counter() - begun < MOST_SECONDS):
        before = clock()
        mx.eval(function())
        found.append(clock() - before)
    return max(1e-7, median(sorted(found)[: max(1, (len(found) + 1) // 2)]))


def _dtype() -> mx.Dtype:
    return mx.float32 if cpu.is_cpu() else mx.bfloat16


def _random(*shape: int, dtype: mx.Dtype | None = None) -> mx.array:
    made = mx.random.normal(shape, key=mx.random.key(sum(shape))).astype(dtype or _dtype())
    mx.eval(made)
    return made


def _linear(dim: int, rows: int) -> tuple[Callable[[], Any], work.Op]:
    x, weight, bias = _random(1, rows, dim), _random(dim, dim), _random(dim)
    return lambda: mx.addmm(bias, x, weight.T), work.linear(rows, dim, dim)


def _attention(head_dim: int, length: int) -> tuple[Callable[[], Any], work.Op]:
    q, k, v = (_random(1, length, _HEADS, head_dim).swapaxes(1, 2) for _ in range(3))
    op = work.attention(_HEADS, length, length, head_dim)
    return lambda: attention(q, k, v, scale=head_dim**-0.5), op


def _conv3d(channels: int, side: int) -> tuple[Callable[[], Any], work.Op]:
    layer, history = CausalConv3d(channels, channels), History()
    layer.weight, layer.bias = _random(channels, 3, 3, 3, channels), _random(channels)
    x = _random(1, _FRAMES, side, side, channels)
    op = work.conv3d(_FRAMES, side * side, channels, channels)
    return lambda: history.settle(layer(x, history)), op


def _conv2d(channels: int, side: int) -> tuple[Callable[[], Any], work.Op]:
    x, weight = _random(_FRAMES, side, side, channels), _random(channels // 2, 3, 3, channels)
    op = work.upsample(_FRAMES, side * side, channels, channels // 2)
    return lambda: upsample_conv(x, weight), op


def _norm(_: int, elements: int) -> tuple[Callable[[], Any], work.Op]:
    x = _random(1, elements // 256, 256, dtype=mx.float32)
    scale, shift = (_random(1, 1, 256, dtype=mx.float32) for _ in range(2))
    op = work.elementwise(work.NORM, elements)
    return lambda: cpu.layer_norm(x, scale, shift, 1e-6), op


def _activation(_: int, elements: int) -> tuple[Callable[[], Any], work.Op]:
    x = _random(1, elements // 256, 256)
    return lambda: cpu.gelu_tanh(x), work.elementwise(work.ACTIVATION, elements)


def _add(_: int, elements: int) -> tuple[Callable[[], Any], work.Op]:
    x, y = (_random(1, elements // 256, 256, dtype=mx.float32) for _ in range(2))
    return lambda: x + y, work.elementwise(work.ADD, elements)


def _load(clock: Clock) -> float:
    """Bytes a second of weights that lie in the system's file cache, widened where they must be."""
    folder = open_model(embedded_model())
    component = folder[folder.preset.experts[0].name]
    stored = _random(1 << 22, dtype=mx.float16)
    copied = _timed(lambda: stored.astype(mx.float32), clock)
    reading = _timed(lambda: mx.load(str(component.files[0])), clock)
    return 4 * stored.size / (copied + reading)


def _tensor(clock: Clock) -> float:
    """Seconds for each tensor of a network that is built and filled."""
    folder = open_model(embedded_model())
    component = folder[folder.preset.experts[0].name]
    return _timed(lambda: load_network(component).parameters(), clock) / tensor_count(component)


def _start(clock: Clock) -> float:
    """Seconds before the first prompt is read: libraries and the tokenizer."""
    before = clock()
    load_tokenizer(open_model(embedded_model()))("a first prompt")
    return clock() - before


def _frame(clock: Clock) -> float:
    """Seconds for each pixel of the video written, as `generate` writes it."""
    import tempfile
    from pathlib import Path

    from mlx_wan.studio.video_io import save_video

    frames = np.random.default_rng(0).integers(0, 255, (9, 12, 16, 3), np.uint8)
    frames = frames.repeat(12, axis=1).repeat(12, axis=2)  # blocks, as smooth as our videos
    with tempfile.TemporaryDirectory(prefix="mlx-wan-calibrate-") as folder:

        def write() -> mx.array:
            file = Path(folder) / "video.mp4"
            save_video(iter([frames]), file, fps=16, metadata={})
            file.unlink()
            return mx.array(0)

        return _timed(write, clock) / frames[..., 0].size


def _networks() -> list[tuple[Any, tuple[int, int, int]]]:
    """Networks and the grids of patches they are run on."""
    folder = open_model(embedded_model())
    mini = load_network(folder[folder.preset.experts[0].name])
    wide = WanTransformer(_WIDE)
    wide.eval()
    mx.eval(mini.parameters(), wide.parameters())
    return list(zip((mini, mini, wide), _GRIDS, strict=True))


def _with_networks(rates: Rates, found: list[tuple[float, float]]) -> Rates:
    """`factor`, `overhead` and `pair`, from what `_forwards` found of `_networks`."""
    curve: list[tuple[float, float]] = []
    equations: list[tuple[float, float, float]] = []  # operations alone, how many, seconds
    for (network, grid), (one, factor) in zip(_networks(), found, strict=True):
        ops = forward_work(network.config, math.prod(grid), _TEXT)
        unscaled = sum(op.calls * alone(op, rates) for op in ops)
        equations.append((unscaled, work.calls(ops), one))
        curve.append((one, min(1.5, max(0.4, factor))))
    small, large = equations[0], equations[-1]
    factor = min(2.0, max(0.5, large[2] / large[0]))
    overhead = max(0.0, (small[2] - factor * small[0]) / small[1])
    # once more with the overhead the large one has too
    factor = min(2.0, max(0.5, (large[2] - overhead * large[1]) / large[0]))
    overhead = max(0.0, (small[2] - factor * small[0]) / small[1])
    return Rates(
        **{name: getattr(rates, name) for name in ("points", "load", "start", "tensor", "frame")},
        factor=factor,
        overhead=overhead,
        pair=tuple(sorted(curve)),
    )


_TEXT = 30  # tokens of the prompt


def _forwards(network: Any, grid: tuple[int, int, int], clock: Clock) -> tuple[float, float]:
    """Seconds of one forward, and how much of the time of two the guidance pair takes."""
    config = network.config
    texts = [_random(1, _TEXT, config.text_dim, dtype=mx.float32) for _ in range(2)]
    first, second = (network.condition(text, grid) for text in texts)
    (t, h, w), (pt, ph, pw) = grid, config.patch_size
    x = _random(1, t * pt, h * ph, w * pw, config.in_dim, dtype=mx.float32)

    def alone() -> Any:
        return network(x, 500.0, first)

    def pair() -> Any:
        return cpu.run_pair(alone, lambda: network(x, 500.0, second))

    ones: list[float] = []
    pairs: list[float] = []
    begun = time.perf_counter()
    _once(alone, clock), _once(pair, clock)
    while len(ones) < 3 or (
        len(ones) < 4 * RUNS and time.perf_counter() - begun < _MOST_NETWORK * MOST_SECONDS
    ):
        ones.append(_once(alone, clock))  # by turns: what else runs slows both
        pairs.append(_once(pair, clock))
    one, two = (median(sorted(times)[: (len(times) + 1) // 2]) for times in (ones, pairs))
    return one, two / (2 * one)


def _once(function: Callable[[], Any], clock: Clock) -> float:
    before = clock()
    mx.eval(function())
    return max(1e-7, clock() - before)

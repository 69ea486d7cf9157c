"""Measures this machine's rates with the engine's own functions, in well under a minute.

Each function at a few widths and sizes, and among them whole forwards (forwards.py) of the
built-in model's transformer and of a wider one, at three sizes each: what they take beside the
sum of their operations is the rest of the model. All of it several times over, so that no single
moment decides; the medians count.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_wan import cpu
from mlx_wan.attention import attention
from mlx_wan.loading import embedded_model, load_network, load_tokenizer, open_model
from mlx_wan.memory import loaded_bytes, run_limits
from mlx_wan.models.vae_wan_blocks import CausalConv3d, History, upsample_conv
from mlx_wan.models.wan import WanConfig, WanTransformer

from . import work
from .forwards import Forward, Grid, fitted, measured, middle
from .rates import Point, Rates
from .stages import loading_seconds, tensor_count

Clock = Callable[[], float]
Report = Callable[[int, int, str], None]  # done, of how many, what comes next

PASSES, RUNS, MOST_SECONDS = 3, 5, 0.1  # RUNS and seconds of one measurement in a pass
SAMPLE = 2e-3  # seconds that are timed at once: of short calls several, as in a network
_MOST_CALLS = 50
ENOUGH = 35.0  # seconds after which no further pass is begun: on a slow machine fewer have to do
_MOST_NETWORK = 5  # times as long for a whole network
_LINEAR = [(w, n) for w in (64, 128, 256, 512, 1024) for n in (16, 128, 1024)]
_ATTENTION = [(d, n) for d in (64, 128) for n in (32, 128, 400, 1200)]
_CONV3D = [(c, side) for c in (8, 32, 96) for side in (8, 24, 72)]
_CONV2D = [(c, side) for c in (16, 64, 192) for side in (8, 32)]
_ELEMENTS = (1 << 12, 1 << 16, 1 << 20)
_HEADS, _FRAMES = 2, 4
# patches of whole forwards, of the built-in model's transformer and of the wider one
_GRIDS: tuple[tuple[Grid, ...], tuple[Grid, ...]] = (
    ((5, 4, 4), (5, 7, 7), (5, 11, 11)),
    ((5, 5, 5), (5, 9, 9), (5, 14, 14)),
)
_WIDE = WanConfig(
    dim=512, ffn_dim=2048, num_heads=4, num_layers=2, in_dim=16, out_dim=16, text_dim=128
)


@run_limits()
def measure(clock: Clock = time.perf_counter, report: Report = lambda *_: None) -> Rates:
    """The rates of the default device. `clock` may be one of CPU time, on a busy machine."""
    start = _start(clock)  # before anything else is: it counts what the first use takes
    jobs = list(_jobs(clock))
    found: list[list[Any]] = [[] for _ in jobs]
    begun = time.perf_counter()
    for number in range(PASSES):
        if number and time.perf_counter() - begun > ENOUGH:
            break
        for index, (what, job) in enumerate(jobs):
            report(number * len(jobs) + index, PASSES * len(jobs), what)
            found[index].append(job())
            mx.clear_cache()
    points: dict[str, tuple[Point, ...]] = dict.fromkeys(work.KINDS, ())
    forwards: list[Forward] = []
    for (what, _), passes in zip(jobs, found, strict=True):
        if what == _NETWORKS:
            forwards.append(middle(passes))
        else:  # the same width and size each time
            points[what] += ((*passes[0][:2], median(rate for *_, rate in passes)),)
    rates = Rates(points, load=1.0, start=start, frame=_frame(clock))
    rates = fitted(_with_loading(rates, clock), forwards)
    report(PASSES * len(jobs), PASSES * len(jobs), "done")
    return rates


_NETWORKS = "networks"


def _jobs(clock: Clock) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is measured in a pass, forwards between operations: what slows one slows the other."""
    forwards = [
        (_NETWORKS, partial(measured, network, grid, clock, _MOST_NETWORK * MOST_SECONDS))
        for network, grids in zip(_networks(), _GRIDS, strict=True)
        for grid in grids
    ]
    for kind, run, sizes in (
        (work.LINEAR, _linear, _LINEAR),
        (work.ATTENTION, _attention, _ATTENTION),
        (work.CONV3D, _conv3d, _CONV3D),
        (work.CONV2D, _conv2d, _CONV2D),
        (work.NORM, _norm, [(1, n) for n in _ELEMENTS]),
        (work.ACTIVATION, _activation, [(1, n) for n in _ELEMENTS]),
        (work.ADD, _add, [(1, n) for n in _ELEMENTS]),
    ):
        for size in sizes:
            yield kind, partial(_point, run, *size, clock)
        if forwards:
            yield forwards.pop(0)


def _point(run: Callable[..., Any], width: int, size: int, clock: Clock) -> Point:
    function, op = run(width, size)
    return op.width, op.size, op.amount / _timed(function, clock)


def _timed(function: Callable[[], Any], clock: Clock) -> float:
    """Seconds of one call of several in a row, as in a network: evaluated, but waited for once."""

    def seconds(calls: int) -> float:
        before = clock()
        for _ in range(calls):
            made = function()
            mx.async_eval(made)
        mx.eval(made)
        return max(1e-7, clock() - before) / calls

    seconds(1)
    calls = min(_MOST_CALLS, max(1, round(SAMPLE / seconds(1))))
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 3 or (len(found) < RUNS and time.perf_counter() - begun < MOST_SECONDS):
        found.append(seconds(calls))
    return median(found)


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


def _with_loading(rates: Rates, clock: Clock) -> Rates:
    """`load`, `widen` and `tensor`: files in the system's cache, and a network built of one."""
    stored = _random(1 << 22, dtype=mx.float16)
    with tempfile.TemporaryDirectory(prefix="mlx-wan-calibrate-") as folder:
        file = str(Path(folder) / "weights.safetensors")
        mx.save_safetensors(file, {"weight": stored})
        reading = _timed(lambda: mx.load(file), clock)
    widening = _timed(lambda: stored.astype(mx.float32), clock)
    rates = replace(rates, load=stored.nbytes / reading, widen=widening / stored.nbytes)
    model = open_model(embedded_model())
    component = model[model.preset.experts[0].name]
    whole = _timed(lambda: load_network(component).parameters(), clock)
    bytes_alone = loading_seconds(component, loaded_bytes(component), rates)
    return replace(rates, tensor=max(0.0, whole - bytes_alone) / tensor_count(component))


def _start(clock: Clock) -> float:
    """Seconds before the first prompt is read: libraries and the tokenizer."""
    before = clock()
    load_tokenizer(open_model(embedded_model()))("a first prompt")
    return clock() - before


def _frame(clock: Clock) -> float:
    """Seconds for each pixel of the video written, as `generate` writes it."""
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


def _networks() -> tuple[Any, Any]:
    """The built-in model's transformer and a wider one."""
    folder = open_model(embedded_model())
    mini = load_network(folder[folder.preset.experts[0].name])
    wide = WanTransformer(_WIDE)
    wide.eval()
    mx.eval(mini.parameters(), wide.parameters())
    return mini, wide

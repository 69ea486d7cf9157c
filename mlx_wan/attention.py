"""Attention and linears in pieces that no device objects to.

One self-attention of a 14 B model at 720p is several seconds of GPU work; macOS kills a Metal
command of about five, and stalls the screen long before (ml-explore/mlx #3302). So attention runs
in head groups x query chunks, each submitted on its own, and linears over row chunks. Every piece
computes exactly what the whole would.
"""

import mlx.core as mx

from . import cpu

SECONDS = 0.4  # planned for one submission
# What attention surely reaches on the weakest chip of each class, in FLOP/s. Deliberately low: a
# piece that is too small costs a per mille, one that is too large costs the run.
RATES = {"Ultra": 12e12, "Max": 6e12, "Pro": 3e12, "": 1.5e12}
# The optimum mere-run measured on an M4 Max is 8 heads x 640 rows, 1.28x over all at once.
HEADS, MIN_ROWS, MAX_ROWS = 8, 512, 640
# Head sizes of MLX's fused Metal kernel; for others the scores exist, and are bounded.
FUSED_HEAD_SIZES = {64, 72, 80, 96, 128, 192, 256}
SCORE_BYTES = 256 << 20
LINEAR_ROWS = 4096  # Metal matmuls are fastest up to here (ml-explore/mlx #3196)


def dispatch_budget() -> float | None:
    """FLOPs one submission may have on the default device; None: no limit."""
    if cpu.is_cpu():
        return None
    chip = str(mx.device_info().get("device_name", ""))
    return SECONDS * next(rate for name, rate in RATES.items() if name in chip)


def row_chunks(length: int, wide: bool = False) -> list[slice]:
    """Slices of the token axis that linears run over: even, and multiples of 64 rows.

    `wide`: through a layer several times as wide as the tokens.
    """
    most = LINEAR_ROWS
    if cpu.is_cpu():
        most = cpu.WIDE_ROWS if wide else cpu.LINEAR_ROWS
    count = -(-length // most)
    rows = -(-length // (64 * count)) * 64
    return [slice(start, min(start + rows, length)) for start in range(0, length, rows)]


def plan_pieces(
    batch: int, heads: int, queries: int, keys: int, head_dim: int, budget: float | None
) -> tuple[int, int]:
    """(heads, query rows) of one piece: at most `budget` FLOPs, rows a multiple of 64.

    Fewer heads come before fewer than MIN_ROWS rows; one head x 64 rows is the least.
    """
    if budget is None:
        return heads, queries
    most = budget / (4 * batch * keys * head_dim)  # heads x rows
    if head_dim not in FUSED_HEAD_SIZES:
        most = min(most, SCORE_BYTES / (4 * batch * keys))
    if heads * queries <= most:
        return heads, queries
    group = max(1, min(HEADS, heads, int(most // MIN_ROWS)))
    return group, min(queries, MAX_ROWS, max(64, int(most / group) // 64 * 64))


def attention(
    q: mx.array,
    k: mx.array,
    v: mx.array,
    *,
    scale: float,
    bias: mx.array | None = None,
    budget: float | None = None,
) -> mx.array:
    """softmax(q k^T * scale + bias) v over (B, heads, L, head_dim), in pieces.

    `bias` broadcasts to (B, heads, Lq, Lk). `budget` is the FLOPs of one piece, by default what
    this device does in SECONDS.
    """
    batch, heads, queries, head_dim = q.shape
    budget = dispatch_budget() if budget is None else budget
    group, rows = plan_pieces(batch, heads, queries, k.shape[2], head_dim, budget)
    if (group, rows) == (heads, queries):
        return cpu.softmax_attention(q, k, v, scale, bias)
    groups = []
    for head in range(0, heads, group):
        some = slice(head, head + group)
        pieces = []
        for start in range(0, queries, rows):
            here = slice(start, start + rows)
            piece_bias = None if bias is None else _part(bias, some, here)
            piece = cpu.softmax_attention(
                q[:, some, here], k[:, some], v[:, some], scale, piece_bias
            )
            mx.eval(piece)  # a submission of its own
            pieces.append(piece)
        groups.append(mx.concatenate(pieces, axis=2))
    return mx.concatenate(groups, axis=1)


def _part(bias: mx.array, heads: slice, rows: slice) -> mx.array:
    """What of a bias that broadcasts to (B, heads, Lq, Lk) falls on some heads and query rows."""
    if bias.ndim >= 3 and bias.shape[-3] > 1:
        bias = bias[..., heads, :, :]
    if bias.ndim >= 2 and bias.shape[-2] > 1:
        bias = bias[..., rows, :]
    return bias

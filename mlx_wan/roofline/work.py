"""Operations as the networks count them: kind, size and how often; no rates and no MLX here."""

from dataclasses import dataclass, replace

# flops count for the first four; for the others the bytes they move, or the calls alone
LINEAR, ATTENTION, CONV3D, CONV2D = "linear", "attention", "conv3d", "conv2d"
NORM, ACTIVATION, ADD = "norm", "activation", "add"
KINDS = (LINEAR, ATTENTION, CONV3D, CONV2D, NORM, ACTIVATION, ADD)


@dataclass(frozen=True)
class Op:
    """`calls` equal operations. `amount` is one's floating-point operations (2 per multiply-add)
    or, for NORM, ACTIVATION and ADD, its elements; rates depend on `width` and `size`.

    `width`: of a linear the mean of in and out, of attention the head's, of a convolution the
    channels. `size`: rows, scores, pixels or elements of one call.
    """

    kind: str
    amount: float
    width: float
    size: float
    calls: float = 1

    def times(self, count: float) -> "Op":
        return replace(self, calls=self.calls * count)


def linear(rows: float, in_dim: float, out_dim: float, calls: float = 1) -> Op:
    """(rows, in_dim) @ (in_dim, out_dim)."""
    return Op(LINEAR, 2 * rows * in_dim * out_dim, (in_dim * out_dim) ** 0.5, rows, calls)


def attention(heads: float, queries: float, keys: float, head_dim: float, calls: float = 1) -> Op:
    """Scores, softmax and values of all heads."""
    scores = heads * queries * keys
    return Op(ATTENTION, 4 * scores * head_dim, head_dim, scores, calls)


def conv3d(frames: float, pixels: float, in_dim: float, out_dim: float, calls: float = 1) -> Op:
    """3x3x3, counted directly whatever the algorithm is."""
    size, width = frames * pixels, (in_dim * out_dim) ** 0.5
    return Op(CONV3D, 2 * 27 * size * in_dim * out_dim, width, size, calls)


def upsample(frames: float, pixels: float, in_dim: float, out_dim: float, calls: float = 1) -> Op:
    """Nearest x2 and a 3x3 convolution, of `pixels` before: as 3x3 to four times the channels."""
    size, width = frames * pixels, (in_dim * out_dim) ** 0.5
    return Op(CONV2D, 2 * 36 * size * in_dim * out_dim, width, size, calls)


def elementwise(kind: str, elements: float, calls: float = 1) -> Op:
    return Op(kind, elements, 1, elements, calls)


def flops(ops: list[Op]) -> float:
    """Floating-point operations of the matmuls and convolutions."""
    return sum(op.amount * op.calls for op in ops if op.kind in KINDS[:4])


def calls(ops: list[Op]) -> float:
    return sum(op.calls for op in ops)

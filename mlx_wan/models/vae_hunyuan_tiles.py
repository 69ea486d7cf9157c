"""Decoding squares of the picture on their own, joined as in HunyuanVideo 1.5's original."""

from collections.abc import Callable, Iterator

import mlx.core as mx
import numpy as np

from mlx_wan.errors import UsageError

Decode = Callable[[mx.array], Iterator[mx.array]]  # latents -> frames, a few at a time


def decode_tiled(
    decode: Decode, latents: mx.array, tile: int, overlap: int, stride: int
) -> Iterator[mx.array]:
    """Squares of `tile` latents a side, each sharing `overlap` with the ones before it.

    A square fades in over the one above it, then over the one to its left; these, as they have
    become, stay at its edge (`spatial_tiled_decode` there, `tiled_decode` in diffusers).
    """
    if max(latents.shape[2:4]) <= tile:
        yield from decode(latents)
        return
    step = tile - overlap
    rows, columns = (range(0, size, step) for size in latents.shape[2:4])
    squares = [[decode(latents[:, :, i : i + tile, j : j + tile]) for j in columns] for i in rows]
    for decoded in zip(*(square for row in squares for square in row), strict=True):
        done: list[list[mx.array]] = []
        for i in range(len(rows)):
            row: list[mx.array] = []
            for j in range(len(columns)):
                frames = decoded[i * len(columns) + j]
                if i:
                    frames = fade_in(done[i - 1][j], frames, overlap * stride, axis=2)
                if j:
                    frames = fade_in(row[j - 1], frames, overlap * stride, axis=3)
                row.append(frames)
            done.append(row)
        most = step * stride
        kept = [mx.concatenate([x[:, :, :most, :most] for x in row], axis=3) for row in done]
        yield mx.concatenate(kept, axis=2)


def fade_in(before: mx.array, frames: mx.array, shared: int, axis: int) -> mx.array:
    """`frames` with the beginning along an axis faded in over the end of `before`."""
    shared = min(shared, before.shape[axis], frames.shape[axis])
    if not shared:
        return frames
    weight = mx.array(np.arange(shared, dtype=np.float32) / shared)
    weight = weight.reshape([-1 if i == axis else 1 for i in range(frames.ndim)])
    end = mx.split(before, [before.shape[axis] - shared], axis=axis)[1]
    begin, rest = mx.split(frames, [shared], axis=axis)
    return mx.concatenate([end * (1 - weight) + begin * weight, rest], axis=axis)


def check_tile(tile: int, overlap: int) -> None:
    """Raise UsageError unless there can be such tiles."""
    whole = type(tile) is int and type(overlap) is int
    if not whole or tile < 1 or not 0 <= overlap <= tile // 2:
        raise UsageError(
            f"tiles of {tile} latents that share {overlap}; a tile is a whole number of latents, "
            "and at most half of it is shared",
            "try tile=16 and overlap=2, as the original",
        )

"""Shapes of other checkpoints and ours: convolutions become channels-last, a patch a flat row."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

Shape = tuple[int, ...]
LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}  # (O, I, kernel) -> (O, kernel, I)


@dataclass(frozen=True)
class Reorder:
    """A tensor seen as `view`, its axes permuted, then flattened or not to `shape`.

    `axes` None means that every element stays where it is; only the shape is another.
    """

    view: Shape
    axes: Shape | None
    shape: Shape

    def apply(self, array: np.ndarray) -> np.ndarray:
        """From the foreign order to ours."""
        array = array.reshape(self.view)
        if self.axes is not None:
            array = array.transpose(self.axes)
        return np.ascontiguousarray(array).reshape(self.shape)

    def undo(self, array: np.ndarray) -> np.ndarray:
        """From our order to the foreign one, in the shape `view`."""
        if self.axes is None:
            return array.reshape(self.view)
        array = array.reshape([self.view[axis] for axis in self.axes])
        return np.ascontiguousarray(array.transpose(np.argsort(self.axes)))


def same_order(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Reorder:
    """For networks whose matrices are stored as we store them."""
    return Reorder(shape, None, shape)


def same_shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    """The other way round."""
    return shape


def channels_last(shape: Shape) -> Reorder:
    """A convolution (O, I, kernel) becomes (O, kernel, I); what is no convolution stays."""
    if len(shape) not in LAST:
        return Reorder(shape, None, shape)
    axes = LAST[len(shape)]
    return Reorder(shape, axes, tuple(shape[axis] for axis in axes))


def channels_second(shape: Shape) -> Shape:
    """The shape a convolution of ours (O, kernel, I) has elsewhere."""
    return (shape[0], shape[-1], *shape[1:-1]) if len(shape) in LAST else shape


def flat(shape: Shape) -> Reorder:
    """(C, 1, 1) becomes (C,)."""
    return Reorder(shape, None, (prod(shape),))

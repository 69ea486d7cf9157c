"""Shapes of other checkpoints and ours: convolutions become channels-last, a patch a flat row."""

from dataclasses import dataclass
from math import prod

import numpy as np

Shape = tuple[int, ...]
_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}  # (O, I, kernel) -> (O, kernel, I)


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


def reorder(network: str, name: str, shape: Shape, layout: str, patch_size: Shape) -> Reorder:
    """How a foreign tensor of this shape, named `name` by us, becomes ours."""
    if network == "wan_transformer":
        if name != "patch_embedding.weight":
            return Reorder(shape, None, shape)
        if len(shape) == 2:  # mlx-video: the row of a patch is (C, pt, ph, pw)
            shape = (shape[0], shape[1] // prod(patch_size), *patch_size)
        return Reorder(shape, _LAST[5], (shape[0], prod(shape[1:])))
    if network == "umt5":
        return Reorder(shape, None, shape)
    if name.endswith(".gamma"):  # (C, 1, 1) or (C, 1, 1, 1)
        return Reorder(shape, None, (prod(shape),))
    if layout == "mlx-video" or len(shape) not in _LAST:
        return Reorder(shape, None, shape)
    axes = _LAST[len(shape)]
    return Reorder(shape, axes, tuple(shape[axis] for axis in axes))


def foreign_shape(network: str, name: str, shape: Shape, layout: str, patch_size: Shape) -> Shape:
    """The shape another layout gives to our tensor `name` of this shape."""
    if network == "wan_transformer" and name == "patch_embedding.weight":
        channels = shape[1] // prod(patch_size)
        return shape if layout == "mlx-video" else (shape[0], channels, *patch_size)
    if network in ("wan_transformer", "umt5"):
        return shape
    if name.endswith(".gamma"):
        if layout == "mlx-video" and network == "wan_vae22":
            return shape
        return (*shape, 1, 1) if ".middle.1." in name else (*shape, 1, 1, 1)
    if layout == "mlx-video" or len(shape) not in _LAST:
        return shape
    return (shape[0], shape[-1], *shape[1:-1])

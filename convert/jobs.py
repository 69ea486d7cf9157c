"""What is to be done with each tensor, settled before the first byte of data is read."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from mlx_wan.tensorfile import ITEM_BYTES, TensorInfo

from .axes import Reorder


@dataclass(frozen=True)
class Quantization:
    """Affine, as `mx.quantize`: each group of a row has a scale and a bias."""

    bits: int
    group_size: int


@dataclass(frozen=True)
class Stored:
    """A tensor of the converted model."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class TensorJob:
    """One tensor on its way from a source file to the converted model.

    `dtype` is what it is stored in, or that of scales and biases when it is quantised; `scale`
    multiplies float8 weights.
    """

    name: str
    file: Path
    info: TensorInfo
    reorder: Reorder
    dtype: str
    scale: float = 1.0
    quantization: Quantization | None = None

    @property
    def whole(self) -> bool:
        """Whether the tensor must be in memory at once, because its elements change places."""
        return self.reorder.axes is not None or self.info.strides is not None

    def outputs(self) -> list[Stored]:
        """What is stored for it, in this order."""
        shape = self.reorder.shape
        if self.quantization is None:
            return [Stored(self.name, self.dtype, shape)]
        stem = self.name.removesuffix(".weight")
        rows, columns = shape
        groups = columns // self.quantization.group_size
        return [
            Stored(self.name, "U32", (rows, columns * self.quantization.bits // 32)),
            Stored(f"{stem}.scales", self.dtype, (rows, groups)),
            Stored(f"{stem}.biases", self.dtype, (rows, groups)),
        ]

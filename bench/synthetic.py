"""Checkpoints made of random numbers, written the way the originals are: safetensors and `.pth`.

Written tensor by tensor, so that gigabytes need little memory. Also used by the tests.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from mlx_wan.convert.jobs import Stored
from mlx_wan.convert.write import safetensors_header

Tensors = Mapping[str, np.ndarray]
Fill = Callable[[str, tuple[int, ...]], np.ndarray]  # name and shape -> its float32 values
_STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage"}


def as_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    """Float32 values in a dtype of safetensors; bfloat16 and float8 as integers of their bits."""
    if dtype == "F32":
        return array.astype(np.float32)
    if dtype == "F16":
        return array.astype(np.float16)
    if dtype == "BF16":  # to the nearest, ties to even; no NaN here
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    if dtype == "F8_E4M3":
        import mlx.core as mx

        return np.array(mx.to_fp8(mx.array(array.astype(np.float32))))
    raise ValueError(dtype)


def write_safetensors(path: Path, tensors: Tensors, dtype: str | Mapping[str, str] = "F32") -> None:
    """`dtype` is that of all tensors, or one for some of them by name (others F32).

    Integer arrays are stored as they are.
    """
    kinds = {}
    for name, array in tensors.items():
        kind = dtype if isinstance(dtype, str) else dtype.get(name, "F32")
        kinds[name] = {"uint8": "U8", "int32": "I32", "uint32": "U32"}.get(str(array.dtype), kind)
    stored = [Stored(name, kinds[name], array.shape) for name, array in tensors.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(safetensors_header(stored))
        for tensor in stored:
            array = tensors[tensor.name]
            if array.dtype.kind == "f":
                array = as_dtype(array, tensor.dtype)
            file.write(np.ascontiguousarray(array).tobytes())


def stream_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], fill: Fill, dtype: str = "F32"
) -> None:
    """As `write_safetensors`, but each tensor is made when it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(safetensors_header(Stored(n, dtype, shape) for n, shape in shapes.items()))
        for name, shape in shapes.items():
            file.write(as_dtype(fill(name, shape), dtype))  # type: ignore[arg-type]


def write_index(folder: Path, stem: str, shards: Mapping[str, Iterable[str]]) -> None:
    """The index of shards: file name -> names of its tensors."""
    weight_map = {name: shard for shard, names in shards.items() for name in names}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))


def write_sharded(
    folder: Path, stem: str, tensors: Tensors, count: int, dtype: str = "F32", index: bool = True
) -> None:
    """`count` shards as on the hub, with their index unless it is to be missing."""
    names = list(tensors)
    step = -(-len(names) // count)
    shards = {}
    for number in range(count):
        part = names[number * step : (number + 1) * step]
        shard = f"{stem}-{number + 1:05}-of-{count:05}.safetensors"
        shards[shard] = part
        write_safetensors(folder / shard, {name: tensors[name] for name in part}, dtype)
    if index:
        write_index(folder, stem, shards)


def write_pth(path: Path, tensors: Tensors, dtype: str = "F32", table: str | None = None) -> None:
    """What torch.save makes of a table of tensors: a zip of a pickle and of raw data.

    With `table` they lie in a table of this name, beside the number of an epoch.
    """
    stream_pth(
        path,
        {name: array.shape for name, array in tensors.items()},
        lambda name, _: tensors[name],
        dtype,
        table,
    )


def stream_pth(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    fill: Fill,
    dtype: str = "F32",
    table: str | None = None,
) -> None:
    """As `write_pth`, but each tensor is made when it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    root = path.stem
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{root}/data.pkl", pickled(shapes, dtype, table))
        archive.writestr(f"{root}/byteorder", "little")
        for number, (name, shape) in enumerate(shapes.items()):
            data = np.ascontiguousarray(as_dtype(fill(name, shape), dtype))
            member = zipfile.ZipInfo(f"{root}/data/{number}")
            with archive.open(member, "w", force_zip64=True) as out:
                out.write(data.reshape(-1).view(np.uint8).data)
        archive.writestr(f"{root}/version", "3\n")


def pickled(
    shapes: Mapping[str, tuple[int, ...]], dtype: str = "F32", table: str | None = None
) -> bytes:
    """The pickle of a state dict as PyTorch writes it, storages numbered from 0."""
    items = b"".join(
        text(name) + pickled_tensor(str(number), shape, dtype)
        for number, (name, shape) in enumerate(shapes.items())
    )
    if table is not None:
        items = text("epoch") + number(1) + text(table) + b"}(" + items + b"u"
    return b"\x80\x02}(" + items + b"u."


def pickled_tensor(
    key: str,
    shape: tuple[int, ...],
    dtype: str = "F32",
    *,
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
    numel: int | None = None,
    storage: str | None = None,
) -> bytes:
    """The instructions that rebuild one tensor; the arguments allow for impossible ones too."""
    if strides is None:
        strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    numel = prod(shape) if numel is None else numel
    kind = storage or f"torch\n{_STORAGES[dtype]}"
    reference = (
        b"(" + text("storage") + b"c" + kind.encode() + b"\n" + text(key) + text("cpu")
        + number(numel) + b"tQ"
    )  # fmt: skip
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + reference
        + number(offset)
        + b"(" + b"".join(map(number, shape)) + b"t"
        + b"(" + b"".join(map(number, strides)) + b"t"
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def text(value: str) -> bytes:
    """A text in a pickle."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    """A whole number in a pickle."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


@lru_cache
def spiece_model() -> bytes:
    """A real SentencePiece model of some 100 pieces: pad 0, </s> 1, unknown 2, like UMT5's."""
    import sentencepiece

    sentences = [
        "a slow camera moves over blue waves at sunset",
        "soft gold particles drift across a dark background",
        "bright gradients of red and violet, calm motion",
        "an aurora above quiet hills, seamless loop",
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 4),
        model_writer=model,
        vocab_size=100,
        hard_vocab_limit=False,
        byte_fallback=False,
        normalization_rule_name="nmt_nfkc_cf",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()

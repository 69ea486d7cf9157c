"""Safetensors headers: what the format allows is read, everything else refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from mlx_wan.errors import BadFileError
from mlx_wan.tensorfile import MAX_HEADER_BYTES, TensorInfo, read_header, read_tensor


def write(path, header, data=b"", length=None):
    """A file with this header (bytes, or something for JSON) and `data` behind it."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_reads_what_safetensors_writes(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "b": rng.standard_normal((3, 4), dtype=np.float32),
        "a.weight": rng.integers(0, 255, (2, 2, 2), dtype=np.uint8),
        "half": rng.standard_normal(5).astype(np.float16),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 7), np.float32),
        "long": np.arange(3, dtype=np.int64),
    }
    save_file(arrays, tmp_path / "x.safetensors", metadata={"who": "us"})
    header = read_header(tmp_path / "x.safetensors")
    assert header.keys() == arrays.keys()
    starts = [info.start for info in header.values()]
    assert starts == sorted(starts)
    for name, array in arrays.items():
        assert header[name].shape == array.shape and header[name].nbytes == array.nbytes
        np.testing.assert_array_equal(read_tensor(tmp_path / "x.safetensors", header[name]), array)


def test_tensors_are_mapped_and_bfloat16_comes_as_bits(tmp_path):
    bits = np.array([0x3F80, 0xC000], np.uint16)  # 1 and -2
    path = write(tmp_path / "x.safetensors", {"x": entry("BF16", (2,), (0, 4))}, bits.tobytes())
    info = read_header(path)["x"]
    tensor = read_tensor(path, info)
    assert isinstance(tensor, np.memmap) and tensor.dtype == np.uint16
    np.testing.assert_array_equal(tensor, bits)
    with pytest.raises(ValueError):
        tensor[0] = 1  # read only


def test_strides_give_a_view(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(np.arange(6, dtype=np.float32).tobytes())
    info = TensorInfo("F32", (3, 2), 0, 24, strides=(1, 3))
    np.testing.assert_array_equal(read_tensor(path, info), [[0, 3], [1, 4], [2, 5]])


def test_order_of_the_header_does_not_matter_and_padding_is_allowed(tmp_path):
    header = {"__metadata__": {}, "b": entry(offsets=(8, 16)), "a": entry()}
    path = write(tmp_path / "x.safetensors", json.dumps(header).encode() + b"  ", bytes(16))
    assert list(read_header(path)) == ["a", "b"]


MALFORMED = {
    "overlap": ({"a": entry(), "b": entry(offsets=(4, 12))}, 12, "overlap"),
    "the same bytes twice": ({"a": entry(), "b": entry()}, 8, "overlap"),
    "hole": ({"a": entry(), "b": entry(offsets=(12, 20))}, 20, "belong to no tensor"),
    "hole in front": ({"a": entry(offsets=(4, 12))}, 12, "belong to no tensor"),
    "trailing bytes": ({"a": entry()}, 9, "after its last tensor"),
    "data cut off": ({"a": entry()}, 7, "cut off"),
    "product overflows 64 bits": ({"a": entry(shape=(2**31 - 1,) * 4, offsets=(0, 0))}, 0, "needs"),
    "product is 0 mod 2^32": ({"a": entry("F32", (2**30, 4), (0, 0))}, 0, "needs"),
    "size beyond 31 bits": ({"a": entry("U8", (2**32 + 4,), (0, 4))}, 4, "shape"),
    "negative sizes": ({"a": entry("F32", (-2, -2), (0, 16))}, 16, "shape"),
    "negative with zero": ({"a": entry("F32", (0, -1), (0, 0))}, 0, "shape"),
    "fractional size": ({"a": entry("F32", (4.5,), (0, 16))}, 16, "shape"),
    "boolean size": ({"a": entry("F32", (True, 2), (0, 8))}, 8, "shape"),
    "text size": ({"a": entry("F32", ("2",), (0, 8))}, 8, "shape"),
    "too many dimensions": ({"a": entry("F32", (1,) * 5000 + (2,), (0, 8))}, 8, "dimensions"),
    "bytes do not match": ({"a": entry("F32", (3,), (0, 8))}, 8, "needs 12"),
    "unknown dtype": ({"a": entry("F4", (2,), (0, 8))}, 8, "F4"),
    "dtype is a number": ({"a": entry(32)}, 8, "32"),
    "offsets backwards": ({"a": entry(offsets=(8, 0))}, 8, "data_offsets"),
    "negative offset": ({"a": entry(offsets=(-8, 0))}, 8, "data_offsets"),
    "offset beyond 64 bits": ({"a": entry(offsets=(0, 2**70))}, 8, "data_offsets"),
    "three offsets": ({"a": entry(offsets=(0, 8, 8))}, 8, "data_offsets"),
    "field missing": ({"a": {"dtype": "F32", "shape": [2]}}, 8, "fields"),
    "field too many": ({"a": entry() | {"more": 1}}, 8, "fields"),
    "entry is a list": ({"a": [1]}, 8, "fields"),
    "metadata holds numbers": ({"__metadata__": {"n": 1}, "a": entry()}, 8, "__metadata__"),
    "metadata is a list": ({"__metadata__": [], "a": entry()}, 8, "__metadata__"),
    "empty name": ({"": entry()}, 8, "unusable name"),
    "very long name": ({"a" * 600: entry()}, 8, "unusable name"),
    "control characters in a name": ({"a\nb": entry()}, 8, "unusable name"),
    "header is a list": (b"[]        ", 0, "begin with {"),
    "duplicate name": (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":1}', 1, "twice"),
    "not a number": (b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', 1, "NaN"),
    "broken json": (b'{"a": ', 0, "broken header"),
    "not UTF-8": (b'{"\xff": 1}', 0, "broken header"),
    "nested deeply": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 0, "nested"),
    "digits without end": (b'{"a":' + b"9" * 10_000 + b"}", 0, "broken header"),
    "millions of values": (b'{"a":[' + b"0," * 3_000_001 + b"0]}", 0, "values"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_headers_are_refused(case, tmp_path):
    header, nbytes, told = MALFORMED[case]
    path = write(tmp_path / "x.safetensors", header, bytes(nbytes))
    with pytest.raises(BadFileError) as error:
        read_header(path)
    path_named, _, problem = error.value.message.partition(str(path))
    assert path_named == "" and told in problem
    assert "\n" not in problem and len(problem) < 400


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "only 0 bytes"),
        (b"\x02\0\0\0", "only 4 bytes"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "header would have"),
        ((2**64 - 1).to_bytes(8, "little") + b"{}", "header would have"),
        ((1000).to_bytes(8, "little") + b"{}", "cut off"),
    ],
)
def test_impossible_lengths_are_refused(content, told, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=told):
        read_header(path)


def test_only_regular_files_are_opened(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(BadFileError, match="not a regular file"):
        read_header(tmp_path / "pipe")
    with pytest.raises(BadFileError, match="not a regular file"):
        read_header(tmp_path)
    with pytest.raises(BadFileError, match="cannot be read"):
        read_header(tmp_path / "nothing")


def test_too_many_tensors_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mlx_wan.tensorfile.MAX_TENSORS", 3)
    header = {str(i): entry("U8", (0,), (0, 0)) for i in range(4)}
    with pytest.raises(BadFileError, match="4 tensors"):
        read_header(write(tmp_path / "x.safetensors", header))

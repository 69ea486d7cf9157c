"""Malformed and hostile files, each inside an otherwise whole checkpoint.

Every case must end in one line that names the file, with nothing written and nothing executed.
"""

import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
from checkpoints import build, write_json

from mlx_wan.bench.synthetic import number, pickled_tensor, text
from mlx_wan.cli.main import run
from mlx_wan.convert import convert
from mlx_wan.errors import BadFileError, MlxWanError

WEIGHTS = "diffusion_pytorch_model.safetensors"
VAE = "Wan2.1_VAE.pth"
CONFIG = "config.json"
INDEX = f"{WEIGHTS}.index.json"
FIRST = "blocks.0.self_attn.q.weight"


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    for layout, shards in (("original", 1), ("diffusers", 1), ("sharded", 3)):
        name = "original" if layout == "sharded" else layout
        build(folder / layout, "wan2.1-t2v-1.3b", name, shards=shards)
    return folder


# --- safetensors -------------------------------------------------------------------------------


def in_header(change):
    """Edit the JSON header; the data stays."""

    def mutate(path):
        header, data = split(path)
        changed = change(header)
        join(path, header if changed is None else changed, data)

    return mutate


def in_entry(**fields):
    """Edit the entry of one tensor."""
    return in_header(lambda header: header[FIRST].update(fields))


def split(path):
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def join(path, header, data):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)


def as_bytes(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def overlapping(header):
    other = header["blocks.0.self_attn.k.weight"]
    header[FIRST]["data_offsets"] = other["data_offsets"]


def with_hole(header):
    for name, entry in header.items():
        if name != "__metadata__" and entry["data_offsets"][0] > 1000:
            entry["data_offsets"] = [offset + 8 for offset in entry["data_offsets"]]


def twice(path):
    header, data = split(path)
    raw = json.dumps(header)
    entry = json.dumps({FIRST: header[FIRST]})[1:-1]
    join(path, (raw[:-1] + "," + entry + "}").encode(), data)


def renamed(header):
    header["blocks.0.self_attn.query.weight"] = header.pop(FIRST)


def swapped(header):
    """The bytes of two tensors change names: same count, other shape."""
    header[FIRST], header["head.modulation"] = header["head.modulation"], header[FIRST]


def shifted_blocks(header):
    for name in [name for name in header if name.startswith("blocks.1.")]:
        header[name.replace("blocks.1.", "blocks.2.")] = header.pop(name)


def halved(path):
    """Every F32 becomes F16 of the same bytes: sizes no longer fit the rest."""
    header, data = split(path)
    header[FIRST] |= {"dtype": "F16", "shape": [128, 256]}
    join(path, header, data)


def all_empty(path):
    """A well-formed file in which every tensor has no elements."""
    header, _ = split(path)
    for name, entry in header.items():
        if name != "__metadata__":
            entry |= {"shape": [0] * len(entry["shape"]), "data_offsets": [0, 0]}
    join(path, header, b"")


def as_pipe(path):
    import os

    path.unlink()
    os.mkfifo(path)


def as_loop(path):
    path.unlink()
    path.symlink_to(path)


def as_dangling_link(path):
    path.unlink()
    path.symlink_to(path.with_name("gone"))


SAFETENSORS = {
    "empty": as_bytes(lambda raw: b""),
    "seven bytes": as_bytes(lambda raw: raw[:7]),
    "header only half there": as_bytes(lambda raw: raw[:5000]),
    "last byte missing": as_bytes(lambda raw: raw[:-1]),
    "half of the data": as_bytes(lambda raw: raw[: len(raw) // 2]),
    "a byte too many": as_bytes(lambda raw: raw + b"\0"),
    "header of 16 exabytes": as_bytes(lambda raw: b"\xff" * 8 + raw[8:]),
    "header of 200 MB": as_bytes(lambda raw: struct.pack("<Q", 200_000_000) + raw[8:]),
    "header of length 0": as_bytes(lambda raw: bytes(8) + raw[8:]),
    "web page": as_bytes(lambda raw: b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    "git lfs pointer": as_bytes(lambda raw: b"version https://git-lfs.github.com/spec/v1\noid x\n"),
    "a gguf file": as_bytes(lambda raw: b"GGUF\x03\0\0\0" + raw[8:]),
    "a zip file": as_bytes(lambda raw: b"PK\x03\x04" + raw),
    "zeros": as_bytes(lambda raw: bytes(len(raw))),
    "header is a list": lambda path: join(path, b"[1, 2]", b""),
    "header is a text": lambda path: join(path, b'"hello"', b""),
    "no JSON": lambda path: join(path, b"{hello}", b""),
    "header is not UTF-8": lambda path: join(path, b'{"\xfe\xff": {}}', b""),
    "header nested without end": lambda path: join(path, b'{"a":' * 200_000, b""),
    "NaN in the header": in_entry(shape=[float("nan"), 128]),
    "infinite size": in_entry(shape=[float("inf"), 128]),
    "overlapping tensors": in_header(overlapping),
    "a hole in the data": in_header(with_hole),
    "a name twice": twice,
    "an empty name": in_header(lambda h: h.update({"": h.pop(FIRST)})),
    "a name of 1 kB": in_header(lambda h: h.update({"x" * 1000: h.pop(FIRST)})),
    "a name with an escape sequence": in_header(lambda h: h.update({"\x1b[2J": h.pop(FIRST)})),
    "sizes whose product overflows": in_entry(shape=[2**31 - 1] * 4),
    "a size beyond 31 bits": in_entry(shape=[2**32 + 128, 128]),
    "two negative sizes": in_entry(shape=[-128, -128]),
    "a fractional size": in_entry(shape=[128.0, 128]),
    "a true size": in_entry(shape=[True, 128 * 128]),
    "sizes as text": in_entry(shape=["128", "128"]),
    "5000 dimensions": in_entry(shape=[1] * 4998 + [128, 128]),
    "no shape": in_header(lambda h: h[FIRST].pop("shape") and None),
    "an unknown field": in_entry(compression="zstd"),
    "an unknown dtype": in_entry(dtype="F6_E2M3"),
    "a complex dtype": in_entry(dtype="C64"),
    "a dtype that is no text": in_entry(dtype=["F32"]),
    "offsets backwards": in_header(lambda h: h[FIRST]["data_offsets"].reverse()),
    "a negative offset": in_entry(data_offsets=[-65536, 0]),
    "an offset beyond the file": in_entry(data_offsets=[2**40, 2**40 + 65536]),
    "metadata that is no text": in_header(lambda h: h.update(__metadata__={"n": 1})),
    "an entry that is null": in_header(lambda h: h.update({FIRST: None})),
    "integers for weights": in_entry(dtype="I32"),
    "a tensor renamed": in_header(renamed),
    "two tensors swapped": in_header(swapped),
    "blocks with a gap": in_header(shifted_blocks),
    "a weight of another shape": in_entry(shape=[64, 256]),
    "a weight with an axis too many": in_entry(shape=[128, 128, 1]),
    "half the bytes per number": halved,
    "every tensor empty": all_empty,
    "a pipe": as_pipe,
    "a link to itself": as_loop,
    "a link to nothing": as_dangling_link,
}


# --- .pth --------------------------------------------------------------------------------------


def rewrapped(edit=None, members=None, method=zipfile.ZIP_STORED):
    """Unpack, edit the pickle or the other members, and pack again."""

    def mutate(path):
        with zipfile.ZipFile(path) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        root = path.stem
        if edit:
            found[f"{root}/data.pkl"] = edit(found[f"{root}/data.pkl"])
        for name, data in (members or {}).items():
            found[f"{root}/{name}"] = data
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in found.items():
                if data is not None:
                    archive.writestr(name, data)

    return mutate


def one_item(item):
    """The pickle with this in front of its tensors."""
    return rewrapped(lambda raw: raw.replace(b"}(", b"}(" + item, 1))


def other_pickle(program):
    return rewrapped(lambda raw: program)


def in_directory(offset, data):
    def mutate(path):
        raw = bytearray(path.read_bytes())
        at = raw.index(b"PK\x01\x02") + offset
        raw[at : at + len(data)] = data
        path.write_bytes(raw)

    return mutate


CALL = b"(" + text("touch owned") + b"tR"
CONV = b"J\x08\0\0\0J\x03\0\0\0"  # sizes of the first convolution: (8, 3, ...

PTH = {
    "os.system": one_item(text("x") + b"cos\nsystem\n" + CALL),
    "os.system by another name": one_item(text("x") + b"cposix\nsystem\n" + CALL),
    "builtins.exec": one_item(text("x") + b"cbuiltins\nexec\n" + CALL),
    "subprocess": one_item(text("x") + b"csubprocess\nPopen\n" + CALL),
    "a protocol 4 global": one_item(text("x") + text("os") + text("system") + b"\x93" + CALL),
    "an old instance": one_item(text("x") + b"(" + text("touch owned") + b"ios\nsystem\n"),
    "torch.load": one_item(text("x") + b"ctorch\nload\n" + CALL),
    "a numpy array": one_item(text("x") + b"cnumpy.core.multiarray\n_reconstruct\n)R"),
    "a whole module": one_item(text("x") + b"ctorch.nn.modules.conv\nConv3d\n)\x81}b"),
    "an extension code": one_item(text("x") + b"\x82\x01"),
    "other storages": rewrapped(lambda raw: raw.replace(b"FloatStorage", b"LongStorage", 1)),
    "a number among the tensors": one_item(text("epoch") + number(3)),
    "a table in the table": one_item(text("state_dict") + b"}"),
    "a name that is a number": one_item(number(1) + pickled_tensor("0", (8, 3, 3, 3, 3))),
    "a list of tensors": other_pickle(b"\x80\x02]."),
    "no tensors": other_pickle(b"\x80\x02}."),
    "an empty pickle": other_pickle(b""),
    "a cut pickle": rewrapped(lambda raw: raw[:-300]),
    "noise for a pickle": other_pickle(bytes(range(256))),
    "memo bomb": other_pickle(b"\x80\x02}r\xff\xff\xff\xff."),
    "deep tuples": other_pickle(b"\x80\x02)" + b"\x85" * 100_000 + b"."),
    "a negative size": rewrapped(lambda raw: raw.replace(CONV, b"J\xf8\xff\xff\xff" + CONV[5:], 1)),
    "a size too large": rewrapped(lambda raw: raw.replace(CONV, b"J\x09\0\0\0" + CONV[5:], 1)),
    "a tensor of another shape": rewrapped(
        lambda raw: raw.replace(CONV, b"J\x03\0\0\0J\x08\0\0\0", 1)
    ),
    "a stride out of range": rewrapped(
        lambda raw: raw.replace(b"(J\x51\0\0\0", b"(J\x51\x01\0\0", 1)
    ),
    "a tensor renamed": rewrapped(lambda raw: raw.replace(b"conv1.weight", b"convX.weight", 1)),
    "a storage missing": rewrapped(members={"data/3": None}),
    "a storage too short": rewrapped(members={"data/0": bytes(100)}),
    "big-endian": rewrapped(members={"byteorder": b"big"}),
    "no pickle": rewrapped(members={"data.pkl": None}),
    "a member outside": rewrapped(members={"../../../evil": b"x"}),
    "compressed": rewrapped(method=zipfile.ZIP_DEFLATED),
    "encrypted": in_directory(8, b"\x01\x00"),
    "a member larger than the file": in_directory(20, b"\xfe\xff\xff\x7f" * 2),
    "a member in front of the file": in_directory(42, b"\xfe\xff\xff\x7f"),
    "truncated": as_bytes(lambda raw: raw[: len(raw) * 3 // 4]),
    "without its last byte": as_bytes(lambda raw: raw[:-1]),
    "empty": as_bytes(lambda raw: b""),
    "web page": as_bytes(lambda raw: b"<!DOCTYPE html><html></html>"),
    "a bare pickle": as_bytes(lambda raw: b"\x80\x02}."),
    "PyTorch before 1.6": as_bytes(
        lambda raw: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
    ),
    "a tar archive": as_bytes(lambda raw: bytes(257) + b"ustar\0" + bytes(700)),
    "a safetensors file": as_bytes(lambda raw: b"\x08\0\0\0\0\0\0\0{}      "),
    "a program in front": as_bytes(lambda raw: b"#!/bin/sh\n" + raw),
}


# --- config.json and indexes -------------------------------------------------------------------


def in_json(**values):
    def mutate(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return mutate


def raw_json(raw):
    return lambda path: path.write_bytes(raw)


CONFIGS = {
    "empty": raw_json(b""),
    "no JSON": raw_json(b"{num_heads: 2}"),
    "a list": raw_json(b"[]"),
    "not UTF-8": raw_json(b'{"num_heads": "\xff"}'),
    "NaN": raw_json(b'{"num_heads": 2, "eps": NaN}'),
    "nested without end": raw_json(b"[" * 500_000),
    "a name twice": raw_json(b'{"num_heads": 2, "num_heads": 4}'),
    "a number of 10,000 digits": raw_json(b'{"num_heads": ' + b"9" * 10_000 + b"}"),
    "no heads": in_json(num_heads=0),
    "negative heads": in_json(num_heads=-2),
    "heads as text": in_json(num_heads="2"),
    "half a head": in_json(num_heads=2.5),
    "true heads": in_json(num_heads=True),
    "heads that do not divide": in_json(num_heads=3),
    "odd heads": in_json(num_heads=128),
    "another width": in_json(dim=256),
    "another depth": in_json(num_layers=40),
    "other channels": in_json(in_dim=36),
    "endless texts": in_json(text_len=10**9),
    "an epsilon of 0": in_json(eps=0),
    "an epsilon as text": in_json(eps="1e-6"),
    "a table for a number": in_json(ffn_dim={"a": 1}),
}

VAE_CONFIGS = {
    "too few means": in_json(latents_mean=[0.0] * 15),
    "means as text": in_json(latents_mean=["0"] * 16),
    "a mean that is no list": in_json(latents_mean=0.5),
    "a deviation of 0": in_json(latents_std=[0.0] * 16),
    "a negative deviation": in_json(latents_std=[-1.0] * 16),
    "an infinite deviation": lambda path: path.write_text(
        json.dumps(json.loads(path.read_text()) | {"latents_std": [1.0] * 15 + [1e999]})
    ),
    "another width": in_json(base_dim=96),
    "other stages": in_json(dim_mult=[1, 2, 4]),
}


def in_index(change):
    def mutate(path):
        index = json.loads(path.read_text())
        change(index["weight_map"])
        path.write_text(json.dumps(index))

    return mutate


INDEXES = {
    "empty": raw_json(b""),
    "no JSON": raw_json(b"weight_map"),
    "a list": raw_json(b"[1]"),
    "no weight_map": raw_json(b'{"metadata": {}}'),
    "an empty weight_map": raw_json(b'{"weight_map": {}}'),
    "a weight_map that is a list": raw_json(b'{"weight_map": ["a"]}'),
    "a shard above": in_index(lambda m: m.update({FIRST: "../../etc/passwd"})),
    "an absolute shard": in_index(lambda m: m.update({FIRST: "/etc/passwd"})),
    "a shard that is a number": in_index(lambda m: m.update({FIRST: 7})),
    "a shard that is not there": in_index(lambda m: m.update({FIRST: "gone.safetensors"})),
    "a shard that is a dot": in_index(lambda m: m.update({FIRST: ".."})),
    "a tensor no shard has": in_index(lambda m: m.update({"x": next(iter(m.values()))})),
    "a tensor in another shard": in_index(
        lambda m: m.update({FIRST: sorted(set(m.values()) - {m[FIRST]})[0]})
    ),
    "a tensor left out": in_index(lambda m: m.pop(FIRST)),
}

TOKENIZERS = {
    "empty": raw_json(b""),
    "text": raw_json(b"hello"),
    "noise": raw_json(np.random.default_rng(0).bytes(5000)),
    "half of it": as_bytes(lambda raw: raw[: len(raw) // 2]),
}

CASES = [
    *(("original", WEIGHTS, case, mutate) for case, mutate in SAFETENSORS.items()),
    *(("original", VAE, case, mutate) for case, mutate in PTH.items()),
    *(("original", CONFIG, case, mutate) for case, mutate in CONFIGS.items()),
    *(("diffusers", "vae/config.json", case, mutate) for case, mutate in VAE_CONFIGS.items()),
    *(("sharded", INDEX, case, mutate) for case, mutate in INDEXES.items()),
    *(("original", "google/umt5-xxl/spiece.model", c, mutate) for c, mutate in TOKENIZERS.items()),
]


def test_there_are_enough_cases_and_all_differ(bases, tmp_path):
    """No two cases write the same bytes."""
    assert len(CASES) >= 60
    seen = {}
    for layout, name, case, mutate in CASES:
        file = tmp_path / "x" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bases / layout / name, file)
        before = file.read_bytes()
        mutate(file)
        if file.is_file() and not file.is_symlink():
            contents = (layout, name, file.read_bytes())
            assert contents[2] != before, case
            assert contents not in seen, (case, seen.get(contents))
            seen[contents] = case
        shutil.rmtree(tmp_path / "x")


@pytest.mark.parametrize(
    ("layout", "name", "case", "mutate"), CASES, ids=[f"{n}: {c}" for _, n, c, _ in CASES]
)
def test_refused_in_one_line_with_nothing_written(
    layout, name, case, mutate, bases, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bases / layout, tmp_path / "source")
    mutate(tmp_path / "source" / name)
    with pytest.raises(MlxWanError) as error:
        convert("source", "made")
    assert isinstance(error.value, BadFileError) or "is no" in error.value.message, error.value
    named = {name.split("/")[-1], WEIGHTS if name == CONFIG else name}
    assert any(part in error.value.message for part in named), error.value.message

    assert run(["convert", "source", "made"]) == 1
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert lines[0] == f"error: {error.value.message}" and len(lines) <= 2
    assert len(lines) == 1 or lines[1].startswith("hint: ")
    assert lines[0].isprintable() and len(lines[0]) < 700
    assert "Traceback" not in told.err and told.out == ""
    assert [file.name for file in tmp_path.iterdir()] == ["source"]  # nothing made, nothing run


def test_the_same_files_unharmed_convert(bases, tmp_path):
    for layout in ("original", "diffusers", "sharded"):
        convert(bases / layout, tmp_path / layout)


def test_a_hostile_header_costs_no_memory(bases, tmp_path):
    """A header of 90 MB that would become gigabytes of Python objects is stopped before."""
    import tracemalloc

    shutil.copytree(bases / "original", tmp_path / "source")
    raw = b'{"a":[' + b"[]," * 30_000_000 + b"[]]}"
    join(tmp_path / "source" / WEIGHTS, raw, b"")
    del raw
    tracemalloc.start()
    with pytest.raises(BadFileError, match="values"):
        convert(tmp_path / "source", tmp_path / "made")
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()


def test_a_transformer_config_of_diffusers_is_checked_too(bases, tmp_path):
    shutil.copytree(bases / "diffusers", tmp_path / "source")
    file = tmp_path / "source" / "transformer" / "config.json"
    write_json(file, json.loads(file.read_text()) | {"attention_head_dim": 128})
    with pytest.raises(BadFileError, match="attention_head_dim"):
        convert(tmp_path / "source", tmp_path / "made")

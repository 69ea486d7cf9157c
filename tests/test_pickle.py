"""`.pth` files: what torch.save writes is read without torch; no pickle is ever executed."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlx_wan.bench.synthetic import number, pickled, pickled_tensor, text, write_pth
from mlx_wan.convert.archive import read_members
from mlx_wan.convert.pickle import read_pth
from mlx_wan.errors import BadFileError
from mlx_wan.tensorfile import read_tensor

RECORDED = Path(__file__).parent / "recorded"


def as_float(array, dtype):
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def test_reads_what_torch_really_writes():
    """state_dict with _metadata, parameters, halves, views, shared and strided storages."""
    path = RECORDED / "torch_save.pth"
    meant = np.load(RECORDED / "torch_save.npz")
    tensors = read_pth(path)
    assert list(tensors) == list(meant)
    for name, info in tensors.items():
        found = as_float(np.array(read_tensor(path, info)), info.dtype)
        assert found.shape == meant[name].shape
        np.testing.assert_array_equal(found, meant[name])
    assert tensors["transposed"].strides == (1, 6)
    assert tensors["shared"].start < tensors["view"].start < tensors["shared"].end


def test_our_writer_is_read_back(tmp_path):
    tensors = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4)}
    write_pth(tmp_path / "x.pth", tensors, "F16")
    found = read_pth(tmp_path / "x.pth")
    assert [info.dtype for info in found.values()] == ["F16", "F16"]
    for name, array in tensors.items():
        np.testing.assert_array_equal(read_tensor(tmp_path / "x.pth", found[name]), array)


def archive(path, program, members=None, root="archive/", **options):
    """A `.pth` with this pickle; `members` go in beside it."""
    with zipfile.ZipFile(path, "w", options.pop("method", zipfile.ZIP_STORED)) as file:
        file.writestr(f"{root}data.pkl", program)
        for name, data in (members if members is not None else {"data/0": bytes(16)}).items():
            file.writestr(f"{root}{name}", data)
    return path


def state(tensor):
    """A state dict with one tensor."""
    return b"\x80\x02}(" + text("w") + tensor + b"u."


GOOD = pickled_tensor("0", (4,))

PICKLES = {
    # code
    "os.system": (b"\x80\x02cos\nsystem\n(" + text("touch owned") + b"tR.", "os.system"),
    "builtins.eval": (b"\x80\x02cbuiltins\neval\n(" + text("1") + b"tR.", "builtins.eval"),
    "by stack": (b"\x80\x04" + text("posix") + text("system") + b"\x93.", "posix.system"),
    "a torch function": (state(b"ctorch\nload\n" + GOOD), "torch.load"),
    "a numpy type": (state(b"cnumpy\ndtype\n"), "numpy.dtype"),
    "instance": (b"\x80\x02(ios\nsystem\n.", "INST"),
    "object": (b"\x80\x02(" + text("x") + b"o.", "OBJ"),
    "new object": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "attribute of an allowed name": (
        b"\x80\x04" + text("collections") + text("OrderedDict.__init__") + b"\x93.",
        "OrderedDict.__init__",
    ),
    "arguments for OrderedDict": (b"\x80\x02ccollections\nOrderedDict\n(]tR.", "make no tensor"),
    "tensor function on a text": (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n(" + text("x") + b"\x89NtR.",
        "broken pickle",
    ),
    "a global is called with a list": (b"\x80\x02ccollections\nOrderedDict\n]R.", "broken pickle"),
    "state for a tensor": (b"\x80\x02" + GOOD + b"}b.", "broken pickle"),
    "other storages": (state(pickled_tensor("0", (4,), storage="torch\nQInt8Storage")), "QInt8St"),
    # broken
    "empty": (b"", "broken pickle"),
    "no stop": (b"\x80\x02}", "broken pickle"),
    "cut in a text": (b"\x80\x02X\xff\xff\xff\x00abc", "broken pickle"),
    "nothing on the stack": (b"\x80\x02R.", "broken pickle"),
    "mark without a start": (b"\x80\x02u.", "broken pickle"),
    "unknown memo": (b"\x80\x02h\x07.", "broken pickle"),
    "two results": (b"\x80\x02}}.", "does not end in one object"),
    "mark left over": (b"\x80\x02(}.", "does not end in one object"),
    "unknown operation": (b"\x80\x02\xff.", "broken pickle"),
    "protocol 0": (b"I1\n.", "INT"),
    "a list": (b"\x80\x02].", "holds a list"),
    "empty table": (b"\x80\x02}.", "no tensors"),
    "number instead of a tensor": (state(number(7)), "under 'w': int"),
    "nested table": (state(b"}"), "under 'w': table"),
    "number as a name": (b"\x80\x02}(" + number(1) + GOOD + b"u.", "for a name"),
    "tuple as a name": (b"\x80\x02}()" + GOOD + b"u.", "for a name"),
    "control character in a name": (b"\x80\x02}(" + text("a\0b") + GOOD + b"u.", "unusable name"),
    "odd number of items": (b"\x80\x02}(" + text("w") + b"u.", "broken pickle"),
    # impossible tensors
    "negative offset": (state(pickled_tensor("0", (4,), offset=-1)), "impossible size"),
    "offset too far": (state(pickled_tensor("0", (4,), offset=1)), "beyond its storage"),
    "huge offset": (state(pickled_tensor("0", (4,), offset=2**40)), "impossible size"),
    "negative size": (state(pickled_tensor("0", (-4,), numel=4)), "impossible size"),
    "negative stride": (state(pickled_tensor("0", (4,), strides=(-1,))), "impossible size"),
    "stride too far": (state(pickled_tensor("0", (2, 2), strides=(3, 1))), "beyond its storage"),
    "stride 0 as a bomb": (
        state(pickled_tensor("0", (2**31, 2**31), strides=(0, 0), numel=4)),
        "beyond its storage",
    ),
    "sizes without strides": (state(pickled_tensor("0", (4,), strides=())), "do not belong"),
    "dimensions without end": (
        state(pickled_tensor("0", (1,) * 60 + (4,))),
        "do not belong together",
    ),
    "boolean size": (
        state(GOOD.replace(b"(" + number(4) + b"t", b"(\x88t", 1)),
        "impossible size",
    ),
    "storage smaller than said": (state(pickled_tensor("0", (4,), numel=8)), "size that its"),
    "storage larger than said": (state(pickled_tensor("0", (2,), numel=2)), "size that its"),
    "missing storage": (state(pickled_tensor("1", (4,))), "no data for storage"),
    "storage with a path": (state(pickled_tensor("../../x", (4,))), "no data for storage"),
    "persistent id of another kind": (b"\x80\x02" + text("x") + b"Q.", "broken pickle"),
}


@pytest.mark.parametrize("case", PICKLES)
def test_hostile_pickles_are_refused_and_never_run(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, told = PICKLES[case]
    path = archive(tmp_path / "x.pth", program)
    with pytest.raises(BadFileError) as error:
        read_pth(path)
    path_named, _, problem = error.value.message.partition(str(path))
    assert path_named == "" and told in problem
    assert [file.name for file in tmp_path.iterdir()] == ["x.pth"]


def test_tensors_may_lie_in_a_table_of_their_own(tmp_path):
    """As training code saves them, beside the number of steps and the like."""
    program = b"\x80\x02}(" + text("epoch") + number(3) + text("state_dict") + state(GOOD)[2:-1]
    (name,) = read_pth(archive(tmp_path / "x.pth", program + b"u."))
    assert name == "w"
    for inner in (b"}", number(1), state(b"}")[2:-1]):
        program = b"\x80\x02}(" + text("state_dict") + inner + b"u."
        with pytest.raises(BadFileError):
            read_pth(archive(tmp_path / "y.pth", program))


def test_a_memo_cannot_eat_the_memory(tmp_path):
    """Python's own reader allocates 32 GB for this one."""
    program = b"\x80\x02}r\xff\xff\xff\xff(" + text("w") + GOOD + b"u."
    assert list(read_pth(archive(tmp_path / "x.pth", program))) == ["w"]


def broken(data, old, new):
    assert old in data
    return data.replace(old, new, 1)


def edited(path, change):
    path.write_bytes(change(path.read_bytes()))
    return path


ARCHIVES = {
    "empty": (lambda data: b"", "empty"),
    "text": (lambda data: b"hello, this is no archive", "does not begin like a zip"),
    "git lfs pointer": (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
    "bare pickle": (lambda data: b"\x80\x02}.", "bare pickle"),
    "tar": (lambda data: b"\0" * 257 + b"ustar" + b"\0" * 300, "before version 1.6"),
    "cut at the end": (lambda data: data[:-10], "cut off"),
    "cut in the middle": (lambda data: data[: len(data) // 2], "cut off"),
    "bytes at the end": (lambda data: data + b"x", "after the end"),
    "member named differently": (
        lambda data: broken(data, b"x/data/0", b"x/data/9"),
        "does not match",
    ),
    "no local header": (lambda data: broken(data, b"PK\x03\x04", b"PK\x03\x05"), "begin like"),
    "second member without header": (
        lambda data: b"PK\x03\x04" + broken(data[4:], b"PK\x03\x04", b"PK\x00\x00"),
        "does not match",
    ),
    "broken directory": (lambda data: broken(data, b"PK\x01\x02", b"PK\x01\x03"), "directory"),
    "encrypted": (
        lambda data: (lambda i: data[: i + 8] + b"\x01\0" + data[i + 10 :])(
            data.index(b"PK\x01\x02")
        ),
        "encrypted",
    ),
    "several parts": (
        lambda data: (lambda i: data[: i + 4] + b"\x01\0" + data[i + 6 :])(
            data.index(b"PK\x05\x06")
        ),
        "several parts",
    ),
    "directory outside": (
        lambda data: (lambda i: data[: i + 16] + b"\xf0\xff\xff\x7f" + data[i + 20 :])(
            data.index(b"PK\x05\x06")
        ),
        "outside the file",
    ),
    "millions of members": (
        lambda data: (lambda i: data[: i + 12] + b"\xff\xff\xff\x7f" + data[i + 16 :])(
            data.index(b"PK\x05\x06")
        ),
        "limit",
    ),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_damaged_archives_are_refused(case, tmp_path):
    change, told = ARCHIVES[case]
    write_pth(tmp_path / "x.pth", {"w": np.zeros(4), "v": np.zeros(4)})
    path = edited(tmp_path / "x.pth", change)
    with pytest.raises(BadFileError) as error:
        read_pth(path)
    path_named, _, problem = error.value.message.partition(str(path))
    assert path_named == "" and told in problem


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"data/0": bytes(16), "../../evil": b"x"}, "unsafe name"),
        ({"data/0": bytes(16), "a\\b": b"x"}, "unsafe name"),
        ({"data/0": bytes(16), "folder/": b""}, "unsafe name"),
        ({}, "no data for storage"),
        ({"data/0": bytes(16), "byteorder": b"big"}, "byte order 'big'"),
        ({"data/0": bytes(16), "byteorder": b"little" * 100}, "more than 16 bytes"),
    ],
)
def test_archives_with_tricks_are_refused(members, told, tmp_path):
    path = archive(tmp_path / "x.pth", state(GOOD), members)
    with pytest.raises(BadFileError, match=told):
        read_pth(path)


def test_compressed_members_are_refused_so_that_no_bomb_can_unpack(tmp_path):
    members = {"data/0": bytes(100_000_000)}
    path = archive(tmp_path / "x.pth", state(GOOD), members, method=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(BadFileError, match="has a compressed member"):
        read_pth(path)


def test_zip_files_of_others_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file:
        file.writestr("a/data.pkl", "x")
        file.writestr("b/data.pkl", "x")
    with pytest.raises(BadFileError, match="not one that PyTorch wrote"):
        read_pth(tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "y.pth", "w") as file:
        file.writestr("a/word/document.xml", "x")
    with pytest.raises(BadFileError, match=r"no data\.pkl"):
        read_pth(tmp_path / "y.pth")


def test_a_member_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file, pytest.warns(UserWarning):
        file.writestr("a/data.pkl", state(GOOD))
        file.writestr("a/data/0", bytes(16))
        file.writestr("a/data/0", bytes(16))
    with pytest.raises(BadFileError, match="has the member 'a/data/0' twice"):
        read_pth(tmp_path / "x.pth")


def test_overlapping_members_are_refused(tmp_path):
    """Both entries of the directory point at the same bytes, as in some zip bombs."""
    write_pth(tmp_path / "x.pth", {"w": np.zeros(4), "v": np.ones(4)})
    data = bytearray((tmp_path / "x.pth").read_bytes())
    first = data.index(b"PK\x01\x02", data.index(b"x/data/0", data.index(b"PK\x01\x02")) - 60)
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(BadFileError, match="has members that overlap"):
        read_pth(tmp_path / "x.pth")


def test_members_that_run_over_the_directory_are_refused(tmp_path):
    write_pth(tmp_path / "x.pth", {"w": np.zeros(4)})
    data = bytearray((tmp_path / "x.pth").read_bytes())
    last = data.rindex(b"PK\x01\x02")
    data[last + 20 : last + 28] = struct.pack("<2I", 10_000, 10_000)
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(BadFileError, match="has a member that runs over"):
        read_pth(tmp_path / "x.pth")


def test_old_formats_are_named():
    with pytest.raises(BadFileError, match=r"before version 1\.6") as error:
        read_pth(RECORDED / "torch_legacy.pth")
    assert "torch.save" in error.value.hint


def test_sizes_beyond_4_gb_are_read_from_the_64_bit_fields(tmp_path):
    """A sparse file of 5 GB: the text encoder of Wan 2.1 and 2.2 has 11."""
    path = tmp_path / "big.pth"
    count = 5 * 2**30 // 2
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("big/data.pkl", pickled({"w": (count,), "v": (3,)}, "BF16"))
    small = path.read_bytes()
    directory = small.index(b"PK\x01\x02")
    header = struct.Struct("<4s5H3I2H")
    with path.open("wb") as file:
        file.write(small[:directory])
        entries = [small[directory : small.index(b"PK\x05\x06")]]
        for name, nbytes in ((b"big/data/0", 2 * count), (b"big/data/1", 6)):
            start = file.tell()
            file.write(header.pack(b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 10, 20))
            extra = struct.pack("<2H3Q", 1, 24, nbytes, nbytes, start)
            file.write(name + extra[:20])
            file.seek(nbytes - 6, 1)
            file.write(b"abcdef")
            fields = (b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, *[2**32 - 1] * 2, 10, 28, 0, 0, 0, 0)
            entries.append(struct.pack("<4s6H3I5H2I", *fields, 2**32 - 1) + name + extra)
        start = file.tell()
        file.write(b"".join(entries))
        size = file.tell() - start
        end64 = file.tell()
        file.write(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, size, start))
        file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end64, 1))
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0))
    assert read_members(path)["data/0"].end > 2**32
    tensors = read_pth(path)
    np.testing.assert_array_equal(
        read_tensor(path, tensors["v"]), np.frombuffer(b"abcdef", np.uint16)
    )
    assert read_tensor(path, tensors["w"])[-1] == int.from_bytes(b"ef", "little")

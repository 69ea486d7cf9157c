"""`.pth` checkpoints without PyTorch: a pickle read by a machine that can only build tensors.

A pickle is a program. Python's reader runs whatever function it names; the one here knows a
handful of harmless operations, looks nothing up, calls nothing, and refuses the rest by name.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mlx_wan.errors import BadFileError
from mlx_wan.tensorfile import ITEM_BYTES, MAX_DIM, MAX_DIMS, MAX_NAME_LENGTH, TensorInfo

from .archive import DOWNLOAD_AGAIN, RESAVE, Member, read_members

_MAX_PICKLE = 16_000_000
_STORAGES = {
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",  # never of a weight, but a tensor may lie beside them
}
_NESTED = "state_dict"  # where some training code puts the tensors, beside what else it saved
_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
_REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
_REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
_ORDERED_DICT = "collections.OrderedDict"


def read_pth(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a PyTorch archive by name, in the order of the pickle; no data is read.

    Raises BadFileError when the archive is damaged, old, big-endian, or its pickle asks for
    anything but tensors. Such a pickle is never executed.
    """
    members = read_members(path)
    if "data.pkl" not in members:
        _refuse(path, "is a zip file, but not a PyTorch archive: it has no data.pkl")
    order = _member_bytes(path, members.get("byteorder", Member(0, 0)), 16)
    if order not in (b"", b"little"):
        _refuse(
            path,
            f"was saved with byte order {order.decode('ascii', 'replace')!r}; only little is read",
            "save it again on a little-endian machine, or as safetensors",
        )
    program = _member_bytes(path, members["data.pkl"], _MAX_PICKLE)
    return _tensor_table(path, _Machine(path, members).run(program))


def _refuse(path: Path, problem: str, hint: str | None = None) -> NoReturn:
    raise BadFileError(f"{path} {problem}", hint)


def _member_bytes(path: Path, member: Member, limit: int) -> bytes:
    if member.end - member.start > limit:
        _refuse(path, f"has a pickle of more than {limit:,} bytes; its tensors lie outside of it")
    with path.open("rb") as file:
        file.seek(member.start)
        return file.read(member.end - member.start)


def _tensor_table(path: Path, result: Any) -> dict[str, TensorInfo]:
    if not isinstance(result, dict):
        _refuse(path, f"holds a {type(result).__name__}, not a table of tensors", RESAVE)
    inner = result.get(_NESTED)
    result = inner if isinstance(inner, dict) and inner else result
    for name, value in result.items():
        if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
            _refuse(path, f"has a tensor with an unusable name: {name[:80]!r}")
        if not isinstance(value, TensorInfo):
            kind = "table" if isinstance(value, dict) else type(value).__name__
            _refuse(path, f"has something else than a tensor under {name!r}: {kind}")
    if not result:
        _refuse(path, "holds no tensors")
    return result


@dataclass(frozen=True)
class _Global:
    """A name the pickle asked for. It stays a name; nothing is imported."""

    name: str


@dataclass(frozen=True)
class _Storage:
    dtype: str
    start: int
    numel: int


class _Machine:
    """Runs a pickle over plain data: texts, numbers, tuples, lists, tables, tensors."""

    def __init__(self, path: Path, members: dict[str, Member]):
        self.path = path
        self.members = members
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        try:
            for operation, argument, _ in pickletools.genops(program):
                if operation.name == "STOP":
                    break
                action = _OPERATIONS.get(operation.name)
                if action is None:
                    self.refuse(
                        f"uses the pickle operation {operation.name}, which no tensor needs"
                    )
                action(self, argument)
            if len(self.stack) != 1 or self.marks:
                self.refuse("has a pickle that does not end in one object")
            return self.stack.pop()
        except (
            IndexError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
        ) as error:
            problem = f"has a broken pickle ({type(error).__name__})"
            raise BadFileError(f"{self.path} {problem}", DOWNLOAD_AGAIN) from None

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        _refuse(self.path, problem, hint)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        height = self.marks.pop()
        items = self.stack[height:]
        if len(self.stack) < height:
            raise IndexError
        del self.stack[height:]
        return items

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise IndexError
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def global_name(self, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        storage = module in _STORAGE_MODULES and attribute in _STORAGES
        if not storage and name not in (_REBUILD_TENSOR, _REBUILD_PARAMETER, _ORDERED_DICT):
            self.refuse(
                f"asks for {name[:120]!r}, which is no part of a tensor; nothing of it was run",
                "use a checkpoint saved as safetensors, from a source you trust",
            )
        self.push(_Global(name))

    def set_items(self, pairs: list[Any]) -> None:
        table = self.stack[-1]
        if not isinstance(table, dict) or len(pairs) % 2:
            raise TypeError
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(name, str):
                self.refuse(f"has a table with a {type(name).__name__} for a name")
            table[name] = value

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError
        self.stack[-1].extend(items)

    def set_state(self) -> None:
        """State is only kept by ordered dicts (PyTorch's `_metadata`); it says nothing we need."""
        self.pop(1)
        if not isinstance(self.stack[-1], dict):
            raise TypeError

    def call(self) -> None:
        function, arguments = self.pop(2)
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise TypeError
        if function.name == _ORDERED_DICT and not arguments:
            self.push({})
        elif function.name == _REBUILD_TENSOR and len(arguments) in (6, 7):
            self.push(self.tensor(*arguments[:4]))
        elif function.name == _REBUILD_PARAMETER and len(arguments) == 3:
            if not isinstance(arguments[0], TensorInfo):
                raise TypeError
            self.push(arguments[0])
        else:
            self.refuse(f"calls {function.name!r} with arguments that make no tensor")

    def storage(self) -> None:
        (reference,) = self.pop(1)
        kind, storage, key, _, numel = reference
        module, _, name = storage.name.rpartition(".")
        if kind != "storage" or module not in _STORAGE_MODULES or not isinstance(key, str):
            raise TypeError
        member = self.members.get(f"data/{key}")
        if member is None:
            self.refuse(f"has no data for storage {key[:80]!r}", DOWNLOAD_AGAIN)
        dtype = _STORAGES[name]
        nbytes = member.end - member.start
        if not _is_size(numel) or numel * ITEM_BYTES[dtype] != nbytes:
            self.refuse(f"gives storage {key[:80]!r} a size that its {nbytes:,} bytes do not have")
        self.push(_Storage(dtype, member.start, numel))

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> TensorInfo:
        if not isinstance(storage, _Storage):
            raise TypeError
        sizes_fit = isinstance(shape, tuple) and isinstance(strides, tuple)
        if not sizes_fit or len(shape) != len(strides) or len(shape) > MAX_DIMS:
            self.refuse("has a tensor whose sizes and strides do not belong together")
        if not all(_is_size(number) for number in (offset, *shape, *strides)):
            self.refuse("has a tensor with an impossible size, stride or offset")
        count, item = math.prod(shape), ITEM_BYTES[storage.dtype]
        plain = count == 0 or _row_by_row(shape, strides)
        span = (
            count
            if plain
            else 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        )
        if offset + span > storage.numel or count > storage.numel:
            self.refuse("has a tensor that reaches beyond its storage")
        start = storage.start + offset * item
        end = start + span * item
        return TensorInfo(storage.dtype, shape, start, end, None if plain else strides)


def _row_by_row(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements lie row by row (the stride of an axis of size 1 means nothing)."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_DIM * 4


def _remember(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _mark(machine: _Machine, _: Any) -> None:
    machine.marks.append(len(machine.stack))


def _push_tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(tuple(machine.pop(count)))


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": _mark,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        lambda machine, value: machine.push(value),
    ),
    **dict.fromkeys(
        ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        lambda machine, text: machine.push(text),
    ),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": _push_tuple(1),
    "TUPLE2": _push_tuple(2),
    "TUPLE3": _push_tuple(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "APPEND": lambda machine, _: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _remember),
    "MEMOIZE": lambda machine, _: _remember(machine, len(machine.memo)),
    **dict.fromkeys(
        ("BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])
    ),
    "GLOBAL": lambda machine, name: machine.global_name(name.replace(" ", ".")),
    "STACK_GLOBAL": lambda machine, _: machine.global_name(".".join(machine.pop(2))),
    "BINPERSID": lambda machine, _: machine.storage(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.set_state(),
}

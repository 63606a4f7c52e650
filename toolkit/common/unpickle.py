"""Files written by `torch.save`, read without executing anything from their pickle.
Tensors, plain containers, numbers and strings come back; every other object is an inert
`Placeholder`, whatever it was pickled to do. Both of torch's formats are read: the zip
archive (since torch 1.6) and the older stream.
"""

import io
import operator
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

_ZIP = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older stream
_STREAM_PICKLES = 5  # the magic number, version, machine, content and keys of tensors
_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}  # by the names of storages


class Placeholder:
    """An object, class or function that is not read: every call of it does nothing."""

    __slots__ = ()

    def __new__(cls, *args: object, **kwargs: object) -> "Placeholder":
        return super().__new__(cls)

    def _nothing(self, *args: object) -> None: ...

    append = extend = add = __setitem__ = __setstate__ = _nothing

    def __call__(self, *args: object) -> "Placeholder":
        return self

    def __repr__(self) -> str:
        return "<not read>"


def read(path: str | Path) -> Any:
    """Return the content of a file of `torch.save`, on the CPU. Nothing in it is
    executed or imported. Raises FileNotFoundError, or ValueError naming the file when
    it is no such file, damaged, or misuses its tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with path.open("rb") as file:
            if file.read(4) == _ZIP:
                return _read_archive(file)
        return _read_stream(path.read_bytes())
    except Exception as error:  # noqa: BLE001 - damaged pickles fail in any way
        raise ValueError(
            f"{path} can't be read as a checkpoint: {error or type(error).__name__}"
        ) from error


def check(path: str | Path) -> None:
    """Raise ValueError if a file is damaged or its pickles would exhaust any reader."""
    with open(path, "rb") as file:
        if file.read(4) == _ZIP:
            with zipfile.ZipFile(file) as archive:
                total = sum(entry.file_size for entry in archive.infolist())
                if total > file.seek(0, os.SEEK_END):
                    raise ValueError("a member is compressed, which torch never does")
                for name in archive.namelist():
                    if name.endswith("/data.pkl"):
                        check_pickle(io.BytesIO(_member(archive, name)))
                damaged = archive.testzip()
            if damaged:
                raise ValueError(f"its part {damaged} is damaged")
            return
        file.seek(0)
        for _ in range(_STREAM_PICKLES):
            check_pickle(file)


def _read_archive(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        is_torchscript = any(name.endswith("/constants.pkl") for name in names)
        if len(pickles) != 1 or is_torchscript:
            raise ValueError("it is a zip archive, but none that torch.save writes")
        folder = pickles[0].removesuffix("data.pkl")
        return ArchiveUnpickler(archive, folder).load()


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, which torch.save never does")
    return archive.read(name)


def _read_stream(content: bytes) -> Any:
    """Return the content of the older format, with torch and a restricted unpickler."""
    file = io.BytesIO(content)
    if RestrictedUnpickler(file).load() != _MAGIC:
        raise ValueError("it does not begin as torch.save's files do")
    file.seek(0)
    restricted = SimpleNamespace(
        __name__="restricted",
        Unpickler=RestrictedUnpickler,
        load=lambda file, **options: RestrictedUnpickler(file, **options).load(),
    )
    return torch.load(
        file, map_location="cpu", pickle_module=restricted, weights_only=False
    )


class RestrictedUnpickler(pickle.Unpickler):
    """Never imports and never calls a name of the pickle."""

    def __init__(self, file: BinaryIO, *, encoding: str = "utf-8") -> None:
        start = file.tell()
        check_pickle(file)
        file.seek(start)
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> object:
        """Return a known name's harmless counterpart, or a placeholder."""
        return _KNOWN.get((module, name), Placeholder)


class ArchiveUnpickler(RestrictedUnpickler):
    """Reads data.pkl in a folder of an archive, with its tensors."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        byteorder = f"{folder}byteorder"
        if byteorder in archive.namelist() and _member(archive, byteorder) != b"little":
            raise ValueError("its tensors are big-endian")
        super().__init__(io.BytesIO(_member(archive, f"{folder}data.pkl")))
        self._archive, self._folder = archive, folder
        self._storages: dict[str, Tensor] = {}

    def persistent_load(self, pid: object) -> Tensor:
        """Return a storage's values as a flat tensor of its dtype."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise ValueError("it refers to something that is no tensor")
        _, kind, key, _, count = pid
        dtype = kind.value if isinstance(kind, _Known) else None
        if not isinstance(dtype, torch.dtype):
            raise ValueError("it holds a tensor of a kind that is not read")
        if key not in self._storages:
            member = _member(self._archive, f"{self._folder}data/{key}")
            content = bytearray(member)
            if len(content) < count * dtype.itemsize:
                raise ValueError("it is shorter than its tensors")
            values = torch.empty(0, dtype=dtype)
            if content:
                values = torch.frombuffer(content, dtype=dtype)
            self._storages[key] = values
        return self._storages[key]


class _Known:
    """A value, or a function, that a pickle may name, but cannot change."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *args: object) -> object:
        return self.value(*args)

    def __setstate__(self, state: object) -> None: ...


class _Dict(dict):
    """A dict to which a pickle can't give attributes (state dicts carry `_metadata`)."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None: ...


class _NumpyType:
    """A numpy dtype of numbers: its code and byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object):
        self.code = str(code)
        self.order = "<"

    def __setstate__(self, state: tuple) -> None:
        if state[1] == ">":
            self.order = ">"


def _tensor(storage: object, offset: int, size: tuple, stride: tuple, *others: object):
    if isinstance(storage, torch.TypedStorage):  # of the older stream
        storage = torch.empty(0, dtype=storage.dtype).set_(storage)
    if not isinstance(storage, Tensor):
        raise ValueError("it holds a tensor without values")
    if len(others) > 2 and isinstance(others[2], torch.dtype):
        storage = storage.view(others[2])
    # raises if this leaves the storage
    return torch.as_strided(storage, size, stride, offset)


def _number(kind: object, data: object = None) -> object:
    if not isinstance(kind, _NumpyType) or not isinstance(data, bytes):
        return Placeholder()
    if not re.fullmatch("[fiub][1248]", kind.code):
        return Placeholder()
    return np.frombuffer(data, kind.order + kind.code)[0].item()


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    """Return bytes as pickle protocol 2 writes them."""
    if encoding != "latin1":
        raise ValueError("it holds bytes in another encoding than latin1")
    return text.encode("latin1")


def _size(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(operator.index(value) for value in values)


_FIRST = _Known(lambda data, *_: data)
_KNOWN: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): _Known(_Dict),
    ("collections", "defaultdict"): _Known(lambda *_: _Dict()),
    ("torch", "Size"): _Known(_size),
    ("torch.storage", "UntypedStorage"): _Known(torch.uint8),
    ("torch._utils", "_rebuild_tensor"): _Known(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Known(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Known(_tensor),
    ("torch._utils", "_rebuild_parameter"): _FIRST,
    ("torch._utils", "_rebuild_parameter_with_state"): _FIRST,
    ("numpy", "dtype"): _Known(_NumpyType),
    ("numpy.core.multiarray", "scalar"): _Known(_number),
    ("numpy._core.multiarray", "scalar"): _Known(_number),
    ("_codecs", "encode"): _Known(_bytes),
    ("builtins", "set"): _Known(set),
    ("__builtin__", "set"): _Known(set),
}
for _name, _dtype in _DTYPES.items():
    _KNOWN["torch", f"{_name}Storage"] = _Known(_dtype)
    _KNOWN["torch", str(_dtype).removeprefix("torch.")] = _dtype


# -- a check before pickles are loaded: a few bytes can ask for hours ------------------------------------------------

# Hashing a tuple visits all that it holds, and a tuple that holds another one twice
# visits it twice: 30 such levels are 2^30 visits. The check follows the pickle's stack
# without making an object of it.

MAX_DEPTH = 1000  # tuples in tuples: one is hashed within the other, on the stack
MAX_VISITS = 1 << 25  # if each value is hashed or copied at each of its uses
MAX_MEMO = 2_000_000
WORD = 16  # bytes of a text or number that count as one visit

_FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")
_EMPTY = ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")


@dataclass(slots=True)
class _Value:
    """A value on the stack."""

    visits: int = 1  # the values that hashing or copying it visits
    is_simple: bool = False  # it is made of text, numbers, classes and tuples alone
    depth: int = 0  # of tuples in tuples
    items: "Sequence[_Value]" = ()  # of a tuple


def check_pickle(file: BinaryIO) -> None:
    """Raise ValueError if loading the pickle at the file's position would exhaust the
    stack, the memory or the time, or if a persistent id is not made of simple values.
    The position is then after the pickle.
    """
    machine = _Machine()
    try:
        for operation, argument, _ in pickletools.genops(file):
            machine.step(operation, argument)
    except LookupError:
        raise ValueError("its pickle is damaged") from None


class _Machine:
    """The stack and the memo of a pickle; None on the stack is a mark."""

    def __init__(self) -> None:
        self.stack: list[_Value | None] = []
        self.memo: dict[int, _Value | None] = {}
        self.visits = 0

    def step(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do an operation. Raise ValueError if too large, LookupError if damaged."""
        name = operation.name
        if name == "MARK":
            self.stack.append(None)
        elif name == "DUP":
            self._push(self.stack[-1])
        elif name in _PUTS:
            key = len(self.memo) if name == "MEMOIZE" else argument
            self._require(key <= MAX_MEMO)
            self.memo[key] = self.stack[-1]
        elif name in _GETS:
            self._push(self.memo[argument])
        else:
            values = self._pop(operation.stack_before)
            if operation.stack_after:
                self._push(self._result(operation, argument, values))

    def _push(self, value: _Value | None) -> None:
        if value is not None:
            self._visit(value)
        self.stack.append(value)

    def _visit(self, value: _Value) -> None:
        self.visits += value.visits
        self._require(self.visits <= MAX_VISITS and value.depth <= MAX_DEPTH)

    @staticmethod
    def _require(is_small: bool) -> None:
        if not is_small:
            raise ValueError("its pickle is far too large for a checkpoint's")

    def _pop(self, before: Sequence[pickletools.StackObject]) -> list[_Value]:
        """Return the values that an operation takes, the lowest first, without marks."""
        values = []
        if pickletools.stackslice in before:
            while (value := self.stack.pop()) is not None:
                values.append(value)
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            value = self.stack.pop()
            if value is not None:
                values.append(value)
        values.reverse()
        return values

    def _result(
        self, operation: pickletools.OpcodeInfo, argument: Any, values: list[_Value]
    ) -> _Value:
        """Return the value that an operation makes of those that it takes."""
        name = operation.name
        if name in _TUPLES:
            return _Value(
                visits=1 + sum(item.visits for item in values),
                is_simple=all(item.is_simple for item in values),
                depth=1 + max((item.depth for item in values), default=0),
                items=values,
            )
        if name in _FILLS:
            filled = values[0]
            if name != "BUILD":  # which gives no state to what is loaded here
                filled.visits += sum(value.visits for value in values[1:])
            self.visits -= filled.visits  # it stays where it is
            return filled
        if name == "BINPERSID" and not values[0].is_simple:
            raise ValueError("it refers to something that is no tensor")
        if name == "REDUCE":
            for item in values[1].items:  # some are filled after the tuple is made
                self._visit(item)
        if operation.stack_before or name in _EMPTY:
            return _Value(is_simple=name == "STACK_GLOBAL")
        size = 0  # of a text or number in bytes
        if isinstance(argument, int):
            size = argument.bit_length() // 8
        elif isinstance(argument, str | bytes):
            size = len(argument)
        return _Value(1 + size // WORD, is_simple=True)

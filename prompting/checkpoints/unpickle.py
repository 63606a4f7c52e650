"""Files written by `torch.save`, read without executing anything from their pickle.

Tensors, plain containers, numbers and strings come back; every other object is an inert `Placeholder`, whatever it was
pickled to do. Both of torch's formats are read: the zip archive (since torch 1.6) and the older stream.
"""

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

_ZIP = b"PK\x03\x04"
_NESTING, _MOST = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"), 20_000
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how the older stream begins
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_TYPES = {str(kind).removeprefix("torch."): kind for kind in _STORAGES.values()}
_NUMBERS = dict(zip("f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split(), "efdbhiqBHIQ?", strict=True))  # numpy's -> struct's


class Placeholder:
    """Stands for an object, class or function that is not read. It takes what a pickle does to it and does nothing."""

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
    """The content of a file of `torch.save`, on the CPU. Nothing in it is executed or imported.

    Raises FileNotFoundError, or ValueError naming the file when it is no such file, damaged, or misuses its tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == _ZIP
            file.seek(0)
            return _read_archive(file) if is_zip else _read_stream(file, path.stat().st_size)
    except Exception as error:  # noqa: BLE001 - damaged pickles fail in any way
        raise ValueError(f"{path} can't be read as a checkpoint: {error or type(error).__name__}") from error


def _read_archive(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in names):
            raise ValueError("it is a zip archive, but none that torch.save writes")
        return read_data(archive, pickles[0].removesuffix("data.pkl"), Reader)


def read_data(archive: zipfile.ZipFile, folder: str, reader: type["Reader"]) -> Any:
    """What data.pkl in a folder of an archive says, with its tensors."""

    def member(name: str) -> bytes:
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed, which torch.save never does")
        return archive.read(name)

    if f"{folder}byteorder" in archive.namelist() and member(f"{folder}byteorder") != b"little":
        raise ValueError("its tensors are big-endian")
    content = io.BytesIO(member(f"{folder}data.pkl"))
    return reader(content, lambda key, size: bytearray(member(f"{folder}data/{key}"))).load()


def _check_size(file: BinaryIO) -> None:
    """Refuse a pickle that would exhaust the stack or the memory: what nests is hashed one in the other."""
    start, nested = file.tell(), 0
    for operation, argument, _ in pickletools.genops(file):
        nested += operation.name in _NESTING
        if nested > _MOST or (operation.name in ("PUT", "LONG_BINPUT") and argument > 100 * _MOST):
            raise ValueError("its pickle is far too large for a checkpoint's")
    file.seek(start)


def _read_stream(file: BinaryIO, file_size: int) -> Any:
    """Pickles one after the other: magic number, protocol, machine, content, keys of the storages; then their bytes."""
    if Reader(file).load() != _MAGIC or Reader(file).load() != _PROTOCOL:
        raise ValueError("it does not begin as torch.save's files do")
    machine = Reader(file).load()
    if not machine.get("little_endian", True):
        raise ValueError("its tensors are big-endian")
    buffers: dict[str, bytearray] = {}
    total = 0

    def allocate(key: str, size: int) -> bytearray:
        nonlocal total
        total += size
        if not 0 <= size <= total <= file_size:
            raise ValueError("it is shorter than its tensors")
        buffers[key] = bytearray(size)
        return buffers[key]

    reader = Reader(file, allocate)
    content = reader.load()
    for key in Reader(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        if count != reader.counts[key] or file.readinto(buffers[key]) != len(buffers[key]):
            raise ValueError("it is shorter than its tensors")
    return content


class Reader(pickle.Unpickler):
    """Never imports and never calls what a pickle names. buffer: gives the bytes of a storage by its key and least size."""

    def __init__(self, file: BinaryIO, buffer: Callable[[str, int], bytearray] | None = None) -> None:
        super().__init__(file, encoding="utf-8")
        self._file = file
        self._buffer = buffer
        self._storages: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def load(self) -> Any:
        _check_size(self._file)
        return super().load()

    def find_class(self, module: str, name: str) -> object:
        """Never imports: a known name's harmless counterpart, or a placeholder."""
        if module == "torch" and name in _STORAGES:
            return _Known(_STORAGES[name])
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        return _KNOWN.get((module, name), Placeholder)

    def persistent_load(self, pid: object) -> object:
        """A storage: its bytes as a flat tensor of the dtype that it was stored with."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or self._buffer is None:
            raise ValueError("it refers to something that is no tensor")
        kind, key, count = pid[1], pid[2], pid[4]
        if any(view is not None for view in pid[5:]):
            raise ValueError("it holds parts of tensors in a form that is too old")
        if not isinstance(kind, _Known) or not isinstance(kind.value, torch.dtype):
            raise ValueError("it holds a tensor of a kind that is not read")
        if key not in self._storages:
            size = count * kind.value.itemsize
            data = self._buffer(key, size)
            if len(data) < size:
                raise ValueError("it is shorter than its tensors")
            self.counts[key] = count
            empty = torch.empty(0, dtype=kind.value)
            self._storages[key] = torch.frombuffer(data, dtype=kind.value) if len(data) else empty
        return self._storages[key]


class _Known:
    """A value, or a function, that a pickle may name; unlike the thing itself, no pickle can change it."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self, *args: object) -> object:
        return self.value(*args)

    def __setstate__(self, state: object) -> None: ...


class _Dict(dict):
    """A dict to which a pickle can't give attributes (state dicts carry `_metadata`)."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None: ...


class _NumpyType:
    """numpy's dtype, of numbers only: how a value's bytes are to be understood."""

    __slots__ = ("code", "order")

    def __init__(self, code: object) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    if not isinstance(storage, Tensor):
        raise ValueError("it holds a tensor without values")
    return torch.as_strided(storage, size, stride, offset)  # raises where this leaves the storage


def _typed_tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, grad, hooks, dtype, *_: object) -> Tensor:
    return _tensor(storage.view(dtype), offset, size, stride)


def _parameter(data: object, *_: object) -> object:
    return data


def _number(kind: object, data: object = None) -> object:
    """A numpy number as Python's own."""
    if not isinstance(kind, _NumpyType) or kind.code not in _NUMBERS or not isinstance(data, bytes):
        return Placeholder()
    return struct.unpack(kind.order + _NUMBERS[kind.code], data)[0]


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    """How bytes are written in the pickle protocol 2."""
    if encoding != "latin1":
        raise ValueError(f"it holds bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): _Known(_Dict),
    ("collections", "defaultdict"): _Known(lambda *_: _Dict()),
    ("torch", "Size"): _Known(tuple),
    ("torch.storage", "UntypedStorage"): _Known(torch.uint8),
    ("torch._utils", "_rebuild_tensor"): _Known(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Known(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Known(_typed_tensor),
    ("torch._utils", "_rebuild_parameter"): _Known(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Known(_parameter),
    ("numpy", "dtype"): _Known(lambda code, *_: _NumpyType(code)),
    ("numpy.core.multiarray", "scalar"): _Known(_number),
    ("numpy._core.multiarray", "scalar"): _Known(_number),
    ("_codecs", "encode"): _Known(_bytes),
    ("builtins", "set"): _Known(lambda *items: set(*items)),
    ("__builtin__", "set"): _Known(lambda *items: set(*items)),
}

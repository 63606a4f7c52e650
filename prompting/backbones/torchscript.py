"""The tensors of a TorchScript archive, such as OpenAI's, read without
`torch.jit.load`, which runs code of the archive. An archive is a pickle of the modules'
attributes, and the modules' classes as text, of which only the lists of parameters and
buffers are read.
"""

import ast
import re
import zipfile
from pathlib import Path

from torch import Tensor

from toolkit.common.unpickle import ArchiveUnpickler

_CLASS = re.compile(r"^class (\w+)\(\w*\):\n((?:  __\w+__ = \[.*\]\n)+)", re.MULTILINE)
_LIST = re.compile(r"^  __(?:parameters|buffers)__ = (\[.*\])$", re.MULTILINE)
_MAX_DEPTH = 100  # modules in modules
_MAX_MODULES = 100_000  # visited: an archive can hold one module in many places
_MAX_TEXT = 1 << 24  # bytes


class _Module:
    """A module of the archive; `kind` names its class, which is never made."""

    kind = ""
    attributes: dict = {}

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _ModuleUnpickler(ArchiveUnpickler):
    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] == "__torch__":
            return type(name, (_Module,), {"kind": f"{module}.{name}"})
        return super().find_class(module, name)


def is_torchscript(path: str | Path) -> bool:
    """Return True for such an archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Return parameters and buffers by their names in `state_dict()`, on the CPU."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (top,) = {name.split("/")[0] for name in names}
        code = f"{top}/code/"
        saved: dict[str, set[str]] = {}
        for name in names:
            if name.startswith(code) and name.endswith(".py"):
                module = name.removeprefix(code).removesuffix(".py").replace("/", ".")
                saved |= _saved_names(_text(archive, name), module)
        root = _ModuleUnpickler(archive, f"{top}/").load()
    if not isinstance(root, _Module):
        raise ValueError("it holds no module")
    return _tensors(root, saved)


def _text(archive: zipfile.ZipFile, name: str) -> str:
    entry = archive.getinfo(name)
    if (
        entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        or entry.file_size > _MAX_TEXT
    ):
        raise ValueError(f"{name} is no text of a class")
    with archive.open(entry) as file:
        return file.read(entry.file_size).decode("utf-8")


def _saved_names(text: str, module: str) -> dict[str, set[str]]:
    """Return class -> names of its parameters and buffers."""
    saved = {}
    for found in _CLASS.finditer(text):
        names: set[str] = set()
        for values in _LIST.findall(found[2]):
            names.update(ast.literal_eval(values))
        saved[f"{module}.{found[1]}"] = names
    return saved


def _tensors(root: _Module, saved: dict[str, set[str]]) -> dict[str, Tensor]:
    """Return parameters and buffers by name. Raises ValueError for endless modules."""
    found = {}
    waiting = [(root, "", 0)]
    visited = 0
    while waiting:
        module, prefix, depth = waiting.pop()
        visited += 1
        if depth > _MAX_DEPTH or visited > _MAX_MODULES:
            raise ValueError("its modules hold one another, or are too many")
        names = saved.get(module.kind, set())
        for name, value in module.attributes.items():
            if isinstance(value, Tensor) and name in names:
                found[prefix + name] = value
            elif isinstance(value, _Module):
                waiting.append((value, f"{prefix}{name}.", depth + 1))
    return found

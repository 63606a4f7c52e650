"""The tensors of a TorchScript archive, such as OpenAI's, read without `torch.jit.load`, which runs what the archive holds.

An archive is a pickle of the modules' attributes, and the modules' classes as text. Of the text only the lists are read that tell
which attributes are parameters and buffers.
"""

import ast
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from prompting.checkpoints.unpickle import Reader, read_data

_CLASS = re.compile(r"^class (\w+)\(\w*\):\n((?:  __\w+__ = \[.*\]\n)+)", re.MULTILINE)
_LIST = re.compile(r"^  __(?:parameters|buffers)__ = (\[.*\])$", re.MULTILINE)
_DEEPEST = 100  # modules in modules
_LONGEST = 1 << 24  # bytes of text in a file


class _Module:
    """A module of the archive: its attributes, and in `kind` its class, which is never made."""

    kind = ""
    attributes: dict = {}

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _ScriptReader(Reader):
    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] == "__torch__":
            return type(name, (_Module,), {"kind": f"{module}.{name}"})
        return super().find_class(module, name)


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is such an archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Parameters and buffers by their names in `state_dict()`, on the CPU. Any error says that the archive is damaged."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (top,) = {name.split("/")[0] for name in names}
        saved: dict[str, set[str]] = {}
        for name in names:
            if name.startswith(f"{top}/code/") and name.endswith(".py"):
                module = name.removeprefix(f"{top}/code/").removesuffix(".py").replace("/", ".")
                saved |= _saved(_text(archive, name), module)
        root = read_data(archive, f"{top}/", _ScriptReader)
    if not isinstance(root, _Module):
        raise ValueError("it holds no module")
    return dict(_tensors(root, saved, "", 0))


def _text(archive: zipfile.ZipFile, name: str) -> str:
    entry = archive.getinfo(name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.file_size > _LONGEST:
        raise ValueError(f"{name} is no text of a class")
    with archive.open(entry) as file:
        return file.read(entry.file_size).decode("utf-8")


def _saved(text: str, module: str) -> dict[str, set[str]]:
    """class -> names of its parameters and buffers."""
    return {
        f"{module}.{found[1]}": {name for names in _LIST.findall(found[2]) for name in ast.literal_eval(names)}
        for found in _CLASS.finditer(text)
    }


def _tensors(module: _Module, saved: dict[str, set[str]], prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if depth > _DEEPEST:
        raise ValueError("its modules hold one another")
    own = saved.get(module.kind, set())
    for name, value in module.attributes.items():
        if isinstance(value, Tensor) and name in own:
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, saved, f"{prefix}{name}.", depth + 1)

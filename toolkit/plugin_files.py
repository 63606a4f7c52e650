"""Imports of plugins: each folder of a user is a separate package. Its files import
each other as they do in their own repository (`from trainers.coop import ...`, `from
.oxford_pets import ...`, `from clip import clip`), whatever modules of these names
there are elsewhere. Their classes replace those registered under the same name, and an
error in one file of a folder stops only its users.
"""

import builtins
import contextlib
import hashlib
import importlib
import importlib.machinery
import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

from toolkit.common import dassl_scripts, plugins

REGISTRIES = {
    "dassl.engine": ("TRAINER_REGISTRY",),
    "dassl.data.datasets": ("DATASET_REGISTRY",),
    "dassl.evaluation": ("EVALUATOR_REGISTRY",),
    "dassl.modeling": ("BACKBONE_REGISTRY", "HEAD_REGISTRY", "NETWORK_REGISTRY"),
}  # module -> its registries for plugins
DATA_SETS = re.compile(r"\bDATASET_REGISTRY\b|\bregister_task\b")
REGISTERS = re.compile(
    r"\b(TRAINER|DATASET|EVALUATOR|BACKBONE|HEAD|NETWORK)_REGISTRY\b|\bregister_task\b"
)
DEPTH = 4  # of folders that are searched for files that register something
# always ours: a copy of it would have registries that nothing else knows
NEVER_THEIRS = ("dassl", "toolkit", "__future__")


@dataclass
class PluginPackage:
    """A folder of a user's as a package."""

    folder: Path  # absolute
    # file -> why it could not be imported
    failures: dict[Path, BaseException] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """Return the name of the package, the same in every process."""
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]
        return f"plugin_{digest}"

    @cached_property
    def builtins(self) -> dict:
        """Return the builtins of its modules, whose imports look in the folder first."""

        def import_name(name, globals=None, locals=None, fromlist=(), level=0):
            theirs = None
            if level == 0:
                theirs = self.module_name(name)
            if name == "pkg_resources" and theirs is None:
                return _pkg_resources()
            if theirs is None:
                return builtins.__import__(name, globals, locals, fromlist, level)
            names = fromlist or ["__name__"]
            module = builtins.__import__(theirs, globals, locals, names, 0)
            if fromlist:
                return module
            return sys.modules[theirs.rsplit(".", name.count("."))[0]]

        return {**vars(builtins), "__import__": import_name}

    def module_name(self, name: str) -> str | None:
        """Return the name that the folder's module is imported under, None without one.
        In a folder without subfolders `trainers.coop` is its file coop.py.
        """
        parts = name.split(".")
        if parts[0] in NEVER_THEIRS:
            return None
        if self._has(parts):
            return ".".join([self.name, *parts])
        if len(parts) > 1 and parts[0] in plugins.OURS and self._has(parts[1:]):
            return ".".join([self.name, *parts[1:]])
        return None

    def _has(self, parts: Sequence[str]) -> bool:
        path = self.folder.joinpath(*parts)
        file = path.with_name(f"{path.name}.py")
        if path.is_dir():
            file = path / "__init__.py"
            found = any(path.glob("*.py")) or any(path.glob("*/*.py"))
        else:
            found = file.is_file()
        return found and not plugins.is_ours(file)

    def import_file(self, file: Path) -> None:
        """Import one file; its registrations replace earlier ones."""
        parts = file.relative_to(self.folder).with_suffix("").parts
        name = ".".join([self.name, *parts])
        if name in sys.modules:
            return
        if self.name not in sys.modules:
            module = sys.modules[self.name] = ModuleType(self.name)
            module.__path__ = [str(self.folder)]
        with names_win(self.name):
            importlib.import_module(name)

    def import_all(self, folder: Path, pattern: re.Pattern) -> None:
        """Import all files in `folder` that have a pattern, and note those that fail."""
        for file in matching_files(folder, pattern):
            if plugins.is_ours(file):
                continue
            try:
                self.import_file(file)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit, too, of a script
                self.failures[file] = error


def _pkg_resources() -> ModuleType:
    """Return setuptools' module, or without it what copies of OpenAI's clip.py use."""
    try:
        return importlib.import_module("pkg_resources")
    except ModuleNotFoundError:
        module = ModuleType("pkg_resources")
        importlib.import_module("packaging.version")
        module.packaging = sys.modules["packaging"]
        return module


class _Finder:
    """Finds the modules of plugin packages, and gives them the builtins of theirs."""

    def find_spec(self, name, path=None, target=None):
        package = PACKAGES.get(name.partition(".")[0])
        if package is None or "." not in name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path, package)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, package: PluginPackage) -> None:
        super().__init__(name, path)
        self.package = package

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self.package.builtins
        super().exec_module(module)

    def _cache_bytecode(self, *args) -> None:
        """Leave no files in a user's folder."""


PACKAGES: dict[str, PluginPackage] = {}  # by name
FINDER = _Finder()
_notes: dict[str, None] = {}  # lines for the log, in order
_replaced: dict[str, str] = {}  # name that a plugin registered -> the line about it


def package(folder: Path) -> PluginPackage:
    """Return the package of a folder, the same one at each call."""
    found = PluginPackage(folder)
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    return PACKAGES.setdefault(found.name, found)


def package_of(cls: type) -> PluginPackage | None:
    """Return the package that a class comes from, None if it is no plugin's."""
    return PACKAGES.get(cls.__module__.partition(".")[0])


def import_all(pattern: re.Pattern = REGISTERS) -> None:
    """Import all files of --import and plugins/ that have a pattern, as far as they are
    not imported yet. They come after the project's own trainers and data sets, whose
    names they may take. Raise FileNotFoundError naming a path that is not there. An
    error in a file that was named by itself is raised.
    """
    paths = [Path(text) for text in plugins.given_paths()]
    if plugins.FOLDER.is_dir():
        paths.insert(0, plugins.FOLDER)
    for path in paths:
        if path.is_dir():
            for folder in plugins.package_folders(path):
                within = path if path.is_relative_to(folder) else folder
                package(folder).import_all(within, pattern)
        elif not path.is_file() or path.suffix != ".py":
            raise FileNotFoundError(
                f"--import: {path} is no Python file, and no folder of them"
            )
        elif pattern is REGISTERS or pattern.search(dassl_scripts.read_source(path)):
            (folder,) = plugins.package_folders(path)
            package(folder).import_file(path)


def import_modules(parent: ModuleType, *others: str) -> None:
    """Import the modules of trainers/ or datasets/, `others`, and then a user's."""
    dropped_in = []
    for module in pkgutil.iter_modules(parent.__path__):
        name = f"{parent.__name__}.{module.name}"
        if module.ispkg or module.name in plugins.OURS[parent.__name__]:
            importlib.import_module(name)
        else:
            dropped_in.append(name)
    for name in others:
        importlib.import_module(name)
    for name in dropped_in:
        _import_dropped_in(name)


def _import_dropped_in(name: str) -> None:
    """Import a user's module; if it fails, only its users do."""
    if name in sys.modules:
        return
    folder = plugins.ROOT / name.partition(".")[0]
    try:
        with names_win(name):
            importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        file = folder / f"{name.rpartition('.')[2]}.py"
        package(folder).failures[file] = error


def matching_files(folder: Path, pattern: re.Pattern) -> list[Path]:
    """Return Python files that have a pattern, those that train.py imports first."""
    found = []
    for path, folders, names in os.walk(folder):
        depth = len(Path(path).relative_to(folder).parts)
        folders[:] = [
            name for name in sorted(folders) if depth < DEPTH and _is_searched(name)
        ]
        for name in sorted(names):
            file = Path(path) / name
            if file.suffix == ".py" and pattern.search(dassl_scripts.read_source(file)):
                found.append(file)
    train = folder / "train.py"
    text = dassl_scripts.read_source(train) if train.is_file() else ""
    first = [file for file in found if dassl_scripts.imports(text, file)]
    return first + [file for file in found if file not in first and file != train]


def _is_searched(name: str) -> bool:
    return not name.startswith((".", "__")) and "dassl" not in name.lower()


@contextlib.contextmanager
def names_win(owner: str) -> Iterator[None]:
    """Let registrations within the context replace those of the same name; of two by
    one plugin, the first stays.
    """
    before = {}
    for module, names in REGISTRIES.items():
        for name in names:
            registry = getattr(importlib.import_module(module), name)
            before[registry] = registry._obj_map
            registry._obj_map = {}
    try:
        yield
    finally:
        for registry, known in before.items():
            added, registry._obj_map = registry._obj_map, known
            for name, found in added.items():
                _register(known, name, found, owner)


def _register(known: dict, name: str, found: type, owner: str) -> None:
    other = known.get(name)
    if other is not None:
        if other.__module__.partition(".")[0] == owner:
            return
        _replaced[name] = (
            f"{name} is that of {source_of(found)}, not that of {source_of(other)}"
        )
    known[name] = found


def source_of(cls: type) -> str:
    """Return the file of a class, or its module."""
    module = sys.modules.get(cls.__module__)
    return getattr(module, "__file__", None) or cls.__module__


def note(line: str) -> None:
    """Keep a line for the log of the run, which is not open yet."""
    _notes[line] = None


def lines(names: Sequence[str]) -> list[str]:
    """Return the lines for the log of a run that uses the registered `names`."""
    found = [_replaced[name] for name in names if name in _replaced]
    for file, error in _failures():
        found.append(f"not imported: {file} ({type(error).__name__}: {error})")
    return found + list(_notes)


def _failures() -> Iterator[tuple[Path, BaseException]]:
    for one in PACKAGES.values():
        yield from one.failures.items()


def raise_failure(name: str, found: type | None = None) -> None:
    """Raise the error of the file that would have registered `name`, if there is one; a
    ValueError for a package that is not installed. found: the class of that name, which
    only another plugin's may be in its place.
    """
    if not name or (found is not None and package_of(found)):
        return
    pattern = re.compile(rf"^\s*class {re.escape(name)}\b", re.MULTILINE)
    for file, error in _failures():
        if not pattern.search(dassl_scripts.read_source(file)):
            continue
        if not isinstance(error, (ImportError, SystemExit)):
            raise error
        raise ValueError(
            f"{name} is in {file}, which cannot be imported: {type(error).__name__}: {error}"
        ) from error

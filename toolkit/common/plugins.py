"""Files of users that register trainers or data sets, and errors that they raise."""

import argparse
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# the files and folders to import, which processes started by this one inherit
VARIABLE = "MVLPT_IMPORT"
FOLDER = ROOT / "plugins"  # imported by itself if it is there
# runs the import statements of plugins, so it is in the traceback of each error in one
IMPORTER = ROOT / "toolkit" / "plugin_files.py"
_TRAINERS = ("__init__", "anchors", "base", "evaluation", "interpolation", "losses")
_SETS = ("coop", "elevater", "imagenet", "multitask", "union", "task")
_DATASETS = ("__init__", "__main__", "few_shot", "mixing", *_SETS)
# folder that files may be dropped into -> the modules that are not a user's
OURS = {"trainers": _TRAINERS, "datasets": _DATASETS}
PACKAGES = ("datasets", "elevater_eval", "prompting", "scripts", "toolkit", "trainers")


def add_import_flag(parser: argparse.ArgumentParser) -> None:
    """Add --import, which registers a file's or folder's plugins in all processes."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        type=add_path,
        metavar="PATH",
        help="a file that registers trainers or data sets, or a folder of such files; may be given again",
    )


def add_path(text: str) -> str:
    """Add a file or folder to those that are imported; return its absolute path."""
    path = str(Path(text).expanduser().resolve())
    paths = given_paths()
    if path not in paths:
        os.environ[VARIABLE] = os.pathsep.join([*paths, path])
    return path


def given_paths() -> list[str]:
    """Return the absolute paths of --import."""
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]


def import_file(text: str) -> None:
    """Import a Python file beside its own; raise FileNotFoundError or ValueError."""
    file = Path(add_path(text))
    if not file.is_file():
        raise FileNotFoundError(f"--import: no file {text}")
    spec = importlib.util.spec_from_file_location(f"plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"--import: {text} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))


def package_folders(path: Path) -> list[Path]:
    """Return the folders in which the imports of a plugin's files begin. It is a folder
    itself, or the one above if it is called trainers or datasets; of a folder of
    several repositories, each of them.
    """
    alone = path.is_file()
    if alone:
        path = path.parent
    if path.name in OURS and path.parent != ROOT:
        return [path.parent]
    if alone or _is_repository(path):
        return [path]
    below = [folder for folder in sorted(path.glob("*/")) if _is_repository(folder)]
    loose = any(path.glob("*.py"))
    return [path, *below] if loose or not below else below


def _is_repository(folder: Path) -> bool:
    return any((folder / name).exists() for name in (*OURS, "train.py"))


def all_folders() -> Iterator[Path]:
    """Yield the folders in which the imports of all plugins begin."""
    for path in given_paths():
        yield from package_folders(Path(path))
    if FOLDER.is_dir():
        yield from package_folders(FOLDER)


def is_ours(file: Path) -> bool:
    """Return True if a file belongs to the project itself."""
    if not file.is_relative_to(ROOT):
        return False
    parts = file.relative_to(ROOT).parts
    if len(parts) == 2 and parts[0] in OURS:
        return file.stem in OURS[parts[0]]
    return parts[0] in (*PACKAGES, "train.py", "tests")


def is_users(file: str) -> bool:
    """Return True for a file of --import or plugins/, or dropped into our folders."""
    path = Path(file)
    if str(path) in given_paths():
        return True
    if path.parent.parent == ROOT and path.parent.name in OURS:
        return path.stem not in OURS[path.parent.name]
    if is_ours(path):
        return False
    return any(path.is_relative_to(folder) for folder in all_folders())


def raised_by_user(error: BaseException) -> bool:
    """Return True if the last file of an error, libraries left out, is a plugin."""
    if isinstance(error, SyntaxError):
        return is_users(error.filename or "")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        if is_users(file):
            return True
        is_ours_too = Path(file).is_relative_to(ROOT) and "site-packages" not in file
        if is_ours_too and Path(file) != IMPORTER:
            return False
    return False

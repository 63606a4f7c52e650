"""Files of users that register trainers or data sets, in our folders or elsewhere, and
the errors that they raise.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
# the files to import, which processes started by this one inherit
VARIABLE = "MVLPT_IMPORT"
OURS = {
    "trainers": ("__init__", "anchors", "base", "evaluation", "losses"),
    "datasets": (
        *(
            "__init__",
            "__main__",
            "coop",
            "elevater",
            "few_shot",
            "imagenet",
            "mixing",
            "multitask",
            "task",
            "union",
        ),
    ),
}  # folder that files may be dropped into -> the modules that are not a user's


def add_import_flag(parser: argparse.ArgumentParser) -> None:
    """Add --import, which registers the trainers and data sets of a file in any folder,
    here and in all workers.
    """
    parser.add_argument(
        "--import",
        dest="imports",
        action=_Import,
        metavar="FILE.py",
        help="a file that registers trainers or data sets; may be given again",
    )


class _Import(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None) -> None:
        path = str(Path(values).expanduser().resolve())
        paths = _paths()
        if path not in paths:
            os.environ[VARIABLE] = os.pathsep.join([*paths, path])
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), path])


def _paths() -> list[str]:
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]


def import_all() -> None:
    """Import the files of --import that are not imported yet.

    Raise FileNotFoundError naming one that is not there.
    """
    for path in _paths():
        import_file(path)


def import_file(path: str) -> None:
    """Import a file by its path, once a process.

    Modules beside it can be imported by it.
    """
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    name = f"plugin_{digest}_{Path(path).stem}"
    if name in sys.modules:
        return
    if not Path(path).is_file() or Path(path).suffix != ".py":
        raise FileNotFoundError(f"--import: {path} is no Python file")
    folder = str(Path(path).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"--import: {path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def is_users(file: str) -> bool:
    """Return True if a source file is a plugin: one of --import, or one that was
    dropped into trainers/ or datasets/.
    """
    path = Path(file)
    if str(path) in _paths():
        return True
    folder = path.parent
    return (
        folder.parent == ROOT
        and folder.name in OURS
        and path.stem not in OURS[folder.name]
    )


def raised_by_user(error: BaseException) -> bool:
    """Return True if an error comes from a plugin's own line: of the files that it
    passed through, those of libraries left out, the last is a plugin.
    """
    if isinstance(error, SyntaxError):
        return is_users(error.filename or "")
    for file in reversed(_files(error.__traceback__)):
        if is_users(file):
            return True
        if Path(file).is_relative_to(ROOT) and "site-packages" not in file:
            return False
    return False


def _files(trace: TracebackType | None) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(trace)]

"""The functions and flags of a Dassl repository's train.py, without running it."""

import argparse
import ast
import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.common import plugins

NEVER_RUN = ("parse_args", "main")  # calls of these are not made
DEFINITIONS = (
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef),
    *(ast.Assign, ast.AnnAssign, ast.Try),
)  # statements that are run
PREFIX = "theirs_"  # before the names of a script's own flags


def find_script(folder: Path, trainer: Path) -> Path | None:
    """Return the file that defines `extend_cfg`: train.py in `folder`, else a file beside
    a trainer's, preferably one that imports it; None without one.
    """
    candidates = [folder / "train.py", trainer.parent / "train.py", trainer]
    candidates += sorted(trainer.parent.glob("*.py")) + sorted(folder.glob("*.py"))
    found = []
    for file in candidates:
        text = read_source(file) if file.is_file() and not plugins.is_ours(file) else ""
        if "def extend_cfg(" in text:
            found.append(file)
            if file == trainer or imports(text, trainer):
                return file
    return found[0] if found else None


def imports(text: str, file: Path) -> bool:
    """Return True if a script names a file as a module of its folder."""
    name = rf"\b{re.escape(file.parent.name)}\.{re.escape(file.stem)}\b"
    return re.search(name, text) is not None


def functions(file: Path, builtins: Mapping | None = None) -> dict:
    """Return the names that a script defines: imports, functions, classes, constants. A
    statement that fails is left out, and none is made that parses a command line.
    """
    namespace: dict = {"__name__": "train", "__file__": str(file)}
    if builtins is not None:
        namespace["__builtins__"] = builtins
    for statement in _tree(file).body:
        if isinstance(statement, DEFINITIONS) and not _calls(statement, NEVER_RUN):
            _run(statement, file, namespace)
    return namespace


def parser_of(file: Path) -> argparse.ArgumentParser | None:
    """Return the parser that a script builds, in whatever function, or None."""
    body = _building_statements(_tree(file))
    namespace: dict = {"argparse": argparse, "__file__": str(file)}
    for statement in body:
        if _calls(statement, ("parse_args", "parse_known_args")):
            break
        _run(statement, file, namespace)
    for value in namespace.values():
        if isinstance(value, argparse.ArgumentParser):
            return value
    return None


def _building_statements(tree: ast.Module) -> list[ast.stmt]:
    """Return the statements of the block that makes an ArgumentParser."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.If, ast.FunctionDef)) and isinstance(body, list):
            if any(_makes_parser(statement) for statement in body):
                return body
    if any(_makes_parser(statement) for statement in tree.body):
        return [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    return []


def _makes_parser(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and _calls(statement, ("ArgumentParser",))


def _calls(statement: ast.stmt, names: tuple[str, ...]) -> bool:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return False
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in names:
                return True
    return False


def _run(statement: ast.stmt, file: Path, namespace: dict) -> None:
    code = compile(ast.Module([statement], []), str(file), "exec")
    # packages that the script needs only after the configuration may be missing
    with contextlib.suppress(Exception, SystemExit):
        exec(code, namespace)


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(read_source(file), str(file))
    except SyntaxError:
        return ast.Module([], [])


def read_source(file: Path) -> str:
    """Return a Python file's text; bytes that are no UTF-8 are replaced."""
    return file.read_text(encoding="utf-8", errors="replace")


def add_flags(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> None:
    """Add the flags that the scripts of --import have and `parser` lacks."""
    first = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    plugins.add_import_flag(first)
    with contextlib.suppress(argparse.ArgumentError):  # `parser` will tell
        first.parse_known_args(argv)
    known = set(parser._option_string_actions)
    for folder in plugins.all_folders():
        if folder != plugins.ROOT and (folder / "train.py").is_file():
            theirs = parser_of(folder / "train.py")
            for action in theirs._actions if theirs else []:
                if action.option_strings and known.isdisjoint(action.option_strings):
                    action.dest = PREFIX + action.dest
                    action.required = False
                    action.help = argparse.SUPPRESS
                    parser._add_action(action)
                    known.update(action.option_strings)


def namespace_for(file: Path, given: Mapping[str, object]) -> argparse.Namespace:
    """Return a script's arguments: its own defaults, and the flags that are given; None
    is for those that are not, and have no default.
    """
    values: dict[str, object] = {}
    parser = parser_of(file)
    for action in parser._actions if parser else []:
        if action.default is not argparse.SUPPRESS:
            values[action.dest] = action.default
    for name, value in given.items():
        values.setdefault(name, value)
        if value is not None:
            values[name.removeprefix(PREFIX)] = value
    return argparse.Namespace(**values)

"""YAML and JSON files: plain values, and errors that name the file and the line."""

import json
from pathlib import Path
from typing import Any

import yaml

from toolkit.common.files import StrPath, write_text

_MERGE = "tag:yaml.org,2002:merge"
MOST = 100_000  # values in a YAML file, including those that aliases repeat


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that a mapping has twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in lines:
                problem = f"key {key.value!r} is in line {lines[key.value]}, too"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node


def read_yaml(path: StrPath, what: str = "") -> Any:
    """Return the content of a YAML file; nothing in it is executed. what: the flag or
    key that names it. Raises FileNotFoundError, or ValueError for no YAML, Python tags,
    a key twice in one mapping, or endless aliases.
    """
    where = _named(path, what)
    text = _read_text(path, what)
    try:
        content = yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError(f"{where} is no YAML: it is nested too deeply") from None
    # also impossible dates and numbers; keys that are lists
    except (yaml.YAMLError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise ValueError(f"{where} is no YAML: {reason}") from None
    if _count_values(content) > MOST:
        raise ValueError(
            f"{where} holds more than {MOST:,} values; its aliases repeat too much"
        )
    return content


def read_json(path: StrPath, what: str = "") -> Any:
    """Return the content of a JSON file. what: the flag or key that names it. Raises
    FileNotFoundError, or ValueError for no JSON.
    """
    return parse_json(_read_text(path, what), _named(path, what))


def parse_json(text: str, where: str) -> Any:
    """Return the value of JSON text; ValueError has `where` and the line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where}:{error.lineno}: not valid json: {error.msg}"
        ) from error
    except RecursionError:
        raise ValueError(f"{where}: not valid json: nested too deeply") from None
    except ValueError as error:  # a number of more than 4,300 digits
        raise ValueError(f"{where}: not valid json: {error}") from None


def write_json(path: StrPath, value: Any, indent: int | None = 2) -> None:
    """Write a JSON file whole or not at all, making its folder."""
    text = json.dumps(value, indent=indent)
    write_text(path, f"{text}\n")


def _named(path: StrPath, what: str) -> str:
    return f"{what}: {path}" if what else str(path)


def _read_text(path: StrPath, what: str) -> str:
    if not Path(path).is_file():  # a pipe would be waited for
        raise FileNotFoundError(_named(f"no file {path}", what))
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{_named(path, what)} is not UTF-8 text: {error}") from None


def _count_values(content: Any) -> int:
    left = [content]
    count = 0
    while left and count <= MOST:
        value = left.pop()
        count += 1
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | set | tuple):
            left += value
    return count

"""Measure how dense the code is: `python tests/measure.py [FOLDER_OR_FILE...]` prints a
table, and functions with many branches.

A decision point is an `if`, a loop, an `except`, a ternary, each further operand of
`and` or `or`, and each condition of a comprehension. A hidden branch is one inside an
expression: a ternary, `and`, `or`, a comprehension and its conditions. Tokens are
counted for each line that holds code; comments and docstrings do not count.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_DECISIONS = 12
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Measures:
    """The counts over some files."""

    lines: int = 0
    branches: Counter = field(default_factory=Counter)  # "statements" and "hidden"
    tokens: list[int] = field(default_factory=list)  # of each line with code, sorted
    # (decision points, "file:function")
    functions: list[tuple[int, str]] = field(default_factory=list)

    @property
    def hidden_share(self) -> float:
        """Return hidden branches in percent of all."""
        total = sum(self.branches.values())
        return 100 * self.branches["hidden"] / max(total, 1)

    def percentile(self, percent: int) -> int:
        """Return the number of tokens that `percent` of the lines do not exceed."""
        return self.tokens[len(self.tokens) * percent // 100] if self.tokens else 0


def source_files(paths: list[str] | None = None) -> list[Path]:
    """Return the tracked Python files without tests, or those below `paths`."""
    command = [
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        *(paths or ["*.py"]),
    ]
    names = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [
        ROOT / name
        for name in names
        if name.endswith(".py")
        and not name.startswith("tests/")
        and (ROOT / name).is_file()
    ]


def measure(files: list[Path]) -> Measures:
    """Count over some files."""
    found = Measures()
    for file in files:
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source)
        found.lines += source.count("\n")
        found.tokens += tokens_by_line(source).values()
        for node in ast.walk(tree):
            found.branches.update(kinds_of(node))
        for node in ast.walk(tree):
            if isinstance(node, Function):
                found.functions.append(
                    (decisions(node), f"{file.relative_to(ROOT)}:{node.name}")
                )
    found.tokens.sort()
    found.functions.sort(reverse=True)
    return found


def kinds_of(node: ast.AST) -> Counter:
    """Return the branches that one node is, as statements or hidden."""
    if isinstance(
        node,
        ast.If
        | ast.For
        | ast.AsyncFor
        | ast.While
        | ast.ExceptHandler
        | ast.match_case,
    ):
        return Counter(statements=1)
    if isinstance(node, ast.IfExp):
        return Counter(hidden=1)
    if isinstance(node, ast.BoolOp):
        return Counter(hidden=len(node.values) - 1)
    if isinstance(node, ast.comprehension):
        return Counter(hidden=1 + len(node.ifs))
    return Counter()


def decisions(function: Function) -> int:
    """Return the decision points of a function, without those of functions inside it."""
    count = 0
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function):
            continue
        if isinstance(node, ast.comprehension):
            count += len(node.ifs)
        else:
            count += sum(kinds_of(node).values())
        waiting += ast.iter_child_nodes(node)
    return count


def tokens_by_line(source: str) -> Counter:
    """Return the number of tokens of each line with code."""
    counts: Counter = Counter()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_docstring = token.type == tokenize.STRING and token.string.lstrip(
            "rR"
        ).startswith(('"""', "'''"))
        if token.type not in NO_CODE and not is_docstring:
            counts[token.start[0]] += 1
    return counts


def main() -> None:
    """Print the measures of the whole tree, or of the paths on the command line."""
    found = measure(source_files(sys.argv[1:]))
    sys.stdout.write(
        f"lines                      {found.lines}\n"
        f"hidden branches            {found.hidden_share:.1f} %\n"
        f"tokens a line, mean / p90  {sum(found.tokens) / max(len(found.tokens), 1):.1f} / {found.percentile(90)}\n"
    )
    for count, name in found.functions:
        if count > MOST_DECISIONS:
            sys.stdout.write(f"{count:3d} decision points       {name}\n")


if __name__ == "__main__":
    main()

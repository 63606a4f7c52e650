"""Groups of tasks from a transfer matrix: which tasks a target's prompt is learnt with.

    python -m scripts.groups MATRIX.csv --best --size 3 -o groups.yaml
    python train.py --trainer MVPT --dataset mnist,gtsrb --groups groups.yaml

MATRIX.csv has a row for each source task and a column for each target, raw scores or divided by each column's best: the
choice is the same. A group of 2 is the target and the task whose prompt transfers best to it (with --worst: worst), a
group of 3 has the second best too. The diagonal, a task's own prompt, is ignored.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from trainers.engine.results import write_text


@dataclass(frozen=True)
class Matrix:
    """Scores of the prompt of each task (row) on each task (column), in percent or divided by a column's best."""

    tasks: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]

    def column(self, target: str) -> dict[str, float]:
        """source -> score on `target`, without the target itself."""
        k = self.tasks.index(target)
        return {task: row[k] for task, row in zip(self.tasks, self.scores, strict=True) if task != target}


def read_matrix(path: str | Path) -> Matrix:
    """A matrix from a CSV: header row of targets, first column of sources, in any order.

    Raises FileNotFoundError, or ValueError for what is no square table of numbers, naming the row and column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no matrix {path}")
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            lines = [line for line in csv.reader(stream) if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} is no CSV file: {error}") from None
    targets = [cell.strip() for cell in lines[0][1:]] if lines else []
    sources = [line[0].strip() for line in lines[1:]]
    for what, names in (("column", targets), ("row", sources)):
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{path.name}: {what} {twice[0]!r} is there twice")
    odd = sorted({*targets} ^ {*sources})
    if odd or not targets:
        where = f"; {odd[0]!r} is only a {'row' if odd[0] in sources else 'column'}" if odd else ""
        raise ValueError(f"{path.name} is not square: {len(sources)} source rows, {len(targets)} target columns{where}")
    rows = {}
    for line in lines[1:]:
        source, cells = line[0].strip(), line[1:]
        if len(cells) != len(targets):
            raise ValueError(f"{path.name}: row {source!r} has {len(cells)} scores, there are {len(targets)} columns")
        rows[source] = {target: _score(cell, path, source, target) for target, cell in zip(targets, cells, strict=True)}
    return Matrix(tuple(targets), tuple(tuple(rows[source][target] for target in targets) for source in targets))


def _score(cell: str, path: Path, source: str, target: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if source != target and not math.isfinite(value):
        raise ValueError(f"{path.name}: {source} on {target} is {cell.strip()!r}, not a number")
    return value


def write_matrix(path: Path, matrix: Matrix) -> None:
    """A matrix as CSV with six decimals."""
    lines = [",".join(["source", *matrix.tasks])]
    for task, row in zip(matrix.tasks, matrix.scores, strict=True):
        lines.append(",".join([task, *(f"{value:.6f}" for value in row)]))
    write_text(path, "\n".join(lines) + "\n")


def choose(matrix: Matrix, size: int, worst: bool = False) -> dict[str, list[str]]:
    """target -> the size - 1 tasks that transfer best (or worst) to it, best (or worst) first; of equals, the earlier.

    Raises ValueError when a group would be larger than the number of tasks.
    """
    if not 1 <= size <= len(matrix.tasks):
        raise ValueError(f"--size: a group has 1 to {len(matrix.tasks)} tasks here, not {size}")
    groups = {}
    for target in matrix.tasks:
        column = matrix.column(target)
        ranked = sorted(column, key=lambda task: column[task] if worst else -column[task])
        groups[target] = ranked[: size - 1]
    return groups


def to_yaml(groups: dict[str, list[str]], comment: str) -> str:
    """The YAML that `train.py --groups` takes."""
    return f"# {comment}\n" + yaml.safe_dump(groups, sort_keys=False, default_flow_style=None, width=1000)


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 and one line for wrong input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("matrix", help="CSV of scores: a row a source, a column a target")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--best", action="store_true", help="tasks that transfer best (the default)")
    order.add_argument("--worst", action="store_true", help="tasks that transfer worst")
    parser.add_argument("--size", default="3", help="tasks in a group with the target; several sizes, comma separated")
    parser.add_argument("-o", "--output", default="", help="YAML; of several sizes, each has its own: groups_2.yaml")
    args = parser.parse_args(argv)
    try:
        sizes = _sizes(args.size)
        matrix = read_matrix(args.matrix)
        order = "worst" if args.worst else "best"
        texts = {k: to_yaml(choose(matrix, k, args.worst), f"{order} groups of {k}") for k in sizes}
        for size, text in texts.items():
            if not args.output:
                sys.stdout.write(("---\n" if len(texts) > 1 else "") + text)
                continue
            path = Path(args.output)
            write_text(path if len(texts) == 1 else path.with_stem(f"{path.stem}_{size}"), text)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"--size: whole numbers from 1, comma separated, not {text!r}")
    return [int(part) for part in dict.fromkeys(parts)]


if __name__ == "__main__":
    sys.exit(main())

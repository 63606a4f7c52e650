"""Groups of tasks from a transfer matrix: which tasks a target's prompt is trained
with.

    python -m scripts.groups MATRIX.csv --best --size 3 -o groups.yaml
    python train.py --trainer MVPT --dataset mnist,gtsrb --groups groups.yaml

MATRIX.csv has a row for each source task and a column for each target, raw scores or
divided by each column's best: the choice is the same. A group of 2 is the target and
the task whose prompt transfers best to it (with --worst: worst), a group of 3 has the
second best too. The diagonal, a task's own prompt, is ignored.
"""

import argparse
import sys
from pathlib import Path

import yaml

from scripts.transfer.matrix import Matrix, read_square_matrix
from toolkit.common.cli import Argv, command_parser, run_command
from toolkit.common.files import write_text


def choose(matrix: Matrix, size: int, worst: bool = False) -> dict[str, list[str]]:
    """Return the size - 1 tasks that transfer best (or worst) to each target, in order.
    Of equals, the earlier is first. Raises ValueError for a size above the number of
    tasks.
    """
    tasks = matrix.targets
    if not 1 <= size <= len(tasks):
        raise ValueError(
            f"--size: a group has 1 to {len(tasks)} tasks here, not {size}"
        )
    groups = {}
    for target, column in zip(tasks, matrix.scores.T.tolist(), strict=True):
        scores = dict(zip(tasks, column, strict=True))
        del scores[target]
        groups[target] = sorted(scores, key=scores.get, reverse=not worst)[: size - 1]
    return groups


def to_yaml(matrix: Matrix, size: int, worst: bool = False) -> str:
    """Return the groups of `choose` as the YAML that `train.py --groups` takes."""
    order = "worst" if worst else "best"
    groups = choose(matrix, size, worst)
    return f"# {order} groups of {size}\n" + yaml.safe_dump(
        groups, sort_keys=False, default_flow_style=None, width=1000
    )


def write_groups(args: argparse.Namespace) -> None:
    """Write the groups of every size, to files or to standard output."""
    parts = [part.strip() for part in args.size.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(
            f"--size: whole numbers from 1, comma separated, not {args.size!r}"
        )
    sizes = dict.fromkeys(map(int, parts))
    matrix = read_square_matrix(args.matrix)
    texts = {size: to_yaml(matrix, size, args.worst) for size in sizes}
    separator = "---\n" if len(texts) > 1 else ""
    for size, text in texts.items():
        path = Path(args.output)
        if args.output and separator:
            path = path.with_stem(f"{path.stem}_{size}")
        if args.output:
            write_text(path, text)
        else:
            sys.stdout.write(separator + text)


def main(argv: Argv = None) -> int:
    """Run the command line; exit code 2 and one line for wrong input."""
    parser = command_parser("scripts.groups", __doc__)
    add = parser.add_argument
    add("matrix", help="CSV of scores: a row a source, a column a target")
    order = parser.add_mutually_exclusive_group().add_argument
    order("--best", action="store_true", help="tasks that transfer best (the default)")
    order("--worst", action="store_true", help="tasks that transfer worst")
    text = "tasks in a group with the target; several sizes, comma separated"
    add("--size", default="3", help=text)
    text = "YAML; of several sizes, each has its own: groups_2.yaml"
    add("-o", "--output", default="", help=text)
    args = parser.parse_args(argv)
    return run_command(lambda: write_groups(args))


if __name__ == "__main__":
    sys.exit(main())

"""Command line: ``python -m elevater_eval combine | validate | score | diff``. Exit
code 2 on bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from elevater_eval import tables
from elevater_eval.comparison import RESAMPLES, compare
from elevater_eval.issues import InvalidSubmissionError, errors_of
from elevater_eval.metrics import EXTRA
from elevater_eval.scoring import score
from elevater_eval.submission import combine
from elevater_eval.validation import check_root, inspect
from toolkit.common import cli
from toolkit.common.structured import write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    return cli.run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int | None:
    try:
        return options.run(options)
    except InvalidSubmissionError as error:  # each of its lines begins with "error: "
        print(error, file=sys.stderr)
        return cli.BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m elevater_eval", description="ELEVATER submissions and scores."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "combine", help="merge prediction files into a submission"
    )
    command.add_argument(
        "sources",
        nargs="+",
        metavar="DIR",
        help="run folders, folders of prediction files, or files",
    )
    command.add_argument("-o", "--out", default="submission.zip", metavar="FILE")
    command.add_argument(
        "--root", help="data root: warn of test sets that are not in ELEVATER's order"
    )
    command.add_argument(
        "--allow-partial", action="store_true", help="tasks may differ in their seeds"
    )
    command.set_defaults(run=_combine)

    command = commands.add_parser(
        "validate", help="check a submission; exit code 2 if it holds an error"
    )
    command.add_argument(
        "sources",
        nargs="+",
        metavar="FILE",
        help="a submission, or prediction files and folders",
    )
    command.add_argument(
        "--root", help="data root: check sizes against its index files"
    )
    command.add_argument(
        "--leaderboard",
        action="store_true",
        help="what the leaderboard misses is an error",
    )
    command.set_defaults(run=_validate)

    command = commands.add_parser(
        "score", help="score a submission against the labels of a data root"
    )
    command.add_argument(
        "sources",
        nargs="+",
        metavar="FILE",
        help="a submission, or prediction files and folders",
    )
    command.add_argument("--root", required=True, help="data root with the index files")
    command.add_argument(
        "--only", type=_names, metavar="TASK,...", help="score these tasks only"
    )
    command.add_argument(
        "--extra",
        type=_names,
        default=[],
        metavar="NAME,...",
        help=f"unofficial metrics beside: {', '.join(EXTRA)}",
    )
    command.add_argument(
        "--json",
        metavar="FILE",
        help="write the scores, as fractions, to this file too",
    )
    command.set_defaults(run=_score)

    command = commands.add_parser(
        "diff", help="compare two submissions, with paired tests over the test images"
    )
    command.add_argument(
        "a", metavar="A", help="a submission, or a folder of prediction files"
    )
    command.add_argument("b", metavar="B", help="another one; differences are B - A")
    command.add_argument("--root", required=True, help="data root with the index files")
    command.add_argument(
        "--only", type=_names, metavar="TASK,...", help="compare these tasks only"
    )
    command.add_argument(
        "--resamples",
        type=int,
        default=RESAMPLES,
        help="of the bootstrap (default: %(default)s)",
    )
    command.add_argument(
        "--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)"
    )
    command.add_argument(
        "--json",
        metavar="FILE",
        help="write the comparison, in fractions, to this file too",
    )
    command.set_defaults(run=_diff)
    return parser


def _combine(options: argparse.Namespace) -> None:
    if options.root:
        check_root(options.root)
    path = combine(
        options.sources, options.out, options.root, allow_partial=options.allow_partial
    )
    print(f"wrote {path}")


def _validate(options: argparse.Namespace) -> int:
    entries, issues = inspect(
        options.sources, options.root, leaderboard=options.leaderboard
    )
    if entries:
        print(tables.outlines(entries))
    for issue in issues:
        print(issue)
    errors = len(errors_of(issues))
    warnings = len(issues) - errors
    verdict = "INVALID" if errors else "valid"
    print(f"{verdict}: {len(entries)} tasks, {errors} errors, {warnings} warnings")
    return cli.BAD_INPUT if errors else cli.OK


def _score(options: argparse.Namespace) -> None:
    result = score(
        options.sources, options.root, only=options.only, extra=options.extra
    )
    print(f"{result['model_name']}, n_shot {result['n_shot']}, scores in %")
    print(tables.scores(result))
    if options.extra:
        print("\nnot official, in %, means over seeds")
        print(tables.extras(result, options.extra))
    if options.json:
        write_json(options.json, result)


def _diff(options: argparse.Namespace) -> None:
    result = compare(
        options.a,
        options.b,
        options.root,
        only=options.only,
        resamples=options.resamples,
        seed=options.seed,
    )
    print(f"A: {result['a']} ({options.a})\nB: {result['b']} ({options.b})")
    print(
        f"scores in %; intervals of 95 % from {result['resamples']} draws of images, seed {result['seed']}"
    )
    print(tables.differences(result))
    for message in result["absent"]:
        print(message)
    if options.json:
        write_json(options.json, result)


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())

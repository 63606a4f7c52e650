"""Command line: ``python -m elevater_eval combine | validate | score | diff``. Exit
code 2 on bad input.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

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
    parser = cli.command_parser("elevater_eval", "ELEVATER submissions and scores.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable, summary: str) -> Callable:
        """Add a command and return the function that adds its arguments."""
        command = commands.add_parser(name, help=summary)
        command.set_defaults(run=run)
        return command.add_argument

    files = "a submission, or prediction files and folders"
    needed = "data root with the index files"
    default = "of the bootstrap (default: %(default)s)"

    add = command("combine", _combine, "merge prediction files into a submission")
    runs = "run folders, folders of prediction files, or files"
    add("sources", nargs="+", metavar="DIR", help=runs)
    add("-o", "--out", default="submission.zip", metavar="FILE")
    order = "data root: warn of test sets that are not in ELEVATER's order"
    add("--root", help=order)
    partial = "tasks may differ in their seeds"
    add("--allow-partial", action="store_true", help=partial)

    verdict = "check a submission; exit code 2 if it holds an error"
    add = command("validate", _validate, verdict)
    add("sources", nargs="+", metavar="FILE", help=files)
    add("--root", help="data root: check sizes against its index files")
    strict = "what the leaderboard misses is an error"
    add("--leaderboard", action="store_true", help=strict)

    labels = "score a submission against the labels of a data root"
    add = command("score", _score, labels)
    add("sources", nargs="+", metavar="FILE", help=files)
    add("--root", required=True, help=needed)
    add("--only", type=_names, metavar="TASK,...", help="score these tasks only")
    extra = f"unofficial metrics beside: {', '.join(EXTRA)}"
    add("--extra", type=_names, default=[], metavar="NAME,...", help=extra)
    fractions = "write the scores, as fractions, to this file too"
    add("--json", metavar="FILE", help=fractions)

    tests = "compare two submissions, with paired tests over the test images"
    add = command("diff", _diff, tests)
    add("a", metavar="A", help="a submission, or a folder of prediction files")
    add("b", metavar="B", help="another one; differences are B - A")
    add("--root", required=True, help=needed)
    add("--only", type=_names, metavar="TASK,...", help="compare these tasks only")
    add("--resamples", type=int, default=RESAMPLES, help=default)
    add("--seed", type=int, default=0, help=default)
    fractions = "write the comparison, in fractions, to this file too"
    add("--json", metavar="FILE", help=fractions)
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
    choices = {key: getattr(options, key) for key in ("only", "resamples", "seed")}
    result = compare(options.a, options.b, options.root, **choices)
    print(f"A: {result['a']} ({options.a})\nB: {result['b']} ({options.b})")
    draws = f"{result['resamples']} draws of images, seed {result['seed']}"
    print(f"scores in %; intervals of 95 % from {draws}")
    print(tables.differences(result))
    for message in result["absent"]:
        print(message)
    if options.json:
        write_json(options.json, result)


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())

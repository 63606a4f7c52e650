"""Command line: ``python -m elevater_eval combine | validate | score | diff``. Exit code 2 on bad input."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elevater_eval import tables
from elevater_eval.comparison import RESAMPLES, compare
from elevater_eval.entry import PredictionFile
from elevater_eval.metrics import EXTRA
from elevater_eval.problems import WARNING, InvalidSubmissionError, errors_of
from elevater_eval.scoring import score
from elevater_eval.submission import combine
from elevater_eval.tables import aligned
from elevater_eval.validation import inspect
from toolkit.common.files import atomic_write

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except InvalidSubmissionError as error:
        print(error, file=sys.stderr)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
    return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m elevater_eval", description="ELEVATER submissions and scores.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("combine", help="merge prediction files into a submission")
    command.add_argument("sources", nargs="+", metavar="DIR", help="run folders, folders of prediction files, or files")
    command.add_argument("-o", "--out", default="submission.zip", metavar="FILE")
    command.add_argument("--root", help="data root: warn of test sets that are not in ELEVATER's order")
    command.add_argument("--allow-partial", action="store_true", help="tasks may differ in their seeds")
    command.set_defaults(run=_combine)

    command = commands.add_parser("validate", help="check a submission; exit code 2 if it holds an error")
    command.add_argument("sources", nargs="+", metavar="FILE", help="a submission, or prediction files and folders")
    command.add_argument("--root", help="data root: check sizes against its index files")
    command.add_argument("--leaderboard", action="store_true", help="what the leaderboard misses is an error")
    command.set_defaults(run=_validate)

    command = commands.add_parser("score", help="score a submission against the labels of a data root")
    command.add_argument("sources", nargs="+", metavar="FILE", help="a submission, or prediction files and folders")
    command.add_argument("--root", required=True, help="data root with the index files")
    command.add_argument("--only", type=_names, metavar="TASK,...", help="score these tasks only")
    command.add_argument(
        "--extra", type=_names, default=[], metavar="NAME,...", help=f"unofficial metrics beside: {', '.join(EXTRA)}"
    )
    command.add_argument("--json", metavar="FILE", help="write the scores, as fractions, to this file too")
    command.set_defaults(run=_score)

    command = commands.add_parser("diff", help="compare two submissions, with paired tests over the test images")
    command.add_argument("a", metavar="A", help="a submission, or a folder of prediction files")
    command.add_argument("b", metavar="B", help="another one; differences are B - A")
    command.add_argument("--root", required=True, help="data root with the index files")
    command.add_argument("--only", type=_names, metavar="TASK,...", help="compare these tasks only")
    command.add_argument("--resamples", type=int, default=RESAMPLES, help="of the bootstrap (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    command.add_argument("--json", metavar="FILE", help="write the comparison, in fractions, to this file too")
    command.set_defaults(run=_diff)
    return parser


def _combine(options: argparse.Namespace) -> int:
    if options.root and not Path(options.root).is_dir():
        raise FileNotFoundError(f"data root {options.root} is not a folder")
    print(f"wrote {combine(options.sources, options.out, options.root, allow_partial=options.allow_partial)}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    sources = options.sources[0] if len(options.sources) == 1 else options.sources
    outlines, problems = inspect(sources, options.root, leaderboard=options.leaderboard)
    if outlines:
        rows = [_row_of(entry) for entry in outlines]
        print(aligned(["task", "images", "classes", "n_shot", "seeds"], rows))
    for problem in problems:
        print(problem)
    errors = len(errors_of(problems))
    warnings = sum(problem.level == WARNING for problem in problems)
    print(f"{'INVALID' if errors else 'valid'}: {len(outlines)} tasks, {errors} errors, {warnings} warnings")
    return BAD_INPUT if errors else 0


def _row_of(entry: PredictionFile) -> list[Any]:
    images, classes = entry.predictions[0].shape
    return [entry.dataset_name, images, classes, entry.n_shot, ",".join(map(str, entry.rnd_seeds))]


def _score(options: argparse.Namespace) -> int:
    sources = options.sources[0] if len(options.sources) == 1 else options.sources
    result = score(sources, options.root, only=options.only, extra=options.extra)
    print(f"{result['model_name']}, n_shot {result['n_shot']}, scores in %")
    print(tables.scores(result))
    if options.extra:
        print("\nnot official, in %, means over seeds")
        print(tables.extras(result, options.extra))
    _write(options.json, result)
    return 0


def _diff(options: argparse.Namespace) -> int:
    result = compare(
        options.a, options.b, options.root, only=options.only, resamples=options.resamples, seed=options.seed
    )
    print(f"A: {result['a']} ({options.a})\nB: {result['b']} ({options.b})")
    print(f"scores in %; intervals of 95 % from {result['resamples']} draws of images, seed {result['seed']}")
    print(tables.differences(result))
    for message in result["absent"]:
        print(message)
    _write(options.json, result)
    return 0


def _write(path: str | None, result: dict[str, Any]) -> None:
    if path:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())

"""Command line: ``python -m elevater_eval combine | validate | score``. Exit code 2 on bad input."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elevater_eval.entry import PredictionFile
from elevater_eval.predictions import written_whole
from elevater_eval.problems import WARNING, InvalidSubmissionError, errors_of
from elevater_eval.scoring import score
from elevater_eval.submission import combine
from elevater_eval.validation import inspect

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
    command.set_defaults(run=_combine)

    command = commands.add_parser("validate", help="check a submission; exit code 2 if it holds an error")
    command.add_argument("sources", nargs="+", metavar="FILE", help="a submission, or prediction files and folders")
    command.add_argument("--root", help="data root: check sizes against its index files")
    command.add_argument("--leaderboard", action="store_true", help="what the leaderboard misses is an error")
    command.set_defaults(run=_validate)

    command = commands.add_parser("score", help="score a submission against the labels of a data root")
    command.add_argument("sources", nargs="+", metavar="FILE", help="a submission, or prediction files and folders")
    command.add_argument("--root", required=True, help="data root with the index files")
    command.add_argument("--only", type=lambda text: text.split(","), metavar="TASK,...", help="score these tasks only")
    command.add_argument("--json", metavar="FILE", help="write the scores, as fractions, to this file too")
    command.set_defaults(run=_score)
    return parser


def _combine(options: argparse.Namespace) -> int:
    if options.root and not Path(options.root).is_dir():
        raise FileNotFoundError(f"data root {options.root} is not a folder")
    print(f"wrote {combine(options.sources, options.out, options.root)}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    sources = options.sources[0] if len(options.sources) == 1 else options.sources
    entries, problems = inspect(sources, options.root, leaderboard=options.leaderboard)
    if entries:
        rows = [_row_of(entry) for entry in entries]
        print(_table(["task", "images", "classes", "n_shot", "seeds"], rows))
    for problem in problems:
        print(problem)
    errors = len(errors_of(problems))
    warnings = sum(problem.level == WARNING for problem in problems)
    print(f"{'INVALID' if errors else 'valid'}: {len(entries)} tasks, {errors} errors, {warnings} warnings")
    return BAD_INPUT if errors else 0


def _row_of(entry: PredictionFile) -> list[Any]:
    images, classes = entry.predictions[0].shape
    return [entry.dataset_name, images, classes, entry.n_shot, ",".join(map(str, entry.rnd_seeds))]


def _score(options: argparse.Namespace) -> int:
    sources = options.sources[0] if len(options.sources) == 1 else options.sources
    result = score(sources, options.root, only=options.only)
    seeds = sorted({seed for record in result["tasks"] for seed in record["seeds"]})
    rows = []
    for record in result["tasks"]:
        by_seed = dict(zip(record["seeds"], record["scores"], strict=True))
        cells = [_percent(by_seed.get(seed)) for seed in seeds]
        rows.append([record["task"], record["metric"], *cells, _percent(record["score"])])
    for suite in result["suites"]:
        of = f"{suite['tasks']} of {suite['of']} tasks"
        rows.append([f"mean of {suite['suite']}", of, *[""] * len(seeds), _percent(suite["score"])])
    print(f"{result['model_name']}, n_shot {result['n_shot']}, scores in %")
    print(_table(["task", "metric", *[f"seed {seed}" for seed in seeds], "mean"], rows))
    if options.json:
        with written_whole(options.json) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned text: the first column to the left, the others to the right."""
    lines = [[str(cell) for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


if __name__ == "__main__":
    sys.exit(main())

"""Run the field's protocols for some methods, or print the plan.

    python -m scripts.protocols all --suite pocket --trainer CoOp,MVPT --seeds 1,2
    python -m scripts.protocols base2new --suite coop --trainer CoOp,MaPLe --root DATA

Runs that exist below --output-dir are reused; a stopped command is resumed. Tables,
plots and paired tests are written to OUTPUT_DIR/tables: see docs/protocols.md.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripts.jobs import execution
from scripts.jobs.plan import Plan
from scripts.study import methods
from scripts.study.options import check_jobs, check_options
from scripts.study.running import run_jobs, split_words, whole_numbers
from toolkit.common.cli import Argv, command_parser
from toolkit.common.suggest import canonical, nearest, unknown
from toolkit.common.text import naming
from trainers.engine.config_values import parse

from .planner import ProtocolPlanner, Results
from .suite import PROTOCOLS, Suite, load

log = logging.getLogger("protocols")


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_parser("scripts.protocols", __doc__)
    add = parser.add_argument
    text = f"all, or some of {', '.join(PROTOCOLS)}"
    add("protocols", nargs="+", metavar="PROTOCOL", help=text)
    add("--trainer", default="CoOp", help="methods, comma separated")
    text = "pocket, coop, or a YAML like theirs (configs/protocols)"
    add("--suite", default="pocket", help=text)
    add("--seeds", default="", help="comma separated; default: the suite's")
    text = "of few-shot curves, comma separated; the other protocols take the most"
    add("--shots", default="", help=text)
    add("--backbone", default="", help="another backbone than the suite's")
    add("--output-dir", default="", help="default: output/protocols_<suite>")
    text = "name folders as CoOp's scripts do, with a log.txt for its parser"
    add("--coop-folders", action="store_true", help=text)
    execution.add_arguments(parser)
    text = "configuration keys of all runs"
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help=text)
    return parser


def plan_of(args: argparse.Namespace) -> tuple[Suite, Plan, list[Results]]:
    """Return the suite, the plan and which runs hold its numbers, or raise ValueError."""
    suite = load(args.suite)
    if args.backbone:
        suite = replace(suite, backbone=args.backbone)
    names = _methods(args.trainer)
    options = _options(args.opts)
    with naming(f"{Path(args.suite).name}: options"):
        check_options(names, suite.options, suite.backbone)
    check_options(names, options, suite.backbone)
    planner = ProtocolPlanner(
        suite,
        names,
        whole_numbers("--seeds", args.seeds, 0) or suite.seeds,
        whole_numbers("--shots", args.shots, 1) or suite.shots,
        options,
        args.coop_folders,
    )
    planned = [getattr(planner, name)() for name in _protocols(args.protocols)]
    check_jobs(planner.plan)
    return suite, planner.plan, planned


def _protocols(chosen: Sequence[str]) -> list[str]:
    names = []
    choices = ("all", *PROTOCOLS)
    for name in chosen:
        if name not in choices:
            raise unknown("unknown protocol", name, choices)
        names += PROTOCOLS if name == "all" else [name]
    return list(dict.fromkeys(names))


def _methods(text: str) -> list[str]:
    known = methods.known()
    found = {}
    for word in split_words(text):
        name = canonical(word, known)
        if name is None:
            raise ValueError(
                f"--trainer: {word!r} is no trainer that learns; the nearest is {nearest(word, known)[0]!r}"
            )
        found[name] = word
    if not found:
        raise ValueError(f"--trainer: give some of {', '.join(known)}")
    return list(found)


def _options(opts: Sequence[str]) -> dict:
    if len(opts) % 2:
        raise ValueError(f"--opts: pairs KEY VALUE; {opts[-1]!r} is left over")
    options = {}
    for key, text in zip(opts[::2], opts[1::2], strict=True):
        value = parse(text)
        is_word = text.lower() not in ("true", "false")
        if isinstance(value, dict) or (isinstance(value, bool) and is_word):
            value = text  # of a key with words, such as "no"
        options[key] = value
    return options


def run(args: argparse.Namespace) -> int:
    """Plan, run, write. Return exit code 1 if a job failed."""
    execution.check(args)
    suite, plan, planned = plan_of(args)
    if not args.output_dir:
        args.output_dir = os.path.join("output", f"protocols_{suite.name}")
    counts = plan.counts()
    names = ", ".join(results.protocol for results in planned)
    lines = [
        f"{names} on {suite.name}, {suite.backbone}: {args.trainer}",
        f"{counts['adaptation']:,} trainings, {counts['source']:,} source prompts, {counts['evaluation']:,} evaluations",
    ]

    def write(folder: Path) -> None:
        from . import tables

        tables.write_all(suite, planned, folder)
        if args.coop_folders:
            tables.write_logs(plan, folder)

    needs_root = not all(name.startswith("pocket-") for name in suite.sets)
    return run_jobs(plan, lines, args, write, log, needs_root=needs_root)


def main(argv: Argv = None) -> int:
    """Run the command; return its exit code, see `execution.command`."""
    return execution.command(run, arguments(), argv)


if __name__ == "__main__":
    sys.exit(main())

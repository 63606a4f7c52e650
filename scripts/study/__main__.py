"""Run the paper's tables and figures, or print the plan.

    python -m scripts.study all --suite pocket --dry-run
    python -m scripts.study table1 --suite pocket --seeds 0,1,2
    python -m scripts.study table1 table2 --suite paper --root DATA

Runs that exist below --output-dir are reused, also those of another table; a stopped
study is resumed. For each table or figure CSV, Markdown, LaTeX, JSON and PNG files are
written to OUTPUT_DIR/tables.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.jobs import execution
from scripts.jobs.plan import Plan
from toolkit.common.cli import Argv, command_parser
from toolkit.common.text import naming

from . import methods, protocol
from .items import Item, plan_items
from .options import check_jobs, check_options
from .protocol import Protocol
from .running import run_jobs, split_words, whole_numbers

log = logging.getLogger("study")
NO_PROMPT = "a trainer for Dassl alone leaves no prompt that is scored on other tasks"


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_parser("scripts.study", __doc__)
    add = parser.add_argument
    text = f"all, or some of {', '.join(protocol.ITEMS)}"
    add("items", nargs="+", metavar="ITEM", help=text)
    text = "pocket, paper, or a YAML like theirs (configs/studies)"
    add("--suite", default="pocket", help=text)
    add("--seeds", help="comma separated; default: the suite's")
    text = f"trainers, comma separated; default: {','.join(methods.PAPER)}"
    add("--methods", help=text)
    add("--backbone", default="", help="another backbone than the suite's")
    add("--output-dir", default=str(Path("output") / "study"))
    text = "write tables, tests and plots into a Markdown file, too"
    add("--results", default="", metavar="FILE", help=text)
    execution.add_arguments(parser)
    return parser


def plan_of(args: argparse.Namespace) -> tuple[Protocol, Plan, list[Item]]:
    """Return the protocol and plan. Raise ValueError or OSError for wrong input."""
    for flag in ("seeds", "methods"):
        text = getattr(args, flag)
        if text is not None and not split_words(text):
            raise ValueError(f"--{flag} is {text!r}, which names none")
    if args.root and not Path(args.root).expanduser().is_dir() and not args.dry_run:
        raise FileNotFoundError(f"--root: no folder {args.root}")
    seeds = whole_numbers("--seeds", args.seeds or "", 0)
    known = protocol.load(args.suite)
    names = _item_names(args.items, known)
    known = protocol.narrowed(known, seeds, split_words(args.methods or ""))
    known = protocol.with_backbone(known, args.backbone)
    plan, items = plan_items(known, names)
    with naming(f"{Path(args.suite).name}: options"):
        check_options(known.methods, known.options, known.backbone)
        check_jobs(plan)
    return known, plan, items


def _item_names(given: Sequence[str], known: Protocol) -> list[str]:
    """Return the items of the command line, each once. Raise ValueError for others."""
    names = []
    for item in given:
        names += known.items if item == "all" else [item]
    for name in names:
        if name not in known.items:
            raise ValueError(
                f"unknown item {name!r}; {known.suite} has all, {', '.join(known.items)}"
            )
    return list(dict.fromkeys(names))


def describe(known: Protocol, plan: Plan, items: Sequence[Item]) -> list[str]:
    """Return the plan as lines: runs of each item, and of all together."""
    seeds = ", ".join(map(str, known.seeds))
    lines = [
        f"{known.suite}: {known.backbone}, seeds {seeds}, {', '.join(known.methods)}",
        "",
        f"{'':<10}{'source prompts':>15}{'adaptations':>13}{'transfers':>11}{'million images':>16}",
    ]
    for item in items:
        part, _ = plan_items(known, [item.name])
        lines.append(_count_line(item.name, part))
    lines.append(_count_line("together", plan))
    without = [name for name in known.singles() if not methods.leaves_prompt(name)]
    if without and any(item.name == "figure4" for item in items):
        lines.append(f"figure4 is without {', '.join(without)}: {NO_PROMPT}")
    return lines


def _count_line(name: str, plan: Plan) -> str:
    counts = plan.counts()
    images = sum(job.images for job in plan) / 1e6
    return f"{name:<10}{counts['source']:>15,}{counts['adaptation']:>13,}{counts['transfer']:>11,}{images:>16,.2f}"


def run(args: argparse.Namespace) -> int:
    """Plan, run, write. Return exit code 1 if a job failed."""
    from . import output

    execution.check(args)
    known, plan, items = plan_of(args)

    def write(folder: Path) -> None:
        output.write_all(known, items, folder, args.results, args.root)

    lines = describe(known, plan, items)
    about = {"show_images": False, "needs_root": known.backbone != "pocket"}
    return run_jobs(plan, lines, args, write, log, **about)


def main(argv: Argv = None) -> int:
    """Run the command; return its exit code, see `execution.command`."""
    return execution.command(run, arguments(), argv)


if __name__ == "__main__":
    sys.exit(main())

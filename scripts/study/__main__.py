"""Run the paper's tables and figures, or print what would be run.

    python -m scripts.study all --suite pocket --dry-run
    python -m scripts.study table1 --suite pocket --seeds 0,1,2
    python -m scripts.study table1 table2 --suite paper --root DATA

Runs that exist below --output-dir are reused, also those of another table; a stopped study goes on where it was. For each
table or figure CSV, Markdown, LaTeX, JSON and PNG files are written to OUTPUT_DIR/tables.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from scripts.jobs import execution
from scripts.jobs.plan import Job, Plan
from trainers.engine.run_dir import check_folder, exclusive_folder

from . import output, protocol
from .items import Item, plan_items
from .work import Place, finished, perform

log = logging.getLogger("study")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.study", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("items", nargs="+", metavar="ITEM", help=f"all, or some of {', '.join(protocol.ITEMS)}")
    add("--suite", default="pocket", help="pocket, paper, or a YAML like theirs (configs/studies)")
    add("--seeds", default="", help="comma separated; default: the suite's")
    add("--methods", default="", help=f"some of {','.join(protocol.METHODS)}; default: all")
    add("--root", default="", help="folder of the data sets")
    add("--backbone", default="", help="another backbone than the suite's")
    add("--output-dir", default=str(Path("output") / "study"))
    add("--dry-run", action="store_true", help="print the plan; needs neither data nor a backbone")
    add("--results", default="", metavar="FILE", help="write tables, tests and pictures into a Markdown file, too")
    execution.add_arguments(parser)
    return parser


def plan_of(args: argparse.Namespace) -> tuple[protocol.Protocol, Plan, list[Item]]:
    """The protocol and plan of the command line. Raises ValueError or FileNotFoundError for wrong input."""
    seeds = [part.strip() for part in args.seeds.split(",") if part.strip()]
    if not all(part.isdigit() for part in seeds):
        raise ValueError(f"--seeds: whole numbers from 0, comma separated, not {args.seeds!r}")
    known = protocol.load(args.suite)
    names = [name for item in args.items for name in (known.items if item == "all" else [item])]
    for name in names:
        if name not in known.items:
            raise ValueError(f"unknown item {name!r}; {known.suite} has all, {', '.join(known.items)}")
    methods = [part.strip() for part in args.methods.split(",") if part.strip()]
    known = protocol.narrowed(known, [int(seed) for seed in dict.fromkeys(seeds)], methods)
    known = protocol.with_backbone(known, args.backbone)
    plan, items = plan_items(known, list(dict.fromkeys(names)))
    return known, plan, items


def describe(known: protocol.Protocol, plan: Plan, items: Sequence[Item], args: argparse.Namespace) -> str:
    """The plan as text: runs of each item, of all together, and what they should take."""
    place = Place(args.output_dir, args.root)
    lines = [
        f"{known.suite}: {known.backbone}, seeds {', '.join(map(str, known.seeds))}, {', '.join(known.methods)}",
        "",
    ]
    lines.append(f"{'':<10}{'source prompts':>15}{'adaptations':>13}{'transfers':>11}{'million images':>16}")
    plans = {item.name: plan_items(known, [item.name])[0] for item in items} | {"together": plan}
    for name, part in plans.items():
        counts = part.counts()
        numbers = [counts.get(kind, 0) for kind in ("source", "adaptation", "transfer")]
        images = sum(job.images for job in part) / 1e6
        lines.append(f"{name:<10}{numbers[0]:>15,}{numbers[1]:>13,}{numbers[2]:>11,}{images:>16,.2f}")
    there = sum(is_there(job, place) for job in plan)
    if there:
        lines.append(f"{there:,} of these {len(plan):,} jobs are done in {args.output_dir}")
    if known.backbone == "pocket":
        lines.append(execution.time_needed([job for job in plan if not is_there(job, place)], args))
    else:
        lines.append("images: seen in training; the time is known once the first runs are measured")
    return "\n".join(lines) + "\n"


def render(tasks: Sequence[str]) -> None:
    """Write those of the tasks that are pocket tasks and are missing, before several processes want them."""
    from datasets import pocket

    pocket.ensure_all([name for name in tasks if name in pocket.SPECS])


def is_there(job: Job, place: Place) -> bool:
    """Whether the job's results are there; those of another job are not."""
    try:
        return finished(job, place)
    except ValueError:
        return False


def run(args: argparse.Namespace) -> int:
    """Plan, run, write. Exit code 1 when a job failed."""
    execution.check(args)
    known, plan, items = plan_of(args)
    text = describe(known, plan, items, args)
    sys.stdout.write(text)
    if args.dry_run:
        return 0
    folder, place = Path(args.output_dir), Place(args.output_dir, args.root)
    if known.backbone == "pocket":
        render([*known.sources, *known.targets])
    elif not args.root:
        raise ValueError("--root: the folder of the data sets is needed")
    check_folder(folder)
    with exclusive_folder(folder):
        there, work, trusted = partial(finished, place=place), (perform, place), known.backbone == "pocket"
        result = execution.execute(plan, there, work, folder, "study", args, trusted)
        output.write_all(known, items, folder, args.results, args.root)
    code = execution.summarise(result, log)
    log.info("tables in %s", os.path.join(args.output_dir, "tables"))
    return code


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 1 when jobs failed; 2 after one line about wrong input; 130 when stopped."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return execution.command(run, arguments(), argv)


if __name__ == "__main__":
    sys.exit(main())

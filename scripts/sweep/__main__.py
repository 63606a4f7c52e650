"""Run everything that a plan file names, on this machine or on a Ray cluster.

    python -m scripts.sweep configs/sweeps/pocket_small.yaml --dry-run
    python -m scripts.sweep configs/sweeps/pocket_small.yaml
    python -m scripts.sweep PLAN.yaml --address auto --gpus 0.5 --cpus 2

The plan is a study (`items`, `suite`, `seeds`, `methods`, `backbone`: see scripts.study) or free `runs`; flags win over
the file. A failed job is tried again, a lost one goes on from its last finished epoch, and the same command does only
what is missing. Free runs leave results.json, results.csv and results.md in the output folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from functools import partial
from pathlib import Path

from scripts.jobs import execution
from scripts.jobs.plan import Plan
from scripts.study import __main__ as study
from scripts.study.work import Place, configuration_of, finished, perform
from trainers.engine.run_dir import check_folder, exclusive_folder

from . import plan_file, results
from .plan_file import PlanFile
from .runs import plan_entries

log = logging.getLogger("sweep")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.sweep", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("plan", type=Path, metavar="PLAN.yaml", help="for example one of configs/sweeps")
    add("--root", default="", help="folder of the data sets")
    add("--output-dir", default="", help="default: output/<name of the plan>; all nodes must see it")
    add("--dry-run", action="store_true", help="print the plan; needs neither data nor a backbone")
    execution.add_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Plan, run, write. Exit code 1 when a job failed."""
    known = plan_file.read(args.plan)
    for flag in ("root", "output_dir", "retries"):
        if getattr(args, flag) in ("", None):
            setattr(args, flag, getattr(known, flag))
    for flag, value in known.resources.items():
        if args.address and getattr(args, flag) is None:
            setattr(args, flag, value)
    return run_study(known, args) if known.study else run_entries(known, args)


def run_study(known: PlanFile, args: argparse.Namespace) -> int:
    """A plan that is a study, as scripts.study runs it."""
    texts = {key: value if isinstance(value, str) else ",".join(map(str, value)) for key, value in known.study.items()}
    flags = [f"--{key}={text}" for key, text in texts.items() if key != "items"]
    study_args = study.arguments().parse_args([*flags, f"--output-dir={args.output_dir}", "--", *known.study["items"]])
    for name in ("root", "dry_run", "jobs", "address", "cpus", "gpus", "retries"):
        setattr(study_args, name, getattr(args, name))
    try:
        study.plan_of(study_args)
    except (ValueError, OSError) as error:
        raise ValueError(f"{args.plan.name}: {error}") from None
    return study.run(study_args)


def run_entries(known: PlanFile, args: argparse.Namespace) -> int:
    """A plan of free runs."""
    execution.check(args)
    plan, items = plan_entries(known.entries)
    check_options(plan, args.plan.name)
    place, folder = Place(args.output_dir, args.root), Path(args.output_dir)
    sys.stdout.write(describe(plan, place, args))
    if args.dry_run:
        return 0
    tasks = {task for job in plan for task in job.settings["tasks"]}
    study.render(sorted(tasks))
    check_folder(folder)
    with exclusive_folder(folder):
        work, trusted = (perform, place), all(entry.backbone == "pocket" for entry in known.entries)
        result = execution.execute(plan, partial(finished, place=place), work, folder, "sweep", args, trusted)
        results.write(plan, items, folder)
    code = execution.summarise(result, log)
    log.info("results in %s", os.path.join(args.output_dir, "results.md"))
    return code


def check_options(plan: Plan, file: str) -> None:
    """Raise ValueError for configuration keys or values that no run takes, before any is started."""
    for job in plan:
        try:
            configuration_of(job)
        except ValueError as error:
            raise ValueError(f"{file}: options: {error}") from None


def describe(plan: Plan, place: Place, args: argparse.Namespace) -> str:
    """The plan as text: how many jobs, and what they should take."""
    counts, missing = plan.counts(), [job for job in plan if not study.is_there(job, place)]
    kinds = f"{counts.get('source', 0):,} source prompts, {counts['adaptation']:,} adaptations"
    backbones = sorted({job.settings["backbone"] for job in plan})
    lines = [f"{args.plan.name}: {', '.join(backbones)}, {kinds}"]
    if len(missing) < len(plan):
        lines.append(f"{len(plan) - len(missing):,} of these {len(plan):,} jobs are done in {place.folder}")
    if backbones == ["pocket"]:
        lines.append(execution.time_needed(missing, args))
    else:
        images = sum(job.images for job in missing) / 1e6
        lines.append(f"{images:,.2f} million images in training; the time is known once the first runs are measured")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 1 when jobs failed; 2 after one line about wrong input; 130 when stopped."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return execution.command(run, arguments(), argv)


if __name__ == "__main__":
    sys.exit(main())

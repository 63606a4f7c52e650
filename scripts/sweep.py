"""Run everything that a plan file names, on this machine or on a Ray cluster.

    python -m scripts.sweep configs/sweeps/pocket_small.yaml --dry-run
    python -m scripts.sweep configs/sweeps/pocket_small.yaml
    python -m scripts.sweep PLAN.yaml --address auto --gpus 0.5 --cpus 2

The plan is a study (`items`, `suite`, `seeds`, `methods`, `backbone`: see
scripts.study) or free `runs`; flags win over the file. A failed job is tried again, a
lost one is resumed from its last finished epoch, and the same command runs only the
missing jobs. Free runs leave results.json, results.csv and results.md in the output
folder.
"""

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

from scripts.jobs import execution
from scripts.study import __main__ as study
from scripts.study import free_runs, plan_file
from scripts.study.options import check_jobs, check_options
from scripts.study.plan_file import PlanFile
from scripts.study.running import run_jobs
from toolkit.common.cli import Argv, command_parser
from toolkit.common.text import naming

log = logging.getLogger("sweep")


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = command_parser("scripts.sweep", __doc__)
    add = parser.add_argument
    text = "for example one of configs/sweeps"
    add("plan", type=Path, metavar="PLAN.yaml", help=text)
    text = "default: output/<name of the plan>; all nodes must see it"
    add("--output-dir", default="", help=text)
    execution.add_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Plan, run, write. Return exit code 1 if a job failed."""
    content = plan_file.read(args.plan)
    for flag in ("root", "output_dir", "retries"):
        if getattr(args, flag) in ("", None):
            setattr(args, flag, getattr(content, flag))
    for flag, value in content.resources.items():
        if args.address and getattr(args, flag) is None:
            setattr(args, flag, value)
    if content.study:
        return run_study(content, args)
    return run_entries(content, args)


def run_study(content: PlanFile, args: argparse.Namespace) -> int:
    """Run a plan that is a study, as scripts.study does."""
    flags = [f"--output-dir={args.output_dir}"]
    for key, value in content.study.items():
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        if key != "items":
            flags.append(f"--{key}={value}")
    study_args = study.arguments().parse_args([*flags, "--", *content.study["items"]])
    names = ("root", "dry_run", "jobs", "address", *execution.DEFAULTS)
    for name in names:
        setattr(study_args, name, getattr(args, name))
    try:
        study.plan_of(study_args)
    except (ValueError, OSError) as error:
        raise ValueError(f"{args.plan.name}: {error}") from None
    return study.run(study_args)


def run_entries(content: PlanFile, args: argparse.Namespace) -> int:
    """Run a plan of free runs."""
    execution.check(args)
    with naming(f"{args.plan.name}: options"):
        for entry in content.entries:
            for options in free_runs.expand(entry).values():
                check_options(entry.methods, options, entry.backbone)
        plan, items = free_runs.plan_entries(content.entries)
        check_jobs(plan)
    counts = plan.counts()
    backbones = sorted({job.settings["backbone"] for job in plan})
    kinds = f"{counts['source']:,} source prompts, {counts['adaptation']:,} adaptations"
    if "evaluation" in counts:
        kinds += f", {counts['evaluation']:,} evaluations"
    lines = [f"{args.plan.name}: {', '.join(backbones)}, {kinds}"]
    write = partial(free_runs.write_results, plan, items)
    return run_jobs(plan, lines, args, write, log, "results.md")


def main(argv: Argv = None) -> int:
    """Run the command; return its exit code, see `execution.command`."""
    return execution.command(run, arguments(), argv)


if __name__ == "__main__":
    sys.exit(main())

"""Run the paper's tables and figures, or print what would be run.

    python -m scripts.study all --suite pocket --dry-run
    python -m scripts.study table1 --suite pocket --seeds 0,1,2
    python -m scripts.study table1 table2 --suite paper --root DATA

Runs that exist below --output-dir are reused, also those of another table; a stopped study goes on where it was. For each
table or figure CSV, Markdown, LaTeX, JSON and PNG files are written to OUTPUT_DIR/tables.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from scripts.plan import Clock, Job, Outcome, Plan, Report, run_plan
from trainers.locks import check_folder

from . import output, protocol
from .executor import Processes
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
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes; they share the cores")
    add("--dry-run", action="store_true", help="print the plan; needs neither data nor a backbone")
    add("--results", default="", metavar="FILE", help="write tables, tests and pictures into a Markdown file, too")
    return parser


def plan_of(args: argparse.Namespace) -> tuple[protocol.Protocol, Plan, list[Item]]:
    """The protocol and plan of the command line. Raises ValueError or FileNotFoundError for wrong input."""
    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}; at least one process is needed")
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
    there = sum(_is_there(job, place) for job in plan)
    if there:
        lines.append(f"{there:,} of these {len(plan):,} jobs are done in {args.output_dir}")
    if known.backbone == "pocket":
        clock = Clock((job for job in plan if not _is_there(job, place)), args.jobs)
        lines.append(f"about {_time(clock.seconds())} with --jobs {args.jobs}, a core each")
    else:
        lines.append("images: seen in training; the time is known once the first runs are measured")
    return "\n".join(lines) + "\n"


def _render(known: protocol.Protocol) -> None:
    """Write the pocket tasks that are missing, before several processes want them."""
    from datasets import pocket

    pocket.ensure_all([name for name in (*known.sources, *known.targets) if name in pocket.SPECS])


def _is_there(job: Job, place: Place) -> bool:
    try:
        return finished(job, place)
    except ValueError:
        return False


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one study works in a folder. Raises ValueError where another does."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"another study is running in {folder}: use another --output-dir") from None
        yield


def execute(plan: Plan, place: Place, jobs: int, trusted: bool) -> Report:
    """Run the plan in processes, with a bar, and a line a job in study.log.

    trusted: whether the expected times are those of this kind of model, before anything is measured.
    """
    folder = Path(place.folder)
    with (
        open(folder / "study.log", "a", encoding="utf-8") as record,
        tqdm(
            total=len(plan),
            desc="study",
            unit="job",
            dynamic_ncols=True,
            bar_format="{desc} {bar} {n}/{total}{postfix}",
        ) as bar,
        Processes(jobs, perform, place) as executor,
    ):

        def report(outcome: Outcome, clock: Clock) -> None:
            now = datetime.datetime.now().isoformat(" ", "seconds")
            state = f"failed: {outcome.error}" if outcome.error else "done"
            record.write(f"{now} {outcome.job.name} {outcome.seconds:.1f} s {state}\n")
            record.flush()
            if outcome.error:
                bar.write(f"{outcome.job.name}: {outcome.error}", file=sys.stderr)
            bar.n = len(plan) - len(clock.left)
            left = _time(clock.seconds()) if trusted or clock.measured else "?"
            bar.set_postfix_str(f"{left} left, {outcome.job.name}")

        return run_plan(plan, executor, partial(finished, place=place), report)


def run(args: argparse.Namespace) -> int:
    """Plan, run, write. Exit code 1 when a job failed."""
    known, plan, items = plan_of(args)
    text = describe(known, plan, items, args)
    sys.stdout.write(text)
    if args.dry_run:
        return 0
    place = Place(args.output_dir, args.root)
    if known.backbone == "pocket":
        _render(known)
    elif not args.root:
        raise ValueError("--root: the folder of the data sets is needed")
    check_folder(args.output_dir)
    with _alone(Path(args.output_dir)):
        result = execute(plan, place, args.jobs, known.backbone == "pocket")
        output.write_all(known, items, Path(args.output_dir), args.results, args.root)
    log.info("%d jobs reused, %d done, %d failed, %d skipped", *map(len, vars(result).values()))
    for message, times in Counter(result.failed.values()).most_common(10):
        name = next(name for name in result.failed if result.failed[name] == message)
        others = f" and {times - 1} more" if times > 1 else ""
        log.error("failed: %s%s: %s", name, others, message)
    log.info("tables in %s", os.path.join(args.output_dir, "tables"))
    return 1 if result.failed else 0


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 1 when jobs failed; 2 after one line about wrong input; 130 when stopped."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return run(arguments().parse_args(argv))
    except (ValueError, OSError) as error:
        if os.environ.get("MVLPT_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(f"error: {str(error).strip()}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

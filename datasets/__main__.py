"""Command line: ``python -m datasets list | show | doctor | prepare | download |
few-shot | cache``.

Exit code 0: done; 1: a set is damaged, a named one is missing, or a file is not
available; 2: the command is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from toolkit.common.cli import FAILED, OK, Argv, NotDone, command_parser, run_command
from toolkit.common.text import printable, start_log

from .catalog.entries import SUITES, Entry, entries, entry
from .catalog.names import show
from .tools.report import SHOWN, Report, join_images

if TYPE_CHECKING:
    from .tools.batch import Outcome


def main(arguments: Argv = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    start_log()
    return run_command(lambda: options.run(options))


def _parser() -> argparse.ArgumentParser:
    text = "The sets that tasks can be made from, and their files."
    parser = command_parser("datasets", text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable, summary: str, sets: str | None = None
    ) -> Callable:
        """Add a command, of `sets` sets if given; return what adds its arguments."""
        command = commands.add_parser(name, help=summary)
        command.set_defaults(run=run)
        add = command.add_argument
        if sets:
            add("names", nargs=sets, metavar="NAME")
            text = "data root"
            add("--root", type=_folder, required=True, metavar="ROOT", help=text)
        return add

    text = "all sets: suite, classes, metric, images, folder"
    add = command("list", _list, text)
    add("--suite", choices=SUITES, help="those of one suite")
    add("--json", action="store_true", help="as json")

    text = "one set, with its class names in label order and its templates"
    add = command("show", _show, text)
    add("name", metavar="NAME")
    text = "name, suite, classes, metric, label_kind and templates as json"
    add("--json", action="store_true", help=text)

    text = "what is present, missing or damaged; changes nothing"
    add = command("doctor", _doctor, text, sets="*")
    text = "index files and zip directories alone, without reading images"
    add("--quick", action="store_true", help=text)
    text, workers = "threads that read images", os.cpu_count() or 1
    add("--workers", type=int, default=workers, metavar="N", help=text)
    add("--all", action="store_true", help="write every finding out")
    add("--json", action="store_true", help="as json")

    text = "write the split file of a CoOp set from its raw annotations, or any set from a copy (--from)"
    add = command("prepare", _prepare, text, sets="+")
    forms = ["wds", "parquet", "zip", "torchvision", "folder", "hub"]
    text = (
        "write the set from a copy: webdataset shards, parquet files, a zip, torchvision's files, split folders, "
        "or what the Hugging Face Hub has"
    )
    add("--from", dest="origin", choices=forms, help=text)
    text = (
        "the copy, or a folder of copies (torchvision: default ROOT/torchvision; hub: where downloads are kept, "
        "default ROOT/hub)"
    )
    add("--at", "--source", metavar="PATH", help=text)
    text = "branch, tag or commit of the copy on the Hub"
    add("--revision", default="", help=text)
    add("--offline", action="store_true", help="download nothing")

    text = "fetch the files of a set; a stopped download is resumed"
    add = command("download", _download, text, sets="+")
    text = "a copy of the data root on a web server, to take the files from"
    add("--mirror", default="", metavar="URL", help=text)

    text = "write the images of a few-shot sample, a line of JSON each"
    add = command("few-shot", _few_shot, text)
    add("name", metavar="NAME", help="a task, also folder:PATH or csv:FILE")
    add("--root", default="", metavar="ROOT", help="data root")
    add("--shots", type=int, required=True, help="training images per class")
    add("--seed", type=int, default=0)
    text = "train.py --fewshot FILE takes it back"
    add("-o", "--output", required=True, metavar="FILE", help=text)

    text = (
        "the unpacked images of wds: and parquet: tasks, and if their sources are there"
    )
    add = command("cache", _cache, text)
    text = "remove those whose source is gone or changed"
    add("--remove", action="store_true", help=text)
    add("--json", action="store_true", help="as json")
    return parser


def _folder(text: str) -> Path:
    return Path(text).expanduser()


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _write_json(value: object) -> None:
    _write(json.dumps(value, indent=1, ensure_ascii=False))


def _named(options: argparse.Namespace) -> list[Entry]:
    """Return the named sets, each once. Raises ValueError for an unknown name."""
    return [entry(name) for name in dict.fromkeys(options.names)]


def _list(options: argparse.Namespace) -> None:
    from .tools import tables

    chosen = list(entries().values())
    if options.suite:
        chosen = [known for known in chosen if known.suite == options.suite]
    if options.json:
        _write_json(tables.to_records(chosen))
    else:
        _write(tables.overview(chosen))


def _show(options: argparse.Namespace) -> None:
    from .tools import tables

    if options.json:
        _write_json(show(options.name))
    else:
        _write(tables.describe(options.name))


def _doctor(options: argparse.Namespace) -> int:
    root = options.root
    if not root.is_dir():
        raise ValueError(f"data root {root} is not a folder")
    reports = []
    for known in _named(options) or _all_below(root):
        report = _examine(known, root, options)
        reports.append(report)
        is_shown = options.names or not report.missing
        if is_shown and not options.json:
            _print_report(known, report, root, options.all)
    if options.json:
        _write_json([report.to_dict() for report in reports])
    else:
        _print_summary(reports, is_named=bool(options.names))
    statuses = {report.status for report in reports}
    if "damaged" in statuses:
        return FAILED
    if "missing" in statuses and (options.names or statuses == {"missing"}):
        return FAILED
    return OK


def _print_summary(reports: Sequence[Report], is_named: bool):
    missing = [report.name for report in reports if report.missing]
    if missing and not is_named:
        _write(f"missing: {', '.join(missing)}")
    statuses = [report.status for report in reports]
    kinds = ("ok", "damaged", "missing")
    _write(", ".join(f"{statuses.count(kind)} {kind}" for kind in kinds))


def _examine(known: Entry, root: Path, options: argparse.Namespace) -> Report:
    from .tools.doctor import examine

    total = sum(count or 0 for count in known.images.values()) or None
    reads = not options.quick and (root / known.folder).is_dir()
    quiet = not reads or not sys.stderr.isatty()
    style = {"unit": "image", "disable": quiet, "dynamic_ncols": True}
    workers = max(1, options.workers)
    with tqdm(None, known.name, total, False, **style) as bar:
        return examine(known, root, options.quick, workers, bar.update)


def _all_below(root: Path) -> list[Entry]:
    """Return all sets; of the pocket's, which has its own root, those below `root`."""
    return [
        known
        for known in entries().values()
        if known.suite != "pocket" or (root / known.folder).is_dir()
    ]


def _print_report(known: Entry, report: Report, root: Path, everything: bool) -> None:
    from .tools.download import by_hand

    title = f"{known.name}: {report.status}"
    if report.images:
        title += f" ({join_images(report.images)})"
    _write(title)
    for line in report.lines(len(report.findings) if everything else SHOWN):
        _write(f"  {line}")
    if report.missing:
        _write(f"  {by_hand(known, root)}")


def _prepare(options: argparse.Namespace) -> int:
    from .tools import annotations

    root = options.root
    every = options.names == ["all"]
    if options.origin:
        return _prepare_from_copies(options, every)
    if every:
        raise ValueError("prepare all needs --from, the form of the copies")
    chosen = _named(options)
    for known in chosen:
        annotations.check_available(known, str(root / known.folder))
    for known in chosen:
        path = annotations.write_split_file(known.name, str(root / known.folder))
        _write(f"{known.name}: {path}")
    return OK


def _prepare_from_copies(options: argparse.Namespace, every: bool) -> int:
    from .tools import batch

    root = options.root
    at = _folder(options.at) if options.at else None
    if options.origin == "hub" and options.offline:
        raise ValueError(
            "--from hub downloads; without --offline, or --from wds, parquet or zip with a local copy"
        )
    source = batch.Source(options.origin, at, options.revision, options.offline)
    chosen = batch.available(options.origin) if every else _named(options)
    batch.require_available([] if every else chosen, source, root)
    outcomes = []
    for outcome in batch.prepare_all(chosen, root, source, every):
        _print_outcome(outcome, root)
        outcomes.append(outcome)
    if len(outcomes) > 1:
        _write(batch.table(outcomes))
    return max(outcome.code for outcome in outcomes)


def _print_outcome(outcome: Outcome, root: Path) -> None:
    from .tools.doctor import examine

    if outcome.status == "failed":
        sys.stderr.write(f"error: {printable(outcome.detail, lines=True)}\n")
    if outcome.status != "written":
        return
    known = entry(outcome.name)
    report = examine(known, root, quick=True)
    for line in report.lines():
        sys.stderr.write(f"{line}\n")
    _write(f"wrote {root / known.folder} ({join_images(report.images)})")


def _download(options: argparse.Namespace) -> None:
    from .tools.download import by_hand, download

    root = options.root
    failed = []
    for known in _named(options):
        name, folder = known.name, root / known.folder
        try:
            missing = download(known, root, options.mirror)
        except NotDone as error:
            failed.append(str(error))
            continue
        if missing:
            lacks = f"lacks {', '.join(missing)}, which no download brings"
            failed.append(f"{name} still {lacks}. {by_hand(known, root)}")
        else:
            command = f"python -m datasets doctor {name} --root {root}"
            _write(f"{name}: all files are in {folder}; `{command}` examines them")
    if failed:
        raise NotDone("\n".join(failed))


def _few_shot(options: argparse.Namespace) -> None:
    from dassl.config import get_cfg_default

    from datasets import build_task

    from .few_shot import write_list

    cfg = get_cfg_default()
    cfg.DATASET.ROOT = options.root
    cfg.DATASET.NUM_SHOTS = options.shots
    cfg.DATASET.RANDOM_SEED_SAMPLING = options.seed
    task = build_task(cfg, options.name)
    if task.label_kind == "multilabel":
        raise ValueError(
            f"{options.name}: such a list has one label an image, and this task several"
        )
    write_list(options.output, task.train_x)
    _write(f"{len(task.train_x)} images in {options.output}")


def _cache(options: argparse.Namespace) -> None:
    from .tools import packed_cache

    listed = packed_cache.list_entries()
    removed = []
    for one in listed:
        if options.remove and one.state in packed_cache.REMOVABLE:
            shutil.rmtree(one.folder)
            removed.append(one)
    if options.json:
        _write_json([one.to_dict() | {"removed": one in removed} for one in listed])
    else:
        _write(packed_cache.describe(listed, removed))


if __name__ == "__main__":
    sys.exit(main())

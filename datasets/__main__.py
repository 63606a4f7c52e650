"""Command line: ``python -m datasets list | show | doctor | prepare | download``.

Exit code 0: done; 1: a set is damaged, a named one is missing, or something could not be had; 2: the command itself is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from .catalog import entries as catalogue
from .catalog.entries import Entry
from .tools import NotDone
from .tools.findings import SHOWN, Report, in_short

FAILED, BAD_INPUT = 1, 2


def _say(text: str, stream: TextIO | None = None) -> None:
    """A line on standard output, or on `stream`."""
    (stream or sys.stdout).write(f"{text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return options.run(options)
    except NotDone as error:
        _say(f"error: {error}", sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError) as error:
        _say(f"error: {error}", sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        _say("stopped", sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m datasets", description="The sets that tasks can be made from, and their files."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="all sets: suite, classes, metric, images, folder")
    command.add_argument("--suite", choices=catalogue.SUITES, help="those of one suite")
    command.add_argument("--json", action="store_true", help="as json")
    command.set_defaults(run=_list)

    command = commands.add_parser("show", help="one set, with its class names in label order and its templates")
    command.add_argument("name", metavar="NAME")
    command.add_argument(
        "--json", action="store_true", help="name, suite, classes, metric, label_kind and templates as json"
    )
    command.set_defaults(run=_show)

    command = commands.add_parser("doctor", help="what is present, missing or damaged; changes nothing")
    _root(command, "*")
    command.add_argument(
        "--quick", action="store_true", help="index files and zip directories alone, without reading images"
    )
    command.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="threads that read images"
    )
    command.add_argument("--all", action="store_true", help="write every finding out")
    command.add_argument("--json", action="store_true", help="as json")
    command.set_defaults(run=_doctor)

    command = commands.add_parser("prepare", help="write ELEVATER's layout from another copy of a set")
    _root(command, "+")
    command.add_argument("--from", dest="origin", required=True, choices=["torchvision"])
    command.add_argument("--source", default="", metavar="DIR", help="where that copy lies (default: ROOT/torchvision)")
    command.add_argument("--offline", action="store_true", help="download nothing")
    command.set_defaults(run=_prepare)

    command = commands.add_parser("download", help="fetch the files of a set; a stopped download is gone on with")
    _root(command, "+")
    command.add_argument(
        "--mirror", default="", metavar="URL", help="a copy of the data root on a web server, to take the files from"
    )
    command.set_defaults(run=_download)
    return parser


def _root(command: argparse.ArgumentParser, count: str) -> None:
    command.add_argument("names", nargs=count, metavar="NAME")
    command.add_argument("--root", required=True, metavar="ROOT", help="data root")


def _list(options: argparse.Namespace) -> int:
    from .tools import tables

    entries = [entry for entry in catalogue.entries().values() if options.suite in (None, entry.suite)]
    _say(json.dumps(tables.as_records(entries), indent=1) if options.json else tables.overview(entries))
    return 0


def _show(options: argparse.Namespace) -> int:
    from .tools import tables

    _say(
        json.dumps(catalogue.show(options.name), indent=1, ensure_ascii=False)
        if options.json
        else tables.one(options.name)
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .tools.doctor import examine

    root = Path(options.root).expanduser()
    if not root.is_dir():
        raise ValueError(f"data root {root} is not a folder")
    entries = _named(options.names) if options.names else _usual(root)
    reports = []
    for entry in entries:
        known = sum(count or 0 for count in entry.images.values())
        quiet = options.quick or not (root / entry.folder).is_dir() or not sys.stderr.isatty()
        with tqdm(
            total=known or None, desc=entry.name, unit="image", leave=False, disable=quiet, dynamic_ncols=True
        ) as bar:
            report = examine(entry, root, options.quick, max(1, options.workers), bar.update)
        reports.append(report)
        if not options.json and not (report.missing and not options.names):
            shown = len(report.findings) if options.all else SHOWN
            _print_report(entry, report, root, in_short(report.findings, shown))
    if options.json:
        _say(json.dumps([report.to_dict() for report in reports], indent=1, ensure_ascii=False))
    else:
        counts = {status: sum(report.status == status for report in reports) for status in ("ok", "damaged", "missing")}
        if not options.names and counts["missing"]:
            _say("missing: " + ", ".join(report.name for report in reports if report.missing))
        _say(", ".join(f"{count} {status}" for status, count in counts.items()))
    wrong = {"damaged", "missing"} if options.names or all(report.missing for report in reports) else {"damaged"}
    return FAILED if any(report.status in wrong for report in reports) else 0


def _usual(root: Path) -> list[Entry]:
    """All sets; the pocket tasks, which have a place of their own, only where they are below `root`."""
    return [
        entry for entry in catalogue.entries().values() if entry.suite != "pocket" or (root / entry.folder).is_dir()
    ]


def _print_report(entry: Entry, report: Report, root: Path, lines: Sequence[str]) -> None:
    from .tools.download import by_hand

    images = ", ".join(f"{count} {split}" for split, count in report.images.items())
    _say(f"{entry.name}: {report.status}{f' ({images})' if images else ''}")
    for line in lines:
        _say(f"  {line}")
    if report.missing:
        _say(f"  {by_hand(entry, root)}")


def _prepare(options: argparse.Namespace) -> int:
    from .tools.doctor import examine
    from .tools.prepare import check, prepare

    root, entries = Path(options.root).expanduser(), _named(options.names)
    for entry in entries:
        check(entry, root)
    for entry in entries:
        folder = prepare(entry, root, options.source, download=not options.offline)
        report = examine(entry, root, quick=True)
        for line in in_short(report.findings):
            _say(line, sys.stderr)
        _say(f"wrote {folder} ({', '.join(f'{count} {split}' for split, count in report.images.items())})")
    return 0


def _download(options: argparse.Namespace) -> int:
    from .tools.download import by_hand, download

    root = Path(options.root).expanduser()
    failed = []
    for entry in _named(options.names):
        try:
            missing = download(entry, root, options.mirror)
        except NotDone as error:
            failed.append(str(error))
            continue
        if missing:
            failed.append(
                f"{entry.name} still lacks {', '.join(missing)}, which no download brings. {by_hand(entry, root)}"
            )
        else:
            examine = f"python -m datasets doctor {entry.name} --root {root}"
            _say(f"{entry.name}: all files are in {root / entry.folder}; `{examine}` examines them")
    if failed:
        raise NotDone("\n".join(failed))
    return 0


def _named(names: Sequence[str]) -> list[Entry]:
    """The sets, each once; ValueError for a name that is unknown."""
    return [catalogue.entry(name) for name in dict.fromkeys(names)]


if __name__ == "__main__":
    sys.exit(main())

"""What targets of an experiment have in common at its top: predictions, tables, results
and the submission.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from elevater_eval import combine
from toolkit.common.files import atomic_write, write_bytes, write_text
from toolkit.common.structured import read_json, write_json

from . import results, tables
from .run_dir import (
    RESULTS,
    read_manifest,
)

log = logging.getLogger(__name__)


def collect(out: Path, records: Sequence[dict], root: str | None = None) -> None:
    """Gather the targets' predictions and results at the top of an experiment, and pack
    the submission.

    root: the data root, in which a test set's order may be marked as unofficial; a
    warning then says so.
    """
    if not has_predictions(records):
        write_text(out / "results.md", results.markdown(records))
        write_json(out / "results.json", records, indent=1)
        return
    names = {
        record["task"]: f"seed{record['seed']}_{record['task']}.json"
        for record in records
    }
    for task, name in names.items():
        with atomic_write(out / "predictions" / name) as temporary:
            shutil.copyfile(out / "adapt" / task / "predictions" / name, temporary)
    for path in (out / "predictions").iterdir():
        if path.name not in names.values():
            path.unlink()
    collect_tables(out, names)
    combine([out / "predictions"], out / "submission.zip", root)
    write_text(out / "results.md", results.markdown(records))
    write_json(out / RESULTS, records, indent=1)  # last: the experiment is finished


def collect_tables(out: Path, tasks: Iterable[str]) -> None:
    """Gather the targets' tables in results/ at the top of an experiment: predictions
    one below the other, others as they are.
    """
    predictions = b""
    for task in tasks:
        for path in sorted((out / "adapt" / task / tables.FOLDER).glob("*.csv")):
            content = path.read_bytes()
            if path.name == tables.PREDICTIONS:
                _, _, lines = content.partition(b"\n")
                predictions += lines if predictions else content
            else:
                write_bytes(out / tables.FOLDER / path.name, content)
    if predictions:  # of targets of an earlier version there are none
        write_bytes(out / tables.FOLDER / tables.PREDICTIONS, predictions)


def has_predictions(records: Sequence[dict]) -> bool:
    """Return True for results on test sets, False with TEST.NO_TEST or TEST.SPLIT val."""
    return all("score" in record and "split" not in record for record in records)


def is_collected(out: Path, records: Sequence[dict]) -> bool:
    """Return True if the top of an experiment holds these very results."""
    known = read_manifest(out)
    if known is None or RESULTS not in known.files:
        return False
    damaged = known.damaged()
    if damaged:
        log.warning(
            "%s: damaged or missing, and made again: %s",
            out,
            ", ".join(damaged),
        )
        return False
    return read_json(out / RESULTS) == records

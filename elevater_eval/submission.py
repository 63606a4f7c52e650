"""Submissions: prediction files of many tasks and seeds, merged into one zip with the member all_predictions.json."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

from elevater_eval.merging import one_experiment, uneven_seeds
from elevater_eval.order import order_warning
from elevater_eval.predictions import json_pieces
from elevater_eval.problems import ERROR, InvalidSubmissionError, Problem, errors_of
from elevater_eval.reading import MEMBER, Sources, prediction_files, read_merged
from elevater_eval.tasks import load_tasks
from toolkit.common.files import atomic_write

log = logging.getLogger(__name__)

EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal predictions make equal bytes
LEVEL = 4  # of compression: a third of the time of level 6 for a file that is a tenth larger


def combine(sources: Sources, out: str | Path, root: str | Path | None = None, *, allow_partial: bool = False) -> Path:
    """Merge prediction files into the submission ``out`` and return its path.

    ``sources`` is one or several of: a run's folder (its ``predictions/`` is taken), a folder of prediction files, a
    prediction file. Tasks are sorted by name and seeds ascending, so equal input gives equal bytes. All but seeds,
    predictions and ``num_trainable_params`` (averaged) must agree, and every task must have the same seeds, but with
    ``allow_partial``; otherwise ``InvalidSubmissionError`` names the files and nothing is written. With a data
    ``root``, a warning is logged for each task whose test images there are not in ELEVATER's order.
    """
    files = prediction_files(sources)
    tasks = load_tasks() if root is not None else {}
    outlines, problems, warnings = [], [], []
    member = zipfile.ZipInfo(MEMBER, date_time=EPOCH)
    member.compress_type, member._compresslevel = zipfile.ZIP_DEFLATED, LEVEL
    member.external_attr = 0o644 << 16
    member.file_size = sum(file.stat().st_size for file in files)  # lets zipfile choose the 64-bit form if needed
    with atomic_write(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(member, "w") as stream:
            stream.write(b'{"data": [')
            for entry, found in read_merged(files):
                problems += found
                if entry is None:
                    continue
                if not errors_of(problems):
                    stream.write(b", " if outlines else b"")
                    for piece in json_pieces(entry):
                        stream.write(piece.encode("utf-8"))
                warnings += order_warning(entry, tasks, root)
                outlines.append(entry.outline())
            stream.write(b"]}")
        problems += one_experiment(outlines)
        if not allow_partial:
            problems += [Problem(ERROR, where, message) for where, message in uneven_seeds(outlines)]
        if errors_of(problems):
            raise InvalidSubmissionError(errors_of(problems))
    for warning in warnings:
        log.warning("%s", warning)
    return Path(out)

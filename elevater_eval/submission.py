"""Submissions: prediction files of many tasks and seeds, merged into one zip with the
member all_predictions.json.
"""

import logging
import zipfile
from pathlib import Path

from elevater_eval.entry import PredictionFile
from elevater_eval.issues import WARNING, Issues, error, errors_of, raise_errors
from elevater_eval.merging import one_experiment, uneven_seeds
from elevater_eval.predictions import json_pieces
from elevater_eval.reading import MEMBER, Sources, prediction_files, read_merged
from elevater_eval.tasks import Root, load_tasks
from elevater_eval.validation import order_issues
from toolkit.common.files import atomic_write

log = logging.getLogger(__name__)

# a fixed time, so that equal predictions make equal bytes
EPOCH = (1980, 1, 1, 0, 0, 0)
# of compression: a third of the time of level 6 for a file that is a tenth larger
LEVEL = 4


def combine(
    sources: Sources,
    out: str | Path,
    root: Root | None = None,
    *,
    allow_partial: bool = False,
) -> Path:
    """Merge prediction files into the submission `out` and return its path; equal input
    gives equal bytes.

    sources: runs' folders (predictions/ is taken), folders of files, files. root: data
    root; a warning is logged for a task whose test images there are not in ELEVATER's
    order, and those of another split are an error. allow_partial: tasks may differ in
    their seeds. Raises FileNotFoundError, or InvalidSubmissionError if files do not
    agree in all but seeds, predictions and `num_trainable_params` (which is averaged).
    """
    files = prediction_files(sources)
    tasks = load_tasks() if root is not None else {}
    outlines: list[PredictionFile] = []
    issues: Issues = []
    warnings: Issues = []
    with atomic_write(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(_member(files), "w") as stream:
            stream.write(b'{"data": [')
            for entry, found in read_merged(files):
                issues += found
                if entry is None:
                    continue
                noted = order_issues(entry, tasks, root)
                issues += errors_of(noted)
                warnings += [issue for issue in noted if issue.level == WARNING]
                if not errors_of(issues):
                    if outlines:
                        stream.write(b", ")
                    for piece in json_pieces(entry):
                        stream.write(piece.encode("utf-8"))
                outlines.append(entry.outline())
            stream.write(b"]}")
        issues += one_experiment(outlines)
        if not allow_partial:
            issues += [error(*gap) for gap in uneven_seeds(outlines)]
        raise_errors(issues)
    for warning in warnings:
        log.warning("%s", warning)
    return Path(out)


def _member(files: list[Path]) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(MEMBER, date_time=EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member._compresslevel = LEVEL  # type: ignore[attr-defined]
    member.external_attr = 0o644 << 16
    # zipfile chooses the 64-bit form by it
    member.file_size = sum(file.stat().st_size for file in files)
    return member

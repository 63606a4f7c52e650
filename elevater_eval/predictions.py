"""Prediction files: one JSON object for one task and one seed, with nine keys and probabilities of six decimals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from elevater_eval.decimals import rounded, rows_as_text
from elevater_eval.entry import KEYS, PredictionFile, parse_entry
from elevater_eval.problems import InvalidSubmissionError, errors_of
from elevater_eval.reading import read_file
from toolkit.common.files import atomic_write

NUMBERS_AT_ONCE = 1 << 18


def write_predictions(
    path: str | Path,
    *,
    model_name: str,
    dataset_name: str,
    num_trainable_params: int,
    num_params: int,
    num_visual_params: int,
    num_backbone_params: int,
    n_shot: int,
    seed: int,
    probabilities: ArrayLike,
) -> Path:
    """Write a prediction file and return its path; folders are made, and the file appears whole or not at all.

    ``probabilities`` (N, C): rows in the order of the test index (IRIS: its lines; COCO: ascending image id), columns
    in the order of the labels. Raises ``ValueError`` where they are not finite numbers in [0, 1], and where names or
    counts would make an invalid file.
    """
    path = Path(path)
    values = np.asarray(probabilities)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: probabilities must be numbers of shape (images, classes), got {values.dtype} {values.shape}"
        )
    probable = rounded(values)
    wrong = ~((probable >= 0) & (probable <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(f"{path}: row {row}, column {column}: {values[row, column]} is no probability in [0, 1]")
    entry = PredictionFile(
        model_name=str(model_name),
        dataset_name=str(dataset_name),
        num_trainable_params=int(num_trainable_params),
        num_params=int(num_params),
        num_visual_params=int(num_visual_params),
        num_backbone_params=int(num_backbone_params),
        n_shot=int(n_shot),
        rnd_seeds=(int(seed),),
        predictions=(probable,),
        sources=(str(path),),
    )
    head = {key: getattr(entry, key) for key in KEYS}
    _, problems = parse_entry(head | {"rnd_seeds": [entry.rnd_seeds[0]], "predictions": [np.zeros((1, 1))]}, str(path))
    if errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json_pieces(entry))
    return path


def read_predictions(path: str | Path) -> PredictionFile:
    """Read a prediction file; ``InvalidSubmissionError`` (a ``ValueError``) names all that is wrong with its form."""
    entry, problems = read_file(Path(path))
    if entry is None or errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))
    return entry


def json_pieces(entry: PredictionFile) -> Iterator[str]:
    """The entry as JSON text, in pieces, so that large predictions never exist as one string."""
    head = {key: getattr(entry, key) for key in KEYS if key != "predictions"}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "predictions": ['
    for i, fold in enumerate(entry.predictions):
        yield ", [" if i else "["
        step = max(1, NUMBERS_AT_ONCE // fold.shape[1])
        for start in range(0, len(fold), step):
            yield ("," if start else "") + rows_as_text(fold[start : start + step])
        yield "]"
    yield "]}"

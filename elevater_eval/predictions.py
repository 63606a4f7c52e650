"""Prediction files: one JSON object for one task and one seed, with nine keys and
probabilities of six decimals.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from elevater_eval.entry import KEYS, PredictionFile, parse_entry
from elevater_eval.issues import InvalidSubmissionError, Issues, errors_of
from elevater_eval.reading import read_file
from toolkit.common.files import atomic_write

DECIMALS = 6
ONE = 10**DECIMALS
NUMBERS_AT_ONCE = 1 << 18
LARGE = 100_000  # numbers from which a table of all texts is worth its half second


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
    """Write a prediction file, whole or not at all, and return its path. probabilities:
    (N, C), rows in the order of the test index (COCO: ascending image id), columns of
    the labels. Raises ValueError if they are not in [0, 1], or the file would not be
    valid.
    """
    path = Path(path)
    head = {
        "model_name": str(model_name),
        "dataset_name": str(dataset_name),
        "num_trainable_params": int(num_trainable_params),
        "num_params": int(num_params),
        "num_visual_params": int(num_visual_params),
        "num_backbone_params": int(num_backbone_params),
        "n_shot": int(n_shot),
        "rnd_seeds": [int(seed)],
    }
    record = head | {"predictions": [_checked(path, np.asarray(probabilities))]}
    entry = _valid(*parse_entry(record, str(path)))
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        file.writelines(json_pieces(entry))
    return path


def _checked(path: Path, values: np.ndarray) -> np.ndarray:
    """Return probabilities rounded to six decimals, as float64, or raise ValueError."""
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        needed = "probabilities must be numbers of shape (images, classes)"
        raise ValueError(f"{path}: {needed}, got {values.dtype} {values.shape}")
    probabilities = rounded(values)
    wrong = ~((probabilities >= 0) & (probabilities <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        cell = f"row {row}, column {column}: {values[row, column]}"
        raise ValueError(f"{path}: {cell} is no probability in [0, 1]")
    return probabilities


def read_predictions(path: str | Path) -> PredictionFile:
    """Read a prediction file; InvalidSubmissionError names all that is wrong."""
    return _valid(*read_file(Path(path)))


def _valid(entry: PredictionFile | None, issues: Issues) -> PredictionFile:
    """Return an entry without errors; raises InvalidSubmissionError for another."""
    errors = errors_of(issues)
    if entry is None or errors:
        raise InvalidSubmissionError(errors)
    return entry


def json_pieces(entry: PredictionFile) -> Iterator[str]:
    """Yield the entry as JSON text in pieces, as it may be large."""
    head = {key: getattr(entry, key) for key in KEYS if key != "predictions"}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "predictions": ['
    for i, fold in enumerate(entry.predictions):
        yield ", [" if i else "["
        step = max(1, NUMBERS_AT_ONCE // fold.shape[1])
        for start in range(0, len(fold), step):
            if start:
                yield ","
            yield rows_as_text(fold[start : start + step])
        yield "]"
    yield "]}"


def rounded(values: np.ndarray) -> np.ndarray:
    """Return `values` to six decimals as float64; no zero is negative."""
    return np.round(values.astype(np.float64), DECIMALS) + 0.0


def rows_as_text(values: np.ndarray) -> str:
    """Return the matrix (N, C) of numbers in [0, 1], rounded, as ``[a,b],[c,d]``. A
    large one takes a fifth of the time of `json`, whose text is equal: each number is
    one of 1,000,001 texts.
    """
    if values.size < LARGE:
        text = json.dumps(rounded(values).tolist(), separators=(",", ":"))
        return text[1:-1]
    rows, columns = values.shape
    cells = np.full((rows, columns + 1), b"],[", "S9")
    millionths = np.rint(values * ONE).astype(np.int64)
    cells[:, :-1] = _number_texts()[millionths]
    joined = cells.tobytes().translate(None, b"\0").replace(b",]", b"]")
    return "[" + joined[:-2].decode("ascii")


@cache
def _number_texts() -> np.ndarray:
    texts = (f"{i / ONE!r},".encode() for i in range(ONE + 1))
    return np.fromiter(texts, "S9", ONE + 1)

"""Prediction files: one JSON object for one task and one seed, with nine keys and probabilities of six decimals."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from elevater_eval.entry import KEYS, PredictionFile, parse_entry
from elevater_eval.problems import ERROR, InvalidSubmissionError, Problem, errors_of

DECIMALS = 6
ROWS_AT_ONCE = 4096


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
    rounded = _rounded(values)
    wrong = ~((rounded >= 0) & (rounded <= 1))
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
        predictions=(rounded,),
        sources=(str(path),),
    )
    head = {key: getattr(entry, key) for key in KEYS}
    _, problems = parse_entry(head | {"rnd_seeds": [entry.rnd_seeds[0]], "predictions": [[[0.0]]]}, str(path))
    if errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))
    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json_pieces(entry))
    return path


def read_predictions(path: str | Path) -> PredictionFile:
    """Read a prediction file; ``InvalidSubmissionError`` (a ``ValueError``) names all that is wrong with its form."""
    entry, problems = load_predictions(path)
    if entry is None or errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))
    return entry


def load_predictions(path: str | Path) -> tuple[PredictionFile | None, list[Problem]]:
    """Like ``read_predictions``, with the problems returned in place of raised."""
    record, problems = decode(Path(path).read_bytes(), str(path))
    if record is None:
        return None, problems
    entry, found = parse_file(record, str(path))
    return entry, problems + found


def parse_file(record: Any, where: str) -> tuple[PredictionFile | None, list[Problem]]:
    """``parse_entry`` for the content of a whole file, which may be no prediction file at all."""
    if isinstance(record, dict) and not set(record) & set(KEYS):
        return None, [Problem(ERROR, where, "not a prediction file: it has none of the nine keys")]
    return parse_entry(record, where)


def decode(content: bytes, where: str) -> tuple[Any, list[Problem]]:
    """Strict JSON. NaN and infinities are problems, and are kept as floats so that their place can be named."""
    tokens: set[str] = set()
    repeated: set[str] = set()

    def constant(token: str) -> float:
        tokens.add(token)
        return float(token.replace("Infinity", "inf"))

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            repeated.update(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return record

    try:
        value = json.loads(content.decode("utf-8"), parse_constant=constant, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        return None, [Problem(ERROR, where, f"not JSON: {error}")]
    problems = [Problem(ERROR, where, f"the token {token} is not JSON") for token in sorted(tokens)]
    problems += [Problem(ERROR, where, f"key {key!r} occurs more than once in an object") for key in sorted(repeated)]
    if value is None:
        problems.append(Problem(ERROR, where, "an object is expected, got null"))
    return value, problems


def json_pieces(entry: PredictionFile) -> Iterator[str]:
    """The entry as JSON text, in pieces, so that large predictions never exist as one string."""
    head = {key: getattr(entry, key) for key in KEYS if key != "predictions"}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "predictions": ['
    for i, fold in enumerate(entry.predictions):
        yield ", [" if i else "["
        for start in range(0, len(fold), ROWS_AT_ONCE):
            rows = json.dumps(_rounded(fold[start : start + ROWS_AT_ONCE]).tolist(), separators=(",", ":"))
            yield ("," if start else "") + rows[1:-1]
        yield "]"
    yield "]}"


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place at the end, and is removed if the block fails."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, a file name is needed")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(values.astype(np.float64), DECIMALS) + 0.0  # + 0.0 makes 0 of -0

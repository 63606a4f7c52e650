"""The files of one method's matrix: tables, predictors, pictures and results.json."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.common.files import write_text
from toolkit.common.structured import write_json
from toolkit.common.text import counted, csv_text
from trainers.engine import results
from trainers.engine.run import Run

from .matrix import Matrix, normalised, write_matrix
from .predictors import PREDICTORS, agreement, similarities

FILES = (
    "matrix.csv",
    "normalised.csv",
    "predictors.csv",
    "predictors.json",
    "results.json",
)
PICTURES = ("heatmap.png", "heatmap.pdf")
log = logging.getLogger("transfer")


def report(
    folder: Path, runs: Sequence[Run], matrix: Matrix, zero_shot: np.ndarray, key: str
) -> dict:
    """Write all files into `folder` and return the content of results.json."""
    cfg = runs[0].cfg
    shares = normalised(matrix)
    tasks = [run.cfg.DATASET.DATASET for run in runs]
    folders = [run.folder for run in runs]
    similar = similarities(cfg, tasks, folders)
    predictors = {}
    for name, description in PREDICTORS.items():
        found = agreement(matrix.scores, similar[name])
        predictors[name] = {"what": description, **found}
    write_matrix(folder / "matrix.csv", matrix, decimals=4)
    write_matrix(folder / "normalised.csv", shares, decimals=4)
    write_pairs(folder / "predictors.csv", matrix, shares, similar)
    write_json(folder / "predictors.json", predictors, indent=1)
    shots = counted(cfg.DATASET.NUM_SHOTS, "shot")
    title = f"Transfer of prompts: {cfg.TRAINER.NAME}, {shots}, seed {cfg.SEED}"
    try:
        from .plots import heat_maps

        names = [name.removeprefix("pocket-") for name in shares.targets]
        files = [folder / name for name in PICTURES]
        heat_maps(files, names, {"": shares.scores}, title)
    except ModuleNotFoundError as error:
        log.warning("no pictures: %s is not installed", error.name)
    value = {
        "key": key,
        "trainer": cfg.TRAINER.NAME,
        "shots": cfg.DATASET.NUM_SHOTS,
        "seed": cfg.SEED,
        "backbone": results.backbone_name(cfg),
        "tasks": list(matrix.targets),
        "scores": matrix.scores.round(6).tolist(),
        "normalised": shares.scores.round(6).tolist(),
        "zero_shot": zero_shot.round(6).tolist(),
        "predictors": predictors,
    }
    write_json(folder / "results.json", value, indent=1)
    return value


def write_pairs(
    path: Path, matrix: Matrix, shares: Matrix, similar: dict[str, np.ndarray]
) -> None:
    """Write a row for each source and target: score, share, similarities."""
    rows = [["source", "target", "score", "normalised", *similar]]
    values = [matrix.scores, shares.scores, *similar.values()]
    columns = np.stack(values, axis=-1)
    for row, source in enumerate(matrix.sources):
        for column, target in enumerate(matrix.targets):
            numbers = [f"{value:.6f}" for value in columns[row, column]]
            rows.append([source, target, *numbers])
    write_text(path, csv_text(rows))


def summary(value: dict) -> str:
    """Return the main results of results.json, in a few lines."""
    matrix = np.array(value["scores"])
    zero_shot = np.array(value["zero_shot"])
    on_diagonal = np.eye(len(matrix), dtype=bool)
    lines = [
        f"{value['trainer']}: mean score of a prompt on its own task {matrix[on_diagonal].mean():.1f}, "
        f"on the others {matrix[~on_diagonal].mean():.1f}; zero-shot {zero_shot.mean():.1f}"
    ]
    for name, found in value["predictors"].items():
        if found["mean"] is not None:
            numbers = f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
            lines.append(f"  rank correlation with {name}: {numbers}")
    return "\n".join(lines)

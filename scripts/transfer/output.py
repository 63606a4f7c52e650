"""The files of one method's matrix: tables, predictors, pictures and results.json."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from toolkit.common.files import atomic_write, write_text
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
MOST_NUMBERED = 20  # tasks up to which the cells of a picture hold their values
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
    names = [name.removeprefix("pocket-") for name in shares.targets]
    try:
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


def heat_maps(
    paths: Sequence[Path],
    names: Sequence[str],
    maps: Mapping[str, np.ndarray],
    title: str,
) -> None:
    """Draw column-normalised matrices (T, T) below each other into files such as PNG
    and PDF; sources down, targets across, one scale of colours. maps: title of a matrix
    -> its values, of which 1 is the best.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    side = max(4.0, 0.42 * len(names) + 2.0)
    size = (side + 0.8, side * len(maps))
    minima = [float(values.min()) for values in maps.values()]
    lowest = min(minima)
    figure, axes = plt.subplots(
        len(maps), 1, figsize=size, layout="constrained", squeeze=False
    )
    ticks = (range(len(names)), names)
    turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    for axis, name in zip(axes.flat, maps, strict=True):
        values = maps[name]
        image = axis.imshow(values, cmap="viridis", vmin=lowest, vmax=1.0)
        axis.set_xticks(*ticks, fontsize=9, **turned)
        axis.set_yticks(*ticks, fontsize=9)
        axis.set_xlabel("target task")
        axis.set_title(name, fontsize=11)
        if len(names) <= MOST_NUMBERED:
            _write_numbers(axis, values, lowest)
        axis.set_ylabel("prompt learned on")
        label = "score / best score on the target"
        figure.colorbar(image, ax=axis, shrink=0.8, label=label)
    figure.suptitle(title, fontsize=11)
    for path in paths:
        kind = path.suffix[1:]
        # the same matrix gives the same file
        metadata = {"CreationDate": None} if kind == "pdf" else {}
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
    plt.close(figure)


def _write_numbers(axis, values: np.ndarray, lowest: float):
    middle = (lowest + 1.0) / 2
    for row, column in np.ndindex(values.shape):
        value = float(values[row, column])
        text = "1"
        if value < 0.995:
            text = f"{value:.2f}".replace("0.", ".", 1)
        style = {"fontsize": 7, "ha": "center", "va": "center"}
        style["color"] = "black" if value > middle else "white"
        style["fontweight"] = "bold" if row == column else "normal"
        axis.text(column, row, text, **style)

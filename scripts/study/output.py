"""What a study writes: for each table or figure CSV, Markdown, LaTeX, JSON and PNG, the paired tests, and a page of all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.transfer import predictors
from scripts.transfer.matrix import Matrix, normalised, read_square_matrix, write_matrix
from scripts.transfer.picture import heat_maps
from trainers.engine.results import write_json, write_text

from . import comparisons, pictures, results_page, sizes, tables
from .items import Item
from .protocol import Protocol

log = logging.getLogger(__name__)


def write_all(protocol: Protocol, items: Sequence[Item], folder: Path, page: str = "", root: str = "") -> None:
    """Write everything that the runs below `folder` tell, into folder/tables; `page`: also into a Markdown file; root:
    folder of the data sets."""
    out, built = folder / "tables", []
    for item in items:
        if item.matrices:
            _write_transfer(item, folder, out, root)
            continue
        table = tables.build(item, folder, (protocol.suite, protocol.backbone) == ("paper", "ViT-B/16"))
        built.append(table)
        _write_table(table, out)
        _draw(item, table, out)
    tests = comparisons.of_tables(built)
    if tests:
        write_json(out / "comparisons.json", comparisons.plain(tests))
        write_text(out / "comparisons.md", comparisons.markdown(tests))
    if page:
        results_page.write(Path(page), protocol, items, built, out)


def _write_table(table: tables.Table, out: Path) -> None:
    write_text(out / f"{table.name}.csv", tables.tidy(table))
    write_text(out / f"{table.name}.md", tables.markdown(table))
    write_text(out / f"{table.name}.tex", tables.latex(table))
    write_json(out / f"{table.name}.json", tables.plain(table))


def _draw(item: Item, table: tables.Table, out: Path) -> None:
    path = out / f"{item.name}.png"
    if item.name in ("figure5", "figure6"):
        pictures.lines(table, path, 0, 1)
    elif item.name == "figure1":
        costs = sizes.measured(item.facts["cost"], out / "sizes.json")
        pictures.sizes(table, costs, path)
    else:
        pictures.bars(table, path)


def _write_transfer(item: Item, folder: Path, out: Path, root: str) -> None:
    """Matrices averaged over seeds, raw and normalised; what predicts them."""
    shown, numbers, found = {}, {}, []
    for method, seeds in item.matrices.items():
        present = {seed: folder / name / "scores.csv" for seed, name in seeds.items()}
        read = {seed: read_square_matrix(path) for seed, path in present.items() if path.is_file()}
        if not read:
            continue
        mean = np.mean([matrix.scores for matrix in read.values()], axis=0)
        matrix = Matrix.square(item.tasks, mean)
        write_matrix(out / f"{item.name}_{method}.csv", matrix)
        write_matrix(out / f"{item.name}_{method}_normalised.csv", normalised(matrix))
        shown[method] = normalised(matrix).scores
        numbers[method] = {
            "tasks": list(item.tasks),
            "mean": mean.tolist(),
            "normalised": shown[method].tolist(),
            "seeds": {seed: one.scores.tolist() for seed, one in read.items()},
        }
        found += predictors.compare_over_seeds(method, read, folder / "runs", root)
    if shown:
        names = [tables.short(task) for task in item.tasks]
        heat_maps([out / f"{item.name}.png"], names, shown, f"{item.title} (share of each target's best)")
        write_json(out / f"{item.name}.json", numbers)
        write_json(out / "predictors.json", found)
        write_text(out / "predictors.md", predictors.markdown(found))
        write_text(out / f"{item.name}.md", _partners(item, numbers))


def _partners(item: Item, numbers: dict) -> str:
    """For each target the two tasks whose prompts transfer best to it, by method."""
    lines = ["| target | " + " | ".join(numbers) + " |", "|---|" + "---|" * len(numbers)]
    for k, target in enumerate(item.tasks):
        cells = []
        for matrix in numbers.values():
            order = sorted((j for j in range(len(item.tasks)) if j != k), key=lambda j: -matrix["mean"][j][k])[:2]
            cells.append(
                ", ".join(f"{tables.short(item.tasks[j])} {100 * matrix['normalised'][j][k]:.0f}" for j in order)
            )
        lines.append(f"| {tables.short(target)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"

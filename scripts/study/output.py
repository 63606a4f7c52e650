"""The output of a study: files of each table or figure, paired tests, and a page."""

import datetime
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.transfer import predictors
from scripts.transfer.matrix import Matrix, normalised, read_square_matrix, write_matrix
from scripts.transfer.output import heat_maps
from toolkit.common.files import write_text
from toolkit.common.markers import replace_or_append
from toolkit.common.structured import write_json
from toolkit.common.text import markdown_table

from . import comparisons, costs, methods, plots, tables
from .items import Item
from .protocol import BESIDE_POCKET, Protocol

PAGE_HEAD = """# Results

What `python -m scripts.study` measured, as measured: every part between markers is generated. Scores are the tasks' official
metrics in percent on the original test sets, mean ± standard deviation over seeds.
"""
CHOSEN_ON_TEST = (
    "Groups are chosen by scores on test images, as in the paper: what is better with the best groups is an upper bound of "
    "what groups that are chosen without them would give."
)
COMPARISONS_HEAD = (
    "## Paired comparisons\n\nTasks are the units, each with its mean over seeds; the interval is a bootstrap over "
    "tasks, p is Wilcoxon's signed-rank test, two-sided, not corrected for the number of tests. Of the questions about "
    f"groups: {CHOSEN_ON_TEST}\n\n"
)


def write_all(
    protocol: Protocol,
    items: Sequence[Item],
    folder: Path,
    page: str = "",
    root: str = "",
) -> None:
    """Write all that the runs below `folder` tell into folder/tables, and into `page`,
    a Markdown file with plots and numbers in docs/study. root: of the data sets.
    """
    out = folder / "tables"
    compare = (protocol.suite, protocol.backbone) == ("paper", "ViT-B/16")
    drawings = {"figure5": plots.lengths, "figure6": plots.variations}
    built = []
    for item in items:
        if item.matrices:
            _write_transfer(item, folder, out, root)
        elif item.rows:
            table = tables.build(item, folder, compare)
            built.append(table)
            tables.write(table, out)
            path = out / f"{table.name}.png"
            if table.name == "figure1":
                backbones = protocol.items["figure1"]["cost"]
                rows = costs.measured(backbones, out / "sizes.json")
                plots.sizes(table, rows, path)
            else:
                drawings.get(table.name, plots.dots)(table, path)
    if found := comparisons.of_tables(built):
        comparisons.write(found, out)
    if page:
        write_page(Path(page), protocol, items, built, out)


def _write_transfer(item: Item, folder: Path, out: Path, root: str) -> None:
    shares, numbers, found = {}, {}, []
    for method, jobs in item.matrices.items():
        matrices = {}
        for seed, job in jobs.items():
            path = folder / job / "scores.csv"
            if path.is_file():
                matrices[seed] = read_square_matrix(path)
        if not matrices:
            continue
        by_seed = {seed: matrix.scores for seed, matrix in matrices.items()}
        scores = list(by_seed.values())
        means = np.mean(scores, axis=0)
        mean = Matrix.square(item.tasks, means)
        share = normalised(mean)
        write_matrix(out / f"{item.name}_{method}.csv", mean)
        write_matrix(out / f"{item.name}_{method}_normalised.csv", share)
        shares[method] = share.scores
        predicted = predictors.compare_over_seeds(
            method, matrices, folder / "runs", root
        )
        numbers[method] = {
            "tasks": item.tasks,
            "mean": mean.scores.tolist(),
            "normalised": share.scores.tolist(),
            "seeds": {seed: scores.tolist() for seed, scores in by_seed.items()},
            "predictors": predicted,
        }
        found += predicted
    if not shares:
        return
    names = [tables.short(task) for task in item.tasks]
    title = f"{item.title} (share of each target's best)"
    heat_maps([out / f"{item.name}.png"], names, shares, title)
    write_json(out / f"{item.name}.json", numbers, indent=1)
    write_json(out / "predictors.json", found, indent=1)
    write_text(out / "predictors.md", predictors.markdown(found))
    write_text(out / f"{item.name}.md", _best_sources(names, shares))


def _best_sources(names: Sequence[str], shares: dict[str, np.ndarray]) -> str:
    rows = [["target", *shares]]
    for k, target in enumerate(names):
        row = [target]
        for matrix in shares.values():
            column = matrix[:, k]
            order = np.argsort(-column, kind="stable")
            best = order[order != k][:2]
            row.append(", ".join(f"{names[j]} {100 * column[j]:.0f}" for j in best))
        rows.append(row)
    return markdown_table(rows, "l" * len(rows[0]))


def write_page(
    page: Path,
    protocol: Protocol,
    items: Sequence[Item],
    built: Sequence[tables.Table],
    out: Path,
) -> None:
    """Fill the page's parts of these items, and copy plots, numbers and machine.json to
    docs/study. Names of a suite in BESIDE_POCKET begin with the suite's.
    """
    text = _read(page) or PAGE_HEAD
    copies = page.parent / "docs" / "study"
    copies.mkdir(parents=True, exist_ok=True)
    names = [item.name for item in items]
    prefix = f"{protocol.suite}_" if protocol.suite in BESIDE_POCKET else ""
    files = [out.parent / "machine.json"]
    for name in [*names, "comparisons"]:
        files += [out / f"{name}.png", out / f"{name}.json"]
    for path in files:
        if path.is_file():
            shutil.copyfile(path, copies / f"{prefix}{path.name}")
    parts = {"protocol": _protocol_part(protocol, names)}
    by_name = {table.name: table for table in built}
    for item in items:
        plot = copies / f"{prefix}{item.name}.png"
        parts[item.name] = _item_part(item, by_name.get(item.name), plot, out)
    if comparison_part := _read(out / "comparisons.md"):
        parts["comparisons"] = COMPARISONS_HEAD + comparison_part
    for name, part in parts.items():
        text = replace_or_append(text, prefix + name, part)
    write_text(page, text)


def _protocol_part(protocol: Protocol, names: Sequence[str]) -> str:
    seeds = ",".join(map(str, protocol.seeds))
    command = f"python -m scripts.study {' '.join(names)} --suite {protocol.suite} --seeds {seeds}"
    if protocol.methods != methods.PAPER:
        command += f" --methods {','.join(protocol.methods)}"
    options = [f"{key} {value}" for key, value in protocol.options.items()]
    settings = ", ".join(options) or "the recipe's"
    return (
        f"`{command}`, {datetime.date.today()}. Backbone {protocol.backbone}; {len(protocol.sources)} source and "
        f"{len(protocol.targets)} target tasks; settings: {settings} (configs/studies/{protocol.suite}.yaml)."
    )


def _item_part(item: Item, table: tables.Table | None, plot: Path, out: Path) -> str:
    parts = [f"## {item.title} (the paper's {item.name[:-1]} {item.name[-1]})", ""]
    if plot.is_file():
        parts += [f"![{item.title}](docs/study/{plot.name})", ""]
    if item.name in ("table2", "table3", "figure4"):
        parts += [CHOSEN_ON_TEST, ""]
    if table:
        head = "<details><summary>Every task</summary>"
        average = tables.markdown(table, [tables.AVERAGE])
        every = tables.markdown(table)
        parts += [average, head, "", every, "</details>"]
    else:
        head = "What predicts transfer (rank correlation with a target's column):"
        scores = _read(out / f"{item.name}.md")
        parts += [scores, head, "", _read(out / "predictors.md")]
    return "\n".join(parts)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""

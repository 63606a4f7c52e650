"""Draw zero-shot and adapted scores task by task, and fill the README's table, from the
JSON of scripts.study.compare_runs.

    python -m scripts.study.gains docs/study/anchored.json --trainer MAPT --shots 5 -o docs/study/gains.png --page README.md

A file without `zero_shot_by_task` takes these scores from docs/study/table1.json, whose
tasks are the same.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.common.cli import Argv, command_parser, run_command
from toolkit.common.markers import fill
from toolkit.common.structured import read_json
from toolkit.common.text import counted, markdown_table

from .plots import dumbbells
from .tables import short

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "study" / "table1.json"
FORMER = ("VPT", "MVPT")  # methods of table 1 that the README's table also shows


def reference_scores() -> dict[str, float]:
    """Return the zero-shot percent of tasks, by short name, from table 1's JSON."""
    for row in read_json(REFERENCE)["rows"]:
        if row["labels"][-1] == "zero-shot":
            return {short(task): cell["mean"] for task, cell in row["cells"].items()}
    raise ValueError(f"{REFERENCE}: no row of zero-shot")


def find_record(records: Sequence[Mapping], trainer: str, shots: int) -> Mapping:
    """Return the record of a trainer at a number of shots, or raise ValueError."""
    for record in records:
        if (record["trainer"], record["shots"]) == (trainer, shots):
            return record
    known = ", ".join(f"{record['trainer']} at {record['shots']}" for record in records)
    raise ValueError(
        f"no record of {trainer} at {counted(shots, 'shot')}; there are {known}"
    )


def task_scores(record: Mapping) -> dict[str, tuple[float, float]]:
    """Return the zero-shot and adapted percent of tasks, by short name."""
    by_task = record.get("zero_shot_by_task") or reference_scores()
    zero_shot = {short(task): score for task, score in by_task.items()}
    scores = {}
    for task, gain in record["gain_by_task"].items():
        start = zero_shot[short(task)]
        scores[short(task)] = (start, start + gain)
    return scores


def markdown(records: Sequence[Mapping]) -> str:
    """Return a table of mean scores: rows are shots, columns are trainers."""
    former = {}
    for row in read_json(REFERENCE)["rows"]:
        former[tuple(row["labels"])] = row["cells"]["average"]
    trainers = sorted({record["trainer"] for record in records})
    rows = [["shots", "zero-shot", *FORMER, *trainers]]
    for shots in sorted({record["shots"] for record in records}):
        cells = []
        for method in FORMER:
            cell = former[str(shots), method]
            cells.append(f"{cell['mean']:.1f} ± {cell['std']:.1f}")
        for trainer in trainers:
            record = find_record(records, trainer, shots)
            cells.append(f"{record['score']:.1f} ± {record['deviation']:.1f}")
        rows.append([shots, f"{record['zero_shot']:.1f}", *cells])
    return markdown_table(rows, "r" * len(rows[0]))


def run(args: argparse.Namespace) -> None:
    """Write the picture, and the table if a page is given."""
    records = read_json(args.file)["trainers"]
    record = find_record(records, args.trainer, args.shots)
    title = f"{args.trainer}, {args.shots} images a class: {record['zero_shot']:.1f} to {record['score']:.1f} % on average"
    dumbbells(task_scores(record), title, args.output)
    if args.page:
        fill(args.page, "gains", markdown(records))


def main(argv: Argv = None) -> int:
    """Return 0, or 2 after one line about wrong input."""
    parser = command_parser("scripts.study.gains", __doc__)
    add = parser.add_argument
    add("file", type=Path, help="JSON of scripts.study.compare_runs")
    add("--trainer", default="MAPT")
    add("--shots", type=int, default=5)
    plot = ROOT / "docs" / "study" / "gains.png"
    add("-o", "--output", type=Path, default=plot, help="the picture")
    add("--page", type=Path, help="Markdown page whose part `gains` becomes the table")
    args = parser.parse_args(argv)
    return run_command(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())

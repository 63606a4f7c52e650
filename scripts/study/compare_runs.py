"""Compare finished runs with zero-shot CLIP and with each other, task by task.

    python -m scripts.study.compare_runs output/MAPT-5-0 output/MAPT-5-1 output/APT-5-0 output/APT-5-1 -o comparison.json

A folder is the --output-dir of a two-stage run, or of one over several targets. Runs of
one trainer and number of shots are seeds. For each trainer and number of shots: the
mean score over tasks, its standard deviation over seeds, the gain over zero-shot with a
95 % interval over tasks, and how many tasks are more than a point below zero-shot
(means over seeds). Trainers are compared at the same shots by the differences of their
tasks, with an interval over tasks.
"""

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elevater_eval.bootstrap import mean_interval
from toolkit.common.cli import Argv, command_parser, run_command
from toolkit.common.structured import read_json, write_json
from toolkit.common.text import counted, markdown_table

POINT = 1.0


@dataclass(frozen=True)
class Scores:
    """Scores in percent (seeds, tasks) of a trainer at a number of shots."""

    tasks: tuple[str, ...]
    scores: np.ndarray
    zero_shot: np.ndarray

    def record(self) -> dict:
        """Return the figures of a row."""
        gains = (self.scores - self.zero_shot).mean(0)
        zero_shot = self.zero_shot.mean(0).round(2).tolist()
        deviation = 0.0
        if len(self.scores) > 1:
            deviation = float(self.scores.mean(1).std(ddof=1))
        return {
            "seeds": len(self.scores),
            "tasks": len(self.tasks),
            "score": float(self.scores.mean()),
            "deviation": deviation,
            "zero_shot": float(self.zero_shot.mean()),
            "gain": float(gains.mean()),
            "interval": mean_interval(gains),
            "tasks_below_zero_shot": int((gains < -POINT).sum()),
            "gain_by_task": dict(zip(self.tasks, gains.round(2).tolist(), strict=True)),
            "zero_shot_by_task": dict(zip(self.tasks, zero_shot, strict=True)),
        }


def read_scores(folders: Sequence[Path]) -> dict[tuple[int, str], Scores]:
    """Return the scores of runs by (shots, trainer). Raises FileNotFoundError for a
    folder without results, ValueError if runs of a group differ in their tasks or a
    record lacks zero-shot.
    """
    groups: dict[tuple[int, str], list[list[dict]]] = defaultdict(list)
    for folder in folders:
        records = read_json(folder / "results.json")
        groups[records[0]["shots"], records[0]["trainer"]].append(records)
    found = {}
    for key, runs in sorted(groups.items()):
        label = f"{key[1]}, {counted(key[0], 'shot')}"
        tasks = {tuple(record["task"] for record in run) for run in runs}
        if len(tasks) > 1:
            raise ValueError(f"{label}: the runs are over different tasks")
        records = itertools.chain(*runs)
        if not all("zero_shot" in record for record in records):
            raise ValueError(f"{label}: results.json has no zero-shot scores")
        scores = np.array([[record["score"] for record in run] for run in runs])
        zero_shot = np.array([[record["zero_shot"] for record in run] for run in runs])
        found[key] = Scores(*tasks, scores, zero_shot)
    return found


def compare(scores: dict[tuple[int, str], Scores]) -> list[dict]:
    """Return the differences (second - first) of trainers at equal shots and tasks."""
    records = []
    for (first, one), (second, other) in itertools.combinations(scores.items(), 2):
        if first[0] != second[0] or one.tasks != other.tasks:
            continue
        differences = other.scores.mean(0) - one.scores.mean(0)
        record = {"shots": first[0], "first": first[1]}
        record["second"] = second[1]
        record["difference"] = float(differences.mean())
        records.append(record | {"interval": mean_interval(differences)})
    return records


def markdown(rows: dict[tuple[int, str], dict], comparisons: list[dict]) -> str:
    """Return both tables."""
    heads = "shots|trainer|score|zero-shot|gain|95 % interval|tasks below zero-shot"
    lines = [heads.split("|")]
    for (shots, trainer), row in rows.items():
        score = f"{row['score']:.1f} ± {row['deviation']:.1f}"
        low, high = row["interval"]
        gain = [f"{row['gain']:+.1f}", f"{low:+.1f} to {high:+.1f}"]
        below = f"{row['tasks_below_zero_shot']} of {row['tasks']}"
        zero_shot = f"{row['zero_shot']:.1f}"
        lines.append([shots, trainer, score, zero_shot, *gain, below])
    differences = [["shots", "difference", "points", "95 % interval"]]
    for record in comparisons:
        low, high = record["interval"]
        name = f"{record['second']} - {record['first']}"
        numbers = [f"{record['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}"]
        differences.append([record["shots"], name, *numbers])
    first = markdown_table(lines, "rlrrrlr")
    return f"{first}\n{markdown_table(differences, 'rlrl')}"


def markdown_by_task(scores: dict[tuple[int, str], Scores]) -> str:
    """Return a table of tasks: zero-shot, then each trainer's mean over seeds. Raises
    ValueError if their tasks differ.
    """
    first, *others = groups = list(scores.values())
    if any(group.tasks != first.tasks for group in others):
        raise ValueError("--by-task: the runs are over different tasks")
    labels = [f"{trainer}, {counted(shots, 'shot')}" for shots, trainer in scores]
    columns = [first.zero_shot.mean(0), *(group.scores.mean(0) for group in groups)]
    rows = [["task", "zero-shot", *labels]]
    for task, *values in zip(first.tasks, *columns, strict=True):
        texts = [f"{value:.1f}" for value in values]
        rows.append([task, *texts])
    means = [f"{column.mean():.1f}" for column in columns]
    rows.append(["mean", *means])
    return markdown_table(rows, "l" + "r" * len(columns))


def run(args: argparse.Namespace) -> None:
    """Print the tables and write them as JSON."""
    scores = read_scores(args.folders)
    rows = {key: group.record() for key, group in scores.items()}
    comparisons = compare(scores)
    if args.by_task:
        sys.stdout.write(markdown_by_task(scores) + "\n")
    sys.stdout.write(markdown(rows, comparisons))
    if args.output:
        records = []
        for (shots, trainer), row in rows.items():
            records.append({"shots": shots, "trainer": trainer, **row})
        content = {"trainers": records, "comparisons": comparisons}
        write_json(args.output, content, indent=1)


def main(argv: Argv = None) -> int:
    """Return 0, or 2 after one line about wrong input."""
    parser = command_parser("scripts.study.compare_runs", __doc__)
    add = parser.add_argument
    add("folders", type=Path, nargs="+", metavar="DIR")
    text = "JSON file of both tables and the gains by task"
    add("-o", "--output", type=Path, help=text)
    text = "also print the scores of each task side by side"
    add("--by-task", action="store_true", help=text)
    args = parser.parse_args(argv)
    return run_command(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())

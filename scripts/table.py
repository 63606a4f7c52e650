"""The table of all methods on the pocket suite: every trainer, shots and seed as one run, then mean and deviation over
seeds.

    python -m scripts.table --shots 5,20 --seeds 0,1,2

Runs that exist are reused, so a stopped table goes on where it was. Writes table.json, table.md and table.png to
--output-dir, and, with --readme, the tables between the README's markers.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import logging
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("CoOp", "VPT", "UPT", "MCoOp", "MVPT", "MUPT")
log = logging.getLogger("table")


def run_all(grid: list[tuple[str, int, int]], folder: Path, jobs: int, options: list[str]) -> None:
    """Every (method, shots, seed) in a process of its own, `jobs` at a time. Raises RuntimeError naming the runs that
    failed."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))

    def one(run: tuple[str, int, int]) -> str | None:
        method, shots, seed = run
        out = folder / f"{method}_{shots}shots_seed{seed}"
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "train.py",
            "--trainer",
            method,
            "--shots",
            str(shots),
            "--seed",
            str(seed),
            "--output-dir",
            str(out),
            *options,
        ]
        with open(f"{out}.console", "w", encoding="utf-8") as console:
            code = subprocess.run(
                command,
                cwd=ROOT,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": threads},
            ).returncode
        return None if code == 0 else f"{out.name} (exit code {code}, see {out.name}.console)"

    with ThreadPoolExecutor(jobs) as pool:
        failed = [
            name
            for name in tqdm(pool.map(one, grid), total=len(grid), desc="runs", unit="run", dynamic_ncols=True)
            if name
        ]
    if failed:
        raise RuntimeError("these runs failed: " + ", ".join(failed))


def gather(grid: list[tuple[str, int, int]], folder: Path) -> dict[tuple[str, int], list[dict[str, dict]]]:
    """(method, shots) -> for each seed the records by task."""
    runs: dict[tuple[str, int], list] = {}
    for method, shots, seed in grid:
        records = json.loads(
            (folder / f"{method}_{shots}shots_seed{seed}" / "results.json").read_text(encoding="utf-8")
        )
        runs.setdefault((method, shots), []).append({record["task"]: record for record in records})
    return runs


def spread(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation."""
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}


def summarise(runs: dict[tuple[str, int], list[dict[str, dict]]]) -> dict:
    """Scores in percent: zero-shot per task, and per method and shots each task's and the mean's mean ± std over
    seeds."""
    first = next(iter(runs.values()))[0]
    zero = {task: record["zero_shot"] for task, record in first.items()}
    rows = []
    for (method, shots), seeds in runs.items():
        tasks = {task: spread([records[task]["score"] for records in seeds]) for task in first}
        means = spread([statistics.fmean(record["score"] for record in records.values()) for records in seeds])
        rows.append({"method": method, "shots": shots, "seeds": len(seeds), "average": means, "tasks": tasks})
    return {"zero_shot": {"tasks": zero, "average": statistics.fmean(zero.values())}, "rows": rows}


def markdown(summary: dict, command: str) -> str:
    """The summary as two tables: the averages, and every task."""
    shots = sorted({row["shots"] for row in summary["rows"]})
    methods = list(dict.fromkeys(row["method"] for row in summary["rows"]))
    by = {(row["method"], row["shots"]): row for row in summary["rows"]}
    date, seeds = datetime.date.today().isoformat(), summary["rows"][0]["seeds"]
    lines = [
        f"`{command}`, {date}. Mean over the 20 target tasks in percent, ± standard deviation over {seeds} seeds.",
        "",
    ]
    lines += ["| method | " + " | ".join(f"{k} shots" for k in shots) + " |", "|---|" + "---:|" * len(shots)]
    lines.append("| zero-shot | " + " | ".join(f"{summary['zero_shot']['average']:.1f}" for _ in shots) + " |")
    for method in methods:
        cells = [f"{by[method, k]['average']['mean']:.1f} ± {by[method, k]['average']['std']:.1f}" for k in shots]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    columns = [(method, k) for k in shots for method in methods]
    lines += ["", "<details><summary>Every task</summary>", ""]
    lines += [
        "| task | zero-shot | " + " | ".join(f"{method}, {k}" for method, k in columns) + " |",
        "|---|---:|" + "---:|" * len(columns),
    ]
    for task, value in summary["zero_shot"]["tasks"].items():
        cells = [
            f"{by[column]['tasks'][task]['mean']:.1f} ± {by[column]['tasks'][task]['std']:.1f}" for column in columns
        ]
        lines.append(f"| {task.removeprefix('pocket-')} | {value:.1f} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "</details>"]) + "\n"


def picture(summary: dict, path: Path) -> None:
    """Bars of the averages with their deviation, the zero-shot score as a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shots = sorted({row["shots"] for row in summary["rows"]})
    methods = list(dict.fromkeys(row["method"] for row in summary["rows"]))
    figure, axes = plt.subplots(figsize=(7.2, 3.4))
    width = 0.8 / len(shots)
    for k, number in enumerate(shots):
        rows = [next(row for row in summary["rows"] if row["method"] == m and row["shots"] == number) for m in methods]
        x = [position + (k - (len(shots) - 1) / 2) * width for position in range(len(methods))]
        bars = axes.bar(
            x,
            [row["average"]["mean"] for row in rows],
            width * 0.94,
            yerr=[row["average"]["std"] for row in rows],
            capsize=2,
            label=f"{number} shots",
            color=plt.cm.viridis(0.35 + 0.4 * k / max(1, len(shots) - 1)),
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
    zero = summary["zero_shot"]["average"]
    axes.axhline(zero, color="black", linewidth=1, linestyle="--", label=f"zero-shot {zero:.1f}")
    axes.set_xticks(range(len(methods)), methods)
    axes.set_ylabel("mean of 20 tasks (%)")
    axes.set_ylim(bottom=max(0, zero - 12))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def fill(readme: Path, marker: str, text: str) -> None:
    """Replace what stands between `<!-- marker:begin -->` and `<!-- marker:end -->`."""
    content = readme.read_text(encoding="utf-8")
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    if begin not in content or end not in content:
        raise ValueError(f"{readme.name} has no markers {begin} and {end}")
    head, rest = content.split(begin, 1)
    readme.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--shots", default="5,20")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--jobs", type=int, default=max(1, os.cpu_count() or 1), help="runs at a time; they share the cores"
    )
    parser.add_argument("--output-dir", type=Path, default=ROOT / "output" / "table")
    parser.add_argument(
        "--readme", action="store_true", help="write the tables and the picture into README.md and docs/"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for every run")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # the slowest runs first within a seed, so that a stopped table has whole seeds
    grid = [
        (method, int(shots), int(seed))
        for seed, shots, method in itertools.product(
            args.seeds.split(","), sorted(args.shots.split(","), key=int, reverse=True), args.methods.split(",")
        )
    ]
    run_all(grid, args.output_dir, args.jobs, args.opts)
    order = sorted(grid, key=lambda run: (run[1], args.methods.split(",").index(run[0]), run[2]))
    summary = summarise(gather(order, args.output_dir))
    command = f"python -m scripts.table --shots {args.shots} --seeds {args.seeds}"
    text = markdown(summary, command)
    (args.output_dir / "table.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (args.output_dir / "table.md").write_text(text, encoding="utf-8")
    picture(summary, args.output_dir / "table.png")
    if args.readme:
        picture(summary, ROOT / "docs" / "results.png")
        fill(ROOT / "README.md", "results", text)
        zero = "\n".join(f"| {task} | {value:.1f} |" for task, value in summary["zero_shot"]["tasks"].items())
        average = summary["zero_shot"]["average"]
        fill(ROOT / "README.md", "zeroshot", f"| task | zero-shot |\n|---|---:|\n{zero}\n| mean | {average:.1f} |")
    log.info("%s", text)


if __name__ == "__main__":
    main()

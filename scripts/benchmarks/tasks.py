"""What very many tasks cost: start-up, memory and step time of joint training on 1,000 tasks of 100 classes, beside those of 10.

    python -m scripts.benchmarks.tasks                                    # MVPT and MCoOp, 10 and 1,000 tasks, the pocket model
    python -m scripts.benchmarks.tasks --methods MUPT --mixed --rounds 1  # batches of images of any task
    python -m scripts.benchmarks.tasks --methods MVPT --whole --rounds 1  # a whole epoch, validation and test

The suite (`scripts.benchmarks.many_tasks`) is written once, about 120 MB for 1,000 tasks. A case is `train.py` in a
process of its own, with the tasks registered as a user's are; few and many tasks take turns. It takes --steps steps,
and then the same steps again, when all that is computed once for a task is known. Unless --mixed, a batch is of one
task, so that it has as many images and classes however many tasks there are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .many_tasks import write_suite
from .training import machine, split, write

ROOT = Path(__file__).resolve().parents[2]


def run_case(configuration: dict) -> dict:
    """A case in a new process. Raises RuntimeError with the end of what it said where it fails."""
    threads = str(configuration["threads"])
    with tempfile.TemporaryDirectory() as folder:
        given = configuration | {"folder": f"{folder}/run", "started": time.time()}
        command = [sys.executable, "-m", "scripts.benchmarks.tasks_case", json.dumps(given)]
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MVLPT_CACHE": folder, "TQDM_DISABLE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{configuration}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return configuration | json.loads(done.stdout.strip().splitlines()[-1])


def summary(cases: list[dict]) -> dict:
    """What several runs of one configuration found: of each time the least and the median, of memory the most."""
    found: dict = {key: cases[0][key] for key in ("method", "tasks", "mixed", "steps", "tasks_in_a_batch")}
    for key, value in cases[0].items():
        if isinstance(value, dict) and "wall" in value:
            found[key] = {
                clock: {
                    "min": round(min(case[key][clock] for case in cases), 4),
                    "median": round(statistics.median(case[key][clock] for case in cases), 4),
                }
                for clock in value
            }
    found["memory"] = {key: max(case["memory"][key] for case in cases) for key in cases[0]["memory"]}
    return found


def markdown(rows: list[dict]) -> str:
    """The results as a table; times are the least of all rounds, CPU seconds (of the start also wall clock)."""
    columns = [
        "method",
        "tasks",
        "tasks in a batch",
        "start, s",
        "start, CPU s",
        "of it imports",
        "building",
        "memory, GB",
    ]
    columns += ["step, ms", "step / that of the fewest tasks", "of medians", "with first visits, ms"]
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for row in rows:
        few = min((other for other in rows if other["method"] == row["method"]), key=lambda other: other["tasks"])
        step, base = row["step"]["cpu"], few["step"]["cpu"]
        cells = [row["method"], f"{row['tasks']:,}", f"{row['tasks_in_a_batch']:.1f}"]
        cells += [f"{row['start']['wall']['min']:.1f}"] + [
            f"{row[key]['cpu']['min']:.1f}" for key in ("start", "imports", "building")
        ]
        cells += [f"{row['memory']['end']:.2f}", f"{1000 * step['min']:.1f}"]
        cells += [f"{step['min'] / base['min']:.2f}", f"{step['median'] / base['median']:.2f}"]
        cells += [f"{1000 * row['first_visit_step']['cpu']['min']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--methods", type=split(), default=["MVPT", "MCoOp"])
    add("--tasks", type=split(int), default=[10, 1000])
    add("--steps", type=int, default=60)
    add("--rounds", type=int, default=3)
    add("--batch-size", type=int, default=16)
    add("--mixed", action="store_true", help="batches of images of any task: more tasks, more classes in a step")
    add("--whole", action="store_true", help="whole epochs, validation and test as well (minutes)")
    add("--threads", type=int, default=1, help="of the arithmetic")
    add("--data", type=Path, default=ROOT / "data" / "many_tasks", help="where the suite is, or is to be written")
    add("--output-dir", type=Path, default=ROOT / "output" / "benchmark")
    options = parser.parse_args()
    write_suite(options.data, max(options.tasks))
    cases: dict[tuple, list[dict]] = {}
    for _ in range(options.rounds):
        for method in options.methods:
            for tasks in options.tasks:
                configuration = {
                    "method": method,
                    "tasks": tasks,
                    "data": str(options.data.resolve()),
                    "mixed": options.mixed,
                    "whole": options.whole,
                    "steps": options.steps,
                    "batch_size": options.batch_size,
                    "threads": options.threads,
                }
                found = run_case(configuration)
                cases.setdefault((method, tasks), []).append(found)
                print(json.dumps(found), file=sys.stderr, flush=True)
    rows = [summary(found) for found in cases.values()]
    text = markdown(rows)
    result = {"machine": machine("cpu"), "summary": rows, "cases": [case for found in cases.values() for case in found]}
    write(options.output_dir / "benchmark_tasks.json", json.dumps(result, indent=1) + "\n")
    write(options.output_dir / "benchmark_tasks.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

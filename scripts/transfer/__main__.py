"""Zero-shot transferability: the prompt learnt on each task, applied as it is to every task (paper, Figure 4).

    python -m scripts.transfer --trainer VPT --shots 20 --seed 0
    python -m scripts.transfer --trainer CoOp,VPT,UPT --tasks pocket-digits,pocket-signs,pocket-faces

Below --output-dir, <trainer>_<shots>shots_seed<seed>/ holds a run's folder for each task, and: scores.json (raw columns),
matrix.csv and normalised.csv (first column source, header targets), heatmap.png and heatmap.pdf, predictors.csv and
predictors.json (how well similarities of prompts and of tasks predict the order of sources), results.json (all of it).
What exists is reused: a stopped command goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import io
import logging
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import datasets
import trainers
from datasets import pocket, task_name
from scripts.jobs import execution
from scripts.jobs.plan import Job, Plan
from trainers.engine import results
from trainers.engine.config import is_native, resolve, trainer_class, with_overrides
from trainers.engine.run import Run, execute, next_action
from trainers.engine.run_dir import Action, check_folder, exclusive_folder
from trainers.engine.settings import check
from trainers.features import fingerprints

from .predictors import PREDICTORS, agreement, prompt_vectors, similarity, task_vectors
from .scores import normalised, transfer_matrix, write_csv

__all__ = ["main", "transfer_matrix"]

ROOT = Path(__file__).resolve().parents[2]
FILES = ("matrix.csv", "normalised.csv", "predictors.csv", "predictors.json", "results.json")
PICTURES = ("heatmap.png", "heatmap.pdf")
log = logging.getLogger("transfer")


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--trainer", default="CoOp,VPT,UPT", help="methods, comma separated")
    add("--shots", type=int, default=20, help="training images per class; -1 all")
    add("--seed", type=int, default=0)
    add("--tasks", default="", help="tasks, comma separated; default: the 20 targets of the pocket suite")
    add("--output-dir", type=Path, default=ROOT / "output" / "transfer")
    add("--runs", type=Path, help="folder with runs to reuse: <trainer>_<shots>shots_seed<seed>/<task> or <task> in it")
    add("--root", default="", help="folder of the data sets")
    add("--backbone", default="", help="as for train.py")
    add("--config-file", default="", help="YAML with settings; default: the recipe of the backbone")
    add("--no-cache", action="store_true", help="neither read nor keep features of the frozen image tower in files")
    execution.add_arguments(parser)
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs of the configuration, for every run")
    return parser


def plan(args: argparse.Namespace, trainer: str, tasks: list[str]) -> list[Run]:
    """A run for each task, each learning from scratch; one that exists below --runs is taken from there."""
    flags = {
        "DATASET.ROOT": args.root,
        "MODEL.BACKBONE.NAME": args.backbone,
        "SEED": args.seed,
        "DATASET.RANDOM_SEED_SAMPLING": args.seed,
        "DATASET.NUM_SHOTS": args.shots,
        "DATASET.DATASET": tasks[0],
        **({"CACHE.FEATURES": False} if args.no_cache else {}),
    }
    flags = {key: value for key, value in flags.items() if value != ""}
    cfg = resolve(trainer, [args.config_file] if args.config_file else [], flags, args.opts)
    cls = trainer_class(trainer)
    if not is_native(cls) or not cls.learns or cls.multitask:
        raise ValueError(f"--trainer: {trainer} learns no prompt on one task alone; use CoOp, VPT or UPT")
    label = f"{trainer}_{args.shots}shots_seed{args.seed}"
    runs = []
    for task in tasks:
        name = task_name(task)
        places = [args.runs / label / name, args.runs / name] if args.runs else []
        folder = next((place for place in places if (place / "results.json").is_file()), None)
        folder = folder or args.output_dir / label / name
        own = {"DATASET__DATASET": task, "DATASET__NAME": task, "OUTPUT_DIR": str(folder)}
        runs.append(Run(with_overrides(cfg, **own), resume=True))
        check(runs[-1].cfg, cls.multitask)
    return runs


def learn(runs: list[Run], folder: Path, args: argparse.Namespace) -> int:
    """Execute the runs that are not finished, in jobs of their own; the exit code."""
    missing = {run.folder.name: run for run in runs if next_action(run) is not Action.REUSE}
    if not missing:
        return 0
    jobs = Plan()
    for name, run in missing.items():
        jobs.add(Job(name, "run", {"folder": str(run.folder)}))
    with exclusive_folder(folder):
        result = execution.execute(jobs, lambda job: False, (perform, missing), folder, "transfer", args, trusted=False)
    return execution.summarise(result, log) if result.failed else 0


def perform(job: Job, runs: dict[str, Run]) -> None:
    """One run, in whatever process."""
    datasets.register_all()
    trainers.register_all()
    execute(runs[job.name])


def report(folder: Path, runs: list[Run], names: list[str], matrix: np.ndarray, zero: np.ndarray, key: str) -> dict:
    """Predictors, tables and pictures; everything as one value, which is results.json."""
    cfg, folders = runs[0].cfg, [run.folder for run in runs]
    share = normalised(matrix)
    classes, images = task_vectors(cfg, [run.cfg.DATASET.DATASET for run in runs])
    vectors = {"prompts": prompt_vectors(folders), "classes": classes, "images": images}
    similar = {name: similarity(vectors[name]) for name in PREDICTORS}
    predictors = {name: {"what": PREDICTORS[name], **agreement(matrix, similar[name])} for name in PREDICTORS}
    write_csv(folder / "matrix.csv", names, names, matrix)
    write_csv(folder / "normalised.csv", names, names, share)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "target", "score", "normalised", *PREDICTORS])
    for row, source in enumerate(names):
        for column, target in enumerate(names):
            values = [matrix[row, column], share[row, column], *(similar[name][row, column] for name in PREDICTORS)]
            writer.writerow([source, target, *(f"{value:.6f}" for value in values)])
    results.write_text(folder / "predictors.csv", text.getvalue())
    results.write_json(folder / "predictors.json", predictors)
    label = f"{cfg.TRAINER.NAME}, {cfg.DATASET.NUM_SHOTS} shots, seed {cfg.SEED}"
    picture(folder, names, share, f"Transfer of prompts: {label}")
    value = {
        "key": key,
        "trainer": cfg.TRAINER.NAME,
        "shots": cfg.DATASET.NUM_SHOTS,
        "seed": cfg.SEED,
        "backbone": results.backbone_name(cfg),
        "tasks": names,
        "scores": matrix.round(6).tolist(),
        "normalised": share.round(6).tolist(),
        "zero_shot": zero.round(6).tolist(),
        "predictors": predictors,
    }
    results.write_json(folder / "results.json", value)
    return value


def picture(folder: Path, names: list[str], share: np.ndarray, title: str) -> None:
    """The heat maps, where matplotlib is installed."""
    try:
        from .picture import heat_map

        heat_map([folder / name for name in PICTURES], [name.removeprefix("pocket-") for name in names], share, title)
    except ModuleNotFoundError as error:
        log.warning("no pictures: %s is not installed", error.name)


def transfer(folder: Path, runs: list[Run], tasks: list[str], jobs: int) -> dict:
    """One method's matrix, of runs that are finished; what is finished of it is left as it is."""
    names = [task_name(task) for task in tasks]
    with tqdm(total=len(tasks), desc="scores", unit="task", dynamic_ncols=True, leave=False) as bar:
        matrix, zero = transfer_matrix(
            [run.folder for run in runs],
            tasks,
            runs[0].cfg,
            jobs,
            folder / "scores.json",
            lambda ready: bar.update(ready - bar.n),
        )
    key = fingerprints.of_text(results.read_json(folder / "scores.json"))
    if all((folder / name).is_file() for name in FILES):
        known = results.read_json(folder / "results.json")
        if known.get("key") == key:
            return known
    return report(folder, runs, names, matrix, zero, key)


def summary(value: dict) -> str:
    """What was found, in a few lines."""
    matrix, zero = np.array(value["scores"]), np.array(value["zero_shot"])
    own = np.diag(matrix)
    rest = matrix[~np.eye(len(matrix), dtype=bool)].mean() if len(matrix) > 1 else float("nan")
    lines = [
        f"{value['trainer']}: mean score of a prompt on its own task {own.mean():.1f}, on the others {rest:.1f}; "
        f"zero-shot {zero.mean():.1f}"
    ]
    for name, found in value["predictors"].items():
        if found["mean"] is not None:
            lines.append(
                f"  rank correlation with {name}: {found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
            )
    return "\n".join(lines)


def run(args: argparse.Namespace) -> int:
    """All methods, one after the other; everything is checked first. Exit code 1 when a run failed."""
    execution.check(args)
    trainers.register_all()
    datasets.register_all()
    if args.shots == 0:
        raise ValueError("--shots is 0: prompts are learnt here")
    if args.runs and not args.runs.is_dir():
        raise FileNotFoundError(f"--runs: no folder {args.runs}")
    methods = [name.strip() for name in args.trainer.split(",") if name.strip()]
    tasks = [name.strip() for name in args.tasks.split(",") if name.strip()] or [spec.task for spec in pocket.TARGETS]
    if len({task_name(task) for task in tasks}) < max(2, len(tasks)):
        raise ValueError("--tasks: at least two tasks, each once, are compared")
    check_folder(args.output_dir)
    pocket.ensure_all([name for name in tasks if name in pocket.SPECS])
    plans = {method: plan(args, method, tasks) for method in methods}
    for task in next(iter(plans.values())):
        datasets.build_task(task.cfg, task.cfg.DATASET.DATASET)
    for runs in plans.values():
        for one in runs:
            next_action(one)
    for method, runs in plans.items():
        folder = args.output_dir / f"{method}_{args.shots}shots_seed{args.seed}"
        if learn(runs, folder, args):
            return 1
        log.info("%s", summary(transfer(folder, runs, tasks, execution.processes(args))))
        log.info("  %s", os.path.relpath(folder))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 1 when a run failed; 2 after one message about wrong input; 130 when stopped."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)
    return execution.command(run, arguments(), argv)


if __name__ == "__main__":
    sys.exit(main())

"""Experiments of several runs: a source prompt learnt on many tasks, then each target adapted from it, or from scratch.

An experiment is a list of runs that is checked as a whole before the first one starts.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm
from yacs.config import CfgNode

from datasets import task_name
from elevater_eval import combine
from toolkit.common.files import atomic_write
from toolkit.common.structured import read_yaml

from . import distributed, results
from .config import with_overrides
from .run import Prepared, Run, check_configuration, check_interrupted, check_run, execute, write_config

log = logging.getLogger(__name__)


def read_groups(file: str, targets: list[str], sources: Sequence[str] = ()) -> dict[str, list[str]]:
    """target -> tasks to adapt it with, from a YAML file. Images of one's own may be called as their task is."""
    if not file:
        return {}
    groups = read_yaml(file, "--groups")
    if not isinstance(groups, dict):
        raise ValueError(f"--groups: {file} must map each target to a list of tasks")
    for target, related in groups.items():
        if not isinstance(related, list) or not all(isinstance(name, str) for name in related):
            raise ValueError(f"--groups: {file} must map {target} to a list of tasks, not to {related!r}")
    known = {task_name(name): name for name in [*sources, *targets]}
    groups = {known.get(target, target): [known.get(name, name) for name in group] for target, group in groups.items()}
    unknown = [str(target) for target in groups if target not in targets]
    if unknown:
        raise ValueError(f"--groups: {file} names {', '.join(unknown)}, which are no targets (--dataset)")
    return groups


def source_run(cfg: CfgNode, sources: Sequence[str], model_dir: str = "", load_epoch: int | None = None) -> Run:
    """Stage 1: one prompt over all source tasks, in `source/`."""
    multi, shots = cfg.MULTITASK, cfg.DATASET.NUM_SHOTS
    if multi.SOURCE_SHOTS > -2:
        shots = multi.SOURCE_SHOTS
    elif shots == 0:
        shots = 20
    return Run(
        with_overrides(
            cfg,
            DATASET__DATASET=",".join(sources),
            DATASET__NAME=sources[0],
            DATASET__NUM_SHOTS=shots,
            DATASET__NUM_SAMPLES_PER_CLASS=shots,
            DATASET__MULTITASK_EVALKEY="average",
            OPTIM__MAX_EPOCH=multi.SOURCE_EPOCH or cfg.OPTIM.MAX_EPOCH,
            OUTPUT_DIR=str(Path(cfg.OUTPUT_DIR) / "source"),
            MULTITASK__SOURCE="",
        ),
        start=model_dir,
        load_epoch=load_epoch,
    )


def target_runs(
    cfg: CfgNode,
    targets: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    start: str = "",
    load_epoch: int | None = None,
    trains: bool = True,
    fresh: bool = False,
) -> list[Run]:
    """Stage 2: each target alone ("S"), or with the tasks that `groups` gives it ("M"), in `adapt/<target>/`.

    Where nothing is trained, `start` may be a whole experiment: each target is then evaluated with its own prompt.
    """
    runs = []
    for target in targets:
        group = [name for name in groups.get(target, []) if name != target]
        label = task_name(target)
        own = Path(start) / "adapt" / label
        runs.append(
            Run(
                with_overrides(
                    cfg,
                    DATASET__DATASET=",".join([target, *group]),
                    DATASET__NAME=target,
                    DATASET__MULTITASK_EVALKEY=label if group else "average",
                    OUTPUT_DIR=str(Path(cfg.OUTPUT_DIR) / "adapt" / label),
                    MULTITASK__SOURCE="",
                ),
                start=str(own) if start and not trains and own.is_dir() else start,
                load_epoch=load_epoch,
                trains=trains,
                compare=True,
                fresh=fresh,
            )
        )
    return runs


def check_experiment(cfg: CfgNode, source: Run | None, targets: Sequence[Run]) -> Prepared | None:
    """Check all runs of an experiment in `cfg.OUTPUT_DIR`; nothing is written. What was built for the source is returned."""
    check_configuration(cfg)
    if not (Path(cfg.OUTPUT_DIR) / "results.json").is_file():
        check_interrupted(Path(cfg.OUTPUT_DIR), targets[0].resume)
    labels = [run.folder.name for run in targets]
    for label, count in Counter(labels).items():
        if count > 1:
            raise ValueError(f"task {label} is given twice (two data sets of that name: see 'name' in a YAML)")
    prepared = check_run(source) if source else None
    for run in targets:
        check_run(run, start_exists=source is None)
    return prepared


def run_experiment(
    cfg: CfgNode, source: Run | None, targets: Sequence[Run], prepared: Prepared | None = None
) -> list[dict]:
    """Run both stages and collect predictions/, results.json, results.md and submission.zip in `cfg.OUTPUT_DIR`."""
    if distributed.main():
        write_config(cfg)
    if source:
        log.info("stage 1: one prompt over %d source tasks", len(source.cfg.DATASET.DATASET.split(",")))
        execute(source, prepared)
    start = "the source prompt" if source else "an existing prompt" if targets[0].start else "a fresh prompt"
    log.info("stage 2: %d targets, each from %s", len(targets), start)
    records = []
    with tqdm(targets, desc="targets", unit="task", dynamic_ncols=True) as bar:
        for run in bar:
            found = execute(run)
            records += found
            with tqdm.external_write_mode():
                for record in found:
                    log.info("%s", results.one_line(record))
    if distributed.main():
        collect(Path(cfg.OUTPUT_DIR), records, cfg.DATASET.ROOT or None)
    return records


def collect(out: Path, records: Sequence[dict], root: str | None = None) -> None:
    """Gather the targets' predictions and results at the top of an experiment, and pack the submission.

    root: the data root, where a test set's order may be marked as unofficial; a warning then says so.
    """
    names = {record["task"]: f"seed{record['seed']}_{record['task']}.json" for record in records}
    for task, name in names.items():
        with atomic_write(out / "predictions" / name) as temporary:
            shutil.copyfile(out / "adapt" / task / "predictions" / name, temporary)
    for path in (out / "predictions").iterdir():
        if path.name not in names.values():
            path.unlink()
    combine([out / "predictions"], out / "submission.zip", root)
    results.write_text(out / "results.md", results.markdown(records))
    results.write_json(out / "results.json", records)  # last: the experiment is finished

"""From a configuration to its results: one run, or a source prompt learned on many
tasks and then each target adapted from it (or from scratch).

An experiment is checked as a whole before anything is written; its tasks are built
once.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from yacs.config import CfgNode

from datasets import few_shot, pocket, task_name
from elevater_eval import combine
from toolkit.common.files import atomic_write, write_bytes, write_text
from toolkit.common.progress import progress
from toolkit.common.structured import read_json, read_yaml, write_json
from toolkit.common.text import printable

from . import distributed, external, results, tables
from .config import (
    BACKBONE_CONFIGS,
    RunOptions,
    coop_names,
    is_native,
    trainer_class,
    with_overrides,
)
from .context import TaskPool
from .run import Run, check_run, execute
from .run_dir import (
    RESULTS,
    Action,
    check_folder,
    decide,
    exclusive_folder,
    experiment_status,
    read_manifest,
    replaced_on_success,
    write_config,
    write_manifest,
)
from .run_log import start_log, without_dassl_lines
from .settings import multitask_advice, split_names, task_names
from .start import follow

log = logging.getLogger(__name__)

# scored beside the prompt of a target
REFERENCES = ("zero_shot", "zero_shot_one_template", "source")


@dataclass(frozen=True)
class Experiment:
    """Runs in the folder of `cfg`.

    Attributes:
        targets: the runs whose results count.
        source: the run that makes the prompt that the targets start from.
        staged: each run has a folder of its own below `cfg.OUTPUT_DIR`; otherwise the
            one target writes there.
        tasks: names of all tasks, also those that targets are grouped with.
    """

    cfg: CfgNode
    targets: Sequence[Run]
    source: Run | None
    staged: bool
    tasks: Sequence[str]


def run(cfg: CfgNode, options: RunOptions) -> None:
    """Check the experiment or the run that a configuration describes, then execute it.

    Raises ValueError or FileNotFoundError before anything is written.
    """
    native = is_native(trainer_class(cfg.TRAINER.NAME))
    if options.resume and options.overwrite:
        raise ValueError(
            "--resume continues a run, --overwrite starts it again: give one of them"
        )
    whole_suite = not task_names(cfg)
    cfg = with_target_names(cfg, options, whole_suite)
    check_folder(cfg.OUTPUT_DIR)
    overwrite = options.overwrite and not options.eval_only and distributed.main()
    if not native:
        if options.track:
            raise ValueError(
                f"--track: {cfg.TRAINER.NAME} is a trainer for Dassl alone, which writes "
                "TensorBoard's curves only"
            )
        external.check_processes(cfg)
        with replaced_on_success(cfg.OUTPUT_DIR, overwrite):
            external.check(cfg, options)
        with exclusive_folder(cfg.OUTPUT_DIR):
            start_log(cfg, options.chosen)
            records = external.run(cfg, options)
            _log_results(records, cfg)
        return
    lines: list[str] = []
    if options.model_dir and trainer_class(cfg.TRAINER.NAME).learns:
        cfg, lines = follow(cfg, options.given, options.model_dir, options.load_epoch)
    experiment = plan(with_overrides(cfg, RESUME=""), options, whole_suite)
    tasks = TaskPool()
    with distributed.main_first(), replaced_on_success(cfg.OUTPUT_DIR, overwrite):
        check(experiment, tasks)
    with exclusive_folder(cfg.OUTPUT_DIR):
        start_log(cfg, options.chosen)
        for line in lines:
            log.info("%s", line)
        with without_dassl_lines():
            records = execute_all(experiment, tasks)
        log.info("\n%s", results.markdown(records))
        for line in results.parsed_lines(
            records, experiment.targets[0].trains
        ).splitlines():
            log.info("%s", line)
        for line in next_commands(experiment, records):
            log.info("%s", line)


def _log_results(records: Sequence[dict], cfg: CfgNode) -> None:
    """Log the table of a run with a trainer written for Dassl, and its path."""
    if not records:
        return
    log.info("\n%s", results.markdown(records))
    out = Path(os.path.relpath(cfg.OUTPUT_DIR))
    log.info("results: %s", out / RESULTS)
    if has_predictions(records):
        log.info("look at it: python -m scripts.report %s", shlex.quote(str(out)))


def next_commands(experiment: Experiment, records: Sequence[dict]) -> list[str]:
    """Return lines that name the results' files, and the commands that show them and
    use the prompt.
    """
    out = Path(os.path.relpath(experiment.cfg.OUTPUT_DIR))
    place = shlex.quote(str(out))
    lines = [f"results: {out / RESULTS}"]
    if (out / tables.FOLDER / tables.PREDICTIONS).is_file():
        lines.append(
            f"each prediction, confusions, scores of classes: {out / tables.FOLDER}"
        )
    if (out / "submission.zip").is_file():
        lines.append(f"submission: {out / 'submission.zip'}")
    if has_predictions(records):
        lines.append(f"look at it: python -m scripts.report {place}")
    prompt = out
    if experiment.staged:
        prompt = out / "adapt" / records[0]["task"]
    if (prompt / "prompts.safetensors").is_file():
        lines.append(
            f"use it: python -m prompting predict {shlex.quote(str(prompt))} IMAGE_OR_FOLDER"
        )
    return lines


def with_target_names(cfg: CfgNode, options: RunOptions, whole_suite: bool) -> CfgNode:
    """Return the configuration with its targets, the pocket suite's by default, and its
    output folder.
    """
    names = task_names(cfg)
    if whole_suite:
        names = [spec.task for spec in pocket.TARGETS]
    out = cfg.OUTPUT_DIR
    if out in ("", "./output"):
        label = task_name(names[0])
        if whole_suite:
            label = "pocket"
        elif len(names) > 1:
            label += f"+{len(names) - 1}"
        out = f"{cfg.TRAINER.NAME}_{label}_{cfg.DATASET.NUM_SHOTS}shots_seed{cfg.SEED}"
        if cfg.DATASET.SUBSAMPLE_CLASSES != "all":
            out += f"_{cfg.DATASET.SUBSAMPLE_CLASSES}"
        if options.eval_only:
            out += "_eval"
        if options.coop_folders:
            out = coop_folder(cfg, names[0], options)
        out = os.path.join("output", out)
    return with_overrides(
        cfg, DATASET__DATASET=",".join(names), DATASET__NAME=names[0], OUTPUT_DIR=out
    )


def coop_folder(cfg: CfgNode, task: str, options: RunOptions) -> str:
    """Return the folder that CoOp's scripts give a run, for programs that read them."""
    method, shots, seed = cfg.TRAINER.NAME, cfg.DATASET.NUM_SHOTS, f"seed{cfg.SEED}"
    recipe = BACKBONE_CONFIGS.get(cfg.MODEL.BACKBONE.NAME, "custom")
    name = coop_names().get(task, task_name(task))
    classes = cfg.DATASET.SUBSAMPLE_CLASSES
    stage = "test" if options.eval_only else "train"
    if classes != "all":
        return os.path.join(
            "base2new",
            f"{stage}_{classes}",
            name,
            f"shots_{shots}",
            method,
            recipe,
            seed,
        )
    if options.eval_only:
        return os.path.join("evaluation", method, f"{recipe}_{shots}shots", name, seed)
    return os.path.join(name, method, f"{recipe}_{shots}shots", seed)


# -- the plan --------------------------------------------------------------------------------------------------------


def plan(cfg: CfgNode, options: RunOptions, whole_suite: bool = False) -> Experiment:
    """Return the runs of a configuration with a native trainer. Raise ValueError if its
    options contradict each other.

    whole_suite: no task was named; a multitask trainer then learns the source prompt on
    the pocket suite's sources.
    """
    cls = trainer_class(cfg.TRAINER.NAME)
    names = task_names(cfg)
    groups = read_groups(options.groups, names, split_names(cfg.MULTITASK.SOURCE))
    sources = _sources(cfg, options, whole_suite)
    trains = (
        cls.learns
        and cfg.DATASET.NUM_SHOTS != 0
        and not (options.eval_only or options.no_train)
    )
    _check_anchor(cfg, from_scratch=trains and not sources and not options.model_dir)
    tasks = [*sources, *names]
    for related in groups.values():
        tasks += related
    start, epoch, source = options.model_dir, options.load_epoch, None
    settings = {
        "trains": trains,
        "fresh": options.no_train,
        "resume": options.resume,
        "track": options.track,
    }
    if not (sources or groups or _one_by_one(cls, names, whole_suite, start)):
        references = ("zero_shot",) if cls.learns else ()
        return Experiment(
            cfg,
            [Run(cfg, start, epoch, references=references, **settings)],
            None,
            False,
            tasks,
        )
    cfg = with_overrides(cfg, MULTITASK__SOURCE=",".join(sources))
    if sources:
        source = source_run(cfg, sources, start, epoch, options.resume, options.track)
        start, epoch = str(source.folder), None
    return Experiment(
        cfg,
        target_runs(cfg, names, groups, start, epoch, **settings),
        source,
        True,
        tasks,
    )


def _sources(cfg: CfgNode, options: RunOptions, whole_suite: bool) -> list[str]:
    """Return the tasks that the source prompt is learned on."""
    cls = trainer_class(cfg.TRAINER.NAME)
    sources = split_names(cfg.MULTITASK.SOURCE)
    if sources and not cls.multitask:
        name = cfg.TRAINER.NAME
        raise ValueError(
            f"--source (MULTITASK.SOURCE): {name} learns one task at a time{multitask_advice(name)}"
        )
    if options.eval_only:
        if cls.learns and not options.model_dir:
            raise ValueError(
                "--eval-only needs --model-dir, the folder of the run to evaluate"
            )
        return []
    if (
        whole_suite
        and not sources
        and cls.multitask
        and cls.learns
        and not options.model_dir
    ):
        return [spec.task for spec in pocket.SOURCES]
    return sources


def _check_anchor(cfg: CfgNode, from_scratch: bool) -> None:
    """Raise ValueError if a prompt that starts from none is to stay near the one that
    it starts from.
    """
    to = cfg.TRAINER.ANCHOR.TO
    if from_scratch and to in ("source", "both"):
        raise ValueError(
            f"TRAINER.ANCHOR.TO is {to!r}, but there is no source prompt: use --source or --model-dir, or zero_shot"
        )


def _one_by_one(
    cls: type, names: Sequence[str], whole_suite: bool, model_dir: str
) -> bool:
    """Return True if each task has its own run."""
    if (Path(model_dir) / "adapt").is_dir():
        return True
    if not cls.learns:
        return False
    return whole_suite or (len(names) > 1 and not cls.multitask)


def read_groups(
    file: str, targets: list[str], sources: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return target -> tasks to adapt it with, from a YAML file.

    Custom images may be called by the name of their task.
    """
    if not file:
        return {}
    groups = read_yaml(file, "--groups")
    if not isinstance(groups, dict):
        raise ValueError(f"--groups: {file} must map each target to a list of tasks")
    for target, related in groups.items():
        if not isinstance(related, list) or not all(
            isinstance(name, str) for name in related
        ):
            raise ValueError(
                f"--groups: {file} must map {target} to a list of tasks, not to {related!r}"
            )
    known = {task_name(name): name for name in [*sources, *targets]}
    named = {}
    for target, related in groups.items():
        named[known.get(target, target)] = [known.get(name, name) for name in related]
    unknown = [str(target) for target in named if target not in targets]
    if unknown:
        raise ValueError(
            f"--groups: {file} names {', '.join(unknown)}, which are no targets (--dataset)"
        )
    return named


def source_run(
    cfg: CfgNode,
    sources: Sequence[str],
    model_dir: str = "",
    load_epoch: int | None = None,
    resume: bool = False,
    track: str = "",
) -> Run:
    """Return stage 1: one prompt over all source tasks, in `source/`."""
    multi, shots = cfg.MULTITASK, cfg.DATASET.NUM_SHOTS
    if multi.SOURCE_SHOTS > -2:
        shots = multi.SOURCE_SHOTS
    elif shots == 0:
        shots = 20
    stage = with_overrides(
        cfg,
        DATASET__DATASET=",".join(sources),
        DATASET__NAME=sources[0],
        DATASET__NUM_SHOTS=shots,
        DATASET__NUM_SAMPLES_PER_CLASS=shots,
        DATASET__MULTITASK_EVALKEY="average",
        OPTIM__MAX_EPOCH=multi.SOURCE_EPOCH or cfg.OPTIM.MAX_EPOCH,
        OUTPUT_DIR=str(Path(cfg.OUTPUT_DIR) / "source"),
        MULTITASK__SOURCE="",
    )
    return Run(stage, model_dir, load_epoch, resume=resume, track=track)


def target_runs(
    cfg: CfgNode,
    targets: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    start: str = "",
    load_epoch: int | None = None,
    trains: bool = True,
    fresh: bool = False,
    resume: bool = False,
    track: str = "",
) -> list[Run]:
    """Return stage 2: each target alone ("S"), or with the tasks that `groups` gives it
    ("M"), in `adapt/<target>/`.

    If nothing is trained, `start` may be a whole experiment: each target is then
    evaluated with its own prompt.
    """
    runs = []
    for target in targets:
        group = [name for name in groups.get(target, []) if name != target]
        label = task_name(target)
        stage = with_overrides(
            cfg,
            DATASET__DATASET=",".join([target, *group]),
            DATASET__NAME=target,
            DATASET__MULTITASK_EVALKEY=label if group else "average",
            OUTPUT_DIR=str(Path(cfg.OUTPUT_DIR) / "adapt" / label),
            MULTITASK__SOURCE="",
        )
        folder = start
        adapted = Path(start) / "adapt" / label
        if start and not trains and adapted.is_dir():
            folder = str(adapted)
        run = Run(stage, folder, load_epoch, trains, REFERENCES, fresh, resume, track)
        runs.append(run)
    return runs


# -- checked and executed --------------------------------------------------------------------------------------------


def check(experiment: Experiment, tasks: TaskPool) -> None:
    """Check all runs; nothing is written but missing pocket tasks.

    Raise ValueError or FileNotFoundError.
    """
    cfg = experiment.cfg
    render_pocket_tasks(experiment.tasks)
    few_shot.check_record(
        cfg.DATASET.FEWSHOT, [task_name(name) for name in experiment.tasks]
    )
    if experiment.staged:
        decide(cfg.OUTPUT_DIR, experiment_status(cfg), experiment.targets[0].resume)
        labels = Counter(run.folder.name for run in experiment.targets)
        for label, count in labels.items():
            if count > 1:
                raise ValueError(
                    f"task {label} is given twice (two data sets of that name: see 'name' in a YAML)"
                )
    start_exists = True
    if experiment.source:
        start_exists = check_run(experiment.source, tasks) is Action.REUSE
    for target in experiment.targets:
        check_run(target, tasks, start_exists)


def execute_all(experiment: Experiment, tasks: TaskPool) -> list[dict]:
    """Execute all runs; return the records of results.json. Of a staged experiment,
    predictions/, results.json, results.md and submission.zip are collected in its
    folder.
    """
    cfg, source, targets = experiment.cfg, experiment.source, experiment.targets
    if not experiment.staged:
        return execute(targets[0], tasks)
    out = Path(cfg.OUTPUT_DIR)
    if distributed.main():
        write_config(cfg)
        if read_manifest(out) is None:
            write_manifest(out, finished=False)
    start = "an existing prompt" if targets[0].start else "a fresh prompt"
    if source:
        log.info("stage 1: one prompt over %d source tasks", len(source.names))
        execute(source, tasks)
        start = "the source prompt"
    log.info("stage 2: %d targets, each from %s", len(targets), start)
    records = []
    with progress(targets, desc="targets", unit="task") as bar:
        for target in bar:
            found = execute(target, tasks)
            records += found
            with tqdm.external_write_mode():
                for record in found:
                    log.info("%s", results.one_line(record))
    if distributed.main() and not _is_collected(out, records):
        write_manifest(out, finished=False)
        collect(out, records, cfg.DATASET.ROOT or None)
        write_manifest(out)
    return records


def collect(out: Path, records: Sequence[dict], root: str | None = None) -> None:
    """Gather the targets' predictions and results at the top of an experiment, and pack
    the submission.

    root: the data root, in which a test set's order may be marked as unofficial; a
    warning then says so.
    """
    if not has_predictions(records):
        write_text(out / "results.md", results.markdown(records))
        write_json(out / "results.json", records, indent=1)
        return
    names = {
        record["task"]: f"seed{record['seed']}_{record['task']}.json"
        for record in records
    }
    for task, name in names.items():
        with atomic_write(out / "predictions" / name) as temporary:
            shutil.copyfile(out / "adapt" / task / "predictions" / name, temporary)
    for path in (out / "predictions").iterdir():
        if path.name not in names.values():
            path.unlink()
    collect_tables(out, names)
    combine([out / "predictions"], out / "submission.zip", root)
    write_text(out / "results.md", results.markdown(records))
    write_json(out / RESULTS, records, indent=1)  # last: the experiment is finished


def collect_tables(out: Path, tasks: Iterable[str]) -> None:
    """Gather the targets' tables in results/ at the top of an experiment: predictions
    one below the other, others as they are.
    """
    predictions = b""
    for task in tasks:
        for path in sorted((out / "adapt" / task / tables.FOLDER).glob("*.csv")):
            content = path.read_bytes()
            if path.name == tables.PREDICTIONS:
                _, _, lines = content.partition(b"\n")
                predictions += lines if predictions else content
            else:
                write_bytes(out / tables.FOLDER / path.name, content)
    if predictions:  # of targets of an earlier version there are none
        write_bytes(out / tables.FOLDER / tables.PREDICTIONS, predictions)


def has_predictions(records: Sequence[dict]) -> bool:
    """Return True for results on test sets, False with TEST.NO_TEST or TEST.SPLIT val."""
    return all("score" in record and "split" not in record for record in records)


def _is_collected(out: Path, records: Sequence[dict]) -> bool:
    """Return True if the top of an experiment holds these very results."""
    known = read_manifest(out)
    if known is None or RESULTS not in known.files:
        return False
    damaged = known.damaged()
    if damaged:
        log.warning(
            "%s: damaged or missing, and made again: %s",
            out,
            printable(", ".join(damaged)),
        )
        return False
    return read_json(out / RESULTS) == records


def render_pocket_tasks(names: Sequence[str]) -> None:
    """Write the pocket tasks that are missing."""
    wanted = [name for name in dict.fromkeys(names) if name in pocket.SPECS]
    rendered = pocket.ensure_all(wanted)
    if rendered:
        log.info("%d pocket tasks rendered", rendered)

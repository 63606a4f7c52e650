"""The runs of an experiment: one, or a source prompt and targets adapted from it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yacs.config import CfgNode

from datasets import pocket, task_name
from toolkit.common.structured import read_yaml

from .config import RunOptions, trainer_class, with_overrides
from .run import Run
from .settings import split_names, task_names
from .value_checks import multitask_advice


@dataclass(frozen=True)
class Experiment:
    """Runs in the folder of `cfg`."""

    cfg: CfgNode
    targets: Sequence[Run]  # their results count
    source: Run | None  # makes the prompt that the targets start from
    staged: bool  # each run has a folder below that of `cfg`; else the target is there
    tasks: Sequence[str]  # all names, also of those that targets are grouped with


def plan(cfg: CfgNode, options: RunOptions, whole_suite: bool = False) -> Experiment:
    """Return a native trainer's runs. Raise ValueError if its options contradict.
    whole_suite: no task was named; a multitask trainer then learns the source prompt on
    the pocket suite's sources.
    """
    cls = trainer_class(cfg.TRAINER.NAME)
    names = task_names(cfg)
    groups = read_groups(options.groups, names, split_names(cfg.MULTITASK.SOURCE))
    sources = _sources(cfg, options, whole_suite)
    only_evaluates = options.eval_only or options.no_train
    trains = cls.learns and cfg.DATASET.NUM_SHOTS != 0 and not only_evaluates
    to = cfg.TRAINER.ANCHOR.TO
    is_fresh = not (sources or options.model_dir)
    if trains and is_fresh and to in ("source", "both"):
        raise ValueError(
            f"TRAINER.ANCHOR.TO is {to!r}, but there is no source prompt: use --source or --model-dir, or zero_shot"
        )
    tasks = [*sources, *names, *itertools.chain(*groups.values())]
    start = {"start": options.model_dir, "load_epoch": options.load_epoch}
    shared = {"resume": options.resume, "track": options.track}
    settings = {"trains": trains, "fresh": options.no_train, **shared}
    one_by_one = _one_by_one(cls, names, whole_suite, options.model_dir)
    if not (sources or groups or one_by_one):
        references = ("zero_shot",) if cls.learns else ()
        run = Run(cfg, references=references, **start, **settings)
        return Experiment(cfg, [run], None, False, tasks)
    cfg = with_overrides(cfg, MULTITASK__SOURCE=",".join(sources))
    source = None
    if sources:
        source = source_run(cfg, sources, **start, **shared)
        start = {"start": str(source.folder)}
    targets = target_runs(cfg, names, groups, **start, **settings)
    return Experiment(cfg, targets, source, True, tasks)


def _sources(cfg: CfgNode, options: RunOptions, whole_suite: bool) -> list[str]:
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
    learns_source = cls.multitask and cls.learns and not options.model_dir
    if whole_suite and learns_source:
        return sources or [spec.task for spec in pocket.SOURCES]
    return sources


def _one_by_one(cls: type, names: Sequence[str], whole_suite: bool, model_dir: str):
    several = whole_suite or (len(names) > 1 and not cls.multitask)
    adapted = Path(model_dir, "adapt")
    return (cls.learns and several) or adapted.is_dir()


def read_groups(
    file: str, targets: list[str], sources: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return target -> tasks to adapt it with, from a YAML file. Custom images may be
    called by the name of their task.
    """
    if not file:
        return {}
    groups = read_yaml(file, "--groups")
    if not isinstance(groups, dict):
        raise ValueError(f"--groups: {file} must map each target to a list of tasks")
    known = {task_name(name): name for name in [*sources, *targets]}
    named = {}
    for target, related in groups.items():
        is_list = isinstance(related, list)
        if not is_list or not all(isinstance(name, str) for name in related):
            raise ValueError(
                f"--groups: {file} must map {target} to a list of tasks, not to {related!r}"
            )
        full_name = known.get(target, target)
        named[full_name] = [known.get(name, name) for name in related]
    unknown = [str(target) for target in named if target not in targets]
    if unknown:
        raise ValueError(
            f"--groups: {file} names {', '.join(unknown)}, which are no targets (--dataset)"
        )
    return named


def source_run(cfg: CfgNode, sources: Sequence[str], **settings) -> Run:
    """Return stage 1: one prompt over all source tasks, in `source/`; settings: of `Run`."""
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
    return Run(stage, **settings)


def target_runs(
    cfg: CfgNode,
    targets: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    start: str = "",
    trains: bool = True,
    **settings,
) -> list[Run]:
    """Return stage 2: each target alone ("S"), or with the tasks that `groups` gives it
    ("M"), in `adapt/<target>/`; settings: of `Run`. `start` may be a whole experiment
    if nothing is trained: each target is evaluated with its own prompt.
    """
    runs = []
    for target in targets:
        related = groups.get(target, [])
        group = [name for name in related if name != target]
        label = task_name(target)
        stage = with_overrides(
            cfg,
            DATASET__DATASET=",".join([target, *group]),
            DATASET__NAME=target,
            DATASET__MULTITASK_EVALKEY=label if group else "average",
            OUTPUT_DIR=str(Path(cfg.OUTPUT_DIR) / "adapt" / label),
            MULTITASK__SOURCE="",
        )
        adapted = Path(start, "adapt", label)
        has_own = start and not trains and adapted.is_dir()
        folder = str(adapted) if has_own else start
        settings["references"] = ("zero_shot", "zero_shot_one_template", "source")
        runs.append(Run(stage, folder, trains=trains, **settings))
    return runs

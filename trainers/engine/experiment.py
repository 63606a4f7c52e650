"""From a configuration to results: an experiment is checked whole, then executed."""

import logging
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from dassl.utils import setup_logger
from tqdm import tqdm
from yacs.config import CfgNode

import toolkit
from datasets import few_shot, is_custom, pocket, task_name
from elevater_eval import combine
from toolkit import plugin_files
from toolkit.common.files import atomic_write, write_bytes, write_text
from toolkit.common.progress import progress
from toolkit.common.structured import read_json, write_json
from toolkit.common.text import log_lines

from . import config, distributed, external, results, run_dir, tables
from .config import RunOptions, is_foreign, is_native, trainer_class, with_overrides
from .context import TaskPool
from .run import check_run, execute, names_or_count
from .run_dir import RESULTS, Action, exclusive_folder, replaced_on_success
from .settings import all_task_names, task_names
from .stages import Experiment, plan
from .start import follow

log = logging.getLogger(__name__)


def run(cfg: CfgNode, options: RunOptions) -> None:
    """Check all that a configuration describes, then execute it. Raises ValueError or
    FileNotFoundError before anything is written.
    """
    cls = trainer_class(cfg.TRAINER.NAME)
    if options.resume and options.overwrite:
        raise ValueError(
            "--resume continues a run, --overwrite starts it again: give one of them"
        )
    whole_suite = not task_names(cfg)
    cfg = with_target_names(cfg, options, whole_suite)
    run_dir.check_folder(cfg.OUTPUT_DIR)
    overwrite = options.overwrite and not options.eval_only and distributed.main()
    if not is_native(cls):
        if options.track:
            raise ValueError(
                f"--track: {cfg.TRAINER.NAME} is a trainer for Dassl alone, which writes "
                "TensorBoard's curves only"
            )
        is_random = cfg.SEED < 0
        cfg = external.with_seed(cfg, options)
        with replaced_on_success(cfg.OUTPUT_DIR, overwrite):
            external.check(cfg, options)
        with exclusive_folder(cfg.OUTPUT_DIR):
            start_log(cfg, options.chosen)
            if is_random:
                log.info("no seed is given: %d is a random seed", cfg.SEED)
            log_results(cfg, external.run(cfg, options), None)
        return
    lines: list[str] = []
    if options.model_dir and cls.learns:
        cfg, lines = follow(cfg, options)
    experiment = plan(with_overrides(cfg, RESUME=""), options, whole_suite)
    tasks = TaskPool()
    with distributed.main_first(), replaced_on_success(cfg.OUTPUT_DIR, overwrite):
        check(experiment, tasks)
    with exclusive_folder(cfg.OUTPUT_DIR):
        start_log(cfg, options.chosen)
        for line in lines:
            log.info("%s", line)
        dassl = logging.getLogger("dassl")
        before = dassl.level
        dassl.setLevel(logging.WARNING)  # native trainers log such lines themselves
        try:
            records = execute_all(experiment, tasks)
        finally:
            dassl.setLevel(before)
        log_results(cfg, records, experiment)


def with_target_names(cfg: CfgNode, options: RunOptions, whole_suite: bool) -> CfgNode:
    """Return the configuration with its targets (or the pocket's) and output folder."""
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
    method, shots = cfg.TRAINER.NAME, cfg.DATASET.NUM_SHOTS
    seed = f"seed{cfg.SEED}"
    recipe = config.BACKBONE_CONFIGS.get(cfg.MODEL.BACKBONE.NAME, "custom")
    name = config.coop_names().get(task, task_name(task))
    classes = cfg.DATASET.SUBSAMPLE_CLASSES
    if classes != "all":
        stage = "test" if options.eval_only else "train"
        end = f"{name}/shots_{shots}/{method}/{recipe}/{seed}"
        return f"base2new/{stage}_{classes}/{end}"
    if options.eval_only:
        return f"evaluation/{method}/{recipe}_{shots}shots/{name}/{seed}"
    return f"{name}/{method}/{recipe}_{shots}shots/{seed}"


def check(experiment: Experiment, tasks: TaskPool) -> None:
    """Raise ValueError or FileNotFoundError; only missing pocket tasks are written."""
    cfg = experiment.cfg
    wanted = [name for name in experiment.tasks if name in pocket.SPECS]
    rendered = pocket.ensure_all(list(dict.fromkeys(wanted)))
    if rendered:
        log.info("%d pocket tasks rendered", rendered)
    labels = list(map(task_name, experiment.tasks))
    few_shot.check_record(cfg.DATASET.FEWSHOT, labels)
    if experiment.staged:
        state = run_dir.experiment_status(cfg)
        run_dir.decide(cfg.OUTPUT_DIR, state, experiment.targets[0].resume)
        folders = Counter(run.folder.name for run in experiment.targets)
        label, count = folders.most_common(1)[0]
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
    """Execute all runs; return the records of results.json. Those of a staged
    experiment, predictions/, results.md and submission.zip are collected in its folder.
    """
    cfg, source = experiment.cfg, experiment.source
    targets = experiment.targets
    if not experiment.staged:
        return execute(targets[0], tasks)
    out = Path(cfg.OUTPUT_DIR)
    if distributed.main():
        run_dir.write_config(cfg)
        if run_dir.read_manifest(out) is None:
            run_dir.write_manifest(out, finished=False)
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
    if distributed.main() and not is_collected(out, records):
        run_dir.write_manifest(out, finished=False)
        run_dir.remove_unfinished(out)
        collect(out, records, cfg.DATASET.ROOT or None)
        run_dir.write_manifest(out)
    return records


def collect(out: Path, records: Sequence[dict], root: str | None = None) -> None:
    """Gather predictions and results of targets at the top, and pack the submission.
    root: of the data, where a test set's order may be marked as unofficial: a warning.
    """
    if results.has_predictions(records):
        names = {}
        for record in records:
            names[record["task"]] = f"seed{record['seed']}_{record['task']}.json"
        for task, name in names.items():
            with atomic_write(out / "predictions" / name) as temporary:
                shutil.copyfile(out / "adapt" / task / "predictions" / name, temporary)
        for path in (out / "predictions").iterdir():
            if path.name not in names.values():
                path.unlink()
        predictions = b""  # of targets of an earlier version there are none
        for task in names:
            for path in sorted((out / "adapt" / task / tables.FOLDER).glob("*.csv")):
                content = path.read_bytes()
                if path.name != tables.PREDICTIONS:
                    write_bytes(out / tables.FOLDER / path.name, content)
                elif predictions:
                    predictions += content.partition(b"\n")[2]
                else:
                    predictions = content
        if predictions:
            write_bytes(out / tables.FOLDER / tables.PREDICTIONS, predictions)
        combine([out / "predictions"], out / "submission.zip", root)
    write_text(out / "results.md", results.markdown(records))
    write_json(out / RESULTS, records, indent=1)  # last: the experiment is finished


def is_collected(out: Path, records: Sequence[dict]) -> bool:
    """Return True if the top of an experiment holds these very results."""
    known = run_dir.read_manifest(out)
    if known is None or RESULTS not in known.files:
        return False
    damaged = ", ".join(known.damaged())
    if damaged:
        log.warning("%s: damaged or missing, and made again: %s", out, damaged)
    return not damaged and read_json(out / RESULTS) == records


def start_log(cfg: CfgNode, first_line: str = "") -> None:
    """Open log.txt; its first lines name trainer, tasks, program and machine. It has
    the lines of epochs, which the console does not show.
    """
    setup_logger(cfg.OUTPUT_DIR if distributed.main() else None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.DEBUG)
    logging.getLogger("trainers.base").setLevel(logging.DEBUG)
    if first_line:
        log.info("%s", first_line)
    gpu = torch.cuda.is_available() and cfg.USE_CUDA
    device = "GPU" if gpu else "CPU"
    if distributed.world() > 1:
        device += f", {distributed.world()} processes"
    log.info("%s, torch %s, %s", toolkit.which_dassl(), torch.__version__, device)
    _log_run(cfg)
    for line in plugin_files.lines([cfg.TRAINER.NAME, *task_names(cfg)]):
        log.info("%s", line)
    reads_precision = not is_foreign(trainer_class(cfg.TRAINER.NAME))
    if reads_precision and not gpu and cfg.TRAINER.MVLPT.PREC in ("fp16", "amp"):
        reason = f"there is no GPU for TRAINER.MVLPT.PREC {cfg.TRAINER.MVLPT.PREC}"
        log.info("precision: float32, as %s", reason)


def _log_run(cfg: CfgNode) -> None:
    label = names_or_count(task_names(cfg))
    shots = cfg.DATASET.NUM_SHOTS
    out = os.path.relpath(cfg.OUTPUT_DIR)
    trainer, seed = cfg.TRAINER.NAME, cfg.SEED
    log.info("%s on %s, %d shots, seed %d -> %s", trainer, label, shots, seed, out)
    if cfg.TEST.NO_TEST:
        log.info("nothing is scored (TEST.NO_TEST)")
    elif cfg.TEST.SPLIT != "test":
        split = f"validation images (TEST.SPLIT {cfg.TEST.SPLIT})"
        log.info("scores are of %s, so no predictions are written", split)


def log_results(
    cfg: CfgNode, records: Sequence[dict], experiment: Experiment | None
) -> None:
    """Log the table of a run with the records of results.json, its files, and the
    commands that use them. experiment: None for a trainer written for Dassl.
    """
    if not records:
        return
    log_lines(log, f"\n{results.markdown(records)}\n")
    out = Path(os.path.relpath(cfg.OUTPUT_DIR))
    prompt = out
    if experiment:
        trains = experiment.targets[0].trains
        log_lines(log, results.parsed_lines(records, trains))
        if experiment.staged:
            prompt = out / "adapt" / records[0]["task"]
    log.info("results: %s", out / RESULTS)
    folder = out / tables.FOLDER
    if (folder / tables.PREDICTIONS).is_file():
        log.info("each prediction, confusions, scores of classes: %s", folder)
    if (out / "submission.zip").is_file():
        log.info("submission: %s", out / "submission.zip")
    if results.has_predictions(records):
        log.info("look at it: %s", report_command(cfg))
    if (prompt / "prompts.safetensors").is_file():
        command = f"python -m prompting predict {shlex.quote(str(prompt))}"
        log.info("use it: %s IMAGE_OR_FOLDER", command)


def report_command(cfg: CfgNode) -> str:
    """Return the command that writes the report of a run. Its --root is the data's, or
    the folder of the first absolute custom task.
    """
    root = cfg.DATASET.ROOT
    for name in all_task_names(cfg):
        path = name.partition(":")[2]
        if not root and is_custom(name) and os.path.isabs(path):
            root = os.path.dirname(os.path.normpath(path))
    folder = os.path.relpath(cfg.OUTPUT_DIR)
    command = f"python -m scripts.report {shlex.quote(folder)}"
    return f"{command} --root {shlex.quote(root)}" if root else command

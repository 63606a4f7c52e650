"""Learn and evaluate prompts.

    python train.py --trainer MVPT                                    # two stages on the embedded pocket suite
    python train.py --trainer VPT --dataset pocket-digits --shots 5   # one task
    python train.py --trainer MVPT --backbone ViT-B/16 --root DATA --source ImageNet,Food101 --dataset mnist,gtsrb
    --shots 20
    torchrun --nproc-per-node 2 train.py --trainer MVPT               # the same by two processes, or two GPUs

Flags -> configuration -> trainer -> train and test. Without --dataset the pocket suite's tasks are used.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

import datasets
import toolkit
import trainers
from datasets import few_shot as fewshot
from datasets import pocket
from trainers.engine import distributed

log = logging.getLogger("train")


def arguments() -> argparse.ArgumentParser:
    """The flags of Dassl, of the reference, and ours."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--root", default="", help="folder of the data sets")
    add("--output-dir", default="", help="folder of the run; default output/<trainer>_<tasks>_<shots>shots_seed<seed>")
    add("--resume", default="", help="auto: go on with an interrupted run in --output-dir; or that run's folder")
    add("--seed", type=int, default=None, help="any number from 0; also the seed of the few-shot draw (default 0)")
    add("--source-domains", nargs="+", default=None)
    add("--target-domains", nargs="+", default=None)
    add("--transforms", nargs="+", default=None)
    add("--config-file", default="", help="YAML with settings; default: the recipe of the backbone in configs/trainers")
    add("--dataset-config-file", default="", help="YAML that names a data set")
    add("--trainer", default="", help="ZeroshotCLIP, CoOp, CoCoOp, VPT, UPT, MCoOp, MVPT, MUPT, MVLPT")
    add("--backbone", default="", help="pocket, ViT-B/16, RN50, an open_clip name, or a checkpoint's path")
    add("--head", default="")
    add("--eval-only", action="store_true", help="evaluate --model-dir")
    add("--model-dir", default="", help="folder of a run whose prompt is evaluated or adapted")
    add("--load-epoch", type=int, default=None, help="its epoch; default: the best")
    add("--no-train", action="store_true", help="only build and evaluate")
    add("--dataset", default="", help="tasks, comma separated; folder:PATH and csv:FILE: own images, @FILE: a list")
    add("--fewshot", default="", help="few-shot record, folder of them or earlier run: train on these very images")
    add("--shots", type=int, default=None, help="training images per class; 0 none, -1 all (default 20)")
    add("--multi-task", action="store_true", help="learn the tasks of --dataset jointly")
    add(
        "--multi-task-label_pertask",
        "--multi-task-label-pertask",
        action="store_true",
        help="the loss over a sample's own task (the default)",
    )
    add("--multi-task-evalkey", default="", help="the task whose validation score alone counts")
    add("--dataset-coop", action="store_true", help="kept for old command lines: a name tells its suite")
    add("--cut-contextlen", action="store_true", help="kept for old command lines: text is always cut")
    add("--act-ckpt", type=int, default=None, help="kept for old command lines")
    add("--source", default="", help="source tasks of a two-stage run, comma separated")
    add("--groups", default="", help="YAML: target -> tasks to adapt it with")
    add("--no-cache", action="store_true", help="neither read nor keep features of the frozen image tower in files")
    add("--deterministic", action="store_true", help="the same bits on a GPU, too; a CPU gives them anyway")
    add("--overwrite", action="store_true", help="remove what the output folder holds")
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs of the configuration")
    return parser


def flags_of(args: argparse.Namespace) -> dict:
    """The configuration keys that flags set."""
    flags = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
        "INPUT.TRANSFORMS": args.transforms,
        "DATASET.DATASET": listed(args.dataset, "--dataset"),
        "DATASET.FEWSHOT": args.fewshot,
        "DATASET.MULTITASK_EVALKEY": args.multi_task_evalkey,
        "MULTITASK.SOURCE": listed(args.source, "--source"),
    }
    flags = {key: value for key, value in flags.items() if value}
    if args.seed is not None:
        flags |= {"SEED": args.seed, "DATASET.RANDOM_SEED_SAMPLING": args.seed}
    shots = fewshot.recorded_shots(args.fewshot) if args.fewshot and args.shots is None else args.shots
    if shots is not None:
        flags |= {"DATASET.NUM_SHOTS": shots, "DATASET.NUM_SAMPLES_PER_CLASS": shots}
    if args.act_ckpt is not None:
        flags["TRAINER.ACT_CKPT"] = args.act_ckpt
    for flag, key in (
        (args.multi_task, "MULTITASK"),
        (args.multi_task_label_pertask, "MULTITASK_LABEL_PERTASK"),
        (args.dataset_coop, "COOP"),
    ):
        if flag:
            flags[f"DATASET.{key}"] = True
    if args.deterministic:
        flags["TRAIN.DETERMINISTIC"] = True
    if args.no_cache:
        flags["CACHE.FEATURES"] = False
    if args.cut_contextlen:
        flags["TRAINER.CUT_CONTEXTLEN"] = True
    return flags


def listed(names: str, flag: str) -> str:
    """Comma-separated `names`, in the place of `@FILE` those that the file lists, a name a line. Raises FileNotFoundError."""
    found = []
    for name in names.split(","):
        if not name.strip().startswith("@"):
            found.append(name)
            continue
        path = Path(name.strip()[1:]).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{flag}: no file {path} of names")
        found += [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return ",".join(found)


def configuration(args: argparse.Namespace):
    """The frozen configuration of the command line."""
    from trainers.engine.config import resolve, trainer_class, with_overrides

    files = [file for file in (args.dataset_config_file, args.config_file) if file]
    cfg = resolve(args.trainer, files, flags_of(args), args.opts)
    node = cfg.TRAINER.MVLPT
    if cfg.TRAINER.NAME == "MVLPT" and node.COCOOP.N_CTX and not (node.COOP.N_CTX or node.VPT.N_CTX):
        given = {f"TRAINER__COCOOP__{key}": value for key, value in node.COCOOP.items()}
        cfg = with_overrides(cfg, TRAINER__NAME="CoCoOp", **given)
    if args.multi_task and not getattr(trainer_class(cfg.TRAINER.NAME), "joint", True):
        cfg = with_overrides(cfg, TRAINER__NAME=f"M{cfg.TRAINER.NAME}")
    return cfg


def run(args: argparse.Namespace) -> None:
    """Everything between the command line and the last table."""
    from trainers.engine import (
        experiment as stages,
    )
    from trainers.engine import (
        external as plain,
    )
    from trainers.engine import (
        results,
        resume,
    )
    from trainers.engine import (
        run as runs,
    )
    from trainers.engine import (
        run_dir as locks,
    )
    from trainers.engine.config import trainer_class, with_overrides
    from trainers.engine.settings import task_names
    from trainers.evaluation import PromptEvaluator

    trainers.register_all()
    datasets.register_all()
    cfg = configuration(args)
    cls = trainer_class(cfg.TRAINER.NAME)
    names = task_names(cfg)
    everything = not names
    names = names or [spec.task for spec in pocket.TARGETS]
    if cfg.RESUME not in ("", "auto"):
        cfg = with_overrides(cfg, OUTPUT_DIR=resume.folder_of(cfg), RESUME="auto")
    if cfg.OUTPUT_DIR in ("", "./output"):
        first = datasets.task_name(names[0])
        tasks = "pocket" if everything else first if len(names) == 1 else f"{first}+{len(names) - 1}"
        label = f"{cfg.TRAINER.NAME}_{tasks}_{cfg.DATASET.NUM_SHOTS}shots_seed{cfg.SEED}"
        cfg = with_overrides(cfg, OUTPUT_DIR=str(Path("output") / (label + "_eval" * args.eval_only)))
    cfg = with_overrides(cfg, DATASET__DATASET=",".join(names), DATASET__NAME=names[0])
    goes_on = cfg.RESUME == "auto"
    if goes_on and args.overwrite:
        raise ValueError("--resume goes on with a run, --overwrite starts it anew: give one of them")
    locks.check_folder(cfg.OUTPUT_DIR)
    locks.check_free(cfg.OUTPUT_DIR)
    if not issubclass(cls, PromptEvaluator):
        if distributed.world() > 1:
            raise ValueError(
                f"{cfg.TRAINER.NAME} is a trainer for one process (TRAINER.NAME): start it without torchrun"
            )
        with locks.put_aside(cfg.OUTPUT_DIR, args.overwrite and not args.eval_only):
            cfg = plain.checked(cfg, trains=not (args.eval_only or args.no_train))
        with locks.exclusive_folder(cfg.OUTPUT_DIR):
            _start_log(cfg, names)
            plain.run(cfg, args.model_dir, args.load_epoch, args.eval_only, args.no_train)
        return
    cfg = with_overrides(cfg, RESUME="")

    learns = cfg.TRAINER.NAME != "ZeroshotCLIP"
    sources = [name.strip() for name in cfg.MULTITASK.SOURCE.split(",") if name.strip()]
    groups = stages.read_groups(args.groups, names, sources)
    if everything and not sources and cls.joint and learns and not args.model_dir:
        sources = [spec.task for spec in pocket.SOURCES]
    if sources and not cls.joint:
        raise ValueError(
            f"--source (MULTITASK.SOURCE): {cfg.TRAINER.NAME} learns one task at a time; use M{cfg.TRAINER.NAME}"
        )
    if args.eval_only and learns and not args.model_dir:
        raise ValueError("--eval-only needs --model-dir, the folder of the run to evaluate")
    sources = [] if args.eval_only else sources
    trains = not (args.eval_only or args.no_train or cfg.DATASET.NUM_SHOTS == 0) and learns
    several = bool(sources or groups) or (learns and (everything or (len(names) > 1 and not cls.joint)))
    several = several or (Path(args.model_dir) / "adapt").is_dir()

    overwrites = args.overwrite and not args.eval_only and distributed.main()
    with distributed.main_first(), locks.put_aside(cfg.OUTPUT_DIR, overwrites):
        related = [name for group in groups.values() for name in group]
        _render([*sources, *names, *related])
        fewshot.check_record(cfg.DATASET.FEWSHOT, [datasets.task_name(name) for name in (*sources, *names, *related)])
        if several:
            cfg = with_overrides(cfg, MULTITASK__SOURCE=",".join(sources))
            source = stages.source_run(cfg, sources, args.model_dir, args.load_epoch) if sources else None
            start, epoch = (str(source.folder), None) if source else (args.model_dir, args.load_epoch)
            targets = stages.target_runs(cfg, names, groups, start, epoch, trains, fresh=args.no_train)
            if goes_on:
                source = source and replace(source, resume=True)
                targets = [replace(target, resume=True) for target in targets]
            prepared = stages.check_experiment(cfg, source, targets)
        else:
            one = runs.Run(cfg, args.model_dir, args.load_epoch, trains, fresh=args.no_train, resume=goes_on)
            prepared = runs.check_run(one)
    with locks.exclusive_folder(cfg.OUTPUT_DIR):
        _start_log(cfg, names)
        with _fewer_lines():
            if several:
                records = stages.run_experiment(cfg, source, targets, prepared)
            else:
                records = runs.execute(one, prepared)
        log.info("\n%s", results.markdown(records))


@contextlib.contextmanager
def _fewer_lines() -> Iterator[None]:
    """Dassl's lines are kept out of the log: our own trainers have theirs."""
    logger = logging.getLogger("dassl")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _render(names: list[str]) -> None:
    """Write the pocket tasks that are missing."""
    rendered = pocket.ensure_all([name for name in dict.fromkeys(names) if name in pocket.SPECS])
    if rendered:
        log.info("%d pocket tasks rendered", rendered)


def _start_log(cfg, names: list[str]) -> None:
    """Open log.txt; its first lines say what runs where."""
    from dassl.utils import setup_logger

    setup_logger(cfg.OUTPUT_DIR if distributed.main() else None)
    gpu = torch.cuda.is_available() and cfg.USE_CUDA
    where = ("GPU" if gpu else "CPU") + (f", {distributed.world()} processes" if distributed.world() > 1 else "")
    log.info("%s, torch %s, %s", toolkit.which_dassl(), torch.__version__, where)
    what = ", ".join(names) if len(names) < 6 else f"{len(names)} tasks"
    shots, out = cfg.DATASET.NUM_SHOTS, os.path.relpath(cfg.OUTPUT_DIR)
    log.info("%s on %s, %d shots, seed %d -> %s", cfg.TRAINER.NAME, what, shots, cfg.SEED, out)
    if cfg.TRAINER.MVLPT.PREC in ("fp16", "amp") and not gpu:
        log.info("precision: float32, as there is no GPU for TRAINER.MVLPT.PREC %s", cfg.TRAINER.MVLPT.PREC)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0; 2 after one message about wrong input (MVLPT_DEBUG=1 adds the traceback), 1 where training diverged
    or a disk is full, 130 when stopped."""
    try:
        distributed.start()
        with _stopped_by_sigterm():
            run(arguments().parse_args(argv))
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        trace = traceback.format_exc() if os.environ.get("MVLPT_DEBUG") else ""
        message = str(error).strip()
        if "Traceback" in message:  # from a worker of a loader: its last line is the message
            message = message.splitlines()[-1]
        return distributed.failed(f"{trace}error: {message}\n", 2)
    except FloatingPointError as error:
        return distributed.failed(f"error: {error}\n", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = f"error: {where}{error.strerror or error}"
        if error.errno == errno.EROFS:
            return distributed.failed(f"{message}\n", 2)
        kept = (
            ""
            if "--resume" in message
            else "; all that was finished is kept, with --resume auto the same command goes on"
        )
        return distributed.failed(f"{message}{kept}\n", 1)
    except KeyboardInterrupt:
        return distributed.failed("stopped; with --resume auto the same command goes on\n", 130)
    except SystemExit as end:  # argparse has spoken
        distributed.failed("", end.code)
        raise
    return 0


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """A request to end is an interrupt, as batch systems send it before they take a machine away."""

    def stop(*_) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or distributed.world() > 1:
        yield  # no handler can be set, or a process that waits for another would not hear it
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())

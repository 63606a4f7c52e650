"""The flags of train.py: those of Dassl, of the reference, and ours; and the configuration that they give.

The parser alone imports neither torch nor Dassl.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.files import decode_text
from toolkit.common.plugins import add_import_flag

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from .config import RunOptions


def arguments() -> argparse.ArgumentParser:
    """Return the parser of train.py."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Learn and evaluate prompts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--root", default="", help="folder of the data sets")
    add("--output-dir", default="", help="folder of the run; default output/<trainer>_<tasks>_<shots>shots_seed<seed>")
    add("--resume", default="", help="auto: continue an interrupted run in --output-dir; or that run's folder")
    add("--seed", type=int, default=None, help="any number from 0; also the seed of few-shot sampling (default 0)")
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
    add("--dataset", default="", help="tasks, comma separated; folder:PATH and csv:FILE: custom images, @FILE: a list")
    add("--fewshot", default="", help="few-shot record, folder of them or earlier run: train on these very images")
    add("--allow-outside", action="store_true", help="read images that are not in the folder of their data set")
    add("--shots", type=int, default=None, help="training images per class; 0 none, -1 all (default 20)")
    add("--multi-task", action="store_true", help="learn the tasks of --dataset jointly")
    per_task = ("--multi-task-label_pertask", "--multi-task-label-pertask")
    add(*per_task, action="store_true", help="the loss over a sample's own task (the default)")
    add("--multi-task-evalkey", default="", help="the task whose validation score alone counts")
    add("--dataset-coop", action="store_true", help="kept for old command lines: a name tells its suite")
    add("--cut-contextlen", action="store_true", help="kept for old command lines: text is always cut")
    add("--act-ckpt", type=int, default=None, help="kept for old command lines")
    add("--source", default="", help="source tasks of a two-stage run, comma separated")
    add("--groups", default="", help="YAML: target -> tasks to adapt it with")
    add("--no-cache", action="store_true", help="neither read nor keep features of the frozen image tower in files")
    add("--deterministic", action="store_true", help="the same bits on a GPU, too; a CPU gives them anyway")
    add("--overwrite", action="store_true", help="remove what the output folder holds")
    add("--coop-folders", action="store_true", help="name the default output folder as CoOp's scripts do")
    add("--list-keys", action="store_true", help="print the settings of --trainer, with defaults and meaning")
    add_import_flag(parser)
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs of the configuration")
    return parser


def key_table(trainer: str) -> str:
    """Return the keys that a trainer declares, a line each: name, default, meaning. Raise ValueError for an unknown trainer."""
    from .config import trainer_class
    from .settings import declared_keys

    if not trainer:
        raise ValueError("--list-keys: name the trainer with --trainer")
    declared = declared_keys(trainer_class(trainer))
    if not declared:
        return f"{trainer} has no settings but those of all trainers\n"
    width = max(len(key) for key in declared)
    lines = [f"{key:<{width}}  {default!r:<8} {meaning}".rstrip() for key, (default, meaning) in declared.items()]
    return "\n".join(lines) + "\n"


def configuration(args: argparse.Namespace) -> CfgNode:
    """Return the frozen configuration of a command line. Raise ValueError or FileNotFoundError."""
    from .config import is_native, resolve, trainer_class, with_overrides
    from .run_dir import resumed_folder

    files = [file for file in (args.dataset_config_file, args.config_file) if file]
    cfg = resolve(args.trainer, files, flag_values(args), args.opts)
    node = cfg.TRAINER.MVLPT
    if cfg.TRAINER.NAME == "MVLPT" and node.COCOOP.N_CTX and not (node.COOP.N_CTX or node.VPT.N_CTX):
        given = {f"TRAINER__COCOOP__{key}": value for key, value in node.COCOOP.items()}
        cfg = with_overrides(cfg, TRAINER__NAME="CoCoOp", **given)
    cls = trainer_class(cfg.TRAINER.NAME)
    if args.multi_task and is_native(cls) and not cls.multitask:
        cfg = with_overrides(cfg, TRAINER__NAME=f"M{cfg.TRAINER.NAME}")
    if cfg.RESUME not in ("", "auto"):
        cfg = with_overrides(cfg, OUTPUT_DIR=resumed_folder(cfg), RESUME="auto")
    return cfg


def run_options(args: argparse.Namespace, cfg: CfgNode) -> RunOptions:
    """Return the options of a command line with this configuration."""
    from .config import RunOptions

    return RunOptions(
        resume=cfg.RESUME == "auto",
        overwrite=args.overwrite,
        eval_only=args.eval_only,
        no_train=args.no_train,
        model_dir=args.model_dir,
        load_epoch=args.load_epoch,
        groups=args.groups,
        coop_folders=args.coop_folders,
    )


def flag_values(args: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration keys that flags set."""
    from datasets import few_shot

    values = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
        "INPUT.TRANSFORMS": args.transforms,
        "DATASET.DATASET": expand_lists(args.dataset, "--dataset"),
        "DATASET.FEWSHOT": args.fewshot,
        "DATASET.ALLOW_OUTSIDE": args.allow_outside,
        "DATASET.MULTITASK_EVALKEY": args.multi_task_evalkey,
        "MULTITASK.SOURCE": expand_lists(args.source, "--source"),
        "DATASET.MULTITASK": args.multi_task,
        "DATASET.MULTITASK_LABEL_PERTASK": args.multi_task_label_pertask,
        "DATASET.COOP": args.dataset_coop,
        "TRAIN.DETERMINISTIC": args.deterministic,
        "TRAINER.CUT_CONTEXTLEN": args.cut_contextlen,
    }
    values = {key: value for key, value in values.items() if value}
    if args.no_cache:
        values["CACHE.FEATURES"] = False
    if args.seed is not None:
        values["SEED"] = values["DATASET.RANDOM_SEED_SAMPLING"] = args.seed
    shots = args.shots
    if args.fewshot and shots is None:
        shots = few_shot.recorded_shots(args.fewshot)
    if shots is not None:
        values["DATASET.NUM_SHOTS"] = shots
    if args.act_ckpt is not None:
        values["TRAINER.ACT_CKPT"] = args.act_ckpt
    return values


def expand_lists(names: str, flag: str) -> str:
    """Return comma-separated names; `@FILE` stands for those in a file, a name a line. Raise FileNotFoundError."""
    found = []
    for name in names.split(","):
        if not name.strip().startswith("@"):
            found.append(name)
            continue
        path = Path(name.strip()[1:]).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{flag}: no file {path} of names")
        lines = decode_text(path.read_bytes(), f"{flag}: {path}").splitlines()
        found += [line.strip() for line in lines if line.strip()]
    return ",".join(found)

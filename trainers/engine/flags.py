"""The flags of train.py: those of Dassl, of the reference, and ours.

Neither torch nor Dassl is imported for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from toolkit.common.dassl_scripts import add_flags
from toolkit.common.plugins import add_import_flag


def arguments(argv: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of train.py.

    argv: a command line, whose --import may bring flags of another repository's
    train.py; None is this process's.
    """
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Learn and evaluate prompts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--root", default="", help="folder of the data sets")
    add(
        "--output-dir",
        default="",
        help="folder of the run; default output/<trainer>_<tasks>_<shots>shots_seed<seed>",
    )
    add(
        "--resume",
        default="",
        help="auto: continue an interrupted run in --output-dir; or that run's folder",
    )
    add(
        "--seed",
        type=int,
        default=None,
        help="any number from 0; also the seed of few-shot sampling (default 0)",
    )
    add("--source-domains", nargs="+", default=None)
    add("--target-domains", nargs="+", default=None)
    add("--transforms", nargs="+", default=None)
    add(
        "--config-file",
        default="",
        help="YAML with settings; default: the recipe of the backbone in configs/trainers",
    )
    add("--dataset-config-file", default="", help="YAML that names a data set")
    trainers = (
        "ZeroshotCLIP, CoOp, CoCoOp, VPT, UPT, APT, MCoOp, MVPT, MUPT, MAPT, MVLPT, ..."
    )
    add(
        "--trainer",
        default="",
        help=f"{trainers}; without it MAPT, or APT if one task is named",
    )
    backbone_help = "pocket, ViT-B/16, RN50, an open_clip name, a checkpoint's path or folder, or USER/NAME on the Hub"
    add("--backbone", default="", help=backbone_help)
    add(
        "--pretrained",
        default="",
        metavar="TAG_OR_FILE",
        help="weights of --backbone: a tag of open_clip, or a file",
    )
    add(
        "--force",
        action="store_true",
        help="use class names whose words the backbone does not know",
    )
    add("--head", default="")
    add("--eval-only", action="store_true", help="evaluate --model-dir")
    add(
        "--model-dir",
        default="",
        help="folder of a run whose prompt is evaluated or adapted",
    )
    add("--load-epoch", type=int, default=None, help="its epoch; default: the best")
    add("--no-train", action="store_true", help="only build and evaluate")
    add(
        "--dataset",
        help="tasks, comma separated; folder:, csv:, wds: and parquet: with a path: custom images, @FILE: a list",
    )
    add(
        "--fewshot",
        default="",
        help="few-shot record, folder of them or earlier run: train on these very images",
    )
    add(
        "--allow-outside",
        action="store_true",
        help="read images that are not in the folder of their data set",
    )
    add(
        "--shots",
        type=int,
        default=None,
        help="training images per class; 0 none, -1 all (default 20)",
    )
    add(
        "--multi-task", action="store_true", help="learn the tasks of --dataset jointly"
    )
    per_task = ("--multi-task-label_pertask", "--multi-task-label-pertask")
    add(
        *per_task,
        action="store_true",
        help="the loss over a sample's own task (the default)",
    )
    add(
        "--multi-task-evalkey",
        default="",
        help="the task whose validation score alone counts",
    )
    add(
        "--dataset-coop",
        action="store_true",
        help="kept for old command lines: a name tells its suite",
    )
    add(
        "--cut-contextlen",
        action="store_true",
        help="kept for old command lines: text is always cut",
    )
    add("--act-ckpt", type=int, default=None, help="kept for old command lines")
    add("--source", help="source tasks of a two-stage run, comma separated")
    add("--groups", default="", help="YAML: target -> tasks to adapt it with")
    add(
        "--no-zero-shot",
        action="store_true",
        help="leave out zero-shot CLIP's score beside the prompt's",
    )
    add(
        "--no-cache",
        action="store_true",
        help="neither read nor keep features of the frozen image tower in files",
    )
    add(
        "--deterministic",
        action="store_true",
        help="the same bits on a GPU, too; a CPU gives them anyway",
    )
    add("--overwrite", action="store_true", help="remove what the output folder holds")
    add(
        "--coop-folders",
        action="store_true",
        help="name the default output folder as CoOp's scripts do",
    )
    add(
        "--track",
        default="",
        choices=["wandb", "mlflow", "trackio"],
        help="send curves and results to this tracker, too",
    )
    add(
        "--list-keys",
        action="store_true",
        help="print the settings of --trainer, with defaults and meaning",
    )
    for flag in ("--device", "--world-size"):
        # of command lines for Dassl's trainers; their own train.py reads it
        add(flag, default=None, help=argparse.SUPPRESS)
    add_import_flag(parser)
    add_flags(parser, argv)
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs of the configuration")
    return parser

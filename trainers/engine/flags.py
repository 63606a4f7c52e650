"""The flags of train.py: those of Dassl, of the reference, and ours.

Neither torch nor Dassl is imported for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

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
    text = partial(add, default="")
    number = partial(add, type=int)
    switch = partial(add, action="store_true")
    text("--root", help="folder of the data sets")
    folder = "output/<trainer>_<tasks>_<shots>shots_seed<seed>"
    text("--output-dir", help=f"folder of the run; default {folder}")
    resumed = "continue an interrupted run in --output-dir; or that run's folder"
    text("--resume", help=f"auto: {resumed}")
    seed = "any number from 0; also the seed of few-shot sampling (default 0)"
    number("--seed", help=seed)
    for flag in ("--source-domains", "--target-domains", "--transforms"):
        add(flag, nargs="+")
    recipe = "default: the recipe of the backbone in configs/trainers"
    text("--config-file", help=f"YAML with settings; {recipe}")
    text("--dataset-config-file", help="YAML that names a data set")
    trainers = "ZeroshotCLIP, CoOp, CoCoOp, VPT, UPT, APT, MCoOp, MVPT, MUPT, MAPT"
    default = "without it MAPT, or APT if one task is named"
    text("--trainer", help=f"{trainers}, MVLPT, ...; {default}")
    backbones = "pocket, ViT-B/16, RN50, an open_clip name, a checkpoint's path or folder, or USER/NAME on the Hub"
    text("--backbone", help=backbones)
    weights = "weights of --backbone: a tag of open_clip, or a file"
    text("--pretrained", metavar="TAG_OR_FILE", help=weights)
    switch("--force", help="use class names whose words the backbone does not know")
    text("--head")
    switch("--eval-only", help="evaluate --model-dir")
    text("--model-dir", help="folder of a run whose prompt is evaluated or adapted")
    number("--load-epoch", help="its epoch; default: the best")
    switch("--no-train", help="only build and evaluate")
    tasks = "tasks, comma separated; folder:, csv:, wds: and parquet: with a path: custom images, @FILE: a list"
    add("--dataset", help=tasks)
    record = (
        "few-shot record, folder of them or earlier run: train on these very images"
    )
    text("--fewshot", help=record)
    outside = "read images that are not in the folder of their data set"
    switch("--allow-outside", help=outside)
    shots = "training images per class; 0 none, -1 all (default 20)"
    number("--shots", help=shots)
    switch("--multi-task", help="learn the tasks of --dataset jointly")
    names = ("--multi-task-label_pertask", "--multi-task-label-pertask")
    switch(*names, help="the loss over a sample's own task (the default)")
    evaluated = "the task whose validation score alone counts"
    text("--multi-task-evalkey", help=evaluated)
    kept = "kept for old command lines"
    switch("--dataset-coop", help=f"{kept}: a name tells its suite")
    switch("--cut-contextlen", help=f"{kept}: text is always cut")
    number("--act-ckpt", help=kept)
    add("--source", help="source tasks of a two-stage run, comma separated")
    text("--groups", help="YAML: target -> tasks to adapt it with")
    zero_shot = "leave out zero-shot CLIP's score beside the prompt's"
    switch("--no-zero-shot", help=zero_shot)
    cache = "neither read nor keep features of the frozen image tower in files"
    switch("--no-cache", help=cache)
    same_bits = "the same bits on a GPU, too; a CPU gives them anyway"
    switch("--deterministic", help=same_bits)
    switch("--overwrite", help="remove what the output folder holds")
    scripts = "name the default output folder as CoOp's scripts do"
    switch("--coop-folders", help=scripts)
    trackers = ["wandb", "mlflow", "trackio"]
    sent = "send curves and results to this tracker, too"
    text("--track", choices=trackers, help=sent)
    keys = "print the settings of --trainer, with defaults and meaning"
    switch("--list-keys", help=keys)
    for flag in ("--device", "--world-size"):
        # of command lines for Dassl's trainers; their own train.py reads it
        add(flag, help=argparse.SUPPRESS)
    add_import_flag(parser)
    add_flags(parser, argv)
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs of the configuration")
    return parser

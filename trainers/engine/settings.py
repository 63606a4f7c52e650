"""The configuration keys that the plugins add to Dassl's, with their defaults, and the checks made before anything is
built."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from dassl.engine import TRAINER_REGISTRY
from dassl.optim.optimizer import AVAI_OPTIMS
from yacs.config import CfgNode

from datasets import task_name
from toolkit.common.images import BACKGROUNDS
from toolkit.common.schedules import SCHEDULES
from toolkit.common.suggest import nearest

PRECISIONS = ("fp32", "fp16", "bf16", "amp")
PROJECTIONS = {"transformer": "attention", "per-token": "per-token", "mlp": "mlp", "identity": "identity"}


def extend(cfg: CfgNode) -> CfgNode:
    """Add the plugins' nodes to `cfg` in place and return it. Names are the reference's where it has them."""
    node = cfg.TRAINER.MVLPT = CfgNode()
    node.PREC = "fp16"  # fp32 | fp16 | bf16 | amp: the backbone's arithmetic; prompts are float32. On a CPU: fp32
    node.PROJECT_METHOD = "transformer"  # UPT's θ: transformer | per-token (the reference's) | mlp | identity
    node.PROJECT_DIM = 128
    node.PROJECT_HEADS = 1
    node.PROJECT_LAYERS = 1
    node.VPT = CfgNode({"N_CTX": 0, "CSC": False, "CTX_INIT": "", "DROPOUT": 0.0, "PROJECT": -1, "DEEP": True})
    node.COOP = CfgNode({"N_CTX": 0, "CSC": False, "CTX_INIT": "", "CLASS_TOKEN_POSITION": "middle"})
    node.COCOOP = CfgNode({"N_CTX": 0, "CTX_INIT": "", "PREC": "fp16"})
    cfg.TRAINER.COOP = CfgNode(
        {"N_CTX": 16, "CSC": False, "CTX_INIT": "", "PREC": "fp16", "CLASS_TOKEN_POSITION": "end"}
    )
    cfg.TRAINER.COCOOP = CfgNode({"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"})
    cfg.TRAINER.ANCHOR = CfgNode()  # terms of the loss that keep any prompt near frozen features (trainers.losses)
    cfg.TRAINER.ANCHOR.TO = "zero_shot"  # zero_shot | source (the prompt that training starts from) | both
    cfg.TRAINER.ANCHOR.TEMPLATES = "task"  # of zero_shot: task (the task's own) | imagenet (the 60 that PromptSRC takes)
    cfg.TRAINER.ANCHOR.TEXT_COSINE = 0.0  # weights
    cfg.TRAINER.ANCHOR.TEXT_L1 = 0.0
    cfg.TRAINER.ANCHOR.IMAGE_L1 = 0.0
    cfg.TRAINER.ANCHOR.KL = 0.0
    cfg.TRAINER.CUT_CONTEXTLEN = False  # kept for old command lines: text is always cut, which changes no number
    cfg.TRAINER.ACT_CKPT = 1  # kept for old command lines

    cfg.DATASET.DATASET = ""  # the tasks, comma separated; DATASET.NAME serves when it is empty
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.DATASET.ALLOW_OUTSIDE = False  # read images that an index names outside of its data set's folder
    cfg.DATASET.FEWSHOT = (
        ""  # a few-shot record, a folder of them or a run, whose images are taken instead of a new sample
    )
    cfg.DATASET.NUM_SHOTS = cfg.DATASET.NUM_SAMPLES_PER_CLASS = 20  # `--shots` sets both; 0: none, -1: all
    cfg.SEED = cfg.DATASET.RANDOM_SEED_SAMPLING = 0  # `--seed` sets both; the second is that of few-shot sampling
    cfg.DATASET.CENTER_CROP = False  # False: squash every image, as the reference does; True: the task's own way
    cfg.DATASET.VAL_SET, cfg.DATASET.TRAIN_SET, cfg.DATASET.TEST_SET = "", "train", "val"
    cfg.DATASET.COOP = False
    cfg.DATASET.MULTITASK = False
    cfg.DATASET.MULTITASK_LABEL_PERTASK = False
    cfg.DATASET.MULTITASK_EVALKEY = "average"  # or the task whose score alone counts: only it is evaluated

    cfg.DATALOADER.TRAIN_X.DROP_LAST = False  # drop the short last batch of an epoch, as Dassl does for CoOp's sets

    cfg.MULTITASK = CfgNode()
    cfg.MULTITASK.LABEL_SPACE = "task"  # task: the loss is over the sample's own task's classes; union: over all
    cfg.MULTITASK.MIXING = "proportional"  # proportional | uniform | temperature
    cfg.MULTITASK.TEMPERATURE = 2.0
    cfg.MULTITASK.HOMOGENEOUS = False  # every batch from one task
    cfg.MULTITASK.SOURCE = ""  # source tasks of a two-stage run, comma separated
    cfg.MULTITASK.SOURCE_SHOTS = -2  # -2: as many as the targets have (20 when these have none)
    cfg.MULTITASK.SOURCE_EPOCH = 0  # epochs of the source stage; 0: OPTIM.MAX_EPOCH

    cfg.MODEL.BACKBONE.PRETRAINED = ""  # open_clip's tag, or a file
    cfg.MODEL.BACKBONE.NAME = "pocket"
    cfg.MODEL.COMPILE = False  # torch.compile for a prompted image tower; one machine's choice, so in no config.yaml
    cfg.INPUT.FROM_BACKBONE = True  # size, mean, std and interpolation are the backbone's own
    cfg.INPUT.BACKGROUND = "white"  # white | black | none: behind transparent pixels; none drops the transparency
    cfg.INPUT.CACHED_VIEWS = (
        0  # text prompts with random transforms: views of an image, computed once; 0: a new one a step
    )

    cfg.TRAIN.DETERMINISTIC = False  # --deterministic: the same bits on a GPU, too, at some cost of speed

    cfg.CACHE = CfgNode()  # of frozen towers' features in files; it changes no number, so it is in no run's config.yaml
    cfg.CACHE.FEATURES = True
    cfg.CACHE.DIR = ""  # default: MVLPT_CACHE, or the project's data/cache
    cfg.CACHE.MAX_GB = 4.0
    for name in TRAINER_REGISTRY.registered_names():
        for key, (default, _) in declared_keys(TRAINER_REGISTRY.get(name)).items():
            _declare(cfg, key, default)
    return cfg


def declared_keys(cls: type) -> dict[str, tuple[object, str]]:
    """Return key -> (default, meaning) of a trainer and its bases, which state `keys = {KEY: default}` or
    `{KEY: (default, meaning)}`."""
    declared = {}
    for base in reversed(cls.__mro__):
        for key, value in vars(base).get("keys", {}).items():
            described = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str)
            declared[key] = value if described else (value, "")
    return declared


def _declare(cfg: CfgNode, key: str, value: object) -> None:
    """Add a trainer's key and its groups."""
    *groups, leaf = key.split(".")
    node = cfg
    for group in groups:
        node = node.setdefault(group, CfgNode())
    node[leaf] = value


def task_names(cfg: CfgNode) -> list[str]:
    """Return the tasks of a run, in order."""
    return split_names(cfg.DATASET.DATASET or cfg.DATASET.NAME)


def split_names(text: str) -> list[str]:
    """Return comma-separated names."""
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name]


def check(cfg: CfgNode, multitask: bool) -> None:
    """Raise ValueError with all that is wrong in the configuration alone, a line each.

    multitask: the trainer learns several tasks at a time.
    """
    issues = [*_wrong_choices(cfg), *_wrong_tasks(cfg, multitask), *_wrong_numbers(cfg), *_wrong_contexts(cfg)]
    if issues:
        raise ValueError("\n".join(issues))


def _wrong_choices(cfg: CfgNode) -> list[str]:
    node = cfg.TRAINER.MVLPT
    return [
        *_choice("TRAINER.MVLPT.PREC", node.PREC, PRECISIONS),
        *_choice("TRAINER.MVLPT.PROJECT_METHOD", node.PROJECT_METHOD, tuple(PROJECTIONS)),
        *_choice("TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION", node.COOP.CLASS_TOKEN_POSITION, ("front", "middle", "end")),
        *_choice("TRAINER.ANCHOR.TO", cfg.TRAINER.ANCHOR.TO, ("zero_shot", "source", "both")),
        *_choice("TRAINER.ANCHOR.TEMPLATES", cfg.TRAINER.ANCHOR.TEMPLATES, ("task", "imagenet")),
        *_choice("MULTITASK.LABEL_SPACE", cfg.MULTITASK.LABEL_SPACE, ("task", "union")),
        *_choice("MULTITASK.MIXING", cfg.MULTITASK.MIXING, ("proportional", "uniform", "temperature")),
        *_choice("INPUT.BACKGROUND", cfg.INPUT.BACKGROUND, BACKGROUNDS),
        *_choice("OPTIM.NAME", cfg.OPTIM.NAME, tuple(AVAI_OPTIMS)),
        *_choice("OPTIM.LR_SCHEDULER", cfg.OPTIM.LR_SCHEDULER, SCHEDULES),
        *_choice("TEST.FINAL_MODEL", cfg.TEST.FINAL_MODEL, ("last_step", "best_val")),
    ]


def _wrong_tasks(cfg: CfgNode, multitask: bool) -> list[str]:
    names = task_names(cfg)
    issues = []
    if not names:
        issues.append("no task is given: use --dataset (DATASET.DATASET)")
    if len(names) > 1 and not multitask:
        issues.append(
            f"{cfg.TRAINER.NAME} learns one task at a time, DATASET.DATASET names {len(names)}; use M{cfg.TRAINER.NAME}"
        )
    if len(names) > 1 and cfg.TRAINER.MVLPT.COOP.CSC:
        issues.append(
            "TRAINER.MVLPT.COOP.CSC: a class-specific context belongs to one task's classes, "
            "it can't serve several tasks"
        )
    labels = [task_name(name) for name in names]
    issues += [f"task {label} is given twice" for label, count in Counter(labels).items() if count > 1]
    evaluated = cfg.DATASET.MULTITASK_EVALKEY
    if evaluated not in labels:
        issues += _choice("DATASET.MULTITASK_EVALKEY", evaluated, ("average", *labels))
    return issues


def _wrong_numbers(cfg: CfgNode) -> list[str]:
    positive = {
        "DATALOADER.TRAIN_X.BATCH_SIZE": cfg.DATALOADER.TRAIN_X.BATCH_SIZE,
        "DATALOADER.TEST.BATCH_SIZE": cfg.DATALOADER.TEST.BATCH_SIZE,
        "OPTIM.MAX_EPOCH": cfg.OPTIM.MAX_EPOCH,
        "MULTITASK.TEMPERATURE": cfg.MULTITASK.TEMPERATURE,
    }
    issues = [f"{key} is {value}; it must be positive" for key, value in positive.items() if value <= 0]
    not_negative = {"INPUT.CACHED_VIEWS": cfg.INPUT.CACHED_VIEWS, "CACHE.MAX_GB": cfg.CACHE.MAX_GB}
    issues += [f"{key} is {value}; it is 0 or more" for key, value in not_negative.items() if value < 0]
    if not 0 <= cfg.OPTIM.LR < math.inf:
        issues.append(f"OPTIM.LR is {cfg.OPTIM.LR}; a learning rate is 0 or more")
    if cfg.SEED < 0:
        issues.append(f"SEED (--seed) is {cfg.SEED}; a seed is 0 or more")
    return issues


def _wrong_contexts(cfg: CfgNode) -> list[str]:
    node = cfg.TRAINER.MVLPT
    issues = []
    if node.COCOOP.N_CTX:
        issues.append(
            "TRAINER.MVLPT.COCOOP.N_CTX: contexts that depend on the image are learnt alone: "
            "use --trainer CoCoOp, or MVLPT with no other N_CTX"
        )
    if node.VPT.CTX_INIT:
        issues.append("TRAINER.MVLPT.VPT.CTX_INIT: visual contexts can't start from words")
    return issues


def _choice(key: str, value: str, choices: Sequence[str]) -> list[str]:
    if value in choices:
        return []
    return [f"{key} is {value!r}; it is one of {', '.join(choices)} (nearest: {nearest(value, choices)[0]})"]

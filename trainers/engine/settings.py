"""The configuration keys that the plugins add to Dassl's, with their defaults, and the
checks made before anything is built.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from dassl.data.transforms.transforms import AVAI_CHOICES
from dassl.engine import TRAINER_REGISTRY
from dassl.optim.optimizer import AVAI_OPTIMS
from yacs.config import CfgNode

from datasets import task_name
from toolkit.common.images import BACKGROUNDS, INTERPOLATIONS
from toolkit.common.schedules import SCHEDULES, WARMUPS
from toolkit.common.suggest import nearest

from .config_values import flatten
from .dassl_keys import unread_keys

MAX_SEED = 2**32 - 1  # of numpy
MAX_SIDE = 8192
MAX_VECTORS = 1024
MAX_WIDTH = 65536
MAX_RATE = 1e30  # optimisers compute with float32
MAX = sys.float_info.max
SAMPLING_SEED = "DATASET.RANDOM_SEED_SAMPLING"
LABELS = {"SEED": "SEED (--seed)"}  # key -> its name in messages
RANGES = {
    "it must be positive": {
        "DATALOADER.TRAIN_X.BATCH_SIZE": (1, MAX),
        "DATALOADER.TEST.BATCH_SIZE": (1, MAX),
        "OPTIM.MAX_EPOCH": (1, MAX),
    },
    "it is 0 or more": {
        "INPUT.CACHED_VIEWS": (0, MAX),
        "OPTIM.MIN_UPDATES": (0, MAX),
        "MULTITASK.SOURCE_EPOCH": (0, MAX),
        "TRAINER.ANCHOR.TEXT_COSINE": (0, MAX),
        "TRAINER.ANCHOR.TEXT_L1": (0, MAX),
        "TRAINER.ANCHOR.TEXT_L2": (0, MAX),
        "TRAINER.ANCHOR.IMAGE_L1": (0, MAX),
        "TRAINER.ANCHOR.KL": (0, MAX),
    },
    "it is the epochs of warm-up, or -1 for none": {
        "OPTIM.WARMUP_EPOCH": (-1, MAX),
    },
    "it is above 0 and at most 1, as the learning rate is multiplied by it": {
        "OPTIM.GAMMA": (sys.float_info.min, 1),
    },
    "a seed is 0 or more": {
        "SEED": (0, math.inf),
        "DATASET.RANDOM_SEED_SAMPLING": (0, math.inf),
    },
    "a seed is at most {high}": {
        "SEED": (-math.inf, MAX_SEED),
        "DATASET.RANDOM_SEED_SAMPLING": (-math.inf, MAX_SEED),
    },
    "it is from {low} to {high}": {
        "OPTIM.LR": (0, MAX_RATE),
        "OPTIM.WEIGHT_DECAY": (0, MAX_RATE),
        "OPTIM.WARMUP_CONS_LR": (0, MAX_RATE),
        "OPTIM.WARMUP_MIN_LR": (0, MAX_RATE),
        "CACHE.MAX_GB": (0, 1e9),
        "DATALOADER.NUM_WORKERS": (0, 1024),
        "OPTIM.MOMENTUM": (0, 1),
        "OPTIM.SGD_DAMPNING": (0, 1),
        "OPTIM.RMSPROP_ALPHA": (0, 1),
        "MULTITASK.TEMPERATURE": (0.02, 1e9),
        "TRAINER.MVLPT.VPT.DROPOUT": (0, 1),
        "TRAINER.MVLPT.VPT.N_CTX": (0, MAX_VECTORS),
        "TRAINER.MVLPT.VPT.PROJECT": (-1, MAX_WIDTH),
        "TRAINER.MVLPT.COOP.N_CTX": (0, MAX_VECTORS),
        "TRAINER.MVLPT.PROJECT_DIM": (1, MAX_WIDTH),
        "TRAINER.MVLPT.PROJECT_HEADS": (1, MAX_WIDTH),
        "TRAINER.MVLPT.PROJECT_LAYERS": (1, 128),
    },
    "it is 0 or more, and below 1": {
        "OPTIM.ADAM_BETA1": (0, math.nextafter(1, 0)),
        "OPTIM.ADAM_BETA2": (0, math.nextafter(1, 0)),
    },
    "give the images per class, 0 for none, -1 for all or -2 for as many as the targets have": {
        "MULTITASK.SOURCE_SHOTS": (-2, MAX),
    },
}  # kind of number -> key -> (lowest, highest)
SPLITS = ("test", "val")  # of TEST.SPLIT
# keys, or the beginnings of keys, of prompts that several trainers share; `reads` of a
# trainer names those that it reads
SHARED_KEYS = (
    "TRAINER.MVLPT.COOP.",
    "TRAINER.MVLPT.VPT.",
    "TRAINER.MVLPT.PROJECT_",
    "TRAINER.MVLPT.COCOOP.",
    "TRAINER.COCOOP.",
    "TRAINER.COOP.",
)
# of the reference, which reads them as little
UNREAD_OF_REFERENCE = ("TRAINER.MVLPT.VPT.CSC", "TRAINER.MVLPT.VPT.CTX_INIT")
PRECISIONS = ("fp32", "fp16", "bf16", "amp")
PROJECTIONS = {
    "transformer": "attention",
    "per-token": "per-token",
    "mlp": "mlp",
    "identity": "identity",
}


def extend(cfg: CfgNode) -> CfgNode:
    """Add the plugins' nodes to `cfg` in place and return it.

    Names are the reference's if it has them.
    """
    node = cfg.TRAINER.MVLPT = CfgNode()
    # fp32 | fp16 | bf16 | amp: the backbone's arithmetic; prompts are float32. On a
    # CPU: fp32
    node.PREC = "fp16"
    # UPT's θ: transformer | per-token (the reference's) | mlp | identity
    node.PROJECT_METHOD = "transformer"
    node.PROJECT_DIM = 128
    node.PROJECT_HEADS = 1
    node.PROJECT_LAYERS = 1
    node.VPT = CfgNode(
        {
            "N_CTX": 0,
            "CSC": False,
            "CTX_INIT": "",
            "DROPOUT": 0.0,
            "PROJECT": -1,
            "DEEP": True,
        }
    )
    node.COOP = CfgNode(
        {"N_CTX": 0, "CSC": False, "CTX_INIT": "", "CLASS_TOKEN_POSITION": "middle"}
    )
    node.COCOOP = CfgNode({"N_CTX": 0, "CTX_INIT": "", "PREC": "fp16"})
    cfg.TRAINER.COOP = CfgNode(
        {
            "N_CTX": 16,
            "CSC": False,
            "CTX_INIT": "",
            "PREC": "fp16",
            "CLASS_TOKEN_POSITION": "end",
        }
    )
    cfg.TRAINER.COCOOP = CfgNode({"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"})
    # terms of the loss that keep any prompt near frozen features (trainers.losses)
    cfg.TRAINER.ANCHOR = CfgNode()
    # zero_shot | source (the prompt that training starts from) | both
    cfg.TRAINER.ANCHOR.TO = "zero_shot"
    # of zero_shot: task (the task's own) | imagenet (the 60 that PromptSRC takes)
    cfg.TRAINER.ANCHOR.TEMPLATES = "task"
    cfg.TRAINER.ANCHOR.TEXT_COSINE = 0.0  # weights
    cfg.TRAINER.ANCHOR.TEXT_L1 = 0.0
    cfg.TRAINER.ANCHOR.TEXT_L2 = 0.0
    cfg.TRAINER.ANCHOR.IMAGE_L1 = 0.0
    cfg.TRAINER.ANCHOR.KL = 0.0
    # weights times the odds of zero-shot accuracy on the training images
    cfg.TRAINER.ANCHOR.ADAPTIVE = False
    # kept for old command lines: text is always cut, which changes no number
    cfg.TRAINER.CUT_CONTEXTLEN = False
    cfg.TRAINER.ACT_CKPT = 1  # kept for old command lines

    # the tasks, comma separated; DATASET.NAME serves when it is empty
    cfg.DATASET.DATASET = ""
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    # read images that an index names outside of its data set's folder
    cfg.DATASET.ALLOW_OUTSIDE = False
    # --force: use class names whose words the backbone does not know
    cfg.DATASET.ALLOW_UNKNOWN_WORDS = False
    # a few-shot record, a folder of them or a run, whose images are taken instead
    # of a new sample
    cfg.DATASET.FEWSHOT = ""
    # `--shots` sets both; 0: none, -1: all
    cfg.DATASET.NUM_SHOTS = cfg.DATASET.NUM_SAMPLES_PER_CLASS = 20
    # `--seed` sets both; the second is that of few-shot sampling
    cfg.SEED = cfg.DATASET.RANDOM_SEED_SAMPLING = 0
    # score zero-shot CLIP beside the prompt; False for huge sets
    cfg.TEST.ZERO_SHOT = True
    # train on the validation images, too; needs TEST.FINAL_MODEL last_step
    cfg.DATASET.TRAIN_ON_VAL = False
    # False: squash every image, as the reference does; True: the task's own way
    cfg.DATASET.CENTER_CROP = False
    cfg.DATASET.VAL_SET, cfg.DATASET.TRAIN_SET, cfg.DATASET.TEST_SET = (
        "",
        "train",
        "val",
    )
    cfg.DATASET.COOP = False
    cfg.DATASET.MULTITASK = False
    cfg.DATASET.MULTITASK_LABEL_PERTASK = False
    # or the task whose score alone counts: only it is evaluated
    cfg.DATASET.MULTITASK_EVALKEY = "average"

    # drop the short last batch of an epoch, as Dassl does for CoOp's sets
    cfg.DATALOADER.TRAIN_X.DROP_LAST = False

    cfg.MULTITASK = CfgNode()
    # task: the loss is over the sample's own task's classes; union: over all
    cfg.MULTITASK.LABEL_SPACE = "task"
    cfg.MULTITASK.MIXING = "proportional"  # proportional | uniform | temperature
    cfg.MULTITASK.TEMPERATURE = 2.0
    cfg.MULTITASK.HOMOGENEOUS = False  # every batch from one task
    cfg.MULTITASK.SOURCE = ""  # source tasks of a two-stage run, comma separated
    # -2: as many as the targets have (20 when these have none)
    cfg.MULTITASK.SOURCE_SHOTS = -2
    cfg.MULTITASK.SOURCE_EPOCH = 0  # epochs of the source stage; 0: OPTIM.MAX_EPOCH
    # steps of the optimiser at least: epochs beyond OPTIM.MAX_EPOCH if these are too
    # few
    cfg.OPTIM.MIN_UPDATES = 0

    cfg.MODEL.BACKBONE.PRETRAINED = ""  # open_clip's tag, or a file
    cfg.MODEL.BACKBONE.NAME = "pocket"
    # torch.compile for a prompted image tower; one machine's choice, so in no
    # config.yaml
    cfg.MODEL.COMPILE = False
    # size, mean, std and interpolation are the backbone's own
    cfg.INPUT.FROM_BACKBONE = True
    # white | black | none: behind transparent pixels; none drops the transparency
    cfg.INPUT.BACKGROUND = "white"
    # text prompts with random transforms: views of an image, computed once; 0: a
    # new one a step
    cfg.INPUT.CACHED_VIEWS = 0

    # --deterministic: the same bits on a GPU, too, at some cost of speed
    cfg.TRAIN.DETERMINISTIC = False

    # of frozen towers' features in files; it changes no number, so it is in no run's
    # config.yaml
    cfg.CACHE = CfgNode()
    cfg.CACHE.FEATURES = True
    cfg.CACHE.DIR = ""  # default: MVLPT_CACHE, or the project's data/cache
    cfg.CACHE.MAX_GB = 4.0
    for name in TRAINER_REGISTRY.registered_names():
        for key, (default, _) in declared_keys(TRAINER_REGISTRY.get(name)).items():
            _declare(cfg, key, default)
    return cfg


def declared_keys(cls: type) -> dict[str, tuple[object, str]]:
    """Return key -> (default, meaning) of a trainer and its bases, which state `keys =
    {KEY: default}` or `{KEY: (default, meaning)}`.
    """
    declared = {}
    for base in reversed(cls.__mro__):
        for key, value in vars(base).get("keys", {}).items():
            described = (
                isinstance(value, tuple)
                and len(value) == 2
                and isinstance(value[1], str)
            )
            declared[key] = value if described else (value, "")
    return declared


def declared_ranges(cls: type) -> dict[str, tuple[float, float]]:
    """Return key -> (lowest, highest) of a trainer's numbers and its bases', which
    state `ranges = {KEY: (lowest, highest)}` beside their keys.
    """
    declared = {}
    for base in reversed(cls.__mro__):
        declared |= vars(base).get("ranges", {})
    return declared


def reads(cls: type, key: str) -> bool | None:
    """Return True if a trainer reads a key of its own or one that several trainers
    share, None if it does not tell.

    A trainer states `reads = (KEY, ...)`, keys or their beginnings, beside the
    `make_prompt` that reads them.
    """
    if key in declared_keys(cls):
        return True
    if key in UNREAD_OF_REFERENCE or not key.startswith(SHARED_KEYS):
        return False
    for base in cls.__mro__:
        if "reads" in vars(base):
            return key.startswith(vars(base)["reads"])
        if "make_prompt" in vars(base) or "build_prompt" in vars(base):
            return None
    return None


def readers(key: str) -> list[str]:
    """Return the trainers that read such a key, without the multitask forms."""
    names = []
    for name in TRAINER_REGISTRY.registered_names():
        if reads(TRAINER_REGISTRY.get(name), key):
            names.append(name)
    forms = {f"M{name}" for name in names}
    return sorted(name for name in names if name not in forms)


def keys_of_others(trainer: str) -> set[str]:
    """Return the keys that only other trainers declare."""
    declared: set[str] = set()
    for name in TRAINER_REGISTRY.registered_names():
        declared.update(declared_keys(TRAINER_REGISTRY.get(name)))
    return declared - set(declared_keys(TRAINER_REGISTRY.get(trainer)))


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
    issues = [
        *wrong_values(cfg),
        *_wrong_tasks(cfg, multitask),
        *_wrong_contexts(cfg),
        *unread_keys(cfg, task_names(cfg)),
    ]
    if issues:
        raise ValueError("\n".join(issues))


def wrong_values(cfg: CfgNode) -> list[str]:
    """Return a message for each choice or number that no trainer can have."""
    return [*_wrong_choices(cfg), *_wrong_numbers(cfg), *_wrong_images(cfg)]


def _wrong_choices(cfg: CfgNode) -> list[str]:
    node = cfg.TRAINER.MVLPT
    # of the reference: which file is which split
    unread = {"VAL_SET": "", "TRAIN_SET": "train", "TEST_SET": "val"}
    issues = []
    for key, default in unread.items():
        if cfg.DATASET[key] != default:
            issues.append(
                f"DATASET.{key} is {cfg.DATASET[key]!r}, but nothing reads it: leave it at {default!r}"
            )
    return [
        *issues,
        *choice("TRAINER.MVLPT.PREC", node.PREC, PRECISIONS),
        *choice(
            "TRAINER.MVLPT.PROJECT_METHOD", node.PROJECT_METHOD, tuple(PROJECTIONS)
        ),
        *choice(
            "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION",
            node.COOP.CLASS_TOKEN_POSITION,
            ("front", "middle", "end"),
        ),
        *choice(
            "TRAINER.ANCHOR.TO", cfg.TRAINER.ANCHOR.TO, ("zero_shot", "source", "both")
        ),
        *choice(
            "TRAINER.ANCHOR.TEMPLATES",
            cfg.TRAINER.ANCHOR.TEMPLATES,
            ("task", "imagenet"),
        ),
        *choice("MULTITASK.LABEL_SPACE", cfg.MULTITASK.LABEL_SPACE, ("task", "union")),
        *choice(
            "MULTITASK.MIXING",
            cfg.MULTITASK.MIXING,
            ("proportional", "uniform", "temperature"),
        ),
        *choice("INPUT.BACKGROUND", cfg.INPUT.BACKGROUND, BACKGROUNDS),
        *choice("OPTIM.NAME", cfg.OPTIM.NAME, tuple(AVAI_OPTIMS)),
        *choice("OPTIM.LR_SCHEDULER", cfg.OPTIM.LR_SCHEDULER, SCHEDULES),
        *choice("OPTIM.WARMUP_TYPE", cfg.OPTIM.WARMUP_TYPE, WARMUPS),
        *choice("INPUT.INTERPOLATION", cfg.INPUT.INTERPOLATION, INTERPOLATIONS),
        *choice(
            "DATASET.SUBSAMPLE_CLASSES",
            cfg.DATASET.SUBSAMPLE_CLASSES,
            ("all", "base", "new"),
        ),
        *choice("TEST.SPLIT", cfg.TEST.SPLIT, SPLITS),
        *choice("TEST.FINAL_MODEL", cfg.TEST.FINAL_MODEL, ("last_step", "best_val")),
    ]


def multitask_advice(trainer: str) -> str:
    """Return the end of a message about several tasks: the name of the trainer's
    multitask form, if there is one.
    """
    form = f"M{trainer}"
    if form in TRAINER_REGISTRY.registered_names():
        return f"; use {form}"
    return ""


def _wrong_tasks(cfg: CfgNode, multitask: bool) -> list[str]:
    names = task_names(cfg)
    issues = []
    if not names:
        issues.append("no task is given: use --dataset (DATASET.DATASET)")
    if len(names) > 1 and not multitask:
        name = cfg.TRAINER.NAME
        issues.append(
            f"{name} learns one task at a time, DATASET.DATASET names {len(names)}{multitask_advice(name)}"
        )
    if len(names) > 1 and cfg.TRAINER.MVLPT.COOP.CSC:
        issues.append(
            "TRAINER.MVLPT.COOP.CSC: a class-specific context belongs to one task's classes, "
            "it can't serve several tasks"
        )
    labels = [task_name(name) for name in names]
    issues += [
        f"task {label} is given twice"
        for label, count in Counter(labels).items()
        if count > 1
    ]
    evaluated = cfg.DATASET.MULTITASK_EVALKEY
    if evaluated not in labels:
        issues += choice("DATASET.MULTITASK_EVALKEY", evaluated, ("average", *labels))
    return issues


def out_of_range(
    values: Mapping[str, object],
    ranges: Mapping[str, Mapping[str, tuple[float, float]]],
) -> list[str]:
    """Return a message for each number that is not in its range, as in `RANGES`."""
    issues = []
    for text, keys in ranges.items():
        for key, (low, high) in keys.items():
            if not low <= values[key] <= high:
                name = LABELS.get(key, key)
                issues.append(
                    f"{name} is {values[key]}; {text.format(low=low, high=high)}"
                )
    return issues


def _wrong_numbers(cfg: CfgNode) -> list[str]:
    values = dict(flatten(cfg))
    issues = out_of_range(values, RANGES)
    if values[SAMPLING_SEED] == cfg.SEED:  # one flag sets both
        issues = [issue for issue in issues if not issue.startswith(SAMPLING_SEED)]
    declared = declared_ranges(TRAINER_REGISTRY.get(cfg.TRAINER.NAME))
    issues += out_of_range(values, {"it is from {low} to {high}": declared})
    optim = cfg.OPTIM
    if optim.SGD_NESTEROV and (optim.MOMENTUM == 0 or optim.SGD_DAMPNING != 0):
        issues.append(
            "OPTIM.SGD_NESTEROV needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0"
        )
    return issues + wrong_stepsize(optim)


def wrong_stepsize(optim: CfgNode) -> list[str]:
    """Return a message if OPTIM.STEPSIZE does not fit the schedule."""
    epochs = list(optim.STEPSIZE)
    start = f"OPTIM.STEPSIZE is {optim.STEPSIZE}; "
    if not epochs or not all(type(epoch) is int for epoch in epochs):
        return [start + "it is a list of epochs, whole numbers"]
    if min(epochs) >= 1:
        return []
    if optim.LR_SCHEDULER == "multi_step":
        return [start + "multi_step needs the epochs of its steps, from 1"]
    if epochs == [-1]:  # Dassl's default
        return []
    return [start + "epochs count from 1, and [-1] is OPTIM.MAX_EPOCH"]


def _wrong_images(cfg: CfgNode) -> list[str]:
    node = cfg.INPUT
    issues = []
    sides = list(node.SIZE)
    if (
        not sides
        or len(set(sides)) > 1
        or not _are_numbers(sides, 1, MAX_SIDE)
        or type(sides[0]) is not int
    ):
        issues.append(
            f"INPUT.SIZE is {node.SIZE}; it is the side of a square in pixels, 1 to {MAX_SIDE}"
        )
    issues += wrong_colours(node)
    for name in node.TRANSFORMS:
        issues += choice("INPUT.TRANSFORMS", name, AVAI_CHOICES)
    return issues


def wrong_colours(node: CfgNode) -> list[str]:
    """Return a message for each of INPUT.PIXEL_MEAN and INPUT.PIXEL_STD that is not
    three numbers.
    """
    issues = []
    if len(node.PIXEL_MEAN) != 3 or not _are_numbers(
        node.PIXEL_MEAN, -math.inf, math.inf
    ):
        issues.append(
            f"INPUT.PIXEL_MEAN is {node.PIXEL_MEAN}; it is three numbers: of red, green and blue"
        )
    if len(node.PIXEL_STD) != 3 or not _are_numbers(
        node.PIXEL_STD, sys.float_info.min, math.inf
    ):
        issues.append(
            f"INPUT.PIXEL_STD is {node.PIXEL_STD}; it is three positive numbers: of red, green and blue"
        )
    return issues


def _are_numbers(values: Sequence[object], low: float, high: float) -> bool:
    """Return True if all are finite numbers from `low` to `high`."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if not math.isfinite(value) or not low <= value <= high:
            return False
    return True


def _wrong_contexts(cfg: CfgNode) -> list[str]:
    node = cfg.TRAINER.MVLPT
    issues = []
    if node.VPT.PROJECT == 0:
        issues.append(
            "TRAINER.MVLPT.VPT.PROJECT is 0; it is the width of the vectors, or -1 for that of the tower"
        )
    if node.PROJECT_HEADS > 0 and node.PROJECT_DIM % node.PROJECT_HEADS:
        issues.append(
            f"TRAINER.MVLPT.PROJECT_DIM is {node.PROJECT_DIM}; it is a multiple of PROJECT_HEADS, {node.PROJECT_HEADS}"
        )
    if node.COCOOP.N_CTX:
        issues.append(
            "TRAINER.MVLPT.COCOOP.N_CTX: contexts that depend on the image are learned alone: "
            "use --trainer CoCoOp, or MVLPT with no other N_CTX"
        )
    if node.VPT.CTX_INIT:
        issues.append(
            "TRAINER.MVLPT.VPT.CTX_INIT: visual contexts can't start from words"
        )
    return issues


def choice(key: str, value: object, choices: Sequence[str]) -> list[str]:
    """Return a message that names the nearest choice if the value is none of them."""
    if value in choices:
        return []
    return [
        f"{key} is {value!r}; it is one of {', '.join(choices)} (nearest: {nearest(value, choices)[0]})"
    ]

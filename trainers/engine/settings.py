"""The plugins' keys and their defaults; scripts/site/keys.yaml has their meanings."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from .declared_keys import declared_keys

MAX_VECTORS = 1024
MAX_WIDTH = 65536
PROJECTIONS = {
    "transformer": "attention",
    "per-token": "per-token",
    "mlp": "mlp",
    "identity": "identity",
}
# names are the reference's if it has them
DEFAULTS = {
    "TRAINER.MVLPT.PREC": "fp16",
    "TRAINER.MVLPT.PROJECT_METHOD": "transformer",  # UPT's θ, of PROJECTIONS
    "TRAINER.MVLPT.PROJECT_DIM": 128,
    "TRAINER.MVLPT.PROJECT_HEADS": 1,
    "TRAINER.MVLPT.PROJECT_LAYERS": 1,
    "TRAINER.MVLPT.VPT.N_CTX": 0,
    "TRAINER.MVLPT.VPT.CSC": False,
    "TRAINER.MVLPT.VPT.CTX_INIT": "",
    "TRAINER.MVLPT.VPT.DROPOUT": 0.0,
    "TRAINER.MVLPT.VPT.PROJECT": -1,
    "TRAINER.MVLPT.VPT.DEEP": True,
    "TRAINER.MVLPT.COOP.N_CTX": 0,
    "TRAINER.MVLPT.COOP.CSC": False,
    "TRAINER.MVLPT.COOP.CTX_INIT": "",
    "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION": "middle",
    "TRAINER.MVLPT.COCOOP.N_CTX": 0,
    "TRAINER.MVLPT.COCOOP.CTX_INIT": "",
    "TRAINER.MVLPT.COCOOP.PREC": "fp16",
    "TRAINER.COOP.N_CTX": 16,
    "TRAINER.COOP.CSC": False,
    "TRAINER.COOP.CTX_INIT": "",
    "TRAINER.COOP.PREC": "fp16",
    "TRAINER.COOP.CLASS_TOKEN_POSITION": "end",
    "TRAINER.COCOOP.N_CTX": 16,
    "TRAINER.COCOOP.CTX_INIT": "",
    "TRAINER.COCOOP.PREC": "fp16",
    # terms of the loss that keep any prompt near frozen features (trainers.losses)
    "TRAINER.ANCHOR.TO": "zero_shot",
    "TRAINER.ANCHOR.TEMPLATES": "task",
    "TRAINER.ANCHOR.TEXT_COSINE": 0.0,
    "TRAINER.ANCHOR.TEXT_L1": 0.0,
    "TRAINER.ANCHOR.TEXT_L2": 0.0,
    "TRAINER.ANCHOR.IMAGE_L1": 0.0,
    "TRAINER.ANCHOR.KL": 0.0,
    "TRAINER.ANCHOR.ADAPTIVE": False,
    # kept for old command lines: text is always cut, which changes no number
    "TRAINER.CUT_CONTEXTLEN": False,
    "TRAINER.ACT_CKPT": 1,
    "DATASET.DATASET": "",  # DATASET.NAME serves when it is empty
    "DATASET.SUBSAMPLE_CLASSES": "all",
    "DATASET.ALLOW_OUTSIDE": False,
    "DATASET.ALLOW_UNKNOWN_WORDS": False,
    "DATASET.FEWSHOT": "",
    "DATASET.NUM_SAMPLES_PER_CLASS": 20,  # `--shots` sets both
    "DATASET.NUM_SHOTS": 20,
    "DATASET.RANDOM_SEED_SAMPLING": 0,  # `--seed` sets both
    "SEED": 0,
    "TEST.ZERO_SHOT": True,
    "TEST.INTERPOLATE": "",
    "TEST.HALF_WEIGHT_SHOTS": 1.0,
    "TEST.VAL_SCORE": False,
    "DATASET.TRAIN_ON_VAL": False,
    "DATASET.CENTER_CROP": False,
    "DATASET.VAL_SET": "",
    "DATASET.TRAIN_SET": "train",
    "DATASET.TEST_SET": "val",
    "DATASET.COOP": False,
    "DATASET.MULTITASK": False,
    "DATASET.MULTITASK_LABEL_PERTASK": False,
    "DATASET.MULTITASK_EVALKEY": "average",
    "DATALOADER.TRAIN_X.DROP_LAST": False,
    "MULTITASK.LABEL_SPACE": "task",
    "MULTITASK.MIXING": "proportional",
    "MULTITASK.TEMPERATURE": 2.0,
    "MULTITASK.HOMOGENEOUS": False,
    "MULTITASK.SOURCE": "",
    "MULTITASK.SOURCE_SHOTS": -2,  # as many as the targets have (20 when these have none)
    "MULTITASK.SOURCE_EPOCH": 0,  # OPTIM.MAX_EPOCH
    "OPTIM.MIN_UPDATES": 0,
    "MODEL.BACKBONE.PRETRAINED": "",
    "MODEL.BACKBONE.NAME": "pocket",
    "MODEL.COMPILE": False,  # one machine's choice, so in no config.yaml
    "INPUT.FROM_BACKBONE": True,
    "INPUT.BACKGROUND": "white",
    "INPUT.CACHED_VIEWS": 0,
    "TRAIN.DETERMINISTIC": False,
    # of frozen towers' features in files; it changes no number, so it is in no config.yaml
    "CACHE.FEATURES": True,
    "CACHE.DIR": "",  # MVLPT_CACHE, or the project's data/cache
    "CACHE.MAX_GB": 4.0,
}


def extend(cfg: CfgNode) -> CfgNode:
    """Add the keys of the plugins and the registered trainers to `cfg`; return it."""
    added = dict(DEFAULTS)
    for name in TRAINER_REGISTRY.registered_names():
        for key, (default, _) in declared_keys(TRAINER_REGISTRY.get(name)).items():
            added[key] = default
    for key, default in added.items():
        *groups, leaf = key.split(".")
        node = cfg
        for group in groups:
            node = node.setdefault(group, CfgNode())
        node[leaf] = default
    return cfg


def task_names(cfg: CfgNode) -> list[str]:
    """Return the tasks of a run, in order."""
    return split_names(cfg.DATASET.DATASET or cfg.DATASET.NAME)


def all_task_names(cfg: CfgNode) -> list[str]:
    """Return the tasks of a run and those of its source stage."""
    return task_names(cfg) + split_names(cfg.MULTITASK.SOURCE)


def split_names(text: str) -> list[str]:
    """Return comma-separated names."""
    return list(filter(None, map(str.strip, text.split(","))))

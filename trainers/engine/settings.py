"""The configuration keys that the plugins add to Dassl's, with their defaults."""

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
    # evaluate between zero-shot CLIP and the prompt: "" (the prompt alone), shots, val
    cfg.TEST.INTERPOLATE = ""
    # images a class at which both have equal weight
    cfg.TEST.HALF_WEIGHT_SHOTS = 1.0
    # score the kept prompt on the validation images, too, with FINAL_MODEL last_step
    cfg.TEST.VAL_SCORE = False
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

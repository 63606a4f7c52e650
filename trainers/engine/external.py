"""Trainers that were written for Dassl alone, run as Dassl's own programs do."""

import inspect
import logging
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dassl.data import data_manager
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import build_trainer
from dassl.evaluation import EVALUATOR_REGISTRY
from dassl.modeling import BACKBONE_REGISTRY, HEAD_REGISTRY
from dassl.utils import set_random_seed
from yacs.config import CfgNode

from datasets import Task, is_custom
from datasets.custom import task as custom
from datasets.union import register_union
from toolkit import plugin_files
from toolkit.common import images

from . import distributed, external_results, run_dir, value_checks
from .config import RunOptions, load, with_overrides
from .config_values import flatten
from .dassl_config import missing_key
from .no_gpu import kept_on_cpu
from .settings import RANGES, task_names
from .value_checks import MAX_SEED, MAX_SIDE

log = logging.getLogger(__name__)
# in torch's errors if a GPU is asked for
NO_GPU = ("Found no NVIDIA driver", "not compiled with CUDA enabled")


def with_seed(cfg: CfgNode, options: RunOptions) -> CfgNode:
    """Return the configuration with a seed in the place of Dassl's -1: that of the run
    in its folder, which is resumed, or else a random one.
    """
    if cfg.SEED >= 0:
        return cfg
    seed = random.randrange(MAX_SEED)
    folder = cfg.OUTPUT_DIR if cfg.RESUME in ("", "auto") else cfg.RESUME
    file = Path(folder, run_dir.CONFIG)
    if file.is_file() and not options.overwrite:
        known = load(file).get("SEED", -1)
        if known >= 0:  # earlier versions wrote -1
            seed = known
    return with_overrides(cfg, SEED=seed)


def check(cfg: CfgNode, options: RunOptions) -> None:
    """Raise ValueError under torchrun, for impossible values, another run in the folder
    or a single multilabel task, and FileNotFoundError if --resume has no checkpoint.
    """
    if distributed.world() > 1:
        raise ValueError(
            f"{cfg.TRAINER.NAME} is a trainer for one process (TRAINER.NAME): start it without torchrun"
        )
    issues = wrong_values(cfg, trains=not (options.eval_only or options.no_train))
    if issues:
        raise ValueError("\n".join(issues))
    other = run_dir.other_run(cfg)
    if other:
        run_dir.decide(cfg.OUTPUT_DIR, other, options.resume)
    _registered(cfg.TEST.EVALUATOR, EVALUATOR_REGISTRY)
    _registered(cfg.MODEL.BACKBONE.NAME, BACKBONE_REGISTRY)
    _registered(cfg.MODEL.HEAD.NAME, HEAD_REGISTRY)
    names = task_names(cfg)
    if len(names) == 1:
        label_kind = getattr(_registered(names[0]), "label_kind", "")
        if label_kind == "multilabel":
            raise _several_labels(cfg, names[0])
    folder = cfg.RESUME
    if folder not in ("", "auto") and not _has_checkpoint(folder):
        raise FileNotFoundError(
            f"--resume (RESUME): {folder} holds no checkpoint of a run (<model>/checkpoint)"
        )


def wrong_values(cfg: CfgNode, trains: bool) -> list[str]:
    """Return a message for each value of Dassl's keys that no trainer can have. A seed
    below 0 is a random one, images need not be square, and other optimisers, schedules
    and transforms may be the trainer's own.
    """
    values = dict(flatten(cfg))
    ranges = {}
    for key, limits in RANGES.items():
        # of numbers that Dassl's optimisers or loaders read
        of_dassl = key.startswith(("OPTIM.", "DATALOADER."))
        if of_dassl and isinstance(values.get(key), (int, float)):
            ranges[key] = limits
    if not trains:
        ranges.pop("OPTIM.MAX_EPOCH", None)
    issues = value_checks.choice("TEST.SPLIT", cfg.TEST.SPLIT, value_checks.SPLITS)
    issues += value_checks.out_of_range(values, ranges)
    issues += value_checks.wrong_seed("SEED (--seed)", max(cfg.SEED, 0))
    if isinstance(cfg.OPTIM.STEPSIZE, (list, tuple)):
        issues += value_checks.wrong_stepsize(cfg.OPTIM)
    issues += value_checks.wrong_colours(cfg.INPUT)
    size = cfg.INPUT.SIZE
    if isinstance(size, (list, tuple)):
        are_sides = all(type(side) is int and 1 <= side <= MAX_SIDE for side in size)
        if len(size) != 2 or not are_sides:
            issues.append(
                f"INPUT.SIZE is {size}; {cfg.TRAINER.NAME} takes height and width, 1 to {MAX_SIDE}"
            )
    return issues


def _several_labels(cfg: CfgNode, name: str) -> ValueError:
    return ValueError(
        f"{name} has several labels an image; {cfg.TRAINER.NAME} is a trainer of Dassl's, which sees the first alone: "
        "use one of this project (--trainer), such as CoOp or MVPT"
    )


def _registered(name: str, registry=DATASET_REGISTRY) -> type | None:
    found = None
    if name in registry.registered_names():
        found = registry.get(name)
    plugin_files.raise_failure(name, found)
    return found


def _has_checkpoint(folder: str) -> bool:
    return any(Path(folder).glob("*/checkpoint"))


@kept_on_cpu()
def run(cfg: CfgNode, options: RunOptions) -> list[dict]:
    """Train and test, or only test, and return the records of results.json. Several
    tasks are one union of classes; an interrupted run is resumed, as Dassl does.
    """
    written = with_overrides(cfg, RESUME="")
    cfg = with_overrides(cfg, RESUME=_resumed_folder(cfg, options))
    cfg = with_overrides(cfg, **_data_settings(cfg))
    set_random_seed(cfg.SEED)
    # takes images in zips, too
    data_manager.read_image = partial(
        images.read_image, background=cfg.INPUT.BACKGROUND
    )
    names = task_names(cfg)
    if len(names) > 1:
        cfg = with_overrides(cfg, DATASET__NAME=register_union(names))
    else:
        custom.register(cfg.DATASET.NAME)
    trainer = _of_trainer(build_trainer, cfg)
    dataset = external_results.dataset_of(trainer)
    if getattr(dataset, "label_kind", "") == "multilabel":
        raise _several_labels(cfg, cfg.DATASET.NAME)
    for task in getattr(dataset, "parts", []):
        if task.label_kind == "multilabel":
            log.warning(
                "%s has several labels an image: the first is trained, and %s is scored",
                task.name,
                task.metric,
            )
    run_dir.write_config(written)
    tested = external_results.LastTest(trainer)
    _of_trainer(lambda cfg: _work(trainer, cfg, options, tested), cfg)
    return external_results.write(trainer, written, tested)


def _work(
    trainer, cfg: CfgNode, options: RunOptions, tested: external_results.LastTest
) -> None:
    if options.eval_only:
        _load(trainer, options)
    elif options.model_dir:
        log.info(
            "--model-dir is not read: Dassl's trainers load it with --eval-only alone"
        )
    if options.eval_only or options.no_train:
        trainer.test()
    else:
        trainer.train()
        if tested.value is None:
            log.warning(
                "%s tests nothing after training: --eval-only --model-dir %s scores it",
                cfg.TRAINER.NAME,
                cfg.OUTPUT_DIR,
            )
        if cfg.TEST.VAL_SCORE and trainer.val_loader is not None:
            tested.validate(trainer)


def _load(trainer, options: RunOptions) -> None:
    """Load the model of --model-dir; a `load_model` that also takes `cfg` is given it.
    Raise ValueError if the model's sizes are those of other classes.
    """
    try:
        more = {"epoch": _evaluated_epoch(options)}
        if "cfg" in inspect.signature(trainer.load_model).parameters:
            more["cfg"] = trainer.cfg
        trainer.load_model(options.model_dir, **more)
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise ValueError(
            f"--model-dir: the model in {options.model_dir} does not fit {trainer.num_classes} classes, as "
            f"{trainer.cfg.TRAINER.NAME} learns parameters of each class: {error}"
        ) from error


def _evaluated_epoch(options: RunOptions) -> int | None:
    """Return --load-epoch, else None for the best checkpoint, else the last epoch."""
    folder = Path(options.model_dir)
    if options.load_epoch is not None or not options.model_dir:
        return options.load_epoch
    if any(folder.glob("*/model-best.pth.tar")):
        return None
    epochs = []
    for path in folder.glob("*/model.pth.tar-*"):
        number = path.name.rpartition("-")[2]
        if number.isdigit():
            epochs.append(int(number))
    if not epochs:
        return None
    log.info("%s has no best checkpoint: that of epoch %d is read", folder, max(epochs))
    return max(epochs)


def _resumed_folder(cfg: CfgNode, options: RunOptions) -> str:
    """Return the folder that training is resumed from, "" for none."""
    if options.eval_only or options.no_train:
        return ""
    folder = cfg.RESUME
    if folder in ("", "auto"):
        folder = cfg.OUTPUT_DIR
    if not _has_checkpoint(folder):
        return ""
    log.info("resumed from %s, as Dassl does; --overwrite starts again", folder)
    return folder


def _data_settings(cfg: CfgNode) -> dict[str, int]:
    """Return our values for Dassl's: one seed, and all images for no shots."""
    settings = {"DATASET__RANDOM_SEED_SAMPLING": cfg.SEED}
    if cfg.DATASET.NUM_SHOTS < 1 and all(map(_is_task, task_names(cfg))):
        settings |= {"DATASET__NUM_SHOTS": -1, "DATASET__NUM_SAMPLES_PER_CLASS": -1}
    return settings


def _is_task(name: str) -> bool:
    known = _registered(name)
    return is_custom(name) or (known is not None and issubclass(known, Task))


def _of_trainer(call: Callable, cfg: CfgNode):
    """Call a function that runs a trainer's code. Raise ValueError naming the key if it
    reads one that is not there, or a backbone that its CLIP does not know, a data set
    that its tables lack, or a GPU that is not there.
    """
    name = cfg.TRAINER.NAME
    backbone = cfg.MODEL.BACKBONE.NAME
    try:
        return call(cfg)
    except AttributeError as error:
        key = missing_key(error, cfg)
        if not key:
            raise
        raise ValueError(
            f"{key} has no value, and {name} reads it: give it in a YAML file or as {key} VALUE, or keep the train.py "
            "of its repository, whose extend_cfg has the default, in the folder of --import"
        ) from error
    except (RuntimeError, AssertionError) as error:
        if not any(text in str(error) for text in NO_GPU):
            raise
        raise ValueError(
            f"{name} needs a GPU, as its own lines ask for one: {error}"
        ) from error
    except KeyError as error:
        if error.args == (cfg.DATASET.NAME,):
            raise ValueError(
                f"{name} has no entry for the data set {cfg.DATASET.NAME} (in a table of its file, such as "
                "CUSTOM_TEMPLATES): it runs on those that it knows"
            ) from error
        if error.args != (backbone,):
            raise
        raise ValueError(
            f"MODEL.BACKBONE.NAME is {backbone!r}, which the CLIP of {name} does not know: give one that it does, such "
            "as --backbone ViT-B/16"
        ) from error

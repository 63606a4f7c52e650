"""The configuration that the flags of train.py give."""

import itertools
from argparse import Namespace
from pathlib import Path
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from datasets import few_shot, is_custom
from toolkit.common.files import read_names

from . import config
from .flags import FLAGS
from .run_dir import CONFIG, resumed_folder
from .settings import all_task_names, declared_keys, split_names
from .start import read_start, recorded_backbone
from .value_checks import unread_message, unread_pairs


def key_table(trainer: str) -> str:
    """Return the keys that a known trainer declares: name, default, meaning."""
    if not trainer:
        raise ValueError("--list-keys: name the trainer with --trainer")
    declared = declared_keys(config.trainer_class(trainer))
    if not declared:
        return f"{trainer} has no settings but those of all trainers\n"
    width = max(map(len, declared))
    text = ""
    for key, (default, meaning) in declared.items():
        text += f"{key:<{width}}  {default!r:<8} {meaning}".rstrip() + "\n"
    return text


def configuration(args: Namespace) -> CfgNode:
    """Return the frozen configuration. Raise ValueError or FileNotFoundError."""
    _check_combinations(args)
    files, flags = files_and_flags(args)
    trainer, _ = chosen_trainer(args)
    cfg = config.resolve(trainer, files, flags, args.opts, vars(args))
    cls = config.trainer_class(cfg.TRAINER.NAME)
    if config.is_foreign(cls):  # it resumes from --resume, and writes there by default
        _check_custom(cfg, args)
        if cfg.RESUME not in ("", "auto") and cfg.OUTPUT_DIR in ("", "./output"):
            cfg = config.with_overrides(cfg, OUTPUT_DIR=cfg.RESUME)
        return cfg
    if args.model_dir and config.is_native(cls) and cls.learns:
        given = config.given_keys(files, flags, args.opts)
        recorded = recorded_backbone(args.model_dir, args.load_epoch, given)
        cfg = config.resolve(trainer, files, flags | recorded, args.opts)
    for key in unread_pairs(cfg, args.opts[::2]):  # files may hold others' keys
        raise ValueError(unread_message(key, [cfg.TRAINER.NAME]))
    cfg = _by_its_contexts(cfg)
    cls = config.trainer_class(cfg.TRAINER.NAME)
    if args.multi_task and config.is_native(cls) and not cls.multitask:
        cfg = config.with_overrides(cfg, TRAINER__NAME=f"M{cfg.TRAINER.NAME}")
    _check_custom(cfg, args)
    if cfg.RESUME not in ("", "auto"):
        folder = resumed_folder(cfg)
        cfg = config.with_overrides(cfg, OUTPUT_DIR=folder, RESUME="auto")
    return cfg


def _by_its_contexts(cfg: CfgNode) -> CfgNode:
    """Return the configuration of CoCoOp if that of MVLPT has its contexts alone."""
    node = cfg.TRAINER.MVLPT
    others = node.COOP.N_CTX or node.VPT.N_CTX
    if cfg.TRAINER.NAME != "MVLPT" or others or not node.COCOOP.N_CTX:
        return cfg
    given = {f"TRAINER__COCOOP__{key}": value for key, value in node.COCOOP.items()}
    return config.with_overrides(cfg, TRAINER__NAME="CoCoOp", **given)


def chosen_trainer(args: Namespace) -> tuple[str, str]:
    """Return the trainer of a command line, and a line that says why if none is given.
    It is that of the run that --resume continues, or of the prompt in --model-dir if
    its files tell it, else MAPT, or APT if there is one task.
    """
    files, flags = files_and_flags(args)
    given = config.named_trainer(files, args.opts, args.trainer)
    if given:
        return given, ""
    folder = args.output_dir if args.resume == "auto" else args.resume
    written = Path(folder, CONFIG)
    if folder and written.is_file():
        resumed = config.named_trainer([str(written)], [])
        if resumed:
            return resumed, f"no --trainer given: {resumed}, that of the run to resume"
    if args.model_dir:
        record = read_start(args.model_dir, args.load_epoch).record
        method = str(record.get("method", ""))
        if method in TRAINER_REGISTRY.registered_names():
            reason = f"{method}, the method of the prompt in --model-dir"
            return method, f"no --trainer given: {reason}"
    cfg = config.resolve("MAPT", files, flags, args.opts)
    tasks = all_task_names(cfg)
    is_single = len(tasks) == 1 and not (args.multi_task or args.groups)
    name = "APT" if is_single else "MAPT"
    return name, f"no --trainer given: {name}, anchored to zero-shot; see README"


def _check_combinations(args: Namespace) -> None:
    if args.load_epoch is not None and not args.model_dir:
        raise ValueError("--load-epoch is an epoch of --model-dir, which is not given")
    opts = iter(args.opts)
    for key, value in zip(opts, opts, strict=False):
        if key in ("DATASET.DATASET", "DATASET.NAME", "MULTITASK.SOURCE"):
            _require_names(value, key)


def _check_custom(cfg: CfgNode, args: Namespace) -> None:
    for name in all_task_names(cfg):
        if _is_missing(name) and not args.dataset:
            kind = name.partition(":")[0]
            raise FileNotFoundError(
                f"{args.config_file or 'DATASET.DATASET'}: no images at {name}; the config.yaml of a run has the last "
                f"part of a path alone: give --dataset {kind}:PATH"
            )


def _is_missing(name: str) -> bool:
    path = Path(name.partition(":")[2])
    return is_custom(name) and not path.expanduser().exists()


def run_options(args: Namespace, cfg: CfgNode) -> config.RunOptions:
    """Return the options of a command line with this configuration."""
    given = config.given_keys(*files_and_flags(args), args.opts)
    _, chosen = chosen_trainer(args)
    resume = cfg.RESUME == "auto"
    names = ("overwrite", "eval_only", "no_train", "model_dir", "load_epoch")
    names += ("groups", "coop_folders", "track")
    same = {name: getattr(args, name) for name in names}
    return config.RunOptions(resume, given=given, chosen=chosen, **same)


def files_and_flags(args: Namespace) -> tuple[list[str], dict[str, Any]]:
    """Return the YAML files of a command line, and the keys that its flags set."""
    values = {}
    for name, flag in FLAGS.items():
        value = getattr(args, name.strip("-").replace("-", "_"))
        is_number = type(value) is int  # 0, too
        if "key" in flag and (value or is_number):
            values[flag["key"]] = flag.get("value", value)
    if args.dataset is not None:
        values["DATASET.DATASET"] = named_tasks(args.dataset, "--dataset")
    if args.source is not None:
        values["MULTITASK.SOURCE"] = named_tasks(args.source, "--source")
    if args.seed is not None:
        values["SEED"] = values["DATASET.RANDOM_SEED_SAMPLING"] = args.seed
    shots = args.shots
    if args.fewshot and shots is None:
        shots = few_shot.recorded_shots(args.fewshot)
    if shots is not None:
        values["DATASET.NUM_SHOTS"] = shots
    files = (args.dataset_config_file, args.config_file)
    return list(filter(None, files)), values


def named_tasks(names: str, flag: str) -> str:
    """Return the tasks of a flag; `@FILE` stands for those in a file, a name a line.
    Raise ValueError if it names none, or FileNotFoundError.
    """
    found = []
    for name in names.split(","):
        if name.strip().startswith("@"):
            found += read_names(name.strip()[1:], flag)
        else:
            found.append(name)
    expanded = ",".join(found)
    _require_names(expanded, flag)
    known = DATASET_REGISTRY.registered_names()
    for name, following in itertools.pairwise(split_names(expanded)):
        is_name = is_custom(following) or following in known
        if _is_missing(name) and not is_name:
            raise ValueError(
                f"{flag}: there is neither {name!r} nor {following!r}: a comma separates data sets, so rename a folder or "
                "file that has one in its name"
            )
    return expanded


def _require_names(text: str, flag: str) -> None:
    if not split_names(text.strip("'\"")):
        raise ValueError(f"{flag} is {text!r}, which names no task")

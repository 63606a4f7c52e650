"""The configuration of a run: defaults, plugins' keys, YAML files, flags and pairs."""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dassl.config import get_cfg_default
from yacs.config import CfgNode

from datasets.custom import task as custom
from prompting.backbones.names import local_path
from toolkit import plugin_files
from toolkit.common.structured import read_yaml
from toolkit.common.suggest import nearest

from . import dassl_config
from .config_values import as_list, flatten, set_text, set_value
from .settings import extend, merged, registered_trainers, split_names

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
KEY_ALIASES = {
    "TRAINER.APT.HALF_WEIGHT_SHOTS": "TEST.HALF_WEIGHT_SHOTS",
    "TRAINER.COOP.PREC": "TRAINER.MVLPT.PREC",
    "TRAINER.COOP.W": "TRAINER.KGCOOP.W",
    "TRAINER.IVLP.PREC": "TRAINER.MVLPT.PREC",
    "TRAINER.MAPLE.PREC": "TRAINER.MVLPT.PREC",
    "TRAINER.PROMPTSRC.PREC": "TRAINER.MVLPT.PREC",
    "TRAINER.COOP.": "TRAINER.MVLPT.COOP.",
}  # earlier names, and CoOp's of keys that our trainers read below TRAINER.MVLPT
MACHINE_KEYS = (
    *("DATALOADER.NUM_WORKERS", "DATASET.ALLOW_OUTSIDE", "DATASET.ALLOW_UNKNOWN_WORDS"),
    *("TRAIN.PRINT_FREQ", "TRAINER.ACT_CKPT", "TRAINER.CUT_CONTEXTLEN"),
    *("VERBOSE", "VERSION"),
)  # keys of a run's config.yaml that change no bit of our trainers' results
BACKBONE_CONFIGS = {
    "pocket": "pocket",
    "ViT-B/16": "vit_b16",
    "ViT-B/32": "vit_b32",
    "ViT-L/14": "vit_l14",
    "ViT-L/14@336px": "vit_l14_336",
}  # backbone -> the stem of its YAML


@dataclass(frozen=True)
class RunOptions:
    """The use of a configuration; it changes no number, so it is in no config.yaml."""

    resume: bool = False  # continue an interrupted run
    overwrite: bool = False  # replace the run in the output folder
    eval_only: bool = False  # evaluate the prompt of `model_dir`
    no_train: bool = False  # build and evaluate a fresh prompt
    model_dir: str = ""  # of a run whose prompt is the initial one, or is evaluated
    load_epoch: int | None = None  # its epoch; None: the best
    groups: str = ""  # YAML file: target -> tasks to adapt it with
    # keys that flags, files and KEY VALUE pairs set; others follow the prompt
    given: frozenset[str] = frozenset()
    coop_folders: bool = False  # name the default output folder as CoOp's scripts do
    track: str = ""  # the tracker that gets curves and results; "": none
    chosen: str = ""  # says which trainer was chosen and why; "" if one was given


@functools.cache
def coop_names() -> dict[str, str]:
    """Return data set -> CoOp's name of its folders, the stem of its YAML."""
    files = sorted((CONFIGS / "datasets").glob("*.yaml"))
    return {read_yaml(path)["DATASET"]["NAME"]: path.stem for path in files}


def trainer_class(name: str) -> type:
    """Return the registered trainer. Raise ValueError naming the nearest one."""
    known = registered_trainers()
    if not name:
        raise ValueError(f"no trainer is given: use --trainer, {', '.join(known)}")
    plugin_files.raise_failure(name, known.get(name))
    if name not in known:
        raise ValueError(
            f"unknown trainer {name!r} (--trainer, TRAINER.NAME): the nearest is {nearest(name, known)[0]!r}; "
            f"there are {', '.join(known)}"
        )
    return known[name]


def is_native(cls: type) -> bool:
    """Return True for a trainer on our base classes, not one of Dassl's alone."""
    return getattr(cls, "native", False)


def is_foreign(cls: type) -> bool:
    """Return True for a user's trainer, with the defaults and meaning of Dassl."""
    return not is_native(cls) and not cls.__module__.startswith("trainers.methods.")


def recipes(cls: type, backbone: str) -> list[Path]:
    """Return the YAMLs with this backbone's settings: that of all our trainers, then
    those of the trainer or its base for all backbones (all.yaml) and for this one.
    CoCoOp's own file is complete; a trainer written for Dassl has CoOp's, or else the
    shared settings. CoOp's published files are complete, too, and taken by name only.
    """
    stem = BACKBONE_CONFIGS.get(backbone, "vit_b16")
    folder = CONFIGS / "trainers"
    name = cls.__name__
    if is_foreign(cls):
        name = "MVLPT" if stem == "pocket" else "CoOp"
    complete = folder / name / f"{stem}.yaml"
    if not is_native(cls) and complete.is_file():
        return [complete]
    published = {"MVLPT"} if stem == "pocket" else {"MVLPT", "CoOp"}
    found = [folder / "MVLPT" / f"{stem}.yaml"]
    names = [base.__name__ for base in reversed(cls.__mro__)]
    for name in names:
        files = [folder / name / f"{file}.yaml" for file in ("all", stem)]
        if name not in published:
            found += filter(Path.is_file, files)
    return found


def resolve(
    trainer: str,
    files: Sequence[str],
    flags: Mapping[str, Any],
    opts: Sequence[str],
    arguments: Mapping[str, Any] | None = None,
) -> CfgNode:
    """Return the frozen configuration. Later sources win: defaults, the trainer's,
    `files` (or the recipe), `flags`, `opts`. arguments: of the command line, which a
    foreign repository's train.py may read. Raises ValueError or FileNotFoundError with
    a sentence that names the key or file.
    """
    texts = {file: _read(file) for file in files}
    pairs = _pairs(opts)
    given = dict(pairs)
    trainer = named_trainer(files, opts, trainer)
    named = given.get("TRAINER.NAME") or trainer
    if named != trainer:
        raise ValueError(
            f"TRAINER.NAME is {named!r}, but --trainer {trainer!r}: give one of them"
        )
    cls = trainer_class(trainer)
    cfg = extend(get_cfg_default())
    # no settings but the data set: the recipe's
    if all(set(text) == {"DATASET"} for text in texts.values()):
        key, default = "MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME
        backbone = flags.get(key) or given.get(key) or default
        texts = {str(path): _read(str(path)) for path in recipes(cls, backbone)} | texts
        flags = {key: backbone, **flags}
    if is_foreign(cls):
        return dassl_config.resolve(cls, texts, flags, pairs, arguments)
    keeps_names = not is_native(cls)  # CoOp's, of ours
    for key, value in merged(cls, "defaults").items():
        set_value(cfg, key, value)
    for file, text in texts.items():
        for key, value in _named_values(text, keeps_names):
            set_value(cfg, key, value, file)
    cfg.TRAINER.NAME = trainer
    for key, value in flags.items():
        set_value(cfg, key, value)
    for key, value in pairs:
        set_text(cfg, key if keeps_names else without_alias(key), value)
    cfg.MODEL.BACKBONE.NAME = local_path(cfg.MODEL.BACKBONE.NAME)
    cfg.freeze()
    return cfg


def named_trainer(files: Sequence[str], opts: Sequence[str], flag: str = "") -> str:
    """Return the trainer that the flag, or else pairs or YAML files name, or ""."""
    given = flag or dict(_pairs(opts)).get("TRAINER.NAME", "")
    if given:
        return given
    for file in files:
        node = _read(file).get("TRAINER") or {}
        if "NAME" in node:
            return node["NAME"]
    return ""


def given_keys(
    files: Sequence[str], flags: Mapping[str, Any], opts: Sequence[str]
) -> frozenset[str]:
    """Return the keys that a user sets, under our names; raise as `resolve` does."""
    pairs = dict(_pairs(opts))
    keys = {*flags, *map(without_alias, pairs)}
    for file in files:
        keys.update(dict(_named_values(_read(file))))
    return frozenset(keys)


def _named_values(text: dict, keeps_names: bool = False) -> list[tuple[str, Any]]:
    """Return a YAML file's values, with CoOp's names replaced unless they stay."""
    # written by a run, it holds both names: the alias must not win
    if keeps_names or "MVLPT" in (text.get("TRAINER") or {}):
        return list(flatten(text))
    return [(without_alias(key), value) for key, value in flatten(text)]


def without_local_paths(cfg: CfgNode) -> CfgNode:
    """Return a copy without keys that belong to one machine."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = cfg.RESUME = cfg.DATASET.ROOT = ""
    cfg.pop("CACHE", None)
    cfg.MODEL.pop("COMPILE", None)
    for key in ("NAME", "PRETRAINED"):
        path = Path(str(cfg.MODEL.BACKBONE[key]))
        if path.is_absolute() or path.is_file():
            cfg.MODEL.BACKBONE[key] = path.name
    record = Path(cfg.DATASET.FEWSHOT)
    if record.is_absolute():
        cfg.DATASET.FEWSHOT = record.name
    tasks = [(cfg.DATASET, "DATASET"), (cfg.DATASET, "NAME"), (cfg.MULTITASK, "SOURCE")]
    for node, key in tasks:
        names = map(custom.without_local_path, split_names(node[key]))
        node[key] = ",".join(names)
    return cfg


def with_overrides(cfg: CfgNode, **values: Any) -> CfgNode:
    """Return a frozen copy with other values; A__B=2 sets A.B."""
    cfg = cfg.clone()
    cfg.defrost()
    for name, value in values.items():
        *groups, leaf = name.split("__")
        node = functools.reduce(operator.getitem, groups, cfg)
        if leaf not in node:
            raise ValueError(f"unknown key {name.replace('__', '.')!r}")
        node[leaf] = value
    cfg.freeze()
    return cfg


def differences(one: CfgNode, other: CfgNode) -> list[str]:
    """Return the keys in which two configurations differ, but for those of one machine.
    A key that one lacks, as a run of an earlier version may, has its default there.
    """
    a, b = _values(one), _values(other)
    if a.keys() != b.keys():
        a, b = default_values() | a, default_values() | b
    keys = a.keys() | b.keys()
    cls = registered_trainers().get(other.TRAINER.NAME)
    if cls is None or is_native(cls):
        keys -= set(MACHINE_KEYS)
    return [key for key in sorted(keys) if a.get(key) != b.get(key)]


def settings(cfg: CfgNode) -> dict[str, Any]:
    """Return the values that differ from the defaults, but for those of one machine."""
    defaults, found = default_values(), {}
    for key, value in sorted(flatten(without_local_paths(cfg))):
        if as_list(value) != defaults.get(key):
            found[key] = value
    return found


def load(path: Path) -> CfgNode:
    """Return a run's configuration. Raise FileNotFoundError, ValueError if damaged."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no configuration of a run: it holds no keys")
    try:
        cfg = CfgNode(content)
        without_local_paths(cfg)
        # before there was a key, it was dropped
        cfg.DATALOADER.TRAIN_X.setdefault("DROP_LAST", True)
        return cfg
    except (AssertionError, TypeError, AttributeError) as error:  # of yacs
        raise ValueError(f"{path} is no configuration of a run: {error}") from None


def _values(cfg: CfgNode) -> dict[str, Any]:
    values = flatten(without_local_paths(cfg))
    return {key: as_list(value) for key, value in values}


def default_values() -> dict[str, Any]:
    """Return key -> default, lists for tuples."""
    return _values(extend(get_cfg_default()))


def _read(file: str) -> dict:
    """Return a YAML file's keys. Raise ValueError, or FileNotFoundError."""
    if not Path(file).is_file():
        message = f"no configuration file {file}"
        there = sorted(path.name for path in Path(file).parent.glob("*.yaml"))
        if there:
            message += f"; there are {', '.join(there)}"
        raise FileNotFoundError(message)
    content = read_yaml(file) or {}
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no keys")
    if not isinstance(content.get("TRAINER") or {}, dict):
        raise ValueError(f"{file}: TRAINER is a group, not {content['TRAINER']!r}")
    return {key: value for key, value in content.items() if value is not None}


def without_alias(key: str) -> str:
    """Return the name of ours for a key under an earlier or CoOp's name, and others as they are."""
    for alias, name in KEY_ALIASES.items():
        if key.startswith(alias):
            return name + key[len(alias) :]
    return key


def _pairs(opts: Sequence[str]) -> list[tuple[str, str]]:
    for text in opts:
        if text.startswith("--"):
            raise ValueError(f"{text}: flags come before the trailing KEY VALUE pairs")
    if len(opts) % 2:
        raise ValueError(
            f"trailing options come in pairs KEY VALUE; {opts[-1]!r} is left over"
        )
    values = iter(opts)
    return list(zip(values, values, strict=True))

"""The resolved configuration of a run: Dassl's defaults, the plugins' keys, YAML files, flags and trailing KEY VALUE
pairs."""

from __future__ import annotations

import ast
import contextlib
import difflib
import logging
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from datasets.custom import task as custom
from toolkit.common.structured import read_yaml

from .settings import extend

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LOCAL = ("OUTPUT_DIR", "RESUME", "DATASET.ROOT")  # keys of one machine: never written into a run's config.yaml
ALIASES = {
    "TRAINER.COOP.PREC": "TRAINER.MVLPT.PREC",
    "TRAINER.COOP.": "TRAINER.MVLPT.COOP.",
}  # CoOp's own names, for our trainers
TWINS = {"DATASET.NUM_SHOTS": "DATASET.NUM_SAMPLES_PER_CLASS", "DATASET.NUM_SAMPLES_PER_CLASS": "DATASET.NUM_SHOTS"}
RECIPES = {
    "pocket": "pocket",
    "ViT-B/16": "vit_b16",
    "ViT-B/32": "vit_b32",
    "ViT-L/14": "vit_l14",
    "ViT-L/14@336px": "vit_l14_336",
}


def trainer_class(name: str) -> type:
    """The registered trainer. Raises ValueError naming the nearest one."""
    names = TRAINER_REGISTRY.registered_names()
    if name not in names:
        lower = {known.lower(): known for known in names}
        nearest = lower[difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.0)[0]]
        raise ValueError(
            f"unknown trainer {name!r} (--trainer, TRAINER.NAME): the nearest is {nearest!r}; "
            f"there are {', '.join(names)}"
        )
    return TRAINER_REGISTRY.get(name)


def recipes(cls: type, backbone: str) -> list[Path]:
    """The YAMLs with this backbone's settings: what our trainers share, then what the trainer or its base adds.

    A trainer that was written for Dassl alone has its own file, which is complete. CoOp's published files, too, are
    complete and are taken by name only; all methods are compared with the shared settings.
    """
    stem = RECIPES.get(backbone, "vit_b16")
    folder = CONFIGS / "trainers"
    complete = folder / cls.__name__ / f"{stem}.yaml"
    if not hasattr(cls, "joint") and complete.is_file():
        return [complete]
    own = [folder / base.__name__ / f"{stem}.yaml" for base in reversed(cls.__mro__)]
    published = ("MVLPT",) if stem == "pocket" else ("MVLPT", "CoOp")
    return [
        folder / "MVLPT" / f"{stem}.yaml",
        *(path for path in own if path.is_file() and path.parent.name not in published),
    ]


def resolve(trainer: str, files: Sequence[str], flags: dict, opts: Sequence[str]) -> CfgNode:
    """The frozen configuration. Later sources win: defaults, the trainer's, `files` (or the recipe), `flags`, `opts`.

    Raises ValueError or FileNotFoundError with a sentence that names the key or file.
    """
    texts = {file: _read(file) for file in files}
    trainer = trainer or next(
        (text["TRAINER"]["NAME"] for text in texts.values() if "NAME" in (text.get("TRAINER") or {})), ""
    )
    if not trainer:
        raise ValueError(
            "no trainer is given: use --trainer, with one of " + ", ".join(TRAINER_REGISTRY.registered_names())
        )
    cls = trainer_class(trainer)
    cfg = extend(get_cfg_default())
    keys = list(_keys(cfg))
    plain = not hasattr(cls, "joint")  # written for Dassl alone: CoOp's names stay, and it may have keys of its own
    aliases = {} if plain else ALIASES
    cfg.TRAINER.NAME = trainer
    for key, value in getattr(cls, "defaults", {}).items():
        _set(cfg, key, value, keys)
    pairs = _pairs(opts)
    if all(set(text) == {"DATASET"} for text in texts.values()):  # no settings but the data set: the recipe's
        backbone = flags.get("MODEL.BACKBONE.NAME") or dict(pairs).get("MODEL.BACKBONE.NAME") or cfg.MODEL.BACKBONE.NAME
        texts = {str(path): _read(str(path)) for path in recipes(cls, backbone)} | texts
        flags = {"MODEL.BACKBONE.NAME": backbone} | flags
    for file, text in texts.items():
        for key, value in flatten(text):
            # a run's own config.yaml holds both names: the alias must not win
            _set(cfg, key if "MVLPT" in (text.get("TRAINER") or {}) else _alias(key, aliases), value, keys, file, plain)
    cfg.TRAINER.NAME = trainer
    for key, value in flags.items():
        _set(cfg, key, value, keys)
    for key, value in pairs:
        _set(cfg, _alias(key, aliases), _parse(value), keys, free=plain)
    cfg.freeze()
    return cfg


def without_local_paths(cfg: CfgNode) -> CfgNode:
    """A copy without what belongs to one machine."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR, cfg.RESUME, cfg.DATASET.ROOT = "", "", ""
    cfg.pop("CACHE", None)
    cfg.MODEL.pop("COMPILE", None)
    for node, key in ((cfg.MODEL.BACKBONE, "NAME"), (cfg.MODEL.BACKBONE, "PRETRAINED")):
        if Path(node[key]).is_absolute() or Path(node[key]).is_file():
            node[key] = Path(node[key]).name
    if Path(cfg.DATASET.FEWSHOT).is_absolute():
        cfg.DATASET.FEWSHOT = Path(cfg.DATASET.FEWSHOT).name
    for node, key in ((cfg.DATASET, "DATASET"), (cfg.DATASET, "NAME"), (cfg.MULTITASK, "SOURCE")):
        node[key] = ",".join(custom.without_local_path(name.strip()) for name in node[key].split(","))
    return cfg


def with_overrides(cfg: CfgNode, **values) -> CfgNode:
    """A frozen copy with other values; keys are written with "__" for ".": `with_overrides(cfg, DATASET__DATASET="a")`."""
    cfg = cfg.clone()
    cfg.defrost()
    for key, value in values.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    cfg.freeze()
    return cfg


def differences(one: CfgNode, other: CfgNode) -> list[str]:
    """Keys in which two configurations differ, those of one machine aside. A key that one lacks has its default there: a
    run of an earlier version need not know it."""
    a, b = dict(flatten(without_local_paths(one))), dict(flatten(without_local_paths(other)))
    if a.keys() != b.keys():
        a, b = _defaults() | a, _defaults() | b
    return [key for key in sorted(a.keys() | b.keys()) if _plain(a.get(key)) != _plain(b.get(key))]


def settings(cfg: CfgNode) -> dict[str, object]:
    """What a configuration says that the defaults do not, by key, those of one machine aside: the same in every version
    that has these keys."""
    defaults, values = _defaults(), dict(flatten(without_local_paths(cfg)))
    return {key: values[key] for key in sorted(values) if _plain(values[key]) != _plain(defaults.get(key))}


def _defaults() -> dict[str, object]:
    return dict(flatten(without_local_paths(extend(get_cfg_default()))))


def load(path: Path) -> CfgNode:
    """A configuration written by a run. Raises FileNotFoundError, or ValueError where it is damaged."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no configuration of a run: it holds no keys")
    try:
        cfg = CfgNode(content)
        without_local_paths(cfg)
        return cfg
    except (AssertionError, TypeError, AttributeError) as error:  # yacs's own
        raise ValueError(f"{path} is no configuration of a run: {error}") from None


def _plain(value):
    return list(value) if isinstance(value, (list, tuple)) else value


def _read(file: str) -> dict:
    if not Path(file).is_file():
        folder = Path(file).parent
        there = sorted(path.name for path in folder.glob("*.yaml")) if folder.is_dir() else []
        raise FileNotFoundError(f"no configuration file {file}" + (f"; there are {', '.join(there)}" if there else ""))
    text = read_yaml(file)
    if not isinstance(text or {}, dict):
        raise ValueError(f"{file} holds no keys")
    if not isinstance((text or {}).get("TRAINER") or {}, dict):
        raise ValueError(f"{file}: TRAINER is a group of keys, not {text['TRAINER']!r}")
    return {key: value for key, value in (text or {}).items() if value is not None}


def flatten(node: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _alias(key: str, aliases: dict[str, str]) -> str:
    return next((new + key[len(old) :] for old, new in aliases.items() if key.startswith(old)), key)


def _keys(cfg: CfgNode) -> Iterator[str]:
    return (key for key, _ in flatten(cfg))


def _pairs(opts: Sequence[str]) -> list[tuple[str, str]]:
    late = [text for text in opts if text.startswith("--")]
    if late:
        raise ValueError(f"{late[0]}: flags stand before the trailing KEY VALUE pairs")
    if len(opts) % 2:
        raise ValueError(f"trailing options come in pairs KEY VALUE; {opts[-1]!r} stands alone")
    return list(zip(opts[::2], opts[1::2], strict=True))


def _parse(text: str):
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # also dates that can't be
        return text


def _add(cfg: CfgNode, key: str, value) -> None:
    """A key of a trainer that was written elsewhere, below TRAINER.*, which no default announces. Text that is a Python
    literal (YAML sees some in `1e-5`) becomes its value, as elsewhere with yacs."""
    *nodes, leaf = key.split(".")
    node = cfg
    for name in nodes:
        node = node.setdefault(name, CfgNode())
    with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        value = ast.literal_eval(value) if isinstance(value, str) else value
    node[leaf] = value


def _set(cfg: CfgNode, key: str, value, keys: list[str], file: str = "", free: bool = False) -> None:
    where = f"{file}: " if file else ""
    if key not in keys and free and key.startswith("TRAINER.") and key.count(".") > 1:
        _add(cfg, key, value)
        keys.append(key)
        return
    if key not in keys:
        nearest = difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
        raise ValueError(f"{where}unknown key {key!r}; the nearest is {nearest[0]!r}")
    if key in TWINS and file != "twin":
        _set(cfg, TWINS[key], value, keys, "twin")
    *nodes, leaf = key.split(".")
    node = cfg
    for name in nodes:
        node = node[name]
    old = node[leaf]
    if isinstance(old, bool) and not isinstance(value, bool):
        raise ValueError(f"{where}{key} is True or False, not {reprlib.repr(value)}")
    if isinstance(old, float):
        value = _number(value, where + key)
    if isinstance(old, str) and not isinstance(value, str):
        value = "" if value is None else str(value)
    if isinstance(old, (list, tuple)):
        value = _sequence(value, where + key)
        value = type(old)(value if isinstance(value, (list, tuple)) else [value])
    if isinstance(old, int) and not isinstance(old, bool) and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f"{where}{key} is a whole number, not {reprlib.repr(value)}")
    node[leaf] = value


def _sequence(value, where: str):
    """A list or tuple also when YAML sees text, as in CoOp's own files: `SIZE: (224, 224)`."""
    if isinstance(value, str) and value.strip()[:1] in ("(", "["):
        try:
            return ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # nested without end
            raise ValueError(f"{where} is a list, not {reprlib.repr(value)}") from None
    return value


def _number(value, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where} is a number, not {reprlib.repr(value)}") from None

"""The keys that a prompt implies by its record, its run's keys or its tensors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from yacs.config import CfgNode

from prompting.checkpoints.foreign import Checkpoint

from .config import trainer_class
from .config_values import flatten
from .settings import PROJECTIONS, TABLES, declared_keys, merged, reads

POSITION = "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION"
THETA = "TRAINER.MVLPT.PROJECT_METHOD"
_CROP_KEYS = ("DATASET.CENTER_CROP", "INPUT.FROM_BACKBONE")
_PIXEL_KEYS = ("SIZE", "PIXEL_MEAN", "PIXEL_STD", "INTERPOLATION")
PREPROCESSING_KEYS = (*_CROP_KEYS, *(f"INPUT.{name}" for name in _PIXEL_KEYS))
INTERPOLATE = "TEST.INTERPOLATE"
_INITIAL_WORDS = ".CTX_INIT"  # the end of keys whose words give a context its length
# the last part of a method's key -> the name in the configuration of its prompt
_CONFIG_NAMES: dict[str, str] = TABLES["of_prompts"]
PROMPT_KEYS = (
    *_CONFIG_NAMES,
    *("CTX_INIT", "CSC", "CLASS_TOKEN_POSITION", "DEEP", "PROJECT"),
    *("PROJECT_METHOD", "PROJECT_DIM", "PROJECT_HEADS", "PROJECT_LAYERS"),
)  # the last parts of keys


@dataclass(frozen=True)
class Start:
    """A prompt that runs start from."""

    checkpoint: Checkpoint  # its tensors
    record: dict = field(default_factory=dict)  # in its files, see `prompt_record`
    # configuration keys that it was trained with
    keys: dict[str, Any] = field(default_factory=dict)


def wanted_keys(cfg: CfgNode, given: Collection[str], start: Start) -> dict[str, Any]:
    """Return the keys that a prompt was trained with and that count for it."""
    cls = trainer_class(cfg.TRAINER.NAME)
    config, trained = start.record.get("config"), start.keys
    names = preprocessing_keys(trained.get("INPUT.FROM_BACKBONE", False))
    wanted = {key: trained[key] for key in names if key in trained}
    if config:
        wanted |= config_keys(config, cls)
        if config.get("kind") == "anchored":
            wanted[INTERPOLATE] = trained.get(INTERPOLATE, "shots")
    elif trained:
        wanted |= _shape_keys(start, cls)
    else:
        wanted |= _foreign_keys(given, start.checkpoint, cls)
    key = words_key(cls)
    words = dict(flatten(cfg))[key]
    if key not in given and (config or trained):
        words = wanted[key] = _initial_words(trained, key)
    if words:  # they give the length
        wanted.pop(key.removesuffix(_INITIAL_WORDS) + ".N_CTX", None)
    return wanted


def preprocessing_keys(from_backbone: bool) -> tuple[str, ...]:
    """Return the keys that say how images are prepared, unless the backbone does."""
    return _CROP_KEYS if from_backbone else PREPROCESSING_KEYS


def _shape_keys(start: Start, cls: type) -> dict[str, Any]:
    """Return those of a run's keys by which a trainer builds a prompt of its tensors."""
    unused = (*PREPROCESSING_KEYS, *filter(_is_words, start.keys))
    wanted = {}
    for key, value in start.keys.items():
        if key not in unused and _counts(key, start.checkpoint.state, cls):
            wanted[key] = value
    return wanted


def words_key(cls: type) -> str:
    """Return the key of the words that a trainer's text context starts from."""
    declared = sorted(filter(_is_words, declared_keys(cls)))
    return [*declared, "TRAINER.MVLPT.COOP" + _INITIAL_WORDS][0]


def _is_words(key: str) -> bool:
    return key.endswith(_INITIAL_WORDS)


def _initial_words(keys: dict[str, Any], key: str) -> str:
    """Return the words that a prompt started from; it may have been another trainer's."""
    others = [words for other, words in keys.items() if _is_words(other)]
    if key in keys:
        return keys[key]
    return others[0] if len(others) == 1 else ""


def _counts(key: str, state: dict, cls: type) -> bool:
    """Return True if a key of a run says how a prompt of these tensors is built."""
    if key.startswith("TRAINER.MVLPT.COOP."):
        return "ctx" in state or "text.ctx" in state
    if key.startswith("TRAINER.MVLPT.VPT."):
        return "embeddings" in state or "visual.embeddings" in state
    if key.startswith("TRAINER.MVLPT.PROJECT_"):
        return "text.ctx" in state
    return key in declared_keys(cls)


def config_keys(config: dict, cls: type) -> dict[str, Any]:
    """Return the keys by which a trainer builds the prompt of `prompt.config()`."""
    kind = config.get("kind")
    if kind == "text":
        return {
            "TRAINER.MVLPT.COOP.N_CTX": config["n_ctx"],
            "TRAINER.MVLPT.COOP.CSC": config.get("classes") is not None,
            POSITION: config["position"],
        }
    if kind == "visual":
        return {
            "TRAINER.MVLPT.VPT.N_CTX": config["n_ctx"],
            "TRAINER.MVLPT.VPT.DEEP": config["layers"] > 1,
            "TRAINER.MVLPT.VPT.PROJECT": config.get("project") or -1,
        }
    if kind == "unified":
        keys = config_keys(config["text"], cls) | config_keys(config["visual"], cls)
        theta = config["theta"]
        (keys[THETA],) = (name for name, value in PROJECTIONS.items() if value == theta)
        if theta == "identity":
            return keys
        keys["TRAINER.MVLPT.PROJECT_DIM"] = config["dim"]
        if theta != "mlp":
            keys["TRAINER.MVLPT.PROJECT_HEADS"] = config["heads"]
            keys["TRAINER.MVLPT.PROJECT_LAYERS"] = config["layers"]
        return keys
    if kind == "anchored":
        return config_keys(config["base"], cls)
    keys = {}
    for key in sorted(declared_keys(cls)):
        name = _CONFIG_NAMES.get(key.rpartition(".")[2])
        value = config.get(name)
        if value is None:
            continue
        if name == "blocks":  # counted from 0
            value = [block + 1 for block in value]
        keys[key] = value
    return keys


def _foreign_keys(
    given: Collection[str], checkpoint: Checkpoint, cls: type
) -> dict[str, Any]:
    """Return the keys that a checkpoint without a record implies; or ValueError."""
    checkpoint.prompt_state()  # raises for names of no prompt
    keys = {}
    if checkpoint.per_token:
        keys[THETA] = "per-token"
    if "ctx" not in checkpoint.state or checkpoint.method in ("IVLP", "MaPLe"):
        return keys
    if checkpoint.position:
        keys[POSITION] = checkpoint.position
        return keys
    # without, the prompt does not fit, which its shapes tell; or it is the method's
    needs_position = reads(cls, POSITION) is not False
    if needs_position and POSITION not in {*given, *merged(cls, "defaults")}:
        raise ValueError(
            f"{checkpoint.path}: neither its tensors nor its folder's name tell where the class name is: set {POSITION} "
            "to front, middle or end, as it was in training"
        )
    return keys

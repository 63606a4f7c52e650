"""The prompt that a run starts from, which is loaded strictly. Its files hold a record:
the prompt's configuration, its backbone with a fingerprint of the weights, and the
preprocessing. A configuration key that is not given follows the record; one that is
given and contradicts it is an error. Runs of earlier versions lack parts of it; their
config.yaml has the keys.
"""

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from prompting.backbones.backbone import differences
from prompting.backbones.names import is_known
from prompting.backbones.weights import SUFFIXES
from prompting.checkpoints.foreign import Checkpoint, checkpoint_path, read_checkpoint
from prompting.checkpoints.prompt_files import check_config, load_prompts, load_state
from prompting.prompts import Prompt
from prompting.shape import check_fits
from toolkit.common.structured import read_json
from toolkit.common.text import naming
from trainers.features.builders import preprocessing_of

from .config import RunOptions, load, trainer_class
from .config_values import as_list, flatten, set_value
from .context import PromptSetup
from .settings import PROJECTIONS, TABLES, declared_keys, merged, reads

log = logging.getLogger(__name__)
Keys = dict[str, Any]  # of a configuration, with their values

POSITION = "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION"
THETA = "TRAINER.MVLPT.PROJECT_METHOD"
_CROP_KEYS = ("DATASET.CENTER_CROP", "INPUT.FROM_BACKBONE")
_PIXEL_KEYS = ("SIZE", "PIXEL_MEAN", "PIXEL_STD", "INTERPOLATION")
PREPROCESSING_KEYS = (*_CROP_KEYS, *(f"INPUT.{name}" for name in _PIXEL_KEYS))
INTERPOLATE = "TEST.INTERPOLATE"
# the last part of a method's key -> the name in the configuration of its prompt
_CONFIG_NAMES: dict[str, str] = TABLES["of_prompts"]
PROMPT_KEYS = (
    *(*_CONFIG_NAMES, "CSC", "CLASS_TOKEN_POSITION", "DEEP", "PROJECT"),
    *("PROJECT_METHOD", "PROJECT_DIM", "PROJECT_HEADS", "PROJECT_LAYERS"),
)  # the last parts of keys
# beside checkpoints of a prompt with vectors of single classes: their names in order
CLASSES = "classes.json"
_OF_METHODS = (POSITION, THETA, "TRAINER.MVLPT.PROJECT_HEADS", INTERPOLATE)
_NOT_IN_SHAPES = (*_OF_METHODS, *PREPROCESSING_KEYS)
# of a prompt's configuration: known from shapes, or for training
_INITIAL = ("classes", "dropout", "patch_size", "init")


def prompt_record(setup: PromptSetup) -> dict:
    """Return the metadata of a prompt beside its own configuration."""
    cfg, node = setup.cfg, setup.cfg.MODEL.BACKBONE
    method, values = cfg.TRAINER.NAME, dict(flatten(cfg))
    names = [*_preprocessing_keys(cfg.INPUT.FROM_BACKBONE), INTERPOLATE]
    names.append(_words_key(trainer_class(method)))
    return {
        "method": method,
        **setup.backbone.record(node.NAME, node.PRETRAINED),
        "preprocessing": preprocessing_record(setup),
        "keys": {name: values[name] for name in names},
    }


def preprocessing_record(setup: PromptSetup) -> dict:
    """Return how images are prepared, as prompts.safetensors states it."""
    mode = "squash"
    if setup.cfg.DATASET.CENTER_CROP:
        modes = {task.crop for task in setup.tasks}
        mode = modes.pop() if len(modes) == 1 else "crop"
    return preprocessing_of(setup.cfg, setup.backbone.preprocessing).record(mode)


def recorded_backbone(
    directory: str, epoch: int | None, given: Collection[str]
) -> dict[str, str]:
    """Return the keys of the backbone, if not given, that a run's prompt names. Raises
    ValueError if it is a file or folder, whose place only the user knows.
    """
    if "MODEL.BACKBONE.NAME" in given:
        return {}
    record = read_start(directory, epoch).record
    if "backbone" not in record:
        return {}
    name = str(record["backbone"])
    if record.get("backbone_is_path") or not is_known(name):
        raise ValueError(
            f"{directory}: its prompt was trained on the file or folder {name}: give it with --backbone PATH"
        )
    found = {"MODEL.BACKBONE.NAME": name}
    pretrained = str(record.get("pretrained") or "")
    if pretrained and "MODEL.BACKBONE.PRETRAINED" not in given:
        if record.get("pretrained_is_path") or pretrained.endswith(SUFFIXES):
            raise ValueError(
                f"{directory}: its prompt was trained on {name} with the weights in the file {pretrained}: give it with "
                "MODEL.BACKBONE.PRETRAINED PATH"
            )
        found["MODEL.BACKBONE.PRETRAINED"] = pretrained
    return found


def follow(cfg: CfgNode, options: RunOptions) -> tuple[CfgNode, list[str]]:
    """Return the configuration with the keys that are not given as the prompt in the
    options' folder needs them, and a line for the log about each that changed. Raises
    ValueError naming a key whose given value contradicts the prompt (`load_start` finds
    those that change shapes), or that must be given as nothing tells its value.
    """
    values, given = dict(flatten(cfg)), options.given
    start = read_start(options.model_dir, options.load_epoch)
    path = start.path
    changed = cfg.clone()
    changed.defrost()
    lines = []
    for key, value in _wanted_keys(cfg, given, start).items():
        if key not in values or as_list(values[key]) == as_list(value):
            continue
        if key not in given:
            set_value(changed, key, value, path)
            lines.append(f"{key} {value}: taken from {os.path.relpath(path)}")
        elif key in _NOT_IN_SHAPES:
            raise ValueError(
                f"{path}: its prompt was trained with {key} {value}, but {values[key]} is given"
            )
    changed.freeze()
    record = start.record
    if not (record.get("config") or record["keys"] or start.foreign):
        lines.append(
            f"{path} does not say what its prompt was trained with: the configuration is taken as it is"
        )
    return changed, lines


def read_start(directory: str, epoch: int | None) -> Checkpoint:
    """Return the prompt in a run's folder, of an experiment its first target's. Its
    record has all that the files say, see `prompt_record`; its "keys" may be those of
    config.yaml, or none. Raises ValueError or FileNotFoundError.
    """
    folder = Path(directory)
    targets = sorted(folder.glob("adapt/*/prompt_learner"))
    if targets and not (folder / "prompt_learner").is_dir():
        folder = targets[0].parent
    checkpoint = read_checkpoint(checkpoint_path(folder, epoch))
    record = checkpoint.record
    if checkpoint.foreign:
        record = {"keys": {}}
    elif record:
        with naming(checkpoint.path):
            config = check_config(record["config"], checkpoint.state)
        record = record | {"config": config}
    elif (folder / "prompts.safetensors").is_file():
        prompt, metadata = load_prompts(folder / "prompts.safetensors")
        record = metadata | {"config": prompt.config()}
    if record.get("keys") is None:
        written = folder / "config.yaml"
        keys = dict(flatten(load(written))) if written.is_file() else {}
        keys.pop(INTERPOLATE, None)  # of a run, not of its prompt
        record = record | {"keys": keys}
    if not isinstance(record["keys"], dict):
        raise ValueError(f"{checkpoint.path}: its record 'keys' is no object")
    return replace(checkpoint, record=record)


def _wanted_keys(cfg: CfgNode, given: Collection[str], start: Checkpoint) -> Keys:
    """Return the keys that a prompt was trained with and that count for it."""
    cls = trainer_class(cfg.TRAINER.NAME)
    config = start.record.get("config")
    trained = start.record["keys"]
    names = _preprocessing_keys(trained.get("INPUT.FROM_BACKBONE", False))
    wanted = {key: trained[key] for key in names if key in trained}
    if config:
        wanted |= _config_keys(config, cls)
        if config.get("kind") == "anchored":
            wanted[INTERPOLATE] = trained.get(INTERPOLATE, "shots")
    elif trained:
        wanted |= _shape_keys(start, cls)
    else:
        wanted |= _foreign_keys(given, start, cls)
    key = _words_key(cls)
    words = dict(flatten(cfg))[key]
    if key not in given and (config or trained):
        # it may have been another trainer's
        others = [trained[name] for name in trained if name.endswith(".CTX_INIT")]
        only = others[0] if len(others) == 1 else ""
        words = wanted[key] = trained.get(key, only)
    if words:  # they give the length
        wanted.pop(key.replace(".CTX_INIT", ".N_CTX"), None)
    return wanted


def _preprocessing_keys(from_backbone: bool) -> tuple[str, ...]:
    return _CROP_KEYS if from_backbone else PREPROCESSING_KEYS


def _shape_keys(start: Checkpoint, cls: type) -> Keys:
    """Return those of a run's keys by which a trainer builds a prompt of its tensors."""
    state, wanted = start.state, {}
    for key, value in start.record["keys"].items():
        group, _, name = key.rpartition(".")
        if name not in PROMPT_KEYS or not group.startswith("TRAINER."):
            continue
        if group == "TRAINER.MVLPT.COOP":
            counts = "ctx" in state or "text.ctx" in state
        elif group == "TRAINER.MVLPT.VPT":
            counts = "embeddings" in state or "visual.embeddings" in state
        elif key.startswith("TRAINER.MVLPT.PROJECT_"):
            counts = "text.ctx" in state
        else:
            counts = key in declared_keys(cls)
        if counts:
            wanted[key] = value
    return wanted


def _words_key(cls: type) -> str:
    declared = [key for key in declared_keys(cls) if key.endswith(".CTX_INIT")]
    return min(declared, default="TRAINER.MVLPT.COOP.CTX_INIT")


def _config_keys(config: dict, cls: type) -> Keys:
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
        keys = _config_keys(config["text"], cls) | _config_keys(config["visual"], cls)
        theta = config["theta"]
        position = list(PROJECTIONS.values()).index(theta)
        keys[THETA] = list(PROJECTIONS)[position]
        if theta != "identity":
            keys["TRAINER.MVLPT.PROJECT_DIM"] = config["dim"]
        if theta not in ("identity", "mlp"):
            keys["TRAINER.MVLPT.PROJECT_HEADS"] = config["heads"]
            keys["TRAINER.MVLPT.PROJECT_LAYERS"] = config["layers"]
        return keys
    if kind == "anchored":
        return _config_keys(config["base"], cls)
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


def _foreign_keys(given: Collection[str], checkpoint: Checkpoint, cls: type) -> Keys:
    """Return the keys that a checkpoint without a record implies; or ValueError."""
    checkpoint.prompt_state()  # raises for names of no prompt
    keys = {THETA: "per-token"} if checkpoint.per_token else {}
    if "ctx" not in checkpoint.state or checkpoint.method in ("IVLP", "MaPLe"):
        return keys
    # without, the prompt does not fit, which its shapes tell; or it is the method's
    needs_position = reads(cls, POSITION) is not False
    if checkpoint.position:
        keys[POSITION] = checkpoint.position
    elif needs_position and POSITION not in {*given, *merged(cls, "defaults")}:
        raise ValueError(
            f"{checkpoint.path}: neither its tensors nor its folder's name tell where the class name is: set {POSITION} "
            "to front, middle or end, as it was in training"
        )
    return keys


def load_start(
    prompt: Prompt, setup: PromptSetup, directory: str, epoch: int | None
) -> list[str]:
    """Load the prompt in a run's folder into `prompt`; return warnings about it. The
    folder may be the reference's or CoOp's. Loaded is the best prompt, the last one if
    no best was kept, or that of `epoch`. Raises ValueError if it does not fit or was
    trained on another backbone, and FileNotFoundError.
    """
    checkpoint = read_start(directory, epoch)
    path, record = checkpoint.path, checkpoint.record
    if check_fits(prompt, setup.backbone.clip).class_specific:
        check_class_list(directory, setup.tasks[0].classnames)
    state = checkpoint.prompt_state()
    stored = record.get("config") or {}
    warnings = []
    if checkpoint.foreign:
        warnings = _foreign_warnings(setup, prompt, checkpoint)
    try:
        load_state(prompt, state)
        built = prompt.config()
        if built["kind"] == "anchored" and stored.get("kind") != "anchored":
            built = built["base"]  # zero-shot CLIP is beside it in the new one alone
        _check_settings(built, stored)
    except ValueError as error:
        holds = checkpoint.describe()
        source = f"{path} holds {holds}" if holds else path
        raise ValueError(f"{source}: {error}") from None
    setup.backbone.check_record(record, path)
    used = preprocessing_record(setup)
    if setup.cfg.DATASET.CENTER_CROP:
        del used["crop"]  # each task's own
    other = differences(record.get("preprocessing") or {}, used)
    if other:
        raise ValueError(
            f"{path}: its prompt was trained with another preprocessing: {other}"
        )
    label = "?" if checkpoint.epoch is None else checkpoint.epoch
    folder = os.path.basename(os.path.normpath(directory))
    log.debug("loaded the prompt of epoch %s from %s", label, folder)
    return warnings


def check_class_list(directory: str | Path, classnames: Sequence[str]) -> None:
    """Raise ValueError if a run's prompt holds vectors of other classes than these."""
    file = Path(directory) / "prompt_learner" / CLASSES
    known = read_json(file) if file.is_file() else []
    if len(known) != len(classnames):
        return  # the shapes tell
    pairs = zip(classnames, known, strict=True)
    other = [name for name, stored in pairs if name != stored]
    if other:
        raise ValueError(
            f"{directory} holds vectors of another class list: {', '.join(other[:3])} have another position or are missing"
        )


def _check_settings(built: dict, stored: dict) -> None:
    """Raise ValueError naming both values if a prompt was trained in another way."""
    for name, value in stored.items():
        # None: a part that the stored prompt does without, such as class offsets
        if name in _INITIAL or name not in built or value is None:
            continue
        if isinstance(value, dict) and isinstance(built[name], dict):
            _check_settings(built[name], value)
        elif value != built[name]:
            raise ValueError(
                f"its prompt was trained with {name} {value!r}, not {built[name]!r}"
            )


def _foreign_warnings(setup: PromptSetup, prompt: Prompt, checkpoint: Checkpoint):
    """Return warnings about what shapes do not show; or ValueError for another θ."""
    node, path = setup.cfg.TRAINER.MVLPT, checkpoint.path
    if checkpoint.per_token and getattr(prompt, "theta", "per-token") != "per-token":
        raise ValueError(
            f"{path} was trained with the reference's θ, which maps each vector by itself: set "
            f"TRAINER.MVLPT.PROJECT_METHOD to per-token (it is {node.PROJECT_METHOD})"
        )
    warnings = [checkpoint.left_out] if checkpoint.left_out else []
    if node.COOP.CSC and check_fits(prompt, setup.backbone.clip).text is not None:
        warnings.append(
            f"{os.path.basename(path)}: its contexts are taken to be in the order of this task's classes"
        )
    return warnings

"""The configuration of a trainer for Dassl alone, as its repository's train.py has it."""

import ast
import contextlib
import inspect
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dassl.config import get_cfg_default
from yacs.config import CfgNode

from toolkit import plugin_files
from toolkit.common import dassl_scripts

from .config_values import ALIASED_KEYS, LITERAL_ERRORS, converted, flatten
from .settings import extend

# nodes that a trainer may read though no train.py is beside it: CoOp's and the
# reference's, with their published defaults
PUBLISHED = ("COOP", "COCOOP", "MVLPT", "CUT_CONTEXTLEN", "ACT_CKPT")
FLAGS = {
    "root": ("DATASET.ROOT", ""),
    "output_dir": ("OUTPUT_DIR", ""),
    "resume": ("RESUME", ""),
    "seed": ("SEED", -1),
    "source_domains": ("DATASET.SOURCE_DOMAINS", None),
    "target_domains": ("DATASET.TARGET_DOMAINS", None),
    "transforms": ("INPUT.TRANSFORMS", None),
    "backbone": ("MODEL.BACKBONE.NAME", ""),
    "head": ("MODEL.HEAD.NAME", ""),
}  # argument of Dassl's train.py -> its key and default
ANY_TYPE = ("MODEL.BACKBONE.PRETRAINED",)  # True in Dassl, a tag or file for ours
PLAIN = (tuple, list, str, int, float, bool, type(None))


def script_of(cls: type) -> dict[str, Any]:
    """Return the names of the script beside a trainer, {} without an `extend_cfg`."""
    package = plugin_files.package_of(cls)
    trainer = Path(plugin_files.source_of(cls))
    folder, builtins = trainer.parent, None
    if package is not None:
        folder, builtins = package.folder, package.builtins
    file = dassl_scripts.find_script(folder, trainer)
    found = dassl_scripts.functions(file, builtins) if file else {}
    if "extend_cfg" not in found:
        return {}
    return found


def _add_keys(script: Mapping[str, Any], cfg: CfgNode, args: object) -> None:
    """Call `extend_cfg`, which may take `args` or read the variable `args`."""
    extend_cfg = script["extend_cfg"]
    extend_cfg.__globals__["args"] = args
    if len(inspect.signature(extend_cfg).parameters) > 1:
        extend_cfg(cfg, args)
    else:
        extend_cfg(cfg)


def resolve(
    cls: type,
    texts: Mapping[str, dict],
    flags: Mapping[str, Any],
    pairs: Sequence[tuple[str, str]],
    given: Mapping[str, Any] | None = None,
) -> CfgNode:
    """Return the frozen configuration. Later sources win: Dassl's defaults, those of
    the repository's `extend_cfg`, YAML files, flags, KEY VALUE pairs, and the changes
    of its `setup_cfg`.

    texts: by YAML file. given: arguments of the command line, for `setup_cfg`. Raises
    ValueError for a value that is not of the type of a key of Dassl's.
    """
    script = script_of(cls)
    cfg = defaults(published=not script)
    cfg.TRAINER.NAME = cls.__name__
    done = False
    if script:
        args = _arguments(script, cls, list(texts), flags, given or {})
        _add_keys(script, cfg, args)
        plugin_files.note(f"defaults of extend_cfg in {script['__file__']}")
        done = _set_up(cfg, script, args, texts, flags, pairs)
    known = {key for key, _ in flatten(cfg)}
    for file, text in texts.items():
        for key, value in flatten(text):
            if not done or key not in known:
                put(cfg, key, decoded(value), file)
    for key, value in flags.items():
        put(cfg, key, value)
    for key, text in pairs:
        if not done or key not in known:
            put(cfg, key, decoded(text))
    new = [key for key, _ in flatten(cfg) if key not in known]
    if new:
        plugin_files.note(
            f"keys that have no default, so that the trainer alone may read them: {', '.join(new)}"
        )
    cfg.TRAINER.NAME = cls.__name__
    cfg.freeze()
    return cfg


def defaults(published: bool) -> CfgNode:
    """Return Dassl's defaults and needed keys; `published`: those of CoOp, too."""
    theirs = get_cfg_default()
    cfg = extend(get_cfg_default())
    kept = {*theirs.TRAINER, *(PUBLISHED if published else ())}
    for name in set(cfg.TRAINER) - kept:
        del cfg.TRAINER[name]
    cfg.SEED = cfg.DATASET.RANDOM_SEED_SAMPLING = theirs.SEED
    shots = theirs.DATASET.NUM_SHOTS
    cfg.DATASET.NUM_SHOTS = cfg.DATASET.NUM_SAMPLES_PER_CLASS = shots
    cfg.MODEL.BACKBONE.PRETRAINED = theirs.MODEL.BACKBONE.PRETRAINED
    return cfg


def _arguments(
    script: Mapping[str, Any],
    cls: type,
    files: Sequence[str],
    flags: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Any:
    """Return the arguments that the script's functions take."""
    values = dict(given)
    for name, (key, default) in FLAGS.items():
        values[name] = flags.get(key, default)
    values |= {"trainer": cls.__name__, "config_file": "", "dataset_config_file": ""}
    if len(files) == 1 and files[0] != given.get("dataset_config_file"):
        values["config_file"] = files[0]
    elif files:
        values["dataset_config_file"] = files[0]
        values["config_file"] = files[-1] if len(files) > 1 else ""
    return dassl_scripts.namespace_for(Path(script["__file__"]), values)


def _set_up(
    cfg: CfgNode,
    script: Mapping[str, Any],
    args: Any,
    texts: Mapping[str, dict],
    flags: Mapping[str, Any],
    pairs: Sequence[tuple[str, str]],
) -> bool:
    """Put the changes of the script's `setup_cfg` for a command line into `cfg`; return
    False if it has none, or does not take the command line. Keys of the files that have
    no default are left out.
    """
    setup_cfg = script.get("setup_cfg")
    if setup_cfg is None or len(texts) > 2:
        return False
    fresh = get_cfg_default()
    _add_keys(script, fresh, args)
    known = dict(flatten(fresh))
    opts: list[Any] = []
    name = flags.get("DATASET.DATASET", "")
    if name and "," not in name:
        opts += ["DATASET.NAME", name]
    for key, text in pairs:
        if key in known:
            opts += [key, _kept(known[key], decoded(text), key, key)]
    args.opts = opts
    try:
        with _new_keys_allowed(setup_cfg.__globals__):
            made = setup_cfg(args)
    except (Exception, SystemExit) as error:
        plugin_files.note(
            f"setup_cfg of {script['__file__']} is not used ({type(error).__name__}: {error})"
        )
        return False
    if not isinstance(made, dict):
        return False
    in_files: set[str] = set()
    for text in texts.values():
        in_files.update(key for key, _ in flatten(text))
    for key, value in flatten(made):
        if key in known or key not in in_files:
            put(cfg, key, value)
    return True


@contextlib.contextmanager
def _new_keys_allowed(scope: dict[str, Any]) -> Iterator[None]:
    """Let files that are merged after `extend_cfg` of a script hold keys that have no
    default: repositories that change Dassl's own defaults have such.
    """
    extend_cfg = scope["extend_cfg"]

    def extend_and_open(cfg: CfgNode, *rest: object) -> None:
        extend_cfg(cfg, *rest)
        cfg.set_new_allowed(True)

    scope["extend_cfg"] = extend_and_open
    try:
        yield
    finally:
        scope["extend_cfg"] = extend_cfg


def decoded(value: Any) -> Any:
    """Return a value as yacs reads it: text that is a Python literal becomes its value."""
    if isinstance(value, str):
        with contextlib.suppress(*LITERAL_ERRORS):
            return ast.literal_eval(value)
    if not isinstance(value, PLAIN):  # a date of YAML's
        return str(value)
    return value


def put(cfg: CfgNode, key: str, value: Any, file: str = "") -> None:
    """Put a value into `cfg`, in both keys if the setting has two names; make groups.
    Raise ValueError if a key of Dassl's has another type, or is a group.
    """
    for full in dict.fromkeys((key, ALIASED_KEYS.get(key, key))):
        where = f"{file}: {full}" if file else full
        *groups, leaf = full.split(".")
        node = cfg
        for name in groups:
            node = node.setdefault(name, CfgNode())
            if not isinstance(node, dict):
                raise ValueError(f"{where}: {name} is a value, not a group of keys")
        old = node.get(leaf)
        if isinstance(old, dict):
            raise ValueError(f"{where} is a group of keys: {', '.join(old) or 'none'}")
        node[leaf] = _kept(old, value, full, where)


def _kept(old: Any, value: Any, key: str, where: str) -> Any:
    """Return a value with its type, if that may be; else with that of the default."""
    if old is None or value is None or type(old) is type(value) or key in ANY_TYPE:
        return value
    if isinstance(old, (list, tuple)) and isinstance(value, (list, tuple)):
        return type(old)(value)
    if isinstance(old, float) and type(value) is int:
        return float(value)
    if key.startswith("TRAINER.") and key != "TRAINER.NAME":
        return value
    return converted(old, value, where)


def missing_key(error: AttributeError, cfg: CfgNode) -> str:
    """Return the full name of the key that a trainer missed, "" for another error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    values = frames[-1].f_locals if frames else {}
    node = values.get("self")
    name = values.get("name")
    if not isinstance(node, CfgNode) or not isinstance(name, str):
        return ""
    return ".".join([*(_place(cfg, node) or []), name])


def _place(cfg: CfgNode, wanted: CfgNode) -> list[str] | None:
    """Return the names of the groups that lead to a node, None if it is not in `cfg`."""
    if cfg is wanted:
        return []
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            found = _place(value, wanted)
            if found is not None:
                return [name, *found]
    return None

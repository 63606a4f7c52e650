"""The names of backbones: pocket, CoOp's, open_clip's, the Hub's, and paths."""

import os
from pathlib import Path

from prompting.backbones import hub_models
from prompting.backbones.weights import SUFFIXES
from toolkit.common.structured import read_yaml

LOCAL_PREFIX = "local-dir:"
ALIASES: dict[str, str] = read_yaml(Path(__file__).with_name("aliases.yaml"))


def is_path(name: str) -> bool:
    """Return True for a file or folder whose name is none of the fixed ones."""
    if name == "pocket" or name in ALIASES:
        return False
    return name.startswith(LOCAL_PREFIX) or os.path.isabs(name) or Path(name).exists()


def local_path(name: str) -> str:
    """Return the full path of local-dir:FOLDER, and any other name as it is. A relative
    path might be the name of a known model.
    """
    if not name.startswith(LOCAL_PREFIX):
        return name
    return os.path.abspath(os.path.expanduser(name.removeprefix(LOCAL_PREFIX)))


def is_known(name: str) -> bool:
    """Return True for the names of `load_backbone` that are no paths."""
    if name == "pocket" or name in ALIASES:
        return True
    return name in open_clip_names() or is_on_hub(name)


def open_clip_names() -> list[str]:
    """Return the names of open_clip's architectures."""
    from open_clip import list_models

    return list_models()


def is_on_hub(name: str) -> bool:
    """Return True for hf-hub:USER/NAME, and for USER/NAME unless it looks like a CoOp
    name or a file.
    """
    if name.startswith(hub_models.PREFIX):
        return True
    owners = {alias.partition("/")[0] for alias in ALIASES}
    if name.partition("/")[0] in owners or name.endswith(SUFFIXES):
        return False
    return hub_models.is_repository(name) and not name.startswith(".")

"""The optional YAML beside a user's own images: class names, metric, templates, label kind, name, crop.

name: birds                       # what the task is called; default: the name of the folder or file
names: {rob: robin, wrn: wren}    # label -> name in prompts, in label order; a list where both are the same
templates: ["a photo of a {}, a type of bird."]
label_kind: multilabel            # multiclass | multilabel; default: what the data look like
metric: 11point_mAP               # accuracy | mean-per-class | 11point_mAP | roc_auc
crop: squash                      # crop | squash, where DATASET.CENTER_CROP is True
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from datasets.task import DEFAULT_TEMPLATES, LABEL_KINDS, METRICS
from toolkit.common.images import MODES
from toolkit.common.structured import read_yaml

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Settings:
    """What a YAML says; empty where it says nothing.

    Attributes:
        names: label -> the name that prompts use, in label order; empty: the labels themselves, sorted.
        file: where it stands, for messages; "" without a file.
    """

    name: str = ""
    names: Mapping[str, str] | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    label_kind: str = ""
    metric: str = ""
    crop: str = "crop"
    file: str = ""


def read_settings(stem: Path) -> Settings:
    """The settings in `<stem>.yaml` or `<stem>.yml`, or the defaults where there is neither.

    Raises:
        ValueError: the file is no YAML, has an unknown key or a value that can't be; the message names file and key.
    """
    path = next((path for path in (Path(f"{stem}{suffix}") for suffix in SUFFIXES) if path.is_file()), None)
    if path is None:
        return Settings()
    content = read_yaml(path)
    if not isinstance(content or {}, dict):
        raise ValueError(f"{path}: expected keys such as 'names: [...]', found {content!r}")
    known = [field.name for field in fields(Settings) if field.name != "file"]
    readers = {"names": _names, "templates": _templates}
    values = {}
    for key, value in (content or {}).items():
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise ValueError(f"{path}: unknown key {key!r}; the nearest is {nearest!r}")
        values[key] = readers.get(key, _text)(value, f"{path}: {key}")
    for key, choices in (("label_kind", LABEL_KINDS), ("metric", METRICS), ("crop", MODES)):
        if key in values and values[key] not in choices:
            raise ValueError(f"{path}: {key} is {values[key]!r}; it is one of {', '.join(choices)}")
    return Settings(**values, file=str(path))


def _text(value: object, where: str) -> str:
    """A word or a whole number as text. YAML reads yes, no and null as something else: these need quotes."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{where}: {value!r} is no text; put it in quotes")
    if not str(value).strip():
        raise ValueError(f"{where} is empty")
    return str(value).strip()


def _names(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, (list, dict)) or not value:
        raise ValueError(f"{where}: expected a list of labels or 'label: name' pairs, found {value!r}")
    pairs = value.items() if isinstance(value, dict) else zip(value, value, strict=True)
    names: dict[str, str] = {}
    for label, name in pairs:
        if _text(label, where) in names:
            raise ValueError(f"{where}: {_text(label, where)!r} stands there twice")
        names[_text(label, where)] = _text(name, where)
    return names


def _templates(value: object, where: str) -> tuple[str, ...]:
    templates = tuple(_text(template, where) for template in (value if isinstance(value, list) else [value]))
    if not templates:
        raise ValueError(f"{where} is empty")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"{where}: {template!r} has no {{}} for the class name")
    return templates

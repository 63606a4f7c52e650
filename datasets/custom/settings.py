"""The optional YAML beside custom images: class names, metric, templates, label kind,
name, crop.

name: birds                       # the task's name; default: the name of the folder or file
names: {rob: robin, wrn: wren}    # label -> name in prompts, in label order; a list if both are the same
templates: ["a photo of a {}, a type of bird."]
label_kind: multilabel            # multiclass | multilabel; default: as the data are
metric: 11point_mAP               # accuracy | mean-per-class | 11point_mAP | roc_auc
crop: squash                      # crop | squash, if DATASET.CENTER_CROP is True
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from datasets.catalog.names import DEFAULT_TEMPLATES
from datasets.task import LABEL_KINDS, METRICS
from toolkit.common.images import MODES
from toolkit.common.structured import read_yaml
from toolkit.common.suggest import unknown
from toolkit.common.text import require_printable

SUFFIXES = (".yaml", ".yml")
CHOICES = {"label_kind": LABEL_KINDS, "metric": METRICS, "crop": MODES}


@dataclass(frozen=True)
class Settings:
    """The content of the YAML; empty fields are not stated in it."""

    name: str = ""
    # label -> the name in prompts, in label order; None: the labels themselves, sorted
    names: Mapping[str, str] | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    label_kind: str = ""
    metric: str = ""
    crop: str = "crop"
    file: str = ""  # the YAML, for messages


KEYS = tuple(field.name for field in fields(Settings) if field.name != "file")


def read_settings(stem: Path) -> Settings:
    """Return the settings in `<stem>.yaml` or `<stem>.yml`, by default the defaults.
    Raises ValueError naming the file, and a key that is unknown or impossible.
    """
    for suffix in SUFFIXES:
        path = Path(f"{stem}{suffix}")
        if path.is_file():
            content = read_yaml(path)
            return _parse({} if content is None else content, path)
        if os.path.lexists(path):
            raise ValueError(f"{path} is no file, or a link to one that is not there")
    return Settings()


def _parse(content: Any, path: Path) -> Settings:
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected keys such as 'names: [...]', found {content!r}"
        )
    values: dict[str, Any] = {}
    for key, value in content.items():
        where = f"{path}: {key}"
        if key not in KEYS:
            raise unknown(f"{path}: unknown key", key, KEYS)
        if key == "names":
            values[key] = _names(value, where)
        elif key == "templates":
            values[key] = _templates(value, where)
        else:
            values[key] = _text(value, where)
        if key in CHOICES and values[key] not in CHOICES[key]:
            raise ValueError(
                f"{where} is {values[key]!r}; it is one of {', '.join(CHOICES[key])}"
            )
    return Settings(**values, file=str(path))


def _text(value: object, where: str) -> str:
    """Return a word or a whole number as text; yes, no and null need quotes in YAML."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{where}: {value!r} is no text; put it in quotes")
    text = str(value).strip()
    if not text:
        raise ValueError(f"{where} is empty")
    require_printable(text, where)
    return text


def _names(value: object, where: str):
    if not isinstance(value, list | dict) or not value:
        raise ValueError(
            f"{where}: expected a list of labels or 'label: name' pairs, found {value!r}"
        )
    pairs = zip(value, value, strict=True)
    if isinstance(value, dict):
        pairs = value.items()
    names: dict[str, str] = {}
    for key, name in pairs:
        label = _text(key, where)
        if label in names:
            raise ValueError(f"{where}: {label!r} occurs twice")
        names[label] = _text(name, where)
    return names


def _templates(value: object, where: str):
    if value == []:
        raise ValueError(f"{where} is empty")
    templates = []
    for template in value if isinstance(value, list) else [value]:
        templates.append(_text(template, where))
        if "{}" not in templates[-1]:
            raise ValueError(
                f"{where}: {templates[-1]!r} has no {{}} for the class name"
            )
    return tuple(templates)

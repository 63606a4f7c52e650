"""The 31 pocket tasks and the 4 shifted test sets of the largest source, as tasks.yaml
states them, and their entries of the catalog of data sets. A task is a choice of
concepts from the pocket world, names for them, and a style that all its images share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.common.structured import read_yaml

# raise it when any image or split changes: a suite on disk of another version is
# written again
VERSION = 1
DIGITS = 1797  # images of scikit-learn's digits


@dataclass(frozen=True)
class Spec:
    """One pocket task."""

    name: str  # registered as "pocket-<name>"
    like: str  # the real data set whose counterpart it is
    layout: str  # "coop" (a source or a shifted task), "iris" or "coco" (target tasks)
    # of `concepts.FAMILIES` or `concepts.SHIFTED`, or "handwritten" (scikit-learn's
    # real 8 x 8 digits)
    family: str
    classes: dict[str, str]  # concept -> class name in prompts, in label order
    styles: tuple[str, ...] = ("plain",)  # one sampled for each image, or `stacked`
    mode: str = "fill"
    metric: str = "accuracy"
    label_kind: str = "multiclass"
    templates: tuple[str, ...] = ("a photo of a {}.",)
    train: int = 0  # images per class
    val: int = 0  # images per class
    test: int = 240  # images in all
    stacked: bool = False  # all styles are applied in turn

    @property
    def task(self) -> str:
        """Return the registered name."""
        return f"pocket-{self.name}"


def _read_specs(group: str) -> tuple[Spec, ...]:
    specs = []
    for name, stated in _FILE[group].items():
        fields = _with_tuples(_FILE["defaults"][group] | stated)
        if isinstance(fields["classes"], tuple):
            fields["classes"] = {concept: concept for concept in fields["classes"]}
        specs.append(Spec(name, **fields))
    return tuple(specs)


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    lists = {key: value for key, value in fields.items() if isinstance(value, list)}
    return fields | {key: tuple(value) for key, value in lists.items()}


_FILE = read_yaml(Path(__file__).with_name("tasks.yaml"))
SOURCES = _read_specs("sources")
TARGETS = _read_specs("targets")
SHIFTS = _read_specs("shifts")
SPECS: dict[str, Spec] = {spec.task: spec for spec in SOURCES + TARGETS + SHIFTS}


def folder_of(spec: Spec) -> str:
    """Return the task's folder below `suite.home()`: `<name>_v<VERSION>`, of a target
    in `classification`.
    """
    folder = f"{spec.name}_v{VERSION}"
    return folder if spec.layout == "coop" else f"classification/{folder}"


def catalog_entries() -> list[dict[str, Any]]:
    """Return the fields of a catalog entry for each pocket task."""
    return [_entry(spec) for spec in SPECS.values()]


def _entry(spec: Spec) -> dict[str, Any]:
    classes = len(spec.classes)
    train = spec.train * classes
    if spec.family == "handwritten":
        train = DIGITS - spec.test
    images = {"train": train, "val": spec.val * classes, "test": spec.test}
    return {
        "name": spec.task,
        "suite": "pocket",
        "folder": folder_of(spec),
        "layout": spec.layout,
        "classes": classes,
        "images": {split: count for split, count in images.items() if count},
        "metric": spec.metric,
        "label_kind": spec.label_kind,
        "note": f"Rendered on first use; plays the part of {spec.like}.",
        "class_names": tuple(spec.classes.values()),
        "templates": spec.templates,
        **_with_tuples(_FILE["layouts"][spec.layout]),
    }

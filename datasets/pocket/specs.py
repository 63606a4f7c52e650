"""The 31 pocket tasks and the 4 shifted test sets of the largest source, as tasks.yaml
states them.

A task is a choice of concepts from the pocket world, names for them, and a style that
all its images share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.common.structured import read_yaml

# raise it when any image or split changes: a suite on disk of another version is
# written again
VERSION = 1


@dataclass(frozen=True)
class Spec:
    """One pocket task.

    Attributes:
        name: registered as "pocket-<name>".
        like: the real data set whose counterpart it is.
        layout: "coop" (a source or a shifted task), "iris" or "coco" (target tasks).
        family: of `concepts.FAMILIES` or `concepts.SHIFTED`, or "handwritten"
            (scikit-learn's real 8 x 8 digits).
        classes: concept -> class name in prompts, in label order.
        styles: finishes of `styles.finish`, one sampled for each image, or applied in
            turn when `stacked`.
        train, val, test: images; train and val are per class, test in all. A shifted
            task has test images alone.
    """

    name: str
    like: str
    layout: str
    family: str
    classes: dict[str, str]
    styles: tuple[str, ...] = ("plain",)
    mode: str = "fill"
    metric: str = "accuracy"
    label_kind: str = "multiclass"
    templates: tuple[str, ...] = ("a photo of a {}.",)
    train: int = 0
    val: int = 0
    test: int = 240
    stacked: bool = False

    @property
    def task(self) -> str:
        """Return the registered name."""
        return f"pocket-{self.name}"


def read_specs(group: str) -> tuple[Spec, ...]:
    """Return the specs of "sources", "targets" or "shifts"."""
    defaults = _FILE["defaults"][group]
    return tuple(
        _spec(name, defaults | fields) for name, fields in _FILE[group].items()
    )


def _spec(name: str, fields: dict) -> Spec:
    for key in ("styles", "templates"):
        if key in fields:
            fields[key] = tuple(fields[key])
    if isinstance(fields["classes"], list):
        fields["classes"] = {concept: concept for concept in fields["classes"]}
    return Spec(name, **fields)


_FILE = read_yaml(Path(__file__).with_name("tasks.yaml"))
SOURCES = read_specs("sources")
TARGETS = read_specs("targets")
SHIFTS = read_specs("shifts")
SPECS: dict[str, Spec] = {spec.task: spec for spec in SOURCES + TARGETS + SHIFTS}

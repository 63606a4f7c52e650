"""The known sets as text: a table of all of them, or one with its class names."""

from collections.abc import Iterable

from datasets.catalog import names
from datasets.catalog.entries import SPLITS, Entry, entry
from toolkit.common.text import aligned_table

HEAD = (
    *("name", "suite", "classes", "metric", "train", "val", "test"),
    "folder below the data root",
)
NUMBERS = (2, 4, 5, 6)  # columns of HEAD that are aligned to the right


def overview(entries: Iterable[Entry]) -> str:
    """Return a line for each set; "-": no such split, "?": of unknown size."""
    rows = []
    for known in entries:
        counts = [_count(known, split) for split in SPLITS]
        start = (known.name, known.suite, str(known.classes), known.metric)
        rows.append((*start, *counts, known.folder))
    return aligned_table(HEAD, rows, NUMBERS)


def to_records(entries: Iterable[Entry]) -> list[dict]:
    """Return the table of `overview`, with label kinds, as plain JSON."""
    keys = ("name", "suite", "classes", "metric", "label_kind", "images", "folder")
    return [{key: getattr(known, key) for key in keys} for known in entries]


def describe(name: str) -> str:
    """Return all that is known of a set, class names in label order included."""
    known = entry(name)
    counts = [f"{_count(known, split)} {split}" for split in known.images]
    lines = [
        f"{name} ({known.suite}): {known.classes} classes, {known.label_kind}, scored by {known.metric}",
        f"images: {', '.join(counts)}",
        f"place:  {known.folder} below the data root, with {', '.join(known.files)}",
    ]
    if known.torchvision:
        command = f"python -m datasets prepare {name} --from torchvision --root ROOT"
        lines.append(f"source: torchvision.datasets.{known.torchvision} ({command})")
    lines += [f"source: {url} -> {target}" for url, target in known.downloads]
    if known.note:
        lines.append(f"note:   {known.note}")
    lines.append("templates:")
    lines += [f"    {template}" for template in names.templates(name)]
    lines.append("classes:")
    for label, classname in enumerate(names.class_names(name)):
        lines.append(f"{label:5d} {classname}")
    return "\n".join(lines)


def _count(known: Entry, split: str) -> str:
    if split not in known.images:
        return "-"
    if known.images[split] is None:
        return "?"
    return str(known.images[split])

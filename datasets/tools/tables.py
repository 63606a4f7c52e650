"""The known sets as text: a table of all of them, or one with its class names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datasets.catalog import entries as catalogue
from datasets.catalog.entries import Entry

HEAD = ("name", "suite", "classes", "metric", "train", "val", "test", "folder below the data root")


def overview(entries: Iterable[Entry]) -> str:
    """One line a set; "-" for a split that it does not have, "?" where nobody says how large it is."""
    rows = []
    for entry in entries:
        counts = [_count(entry, split) for split in ("train", "val", "test")]
        rows.append((entry.name, entry.suite, str(entry.classes), entry.metric, *counts, entry.folder))
    return table(HEAD, rows, right=(2, 4, 5, 6))


def as_records(entries: Iterable[Entry]) -> list[dict]:
    """What `overview` tells, as plain JSON."""
    keys = ("name", "suite", "classes", "metric", "label_kind", "images", "folder")
    return [{key: getattr(entry, key) for key in keys} for entry in entries]


def one(name: str) -> str:
    """All that is known of a set, class names in label order included."""
    facts, entry = catalogue.show(name), catalogue.entry(name)
    lines = [f"{name} ({entry.suite}): {entry.classes} classes, {entry.label_kind}, scored by {entry.metric}"]
    lines.append("images: " + ", ".join(f"{_count(entry, split)} {split}" for split in entry.images))
    lines.append(f"place:  {entry.folder} below the data root, with {', '.join(entry.files)}")
    if entry.torchvision:
        lines.append(
            f"source: torchvision.datasets.{entry.torchvision} (python -m datasets prepare {name} --from torchvision --root ROOT)"
        )
    lines += [f"source: {url} -> {target}" for url, target in entry.downloads]
    if entry.note:
        lines.append(f"note:   {entry.note}")
    lines += ["templates:", *(f"    {template}" for template in facts["templates"])]
    lines += ["classes:", *(f"{label:5d} {name}" for label, name in enumerate(facts["classes"]))]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned text; the columns at the positions `right` are aligned there."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    adjust = [str.rjust if k in right else str.ljust for k in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(f(cell, w) for f, cell, w in zip(adjust, line, widths, strict=True)).rstrip() for line in lines
    )


def _count(entry: Entry, split: str) -> str:
    if split not in entry.images:
        return "-"
    return "?" if entry.images[split] is None else str(entry.images[split])

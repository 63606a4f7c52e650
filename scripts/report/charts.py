"""Pictures without a library: gains and the transfer matrix as HTML, which wraps on a phone; curves as SVG."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from .experiment import Series
from .markup import Html, anchor, signed, table, tag

WIDTH, STRIP, GAP = 180, 44, 14  # of a panel of curves: its width, the height of a strip, the space between two


def gains(rows: Sequence[tuple[str, float | None, float, tuple[float, float] | None]]) -> Html:
    """A line for each (task, zero-shot or None, score, interval or None) in percent, the largest gain first."""
    every = [value for _, zero, score, band in rows for value in (zero, score, *(band or ())) if value is not None]
    step = 10 if min(every) >= 50 else 20
    start = min(90, step * math.floor(min(every) / step))

    def place(value: float) -> float:
        return 100 * (value - start) / (100 - start)

    def span(low: float, high: float) -> str:
        return f"left:{place(low):.2f}%;width:{place(high) - place(low):.2f}%"

    def dot(kind: str, value: float) -> Html:
        return tag("i", class_=kind, style=f"left:{place(value):.2f}%")

    rows = sorted(rows, key=lambda row: -(row[2] - row[1]) if row[1] is not None else -row[2])
    lines = []
    for task, zero, score, interval in rows:
        marks = []
        if interval:
            marks.append(tag("i", class_="range", style=span(*interval)))
        if zero is not None:
            kind = "link up" if score >= zero else "link down"
            marks += [tag("i", class_=kind, style=span(*sorted((zero, score)))), dot("zero", zero)]
        marks.append(dot("dot", score))
        value = f"{score:.1f}" if zero is None else signed(score - zero)
        lines.append(
            tag(
                "div",
                tag("a", task, href="#" + anchor("task-", task)),
                tag("span", marks, class_="track"),
                tag("span", value, class_="num"),
                class_="gain",
            )
        )
    ticks = [tag("i", k, style=f"left:{place(k):.2f}%") for k in range(start, 101, step)]
    axis = tag("div", tag("span"), tag("span", ticks, class_="axis"), tag("span", "%", class_="num"), class_="gain")
    return tag("div", lines, axis, class_="gains")


def curves(title: str, val: Series, loss: Series, best: int | None) -> Html:
    """A panel: the validation score above, the training loss below, by epoch; the epoch that was kept is marked."""
    strips, words = [], []
    epochs = [epoch for epoch, _ in [*val, *loss]]
    first, last = min(epochs), max(epochs)
    for kind, name, unit, series in (("val", "validation", " %", val), ("loss", "loss", "", loss)):
        if not series:
            continue
        shown = ".1f" if kind == "val" else ".2f"
        start, end = f"{series[0][1]:{shown}}", f"{series[-1][1]:{shown}}"
        words.append(f"{name} {start} to {end}{unit}")
        strips.append(_strip(kind, f"{name} {start} → {end}{unit}", series, first, last, len(strips), best))
    kept = f", epoch {best} is kept" if best is not None else ""
    height = len(strips) * (STRIP + GAP)
    picture = tag(
        "svg",
        tag("title", f"{title}: {', '.join(words)} in epochs {first} to {last}{kept}"),
        strips,
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
    )
    caption = f"epoch {best} of {last} kept" if best is not None else f"{last} epochs"
    return tag("figure", tag("figcaption", tag("b", title), " ", caption), picture, class_="panel")


def _strip(kind: str, label: str, series: Series, first: int, last: int, number: int, best: int | None) -> Html:
    top = number * (STRIP + GAP) + GAP
    finite = [value for _, value in series if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    low, high = (low, high) if high > low else (low - 1, high + 1)

    def x(epoch: int) -> float:
        return 4 + (WIDTH - 8) * (epoch - first) / max(1, last - first)

    def y(value: float) -> float:
        return top + 4 + (STRIP - 8) * (high - value) / (high - low)

    points = [(x(epoch), y(value)) for epoch, value in series if math.isfinite(value)]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
    parts = [
        tag("rect", x=0, y=top, width=WIDTH, height=STRIP, class_="strip"),
        tag("text", label, x=0, y=top - 4),
        tag("path", d=path, class_=kind) if points else None,
    ]
    kept = dict(series).get(best) if best is not None and kind == "val" else None
    if kept is not None and math.isfinite(kept):
        parts.append(tag("circle", cx=f"{x(best):.1f}", cy=f"{y(kept):.1f}", r=3, class_=kind))
    elif len(points) == 1:
        parts.append(tag("circle", cx=f"{points[0][0]:.1f}", cy=f"{points[0][1]:.1f}", r=2, class_=kind))
    return Html("".join(part for part in parts if part))


def read_matrix(path: Path) -> tuple[list[str], list[str], list[list[float]]]:
    """(sources, targets, percent) of a transfer matrix: source tasks in the first column, target tasks in the first row.

    An empty cell is NaN. Raises ValueError naming the file and line.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = [line for line in csv.reader(file) if line]
    if len(lines) < 2 or len(lines[0]) < 2:
        raise ValueError(
            f"{path} is no transfer matrix: it needs a row of target tasks and a line for each source task"
        )
    targets = lines[0][1:]
    values = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            raise ValueError(f"{path}, line {number}: {len(line)} columns, the first line has {len(lines[0])}")
        try:
            values.append([float(cell) if cell.strip() else math.nan for cell in line[1:]])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return [line[0] for line in lines[1:]], targets, values


def heat_map(sources: list[str], targets: list[str], values: list[list[float]]) -> Html:
    """The matrix as a table whose colours run from the worst to the best source of each target."""
    columns = [[value for value in column if math.isfinite(value)] for column in zip(*values, strict=True)]
    rows = []
    for source, line in zip(sources, values, strict=True):
        cells: list[object] = [source]
        for target, value, column in zip(targets, line, columns, strict=True):
            if not math.isfinite(value):
                cells.append("")
                continue
            share = (value - min(column)) / (max(column) - min(column)) if max(column) > min(column) else 0.5
            own = " own" if source == target else ""
            cells.append(tag("span", f"{value:.1f}", class_=f"heat{own}", style=f"--heat:{share:.2f}"))
        rows.append(cells)
    heads = ["source", *(tag("span", target, class_="steep") for target in targets)]
    return tag("div", table(heads, rows, "Scores of each target task from each source task"), class_="matrix")

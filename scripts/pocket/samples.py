"""Show the pocket tasks in docs/datasets.md: docs/pocket_tasks.png and the table of
tasks.

    python -m scripts.pocket.samples

The picture has eight test images of each task, read back through the loaders that
training uses.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from toolkit.common.markers import fill
from toolkit.common.text import markdown_table

if TYPE_CHECKING:
    from datasets import Task
    from datasets.pocket import Spec

ROOT = Path(__file__).resolve().parents[2]
# pixels: an image's side, between images, around everything
SIDE, GAP, MARGIN = 56, 4, 14
IMAGES = 8  # of a task
TITLE, LINE = 22, 14  # of a task's title, of a line of small text
WIDTH = IMAGES * (SIDE + GAP) - GAP
ROW = TITLE + SIDE + 4 + 2 * LINE + 10  # title, images, two lines of class names, space
HEADING = 36
INK, GRAY, PAPER = "#1f2328", "#59636e", "white"
HANDWRITTEN = 1797  # images in scikit-learn's digits


def pick(task: Task, count: int) -> list[tuple[str, Image.Image]]:
    """Return `count` test images in label order, spread evenly over the classes, each
    with the names of its classes; one with several represents the first that needs one.
    """
    from toolkit.common.images import read_image

    classes = task.num_classes
    if classes < count:
        wanted = sorted(k % classes for k in range(count))
    else:
        wanted = [k * (classes - 1) // (count - 1) for k in range(count)]
    chosen, taken = [], set()
    for label in wanted:
        items = (item for item in task.test if label in item.labels)
        sample = next(item for item in items if item.key not in taken)
        taken.add(sample.key)
        name = " + ".join(task.classnames[shown] for shown in sample.labels)
        chosen.append((name, read_image(sample.impath)))
    return chosen


def caption(names: list[str], width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Return the names, repeated ones once, on two lines of at most `width` pixels;
    three dots replace the names that do not fit.
    """
    parts = []
    for name, count in Counter(names).items():
        parts.append(f"{name} ({count})" if count > 1 else name)
    words = ", ".join(parts).split(" ")
    lines = [""]
    for k, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        end = " ..." if len(lines) == 2 and k + 1 < len(words) else ""
        if font.getlength(longer + end) <= width:
            lines[-1] = longer
        elif len(lines) < 2:
            lines.append(word)
        else:
            lines[-1] += " ..."
            break
    return lines


def draw_task(
    sheet: Image.Image, corner: tuple[int, int], spec: Spec, task: Task
) -> None:
    """Draw one row: title, images, captions."""
    pen = ImageDraw.Draw(sheet)
    x, y = corner
    title = ImageFont.load_default(16)
    small = ImageFont.load_default(12)
    chosen = pick(task, IMAGES)
    pen.text((x, y), spec.task, INK, title)
    about = f"like {spec.like}, {task.num_classes} classes"
    right = x + WIDTH - small.getlength(about)
    pen.text((right, y + 4), about, GRAY, small)
    for k, (_, image) in enumerate(chosen):
        small_image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(small_image, (x + k * (SIDE + GAP), y + TITLE))
    for k, line in enumerate(caption([name for name, _ in chosen], WIDTH, small)):
        pen.text((x, y + TITLE + SIDE + 4 + k * LINE), line, GRAY, small)


def draw(specs: dict[str, tuple[Spec, ...]], cfg) -> Image.Image:
    """Draw all tasks: each group's heading, its tasks downwards in two columns."""
    from datasets import build_task

    rows = {heading: (len(group) + 1) // 2 for heading, group in specs.items()}
    height = 2 * MARGIN + sum(HEADING + count * ROW for count in rows.values()) - 10
    sheet = Image.new("RGB", (2 * WIDTH + 4 * MARGIN, height), PAPER)
    pen, y = ImageDraw.Draw(sheet), MARGIN
    for heading, group in specs.items():
        pen.text((MARGIN, y), heading, INK, ImageFont.load_default(19))
        pen.line([(MARGIN, y + 27), (sheet.width - MARGIN, y + 27)], GRAY)
        y += HEADING
        for k, spec in enumerate(group):
            column, row = divmod(k, rows[heading])
            corner = (MARGIN + column * (WIDTH + 2 * MARGIN), y + row * ROW)
            draw_task(sheet, corner, spec, build_task(cfg, spec.task))
        y += rows[heading] * ROW
    return sheet


def style(spec: Spec) -> str:
    """Return how a task's images are drawn and finished, in words."""
    if spec.family == "handwritten":
        return "real scans"
    between = " + " if spec.stacked else " or "
    finish = between.join(spec.styles)
    return finish if spec.mode == "fill" else f"{spec.mode}, {finish}"


def pool(spec: Spec) -> int:
    """Return the number of images that shots are sampled from."""
    if spec.family == "handwritten":
        return HANDWRITTEN - spec.test
    return spec.train * len(spec.classes)


def markdown() -> str:
    """Return the table of all tasks, from their specifications alone."""
    from datasets.pocket import SOURCES, TARGETS

    rows = ["task|like|classes|train pool|test|metric|layout|style".split("|")]
    for spec in SOURCES + TARGETS:
        cells = [spec.task, spec.like, len(spec.classes), pool(spec), spec.test]
        cells += [spec.metric, spec.layout, style(spec)]
        rows.append(cells)
    return markdown_table(rows, "llrrrlll").rstrip()


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    from dassl.config import get_cfg_default

    from datasets.pocket import SOURCES, TARGETS

    cfg = get_cfg_default()
    cfg.DATASET.NUM_SHOTS = 0
    groups = {
        f"{len(SOURCES)} source tasks": SOURCES,
        f"{len(TARGETS)} target tasks": TARGETS,
    }
    sheet = draw(groups, cfg).quantize(
        256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    (ROOT / "docs").mkdir(exist_ok=True)
    sheet.save(ROOT / "docs" / "pocket_tasks.png", optimize=True)
    fill(ROOT / "docs" / "datasets.md", "tasks", markdown())


if __name__ == "__main__":
    main()

"""The sections of the page, each from what was gathered."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from . import bootstrap, charts, reproduce
from .experiment import Experiment, Stage
from .findings import Findings, Picture
from .markup import Html, anchor, signed, table, tag

All = Mapping[str, Findings]  # task -> what was found


def column(run: Experiment, key: str) -> list[float] | None:
    """A score of every task in percent, None where a task lacks it."""
    values = [record.get(key) for record in run.records]
    return None if any(value is None for value in values) else [float(value) for value in values]


def summary(run: Experiment) -> Html:
    """One paragraph of what was run and what came out."""
    count, shots = len(run.records), run.fact("shots")
    targets = run.tasks[0] if count == 1 else f"{count} tasks"
    images = {0: "without any training image", -1: "with all training images"}.get(
        shots, f"with {shots} training {'image' if shots == 1 else 'images'} per class"
    )
    text = [f"{run.fact('trainer', 'The trainer')} on {targets}, {images}, seed {run.fact('seed')}. "]
    if run.fact("num_trainable_params"):
        learnt, frozen = run.fact("num_trainable_params"), run.fact("num_backbone_params", 0)
        text.append(f"The prompt has {learnt:,} learnt numbers; the backbone ({run.fact('backbone')}) ")
        text.append(f"keeps its {frozen / 1e6:.1f} million as they are. ")
    if run.source:
        number = len(run.source.records)
        sources = "one source task" if number == 1 else f"{number} source tasks"
        text.append(f"One prompt was learnt on {sources}, then adapted to each target. ")
    scores, zero = column(run, "score"), column(run, "zero_shot")
    mean = statistics.fmean(scores)
    if zero:
        better = sum(score - base >= 0.05 for score, base in zip(scores, zero, strict=True))
        worse = sum(score - base <= -0.05 for score, base in zip(scores, zero, strict=True))
        base = statistics.fmean(zero)
        text.append(
            f"The mean score is {mean:.1f} %, zero-shot {base:.1f} % ({mean - base:+.1f}): ".replace("-", "−", 0)
        )
        text.append(f"{better} of {count} {'task' if count == 1 else 'tasks'} got better, {worse} got worse.")
    else:
        text.append(f"The {'score' if count == 1 else 'mean score'} is {mean:.1f} %.")
    return tag("p", _unbroken("".join(text)), class_="lead")


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _unbroken(text: str) -> str:
    """Keeps a number and its percent sign on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def results(run: Experiment, found: All) -> Html:
    """Scores of every task with intervals, and their mean."""
    columns = [
        (key, name) for key, name in (("zero_shot", "zero-shot"), ("source", "source prompt")) if column(run, key)
    ]
    zero = column(run, "zero_shot")
    last = "adapted" if columns else "score"
    head = ["task", *(name for _, name in columns), last, "95 % interval", *(["difference"] if zero else []), "metric"]
    rows = []
    for record in run.records:
        draws = found[record["task"]].draws
        row: list = [tag("a", record["task"], href="#" + anchor("task-", record["task"]))]
        row += [f"{record[key]:.1f}" for key, _ in columns]
        row += [tag("b", f"{record['score']:.1f}"), _interval(draws)]
        row += [signed(record["score"] - record["zero_shot"])] if zero else []
        rows.append([*row, record["metric"]])
    draws = [found[task].draws for task in run.tasks]
    together = None if any(own is None for own in draws) else np.mean(draws, axis=0)
    score = statistics.fmean(column(run, "score"))
    foot = ["mean", *(f"{statistics.fmean(column(run, key)):.1f}" for key, _ in columns)]
    foot += [tag("b", f"{score:.1f}"), _interval(together)]
    foot += [signed(score - statistics.fmean(zero)), ""] if zero else [""]
    note = (
        f"Percent. The interval is the middle 95 % of the scores on {bootstrap.DRAWS:,} samples of the test images, drawn "
        f"with replacement (bootstrap, seed {bootstrap.SEED}); it says how much the score owes to the choice of test images, "
        f"not to the seed of the training images. A score of 0 or 100 has none to show."
    )
    if len(run.records) > 1:
        note += " That of the mean resamples the images of every task."
    if columns:
        note += " A run keeps no predictions of the zero-shot and source prompts, so these have no interval."
    shown = table(head, rows, "Results of every task", (0, len(head) - 1), foot if len(rows) > 1 else None)
    return section("Results", shown, tag("p", _unbroken(note), class_="note"))


def _interval(draws: np.ndarray | None) -> str:
    return "–" if draws is None else "{:.1f} – {:.1f}".format(*bootstrap.interval(draws))


def gains(run: Experiment, found: All) -> Html:
    """The picture of the results."""
    zero = column(run, "zero_shot")
    rows = []
    for record in run.records:
        draws = found[record["task"]].draws
        band = None if draws is None else bootstrap.interval(draws)
        rows.append((record["task"], record["zero_shot"] if zero else None, record["score"], band))
    signs = [("zero", "zero-shot"), ("dot", "after training")] if zero else [("dot", "score")]
    key = [tag("span", tag("i", class_=sign), name) for sign, name in [*signs, ("range", "95 % interval")]]
    title = "Gains over zero-shot" if zero else "Scores"
    return section(title, tag("p", key, class_="key"), charts.gains(rows))


def seeds(runs: Sequence[Experiment]) -> Html:
    """Mean and standard deviation over the seeds of one experiment."""
    scores = {run.fact("seed"): {record["task"]: record["score"] for record in run.records} for run in runs}
    tasks = runs[0].tasks

    def line(name: object, values: list[float]) -> list:
        spread = f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"
        return [name, *(f"{value:.1f}" for value in values), tag("b", spread)]

    rows = [line(task, [own[task] for own in scores.values()]) for task in tasks]
    means = line("mean", [statistics.fmean(own[task] for task in tasks) for own in scores.values()])
    head = ["task", *(f"seed {seed}" for seed in scores), "mean ± std"]
    note = f"The other sections are about {runs[0].folder.resolve().name} (seed {runs[0].fact('seed')})."
    shown = table(head, rows, "Scores of every seed", foot=means)
    return section(
        "Seeds", shown, tag("p", "Percent; ± is the standard deviation over the seeds. ", note, class_="note")
    )


def transfer(files: Sequence[Path]) -> Html | None:
    """Heat maps of the transfer matrices."""
    if not files:
        return None
    maps = [(tag("h3", path.stem), charts.heat_map(*charts.read_matrix(path))) for path in files]
    note = "Percent on the target task (column) of a prompt that was learnt on the source task (row). "
    note += "Colours run from each column's worst to its best source; a frame marks a task's own prompt."
    return section("Transfer", maps, tag("p", _unbroken(note), class_="note"))


def curves(run: Experiment) -> Html | None:
    """Small multiples of all trainings."""
    panels, shared = [], []
    for stage in [*([run.source] if run.source else []), *run.stages]:
        loss, val = stage.curves.loss, stage.curves.val
        mean = val.get("mean", [])
        if not loss and not mean:
            continue
        best = None
        if mean and stage.cfg.TEST.FINAL_MODEL == "best_val":
            best = max(mean, key=lambda point: (point[1], -point[0]))[0]
        name = stage.records[0]["task"] if len(stage.records) == 1 else f"{len(stage.records)} tasks together"
        panels.append(charts.curves("source tasks" if stage is run.source else name, mean, loss, best))
        if len(stage.records) > 1:
            shared += [charts.curves(task, val[task], [], best) for task in val if task != "mean"]
    if not panels:
        return None
    if shared:
        shared = [tag("h3", "Each task of the shared prompt"), tag("div", shared, class_="panels")]
    note = "Above the validation score in percent (of several tasks, their mean), below the training loss, by epoch; "
    note += (
        "a dot marks the epoch that was kept. Every strip has its own scale; the numbers are its first and last value."
    )
    return section("Learning curves", tag("p", note, class_="note"), tag("div", panels, class_="panels"), shared)


def tasks(run: Experiment, found: All) -> Html:
    """What was found of every task that is evaluated."""
    return section("Tasks", [task(record, found[record["task"]], "task-") for record in run.records])


def sources(stage: Stage, found: All) -> Html:
    """The same of the source tasks, on their own test images, with the source prompt."""
    note = "With the source prompt, before it is adapted to any target."
    parts = [task(record, found[record["task"]], "source-") for record in stage.records]
    return section(
        "Source tasks",
        tag("p", note, class_="note"),
        tag("details", tag("summary", f"Images of the {len(parts)} source tasks"), parts),
    )


def task(record: dict, found: Findings, prefix: str) -> Html:
    """Training images, mistakes and weakest classes of one task."""
    facts = [f"{record['score']:.1f} % ({record['metric']})"]
    facts += [f"zero-shot {record['zero_shot']:.1f} %"] if "zero_shot" in record else []
    facts += [f"{record['classes']} classes"] if "classes" in record else []
    facts += [f"{record['test_images']} test images"] if "test_images" in record else []
    parts: list = [tag("h3", record["task"]), tag("p", _unbroken(" · ".join(facts)), class_="facts")]
    if found.problem:
        parts.append(tag("p", found.problem, class_="problem"))
    if found.shots:
        shown = (
            f"{len(found.shots)} of {found.shots_total} shown"
            if found.shots_total > len(found.shots)
            else f"all {found.shots_total}"
        )
        parts += [tag("h4", f"Training images ({shown})"), thumbnails(found.shots, "training image of class ")]
    if found.mistakes:
        rule = "top class is none of the image's" if found.multilabel else "misclassified"
        shown = f"{len(found.mistakes)} most confident of {found.wrong}; {found.tested} test images, {rule}"
        parts += [tag("h4", f"Mistakes ({shown})"), thumbnails(found.mistakes, "test image of class ", "thumbs wide")]
    elif found.tested:
        parts.append(tag("p", f"No mistake on {found.tested} test images.", class_="note"))
    if found.weakest:
        value = "average precision" if found.multilabel else "recall"
        rows = [[name, f"{share:.1f}", count] for name, share, count in found.weakest]
        parts.append(tag("h4", f"Weakest of {found.classes} classes"))
        parts.append(table(["class", f"{value} (%)", "test images"], rows, f"Weakest classes of {record['task']}"))
    return tag("section", parts, id=anchor(prefix, record["task"]), class_="task")


def thumbnails(pictures: Sequence[Picture], what: str, kind: str = "thumbs") -> Html:
    """A grid of captioned images."""
    figures = []
    for picture in pictures:
        image = tag("span", "image not found", class_="absent")
        if picture.uri:
            image = tag("img", src=picture.uri, alt=what + picture.label)
        figures.append(tag("figure", image, tag("figcaption", [tag("span", line) for line in picture.lines])))
    return tag("div", figures, class_=kind)


def configuration(run: Experiment, changed: list | None) -> Html:
    """What differs from the defaults, then everything."""
    parts: list = []
    if changed:
        rows = [[key, _value(value), _value(default)] for key, value, default in changed]
        parts.append(
            table(
                ["key", "this run", "default"],
                rows,
                "Settings that differ from the defaults",
                texts=(0, 1, 2),
                wrap=True,
            )
        )
    elif changed is not None:
        parts.append(tag("p", "All settings are the defaults."))
    parts.append(tag("details", tag("summary", "All settings"), tag("pre", run.cfg.dump(), tabindex=0)))
    return section("Configuration", parts)


def _value(value: object) -> str:
    shown = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()
    return shown.replace(",", ", ") if isinstance(value, str) else shown


def reproduction(run: Experiment, changed: list | None) -> Html:
    """Commands and versions."""
    name = run.folder.resolve().name
    parts: list = [
        tag("p", "From the repository's folder; results of a seed are the same on the same versions and device.")
    ]
    parts.append(tag("pre", reproduce.command(run, changed), tabindex=0))
    needs = []
    if reproduce.needs_root(run):
        needs.append("DATA is the folder of the data sets.")
    if run.source is None and run.fact("start"):
        needs.append(f"START is the run whose prompt (fingerprint {run.fact('start')}) this one began with.")
    groups = reproduce.groups(run)
    if groups:
        needs.append("groups.yaml holds:")
    if needs:
        parts.append(tag("p", " ".join(needs)))
    if groups:
        parts.append(tag("pre", yaml.safe_dump(groups, sort_keys=False), tabindex=0))
    parts.append(tag("p", "Or with the run's own file, which also holds what flags can't say:"))
    parts.append(
        tag("pre", f"python train.py --config-file output/{name}/config.yaml --output-dir output/again", tabindex=0)
    )
    rows = [[what, version] for what, version in reproduce.versions(run)]
    return section("How to reproduce", parts, table(["what", "version"], rows, "Versions", texts=(0, 1)))


def section(title: str, *content: object) -> Html:
    """A section with its heading."""
    return tag("section", tag("h2", title), content, id=anchor("", title.lower().replace(" ", "-")))

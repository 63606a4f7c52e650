"""Few-shot subsets: ELEVATER's rule image for image from two shots on, CoOp's number of
images per class, and records of the sampled images. ELEVATER (Elevater_Toolkit_IC on
vision-datasets 0.2.17) shuffles the training images with a private Mersenne Twister,
walks them greedily until every class has its shots, and gives a fifth of each class to
validation.
"""

import json
import math
import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from toolkit.common.files import write_text
from toolkit.common.grouping import grouped
from toolkit.common.structured import read_json
from toolkit.common.text import naming

from .task import Sample, Task

# of a published list: a line of JSON for each training image
FIELDS = ("_impath", "_label", "_domain", "_classname")
VAL_SHOTS = 4  # CoOp: at most so many validation images per class


def sample(
    samples: Sequence[Sample], num_classes: int, shots: int, seed: int
) -> list[Sample]:
    """Return ELEVATER's `shots` images per class, in the shuffled order. An image is
    skipped if all its classes have their shots; it is kept if its rarest class has at
    most half of them, or its most frequent one at most one and a half times as many. Up
    to `shots` negative images are kept on the way, and all of a class with too few.

    Source: `DatasetManifest.sample_few_shot_subset` of vision-datasets 0.2.17.
    """
    if shots < 1:
        raise ValueError(f"a few-shot subset needs at least one shot, not {shots}")
    shuffled = list(samples)
    random.Random(seed).shuffle(shuffled)
    counts = [0] * num_classes
    negatives = 0
    kept = []
    for item in shuffled:
        if not item.labels:
            if negatives < shots:
                negatives += 1
                kept.append(item)
            continue
        shown = [counts[label] for label in item.labels]
        if min(shown) >= shots:
            continue
        if min(shown) <= shots / 2 or max(shown) <= 1.5 * shots:
            kept.append(item)
            for label in item.labels:
                counts[label] += 1
        if min(counts) >= shots:
            break
    return kept


def split_val(
    samples: Sequence[Sample], num_classes: int, label_kind: str, ratio: float = 0.2
) -> tuple[list[Sample], list[Sample]]:
    """Return ELEVATER's (train, val) in the order of `samples`: of every class the
    first ceil(count * ratio) go to val; of multilabel images the first one for the
    lowest class that still lacks images, counted for all its classes. Negative images
    stay in train.

    Source: `get_dataloader` of Elevater_Toolkit_IC's evaluation/feature.py.
    """
    positions: list[list[int]] = [[] for _ in range(num_classes)]  # of each class
    labels_of = []
    for position, item in enumerate(samples):
        labels = item.labels[:1] if label_kind == "multiclass" else item.labels
        labels_of.append(set(labels))
        for label in labels_of[-1]:
            positions[label].append(position)
    wanted = [math.ceil(len(found) * ratio) for found in positions]
    chosen: set[int] = set()
    # an earlier class never lacks images again: amounts only fall
    for label, found in enumerate(positions):
        for position in found:
            if wanted[label] > 0 and position not in chosen:
                chosen.add(position)
                for shown in labels_of[position]:
                    wanted[shown] -= 1
    train = [item for position, item in enumerate(samples) if position not in chosen]
    return train, [samples[position] for position in sorted(chosen)]


def sample_elevater(
    train: Sequence[Sample], num_classes: int, label_kind: str, shots: int, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Return ELEVATER's (train, val) from the official training images. shots: per
    class, validation included; -1: all, 0: none. With one shot, as in the reference
    MVLPT, both are the same images (ELEVATER's toolkit takes two, and writes n_shot 2).
    """
    _check_shots(shots)
    if shots == 0:
        return [], []
    if shots < 0:
        return split_val(train, num_classes, label_kind)
    sampled = sample(train, num_classes, shots, seed)
    if shots == 1:
        return sampled, list(sampled)
    return split_val(sampled, num_classes, label_kind)


# the earlier name; kept for custom data sets and to be removed
draw_elevater = sample_elevater


def sample_per_class(
    train: Sequence[Sample],
    val: Sequence[Sample],
    shots: int,
    seed: int,
    task: str = "",
) -> tuple[list[Sample], list[Sample]]:
    """Return CoOp's few-shot (train, val): `shots` training images per class (-1: all)
    and min(shots, 4) validation images, or all there are. The sample depends on `task`
    and `seed` alone.
    """
    _check_shots(shots)
    if shots == 0:
        return [], []
    if shots < 0:
        return list(train), list(val)
    generator = random.Random(f"{task}-{seed}")
    sampled = []
    for samples, count in ((train, shots), (val, min(shots, VAL_SHOTS))):
        chosen: list[Sample] = []
        for group in grouped(samples, lambda item: item.label).values():
            is_enough = len(group) >= count
            chosen += generator.sample(group, count) if is_enough else group
        sampled.append(chosen)
    return sampled[0], sampled[1]


def _check_shots(shots: int) -> None:
    if shots < -1:
        raise ValueError(
            f"DATASET.NUM_SHOTS (--shots) is {shots}; give the images per class, 0 for none or -1 for all"
        )


def to_record(task: Task, shots: int, seed: int) -> dict:
    """Return task, shots, seed, and the images' keys, the same on every machine."""
    train = [item.key for item in task.train_x]
    val = [item.key for item in task.val or []]
    return {"task": task.name, "shots": shots, "seed": seed, "train": train, "val": val}


def write_record(path: str | os.PathLike, task: Task, shots: int, seed: int) -> None:
    """Write `to_record` as json, whole or not at all, making its folder."""
    record = to_record(task, shots, seed)
    text = json.dumps(record, indent=1, ensure_ascii=False)
    write_text(path, f"{text}\n")


def replay(
    record: Mapping, train: Sequence[Sample], val: Sequence[Sample] = ()
) -> tuple[list[Sample], list[Sample]]:
    """Return the (train, val) that a record names, found among the full `train` and
    `val`: each split in itself first, as ELEVATER's val images come from train. Raises
    ValueError if the record lacks a list, or names an image that is in neither.
    """
    found = []
    where = f"the few-shot record of task {record.get('task')!r}"
    for split, pool in (("train", [*train, *val]), ("val", [*val, *train])):
        if split not in record:
            raise ValueError(f"{where} has no list {split!r}")
        by_key = {item.key: item for item in reversed(pool)}
        for key in record[split]:
            if key not in by_key:
                raise ValueError(f"{where} names {key}, which is not there")
        samples = [by_key[key] for key in record[split]]
        found.append(samples)
    return found[0], found[1]


def find_record(where: str | os.PathLike, task: str) -> dict | None:
    """Return the record of `task` in `where`, a file (None if it is another task's), a
    folder of them, or a run's. Raises FileNotFoundError, or ValueError for no record.
    """
    where = Path(where).expanduser()
    if not where.is_dir():
        record = _read_record(where)
        return record if record["task"] in (task, None) else None
    for folder in ("", "fewshot", "source/fewshot", f"adapt/{task}/fewshot"):
        path = where / folder / f"{task}.json"
        if path.is_file():
            return _read_record(path)
    raise FileNotFoundError(
        f"DATASET.FEWSHOT: {where} has no few-shot record {task}.json"
    )


def recorded_shots(where: str | os.PathLike) -> int | None:
    """Return the shots that the records in `where` state, None if they differ."""
    where = Path(where).expanduser()
    paths = [where]
    if where.is_dir():
        paths = [*where.glob("fewshot/*.json"), *where.glob("adapt/*/fewshot/*.json")]
        paths = paths or [*where.glob("*.json")]
    shots = {_read_record(path).get("shots") for path in sorted(paths)}
    return shots.pop() if len(shots) == 1 else None


def check_record(where: str | os.PathLike, tasks: Iterable[str]) -> None:
    """Raise ValueError if `where` is a single record, and of none of the `tasks`."""
    where = Path(where).expanduser()
    if where.is_file():
        task = _read_record(where)["task"]
        if task is not None and task not in tasks:
            raise ValueError(
                f"DATASET.FEWSHOT: {where} is a record of none of the tasks, but of {task}"
            )


def replay_record(task: Task, record: Mapping, shots: int) -> None:
    """Give `task`, which was built with all its images, those of a record. Raises
    ValueError if it states other shots, or names an image that is not there.
    """
    file = record["file"]
    stated = record.get("shots", shots)
    if stated != shots:
        raise ValueError(
            f"{file} was drawn with {stated} shots, but DATASET.NUM_SHOTS is {shots}; use --shots {stated}"
        )
    if not record["train"]:
        raise ValueError(f"{file}: its list train is empty")
    if "labels" in record:  # a published list
        listed = _find_listed(record, task.train_x)
        task.set_split(listed, [], None)
        return
    with naming(file):
        train, val = replay(record, task.train_x, task.val)
    task.set_split(train, val, record.get("seed"))


def _read_record(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"DATASET.FEWSHOT: no file {path}")
    if _is_list(path):
        return _read_list(path)
    record = read_json(path)
    for key, kind in (("task", str), ("train", list), ("val", list)):
        if not isinstance(record, dict) or not isinstance(record.get(key), kind):
            raise ValueError(
                f"{path} is no few-shot record: it needs the keys task, train and val"
            )
    for key in (*record["train"], *record["val"]):
        if not isinstance(key, str):
            raise ValueError(f"{path}: train and val are lists of images' paths")
    for key in ("shots", "seed"):
        if type(record.get(key, 0)) is not int:
            raise ValueError(f"{path}: {key} is {record[key]!r}, no whole number")
    return record | {"file": str(path)}


def write_list(path: str | os.PathLike, samples: Sequence[Sample]) -> None:
    """Write the first label and the path in the index of each image."""
    lines = []
    for sample in samples:
        values = (sample.key, sample.label, sample.domain, sample.classname)
        item = dict(zip(FIELDS, values, strict=True))
        lines.append(json.dumps(item, ensure_ascii=False))
    write_text(path, "\n".join(lines) + "\n")


def _is_list(path: Path) -> bool:
    """Return True if the first line of a file is an image of such a list."""
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return first.lstrip().startswith("{") and '"_impath"' in first


def _read_list(path: Path) -> dict:
    """Return a list as a record of any task, with the labels beside the paths."""
    paths, labels = [], []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            listed = str(item["_impath"])
            paths.append(listed.replace("\\", "/"))
            labels.append(int(item["_label"]))
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{path}:{number}: expected a JSON object with {', '.join(FIELDS)}"
            ) from None
    shots = max(Counter(labels).values())
    record = {"task": None, "shots": shots, "train": paths, "val": []}
    return record | {"labels": labels, "file": str(path)}


def _find_listed(record: Mapping, pool: Sequence[Sample]) -> list[Sample]:
    """Return the images of `pool` whose path in the index ends a listed path."""
    by_key = {sample.key: sample for sample in reversed(pool)}
    found = []
    for path, label in zip(record["train"], record["labels"], strict=True):
        parts = path.split("/")
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        sample = next((by_key[end] for end in ends if end in by_key), None)
        if sample is None:
            raise ValueError(f"{record['file']} names {path}, which is not there")
        if sample.label != label:
            raise ValueError(
                f"{record['file']}: {path} has the label {label}, but {sample.label} in this data set"
            )
        found.append(sample)
    return found

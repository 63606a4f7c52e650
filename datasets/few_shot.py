"""Few-shot subsets: ELEVATER's rule image for image, CoOp's number of images per class, and records of what was drawn.

ELEVATER (Elevater_Toolkit_IC on vision-datasets 0.2.17) shuffles the training images with a private Mersenne Twister,
walks them greedily until every class has its shots, and carves a fifth of each class out for validation.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from .io.index_files import read_json
from .task import Sample, Task

VAL_SHOTS = 4  # CoOp: at most so many validation images per class

_key, _label = attrgetter("key"), attrgetter("label")


def sample(samples: Sequence[Sample], num_classes: int, shots: int, seed: int) -> list[Sample]:
    """ELEVATER's `shots` images per class.

    An image is skipped where all its classes have their shots. It is kept where its rarest class has at most half of
    them, or its most frequent one at most one and a half times as many. Up to `shots` negative images are kept on the
    way. A class with too few images gives all it has.

    Returns:
        the kept samples in shuffled order, which `carve_val` builds on

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
        rarest, commonest = min(counts[label] for label in item.labels), max(counts[label] for label in item.labels)
        if rarest >= shots:
            continue
        if rarest <= shots / 2 or commonest <= 1.5 * shots:
            kept.append(item)
            for label in item.labels:
                counts[label] += 1
        if min(counts) >= shots:
            break
    return kept


def carve_val(
    samples: Sequence[Sample], num_classes: int, label_kind: str, ratio: float = 0.2
) -> tuple[list[Sample], list[Sample]]:
    """ELEVATER's split into train and val: of every class, ceil(count * ratio) images go to val.

    Multiclass: the first ones of each class. Multilabel: for the lowest class that still lacks images, the first
    image that shows it, which counts for all its classes. Negative images stay in train. There is no randomness.

    Returns:
        (train, val), both in the order of `samples`

    Source: `get_dataloader` of Elevater_Toolkit_IC's evaluation/feature.py.
    """
    counts = [0] * num_classes
    for item in samples:
        for label in set(item.labels[:1] if label_kind == "multiclass" else item.labels):
            counts[label] += 1
    wanted = [math.ceil(count * ratio) for count in counts]
    chosen = _first_of_class(samples, wanted) if label_kind == "multiclass" else _cover_classes(samples, wanted)
    train = [item for position, item in enumerate(samples) if position not in chosen]
    return train, [samples[position] for position in sorted(chosen)]


def _first_of_class(samples: Sequence[Sample], wanted: list[int]) -> set[int]:
    chosen = set()
    for position, item in enumerate(samples):
        if item.labels and wanted[item.label] > 0:
            wanted[item.label] -= 1
            chosen.add(position)
    return chosen


def _cover_classes(samples: Sequence[Sample], wanted: list[int]) -> set[int]:
    chosen: set[int] = set()
    for label in range(len(wanted)):  # an earlier class never lacks images again: amounts only fall
        for position, item in enumerate(samples):
            if wanted[label] <= 0:
                break
            if label in item.labels and position not in chosen:
                chosen.add(position)
                for shown in set(item.labels):
                    wanted[shown] -= 1
    return chosen


def draw_elevater(
    train: Sequence[Sample], num_classes: int, label_kind: str, shots: int, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """The (train, val) that an ELEVATER run uses, drawn from the official training images.

    Args:
        shots: per class, validation included; -1 takes all images, 0 none. With 1, val is train.
    """
    _check_shots(shots)
    if shots == 0:
        return [], []
    drawn = sample(train, num_classes, shots, seed) if shots > 0 else list(train)
    return (drawn, list(drawn)) if shots == 1 else carve_val(drawn, num_classes, label_kind)


def draw_per_class(
    train: Sequence[Sample], val: Sequence[Sample], shots: int, seed: int, task: str = ""
) -> tuple[list[Sample], list[Sample]]:
    """CoOp's few-shot (train, val): `shots` training images per class and min(shots, 4) validation images.

    The draw depends on `task` and `seed` alone, whatever else a run does. A class with too few images gives all it has.

    Args:
        shots: -1 takes all images, 0 none.
    """
    _check_shots(shots)
    if shots == 0:
        return [], []
    if shots < 0:
        return list(train), list(val)
    generator = random.Random(f"{task}-{seed}")
    return _per_class(train, shots, generator), _per_class(val, min(shots, VAL_SHOTS), generator)


def _per_class(samples: Iterable[Sample], shots: int, generator: random.Random) -> list[Sample]:
    groups = _group(samples, _label)
    drawn = (generator.sample(group, shots) if len(group) >= shots else group for group in groups.values())
    return [item for group in drawn for item in group]


def _group(samples: Iterable[Sample], by: Callable[[Sample], Hashable]) -> dict[Hashable, list[Sample]]:
    groups: dict[Hashable, list[Sample]] = {}
    for item in samples:
        groups.setdefault(by(item), []).append(item)
    return groups


def _check_shots(shots: int) -> None:
    if shots < -1:
        raise ValueError(f"DATASET.NUM_SHOTS (--shots) is {shots}; give the images per class, 0 for none or -1 for all")


def to_record(task: Task, shots: int, seed: int) -> dict:
    """What `task` was trained on: task, shots, seed and the images' keys, which are the same on every machine."""
    train, val = ([item.key for item in split] for split in (task.train_x, task.val or []))
    return {"task": task.name, "shots": shots, "seed": seed, "train": train, "val": val}


def write_record(path: str | os.PathLike, task: Task, shots: int, seed: int) -> None:
    """Write `to_record` as json, whole or not at all, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        text = json.dumps(to_record(task, shots, seed), indent=1, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replay(record: Mapping, train: Sequence[Sample], val: Sequence[Sample] = ()) -> tuple[list[Sample], list[Sample]]:
    """The (train, val) that a record names, found among the full `train` and `val`.

    ELEVATER's val images come from the training images, so both are searched, the split's own first.

    Raises:
        ValueError: the record lacks a list, or names an image that is in neither.
    """
    pools = {"train": _group([*train, *val], _key), "val": _group([*val, *train], _key)}
    found: dict[str, list[Sample]] = {}
    for split, pool in pools.items():
        if split not in record:
            raise ValueError(f"the few-shot record of task {record.get('task')!r} has no list {split!r}")
        for key in record[split]:
            if key not in pool:
                raise ValueError(f"the few-shot record of task {record.get('task')!r} names {key}, which is not there")
        found[split] = [pool[key][0] for key in record[split]]
    return found["train"], found["val"]


def find_record(where: str | os.PathLike, task: str) -> dict | None:
    """The record of `task` in `where`: one file, a folder of them, or a run's folder; None in the file of another task.

    Raises:
        FileNotFoundError: there is no such file, or no record of the task in the folder.
        ValueError: the file is no record.
    """
    where = Path(where).expanduser()
    if not where.is_dir():
        record = _read_record(where)
        return record if record["task"] == task else None
    places = ("", "fewshot", "source/fewshot", f"adapt/{task}/fewshot")
    path = next((path for path in (where / place / f"{task}.json" for place in places) if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"DATASET.FEWSHOT: {where} has no few-shot record {task}.json")
    return _read_record(path)


def recorded_shots(where: str | os.PathLike) -> int | None:
    """The shots that the records in `where` state; None where they state none, or several of them different ones."""
    where = Path(where).expanduser()
    paths = [where]
    if where.is_dir():
        paths = [*where.glob("fewshot/*.json"), *where.glob("adapt/*/fewshot/*.json")] or [*where.glob("*.json")]
    shots = {_read_record(path).get("shots") for path in sorted(paths)}
    return shots.pop() if len(shots) == 1 else None


def check_record(where: str | os.PathLike, tasks: Iterable[str]) -> None:
    """Raise ValueError where `where` is a single record, and of none of the `tasks`."""
    where = Path(where).expanduser()
    if where.is_file() and not any(find_record(where, task) for task in tasks):
        raise ValueError(
            f"DATASET.FEWSHOT: {where} is a record of none of the tasks, but of {_read_record(where)['task']}"
        )


def replay_record(task: Task, record: Mapping, shots: int) -> None:
    """Give `task`, which was built with all its images, those of a record.

    Raises:
        ValueError: the record states other shots than `shots`, or names an image that is not there.
    """
    if record.get("shots", shots) != shots:
        stated = record["shots"]
        raise ValueError(
            f"{record['file']} was drawn with {stated} shots, but DATASET.NUM_SHOTS is {shots}; use --shots {stated}"
        )
    if not record["train"]:
        raise ValueError(f"{record['file']}: its list train is empty")
    try:
        task.take(*replay(record, task.train_x, task.val), seed=record.get("seed"))
    except ValueError as error:
        raise ValueError(f"{record['file']}: {error}") from None


def _read_record(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"DATASET.FEWSHOT: no file {path}")
    record = read_json(str(path))
    lists = [record.get(split) for split in ("train", "val")] if isinstance(record, dict) else []
    if not lists or not all(isinstance(keys, list) for keys in lists) or not isinstance(record.get("task"), str):
        raise ValueError(f"{path} is no few-shot record: it needs the keys task, train and val")
    if not all(isinstance(key, str) for keys in lists for key in keys):
        raise ValueError(f"{path}: train and val are lists of images' paths")
    for key in ("shots", "seed"):
        if type(record.get(key, 0)) is not int:
            raise ValueError(f"{path}: {key} is {record[key]!r}, no whole number")
    return record | {"file": str(path)}

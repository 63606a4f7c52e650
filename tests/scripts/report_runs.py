"""Runs made up for the report's tests: a folder as `train.py` leaves it, with images
and predictions that are known.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

import toolkit  # noqa: F401  (makes `dassl` importable)
import trainers
from datasets import build_task
from datasets.few_shot import write_record
from elevater_eval import write_predictions
from trainers.engine.config import resolve, with_overrides, without_local_paths
from trainers.engine.results import score

# names of classes are text, whatever they hold
HOSTILE = "<img src=x onerror=document.title='taken'>"
CLASSES = {"photos": ("red & blue", HOSTILE, "green"), "stones": ("grey", "white")}
COUNTS = {
    "num_trainable_params": 64,
    "num_params": 164,
    "num_visual_params": 60,
    "num_backbone_params": 100,
}


def write_images(root: Path) -> None:
    """Write `photos` and `stones`: five training and four test images of each class, in
    folders.
    """
    for name, classes in CLASSES.items():
        for split, count in (("train", 5), ("test", 4)):
            for k, label in enumerate(classes):
                folder = root / name / split / label
                folder.mkdir(parents=True)
                for number in range(count):
                    colour = tuple(int(v) for v in np.roll((220, 40, 10 * number), k))
                    Image.new("RGB", (100, 60), colour).save(folder / f"{number}.png")


def probabilities(
    targets: np.ndarray, classes: int, wrong: dict[int, tuple[int, float]]
) -> np.ndarray:
    """Return (N, C): 0.9 on the right class, but for the `wrong` rows, which have
    (class, probability).
    """
    values = np.full((len(targets), classes), 0.1 / (classes - 1))
    values[np.arange(len(targets)), targets] = 0.9
    for row, (label, value) in wrong.items():
        values[row] = (1 - value) / (classes - 1)
        values[row, label] = value
    return values


def write_run(
    folder: Path,
    root: Path,
    seed: int = 0,
    wrong: dict | None = None,
    two_stages: bool = True,
) -> Path:
    """Write a run of two stages over both tasks, or the plain run on photos, and return
    its folder.

    Relative data: tests work in `root`.
    """
    trainers.register_all()
    names = ["folder:photos", "folder:stones"] if two_stages else ["folder:photos"]
    cfg = resolve(
        "MVPT",
        [],
        {"SEED": seed, "DATASET.RANDOM_SEED_SAMPLING": seed},
        ["DATASET.NUM_SHOTS", "5"],
    )
    cfg = with_overrides(
        cfg, DATASET__DATASET=",".join(names), DATASET__NAME=names[0], OPTIM__LR=0.005
    )
    if two_stages:
        cfg = with_overrides(cfg, MULTITASK__SOURCE="folder:stones")
        _stage(
            with_overrides(cfg, DATASET__DATASET=names[1], DATASET__NAME=names[1]),
            folder / "source",
            seed,
            {},
        )
    records = []
    for name in names:
        adapted_cfg = with_overrides(
            cfg, DATASET__DATASET=name, DATASET__NAME=name, MULTITASK__SOURCE=""
        )
        place = (
            folder / "adapt" / name.removeprefix("folder:") if two_stages else folder
        )
        records += _stage(
            adapted_cfg, place, seed, (wrong or {}) if name == names[0] else {}
        )
    _write(folder / "results.json", json.dumps(records))
    _write(folder / "config.yaml", without_local_paths(cfg).dump())
    _write(folder / "log.txt", "toolkit/dassl (built in), torch 0.0, CPU\nmore\n")
    return folder


def _stage(cfg, folder: Path, seed: int, wrong: dict) -> list[dict]:
    task = build_task(cfg, cfg.DATASET.NAME)
    targets = np.array([sample.label for sample in task.test])
    values = probabilities(targets, task.num_classes, wrong)
    write_record(folder / "fewshot" / f"{task.name}.json", task, 5, seed)
    fields = {
        "model_name": "MVPT-pocket",
        "dataset_name": task.name,
        "n_shot": 5,
        "seed": seed,
        **COUNTS,
    }
    write_predictions(
        folder / "predictions" / f"seed{seed}_{task.name}.json",
        probabilities=values,
        **fields,
    )
    record = {
        "task": task.name,
        "metric": task.metric,
        "score": score(task, torch.tensor(targets), torch.tensor(values)),
        "trainer": "MVPT",
        "shots": 5,
        "seed": seed,
        "zero_shot": 50.0,
        "source": 55.0,
        "backbone": "pocket",
        "start": "",
        "classes": task.num_classes,
        "test_images": len(task.test),
        **COUNTS,
    }
    writer = SummaryWriter(str(folder / "tensorboard"))
    for epoch, value in enumerate((40.0, 70.0, 70.0, 60.0)):
        writer.add_scalar("train/loss", 2.0 / (epoch + 1), epoch)
        for name in (task.name, "mean"):
            writer.add_scalar(f"val/{name}", value, epoch)
    writer.close()
    _write(folder / "results.json", json.dumps([record]))
    _write(folder / "config.yaml", without_local_paths(cfg).dump())
    return [record]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")

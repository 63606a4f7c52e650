"""Builders of small prediction records, submissions and data roots."""

import json
import zipfile

import numpy as np
import pytest

COUNTS = {
    "num_trainable_params": 10,
    "num_params": 110,
    "num_visual_params": 60,
    "num_backbone_params": 100,
}


@pytest.fixture
def probabilities():
    """Return a function (images, classes, seed) -> rows that sum to 1."""

    def make(images, classes, seed=0):
        logits = np.random.default_rng(seed).normal(size=(images, classes))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    return make


@pytest.fixture
def record(probabilities):
    """Return a function that makes a task's entry, as the decoded JSON has it."""

    def make(name, images, classes, seeds=(0,), n_shot=0, **changes):
        folds = [
            np.round(probabilities(images, classes, seed), 6).tolist() for seed in seeds
        ]
        fields = {
            "model_name": "m",
            "dataset_name": name,
            **COUNTS,
            "n_shot": n_shot,
            "rnd_seeds": list(seeds),
        }
        return {**fields, "predictions": folds, **changes}

    return make


@pytest.fixture
def two_tasks(record):
    """Return entries of the two smallest test sets, at their real sizes."""
    return [
        record("hateful-memes", 500, 2, (0, 1, 2), 5),
        record("kitti-distance", 711, 4, (0, 1, 2), 5),
    ]


@pytest.fixture
def write_zip(tmp_path):
    """Return a function (data or text, member, name) -> path of a submission."""

    def make(content, member="all_predictions.json", name="submission.zip"):
        text = content if isinstance(content, str) else json.dumps({"data": content})
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, text)
        return tmp_path / name

    return make


@pytest.fixture
def data_root(tmp_path):
    """Return a folder with index files of four tasks, far smaller than the real ones:
    one of each metric, COCO and IRIS.
    """
    root = tmp_path / "data"

    def write(path, text):
        file = root / "classification" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    write("mnist_20211008/labels.txt", "".join(f"{i}\n" for i in range(10)))
    write(
        "mnist_20211008/test.txt",
        "".join(f"val.zip@{i % 10}/{i}.png {i % 10}\n" for i in range(30)),
    )
    write("dtd_20211007/labels.txt", "banded\nblotchy\n\nbraided\n")
    write(
        "dtd_20211007/test.txt",
        "test.zip@a b/1.jpg 2\n\n  test.zip@a/2.jpg 0  \ntest.zip@a/3@4.jpg 1\n",
    )
    write("voc2007_20211007/labels.txt", "cat\ndog\nbird\n")
    write(
        "voc2007_20211007/test_ic.txt",
        "t.zip@1.jpg 0,2\nt.zip@2.jpg\nt.zip@3.jpg 1\nt.zip@4.jpg 2\n",
    )
    coco = {
        "images": [
            {"id": 30, "file_name": "c"},
            {"id": 4, "file_name": "a"},
            {"id": 21, "file_name": "b"},
        ],
        "annotations": [
            {"image_id": 30, "category_id": 9},
            {"image_id": 4, "category_id": 9},
        ]
        + [{"image_id": 21, "category_id": 3}],
        "categories": [{"id": 9, "name": "hateful"}, {"id": 3, "name": "not hateful"}],
    }
    write("hateful_memes_20211014/test_meta.json", json.dumps(coco))
    return root


@pytest.fixture
def run_folder(tmp_path, record):
    """Return a function (name, {task: (images, classes)}, seeds) -> a run's folder with
    predictions/seed<seed>_<task>.json.
    """

    def make(name, sizes, seeds, **changes):
        folder = tmp_path / name / "predictions"
        folder.mkdir(parents=True)
        for task, (images, classes) in sizes.items():
            for seed in seeds:
                entry = record(
                    task, images, classes, (seed,), **{"n_shot": 5, **changes}
                )
                (folder / f"seed{seed}_{task}.json").write_text(
                    json.dumps(entry), encoding="utf-8"
                )
        (tmp_path / name / "results.json").write_text("[]", encoding="utf-8")
        return tmp_path / name

    return make

"""The pocket suite: its counts, its layouts on disk, and that it comes out the same
every time.
"""

import hashlib
import json
import zipfile
from collections import Counter

import numpy as np
import pytest
from dassl.config import get_cfg_default
from PIL import Image

from datasets import build_task
from datasets.pocket import SHIFTS, SOURCES, SPECS, TARGETS, suite
from datasets.pocket.concepts import FAMILIES, SHIFTED, caption, render
from elevater_eval import load_tasks
from toolkit.common.images import read_image


def config(shots=5, seed=0):
    cfg = get_cfg_default()
    cfg.DATASET.NUM_SHOTS, cfg.SEED = shots, seed
    cfg.DATASET.RANDOM_SEED_SAMPLING = seed
    return cfg


def test_the_suite_has_the_shape_of_the_real_ones():
    assert (
        len(SOURCES) == 11
        and len(TARGETS) == 20
        and len(SHIFTS) == 4
        and len(SPECS) == 35
    )
    metrics = Counter(spec.metric for spec in TARGETS)
    assert metrics == {
        "accuracy": 14,
        "mean-per-class": 4,
        "11point_mAP": 1,
        "roc_auc": 1,
    }
    assert all(2 <= len(spec.classes) <= 20 and spec.test >= 200 for spec in TARGETS)
    assert {spec.layout for spec in TARGETS} == {"iris", "coco"} and {
        spec.layout for spec in SOURCES
    } == {"coop"}
    for spec in SPECS.values():
        if spec.family != "handwritten" and spec.name != "reviews":
            assert set(spec.classes) <= set((FAMILIES | SHIFTED)[spec.family].concepts)


@pytest.mark.parametrize("spec", SOURCES + TARGETS, ids=lambda spec: spec.name)
def test_a_task_comes_through_the_real_loaders(spec):
    task = build_task(config(shots=5), spec.task)
    assert task.classnames == list(spec.classes.values())
    assert (task.metric, task.label_kind, task.templates) == (
        spec.metric,
        spec.label_kind,
        list(spec.templates),
    )
    assert len(task.test) == spec.test
    image = read_image(task.test[-1].impath)
    assert image.size == (suite.SIZE, suite.SIZE) and image.mode == "RGB"
    if spec.label_kind == "multiclass":
        train, val = (
            Counter(sample.label for sample in split)
            for split in (task.train_x, task.val)
        )
        expected = (5, 4) if spec.layout == "coop" else (4, 1)
        assert all(
            (train[label], val[label]) == expected for label in range(len(spec.classes))
        )
    test = Counter(label for sample in task.test for label in sample.labels)
    assert min(test[label] for label in range(len(spec.classes))) >= 10


@pytest.mark.parametrize("spec", SHIFTS, ids=lambda spec: spec.name)
def test_a_shifted_task_has_test_images_alone_and_the_classes_of_its_source(spec):
    source = max(SOURCES, key=lambda other: len(other.classes) * other.train)
    assert source.task == "pocket-objects" and spec.task.startswith("pocket-objects-")
    task = build_task(config(shots=5), spec.task)
    assert task.classnames == list(source.classes.values())
    assert (task.train_x, task.val) == ([], []) and len(task.test) == spec.test == 200
    assert set(Counter(sample.label for sample in task.test).values()) == {10}
    folder, source_folder = suite.ensure(spec.task), suite.ensure(source.task)
    images = {file.read_bytes() for file in folder.rglob("*.jpg")}
    assert len(images) == 200 and not images & {
        file.read_bytes() for file in source_folder.rglob("*.jpg")
    }


def test_sketches_are_gray():
    task = build_task(config(), "pocket-objects-sketch")
    pixels = np.asarray(read_image(task.test[0].impath)).astype(int)
    assert (pixels.max(-1) - pixels.min(-1)).max() <= 1


# the first test image of a task of each family, as SHA-256 of the stored JPEG; they
# change with VERSION alone
PINNED = {
    "pocket-objects": "98638cca601b5853",
    "pocket-dishes": "7f7ab96bf6b44f0a",
    "pocket-autos": "2e7f1b0dfa325e76",
    "pocket-breeds": "cac47d5d95a36f21",
    "pocket-blossoms": "23b62fadb7c46925",
    "pocket-aircraft": "7b0b9a3c4736a9aa",
    "pocket-places": "8c9fdb7c16522982",
    "pocket-patterns": "0baa82bbd58e6540",
    "pocket-tiles": "f2b22358fadec824",
    "pocket-actions": "55f995b6754d6a04",
    "pocket-flags": "4eb510bc718959e1",
    "pocket-faces": "e2101a70e8f85b06",
    "pocket-signs": "ff87fd8b717d2492",
    "pocket-memes": "c9cd52fb4a3878cb",
    "pocket-distance": "76a899145df641aa",
    "pocket-digits": "7858e04f82617909",
    "pocket-cells": "09256a11cdc0ae5b",
    "pocket-reviews": "fa7f4ffaff95cdaa",
    "pocket-scenes": "1b3cff3b12cddb00",
    "pocket-objects-a": "5fb0cd3dc9a6965e",
    "pocket-objects-r": "209aeac383272712",
}


@pytest.mark.parametrize("name", PINNED)
def test_images_are_those_of_the_version(name):
    data, _ = next(suite.items(SPECS[name], "test"))
    assert hashlib.sha256(data).hexdigest()[:16] == PINNED[name]


def test_images_of_the_small_clip_are_those_of_the_version():
    rng = np.random.default_rng(3)
    digest = hashlib.sha256()
    for family in FAMILIES:
        for mode in ("fill", "outline", "silhouette"):
            concept = FAMILIES[family].concepts[-1]
            image, attributes = render(family, concept, rng, mode)
            digest.update(image.tobytes())
            digest.update(str(sorted(attributes)).encode())
            digest.update(caption(family, concept, attributes, rng)[0].encode())
    assert digest.hexdigest()[:16] == "bebfb8ade2f8bb10"


def test_the_evaluation_knows_the_targets():
    known = {
        name: info for name, info in load_tasks().items() if info.suite == "pocket"
    }
    assert set(known) == {spec.task for spec in TARGETS}
    for spec in TARGETS:
        info = known[spec.task]
        stated = (len(spec.classes), spec.test, spec.metric, spec.label_kind)
        assert (info.classes, info.test, info.metric, info.label_kind) == stated
        assert info.test_index.startswith(suite.folder_of(spec) + "/")


def test_writing_twice_gives_the_same_bytes(tmp_path, monkeypatch):
    written = []
    for name in ("a", "b"):
        monkeypatch.setenv("MVLPT_POCKET", str(tmp_path / name))
        folder = suite.ensure("pocket-memes")
        with zipfile.ZipFile(folder / "images.zip") as archive:
            written.append(
                {member: archive.read(member) for member in archive.namelist()}
            )
    assert written[0] == written[1] and len(written[0]) == 60 * 2 + 240
    index = json.loads((folder / "test.json").read_text())
    assert len(index["images"]) == len(index["annotations"]) == 240


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("MVLPT_POCKET", str(tmp_path))
    monkeypatch.setattr(
        suite, "_zip", lambda *args: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        suite.ensure("pocket-memes")
    assert list((tmp_path / "classification").iterdir()) == []


def test_digits_are_the_real_scans():
    from sklearn.datasets import load_digits

    task = build_task(config(shots=0), "pocket-digits")
    bunch = load_digits()
    assert [sample.label for sample in task.test] == bunch.target[-500:].tolist()
    page = np.asarray(read_image(task.test[0].impath).convert("L"))[8:56, 8:56]
    scan = np.asarray(Image.fromarray(page).resize((8, 8), Image.Resampling.BOX), float)
    assert np.corrcoef(scan.ravel(), bunch.images[-500].ravel())[0, 1] > 0.97


def test_captions_claim_only_what_is_true():
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        for concept in FAMILIES[family].concepts:
            _, attributes = render(family, concept, rng)
            for _ in range(5):
                text, claimed = caption(family, concept, attributes, rng)
                assert claimed and claimed <= attributes, (
                    family,
                    concept,
                    text,
                    claimed,
                    attributes,
                )

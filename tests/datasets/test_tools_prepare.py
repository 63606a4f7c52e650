"""`python -m datasets prepare`: torchvision's copies, written small in their true
layouts, become ELEVATER's.
"""

import csv
import io
import json
import pickle
import shlex
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv
from PIL import Image
from scipy.io import savemat

from datasets import build_task
from datasets.__main__ import main
from datasets.catalog import entries as catalogue
from datasets.catalog import names
from datasets.tools import batch
from datasets.tools.copies import find_copy
from datasets.tools.doctor import examine
from toolkit.common.images import read_image


class Copies:
    """Writes copies as torchvision has them; every image has another colour."""

    def __init__(self, root: Path):
        self.root, self.count = root, 0

    def pixels(self, size=8) -> np.ndarray:
        self.count += 1
        color = (self.count % 256, self.count // 256 * 16 % 256, 100)
        return np.full((size, size, 3), color, np.uint8)

    def image(self, path, format="PNG") -> str:
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels()).save(path, format)
        return str(path)

    def write(self, path, content) -> None:
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def lines(self, path, lines) -> None:
        self.write(path, "\n".join(lines) + "\n")

    def mat(self, path, **variables) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        savemat(self.root / path, variables)


def classes(name):
    return names.show(name)["classes"]


def mnist(copies):
    for prefix, labels in (
        ("train", list(range(10)) * 2),
        ("t10k", list(range(9, -1, -1))),
    ):
        pixels = np.stack([copies.pixels(28)[:, :, 0] for _ in labels])
        copies.write(
            f"MNIST/raw/{prefix}-images-idx3-ubyte",
            struct.pack(">IIII", 0x803, len(labels), 28, 28) + pixels.tobytes(),
        )
        copies.write(
            f"MNIST/raw/{prefix}-labels-idx1-ubyte",
            struct.pack(">II", 0x801, len(labels)) + bytes(labels),
        )
    return {"train": list(range(10)) * 2, "test": list(range(9, -1, -1))}


def cifar(copies, folder, names, key, batches, meta, coarse=None):
    for file, labels in batches.items():
        data = np.stack([copies.pixels(32).transpose(2, 0, 1).ravel() for _ in labels])
        copies.write(f"{folder}/{file}", pickle.dumps({"data": data, key: labels}))
    copies.write(f"{folder}/{meta}", pickle.dumps(names))


def cifar_10(copies):
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    batches = {f"data_batch_{k}": list(range(10)) for k in range(1, 6)} | {
        "test_batch": [3, 1, 4, 1, 5, 9, 2, 6, 0, 7, 8]
    }
    cifar(
        copies,
        "cifar-10-batches-py",
        {"label_names": names},
        "labels",
        batches,
        "batches.meta",
    )
    return {"train": list(range(10)) * 5, "test": batches["test_batch"]}


def cifar_100(copies):
    alphabetical = sorted(name.replace(" ", "_") for name in classes("cifar-100"))
    batches = {"train": list(range(100)), "test": list(range(99, -1, -1))}
    cifar(
        copies,
        "cifar-100-python",
        {"fine_label_names": alphabetical},
        "fine_labels",
        batches,
        "meta",
    )
    place = [
        classes("cifar-100").index(name.replace("_", " ")) for name in alphabetical
    ]
    return {
        split: [place[label] for label in labels] for split, labels in batches.items()
    }


def folders(copies, names, pattern, each=1):
    """Return images in a folder a class; their labels in the sorted order of folders."""
    for name in names:
        for k in range(each):
            copies.image(pattern.format(name, k), "PNG")
    return [label for label in range(len(names)) for _ in range(each)]


def country211(copies):
    codes = [line.split(" | ")[1] for line in class_file("country211")]
    labels = {}
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        labels[split] = folders(
            copies,
            sorted(codes),
            "country211/" + folder + "/{}/{}.png",
            2 if split == "train" else 1,
        )
    return labels


def class_file(name):
    return (
        (Path(catalogue.__file__).parent / "class_names" / f"{name}.txt")
        .read_text()
        .splitlines()
    )


def dtd(copies):
    names = classes("dtd")
    labels = {}
    for split in ("train", "val", "test"):
        copies.lines(
            f"dtd/dtd/labels/{split}1.txt",
            [f"{name}/{name}_{split}.jpg" for name in reversed(names)],
        )
        for name in names:
            copies.image(f"dtd/dtd/images/{name}/{name}_{split}.jpg")
        labels[split] = list(range(46, -1, -1))
    return labels


def eurosat(copies):
    names = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake".split()
    folders(copies, names, "eurosat/2750/{0}/{0}_{1}.png", 7)
    return {
        split: [label for label in range(10) for _ in range(2)]
        for split in ("train", "val", "test")
    }


def fer(copies):
    usages = [("Training", 14), ("PublicTest", 7), ("PrivateTest", 7)]
    stream = io.StringIO()
    rows = csv.writer(stream)
    rows.writerow(["emotion", "pixels", "Usage"])
    for usage, count in usages:
        for k in range(count):
            rows.writerow(
                [k % 7, " ".join(map(str, copies.pixels(48)[:, :, 0].ravel())), usage]
            )
    copies.write("fer2013/fer2013.csv", stream.getvalue())
    # Kaggle's sad, surprised, neutral -> the set's neutral, sad, surprised
    order = [0, 1, 2, 3, 5, 6, 4]
    return {"train": order * 2, "val": order, "test": order}


def aircraft(copies):
    official = [
        {"F-16A-B": "F-16A/B", "F-A-18": "F/A-18"}.get(name, name)
        for name in classes("fgvc-aircraft-2013b-variants102")
    ][::-1]
    data = "fgvc-aircraft-2013b/data"
    copies.lines(f"{data}/variants.txt", official)
    for start, split in ((1000, "train"), (2000, "val"), (3000, "test")):
        copies.lines(
            f"{data}/images_variant_{split}.txt",
            [f"{start + k:07d} {name}" for k, name in enumerate(official)],
        )
        for k in range(len(official)):
            copies.image(f"{data}/images/{start + k:07d}.jpg")
    return {split: list(range(99, -1, -1)) for split in ("train", "val", "test")}


def food(copies):
    official = sorted(name.replace(" ", "_") for name in classes("food-101"))
    official[official.index("cheese_plate")], official[official.index("cheesecake")] = (
        "cheesecake",
        "cheese_plate",
    )
    for split in ("train", "test"):
        copies.write(
            f"food-101/meta/{split}.json",
            json.dumps({name: [f"{name}/{split}"] for name in official}),
        )
        for name in official:
            copies.image(f"food-101/images/{name}/{split}.jpg")
    labels = [classes("food-101").index(name.replace("_", " ")) for name in official]
    return {"train": labels, "test": labels}


def gtsrb(copies):
    for label in range(43):
        copies.image(f"gtsrb/GTSRB/Training/{label:05d}/00000.ppm", "PPM")
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for k, label in enumerate(range(42, -1, -1)):
        copies.image(f"gtsrb/GTSRB/Final_Test/Images/{k:05d}.ppm", "PPM")
        rows.append(f"{k:05d}.ppm;8;8;0;0;8;8;{label}")
    copies.lines("gtsrb/GT-final_test.csv", rows)
    return {"train": list(range(43)), "test": list(range(42, -1, -1))}


def flowers(copies):
    labels = [k % 102 + 1 for k in range(306)]
    copies.mat("flowers-102/imagelabels.mat", labels=np.array([labels]))
    splits = {
        "train": range(1, 103),
        "val": range(103, 205),
        "test": range(306, 204, -1),
    }
    ids = {
        key: np.array([list(splits[split])])
        for key, split in (("trnid", "train"), ("valid", "val"), ("tstid", "test"))
    }
    copies.mat("flowers-102/setid.mat", **ids)
    for k in range(1, 307):
        copies.image(f"flowers-102/jpg/image_{k:05d}.jpg")
    return {split: [labels[k - 1] - 1 for k in ids] for split, ids in splits.items()}


def pets(copies):
    names = [name.replace(" ", "_") for name in classes("oxford-iiit-pets")]
    labels = {}
    for split, order in (("trainval", range(37)), ("test", range(36, -1, -1))):
        copies.lines(
            f"oxford-iiit-pet/annotations/{split}.txt",
            [f"{names[label]}_{split} {label + 1} 1 1" for label in order],
        )
        for label in order:
            copies.image(f"oxford-iiit-pet/images/{names[label]}_{split}.jpg")
        labels[split] = list(order)
    return {"train": labels["trainval"], "test": labels["test"]}


def sst2(copies):
    labels = {}
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        labels[split] = folders(
            copies,
            ["negative", "positive"],
            "rendered-sst2/" + folder + "/{}/{}.png",
            3,
        )
    return labels


def cars(copies):
    official = sorted(classes("stanford-cars"))
    place = [classes("stanford-cars").index(name) for name in official]
    cells = np.array([[name] for name in official], dtype=object).reshape(1, -1)
    copies.mat("stanford_cars/devkit/cars_meta.mat", class_names=cells)
    kind = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
    for split, file in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        rows = np.array([[(0, k + 1, f"{k:05d}.jpg") for k in range(196)]], dtype=kind)
        copies.mat(f"stanford_cars/{file}", annotations=rows)
        for k in range(196):
            copies.image(f"stanford_cars/cars_{split}/{k:05d}.jpg")
    return {"train": place, "test": place}


def voc(copies):
    names = classes("voc-2007-classification")
    base = "VOCdevkit/VOC2007"
    expected = {}
    for start, split in ((0, "train"), (100, "val"), (200, "test")):
        ids = [f"{start + k:06d}" for k in range(22)]
        copies.lines(f"{base}/ImageSets/Main/{split}.txt", ids)
        expected[split] = []
        for k, image in enumerate(ids):
            shown = (
                [names[k % 20], names[k % 20], names[(k + 3) % 20]] if k < 20 else []
            )
            objects = "".join(
                f"<object><name>{name}</name><difficult>0</difficult></object>"
                for name in shown
            )
            objects += (
                f"<object><name>{names[5]}</name><difficult>1</difficult></object>"
            )
            copies.write(
                f"{base}/Annotations/{image}.xml",
                f"<annotation><filename>{image}.jpg</filename>{objects}</annotation>",
            )
            copies.image(f"{base}/JPEGImages/{image}.jpg")
            expected[split].append(tuple(sorted({names.index(name) for name in shown})))
    return expected


def caltech(copies):
    raw = [spelling.split(" | ") for spelling in class_file("caltech-101")]
    inner = [
        spellings[1] if len(spellings) > 1 else spellings[0].replace(" ", "_")
        for spellings in raw
    ]
    first, second = 37, 38  # centred faces, off-centre faces
    inner[first], inner[second] = "Faces_easy", "Faces"
    for name in inner:
        for k in range(1, 5):
            copies.image(f"caltech101/101_ObjectCategories/{name}/image_{k:04d}.jpg")
    return {
        split: [label for label in range(102) for _ in range(2)]
        for split in ("train", "test")
    }


WRITERS = {
    "caltech-101": caltech,
    "cifar-10": cifar_10,
    "cifar-100": cifar_100,
    "country211": country211,
    "dtd": dtd,
    "eurosat_clip": eurosat,
    "fer-2013": fer,
    "fgvc-aircraft-2013b-variants102": aircraft,
    "food-101": food,
    "gtsrb": gtsrb,
    "mnist": mnist,
    "oxford-flower-102": flowers,
    "oxford-iiit-pets": pets,
    "rendered-sst2": sst2,
    "stanford-cars": cars,
    "voc-2007-classification": voc,
}


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Return the folder of the copies; small ones cannot have the checksums of the true
    ones.
    """
    for module in (tv.cifar, tv.flowers102, tv.fer2013):
        monkeypatch.setattr(module, "check_integrity", lambda *args, **options: True)
    return Copies(tmp_path / "copies")


def prepare(tmp_path, name):
    folders = f"--root {tmp_path} --source {tmp_path}/copies"
    command = f"prepare {name} --from torchvision {folders} --offline"
    return main(shlex.split(command))


def test_every_set_that_torchvision_has_can_be_prepared():
    stated = {entry.name for entry in catalogue.entries().values() if entry.torchvision}
    known = batch.available("torchvision")
    assert stated == {entry.name for entry in known} == {*WRITERS, "patch-camelyon"}
    for entry in known:
        splits = find_copy(entry, "torchvision").splits
        assert set(splits) <= set(entry.indexes) and hasattr(tv, entry.torchvision)


@pytest.mark.parametrize("name", WRITERS)
def test_prepared_set_is_elevaters_layout(name, copies, tmp_path, cfg, capsys):
    expected = WRITERS[name](copies)
    entry = catalogue.entry(name)
    assert prepare(tmp_path, name) == 0
    folder = tmp_path / entry.folder
    assert {*entry.files, "order.json"} <= {path.name for path in folder.iterdir()}
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]
    for split, labels in expected.items():
        assert entry.split_zips[split] in [path.name for path in folder.iterdir()]
        lines = (folder / entry.indexes[split]).read_text().splitlines()
        fields = [line.rpartition(" ")[2] if " " in line else "" for line in lines]
        assert fields == [
            ",".join(map(str, label if isinstance(label, tuple) else (label,)))
            for label in labels
        ]
    report = examine(entry, tmp_path)
    allowed = {"image-count", "unofficial-order", "another-split"} | (
        {"empty-class"} if name in ("voc-2007-classification", "caltech-101") else set()
    )
    assert {finding.kind for finding in report.findings} <= allowed
    cfg.DATASET.NUM_SHOTS = 1
    task = build_task(cfg, name)
    assert task.classnames == classes(name)
    assert [sample.labels for sample in task.test] == [
        label if isinstance(label, tuple) else (label,) for label in expected["test"]
    ]
    assert capsys.readouterr().out.startswith(f"wrote {folder} (")


def test_files_are_copied_as_they_are_and_arrays_without_loss(copies, tmp_path):
    dtd(copies)
    assert prepare(tmp_path, "dtd") == 0
    with zipfile.ZipFile(tmp_path / "classification/dtd_20211007/test.zip") as archive:
        original = (
            copies.root / "dtd/dtd/images/zigzagged/zigzagged_test.jpg"
        ).read_bytes()
        assert archive.read("dtd/dtd/images/zigzagged/zigzagged_test.jpg") == original
        assert all(
            info.compress_type == zipfile.ZIP_STORED for info in archive.infolist()
        )
    cifar_10(copies)
    assert prepare(tmp_path, "cifar-10") == 0
    image = read_image(
        str(tmp_path / "classification/cifar_10_20211007/train.zip@train/000007.png")
    )
    assert np.array_equal(
        np.asarray(image), tv.CIFAR10(str(copies.root), train=True).data[7]
    )


def test_faces_of_caltech_are_named_by_what_they_show(copies, tmp_path):
    caltech(copies)
    prepare(tmp_path, "caltech-101")
    lines = (
        (tmp_path / "classification/caltech_101_20211007/test.txt")
        .read_text()
        .splitlines()
    )
    label = {line.split("/")[-2]: int(line.split(" ")[1]) for line in lines}
    names = classes("caltech-101")
    assert (names[label["Faces"]], names[label["Faces_easy"]]) == (
        "off-center face",
        "centered face",
    )
    assert names[label["BACKGROUND_Google"]] == "background"


def test_splits_that_are_drawn_do_not_overlap(copies, tmp_path):
    eurosat(copies)
    prepare(tmp_path, "eurosat_clip")
    folder = tmp_path / "classification/eurosat_clip_20210930"
    keys = [
        {
            line.split(" ")[0]
            for line in (folder / f"{split}.txt").read_text().splitlines()
        }
        for split in ("train", "val", "test")
    ]
    assert len(set.union(*keys)) == sum(map(len, keys)) == 60
    with zipfile.ZipFile(folder / "2750.zip") as archive:
        assert len(archive.namelist()) == 60


def test_marker_says_whose_copy_it_is(copies, tmp_path):
    mnist(copies)
    prepare(tmp_path, "mnist")
    about = json.loads(
        (tmp_path / "classification/mnist_20211008/order.json").read_text()
    )
    assert about["order"] == "unofficial" and about["source"].startswith("torchvision ")


def test_folder_that_is_there_stays_as_it_is(copies, tmp_path, capsys):
    mnist(copies)
    folder = tmp_path / "classification/mnist_20211008"
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_text("mine")
    assert prepare(tmp_path, "mnist") == 2
    assert "is there already and stays as it is" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["labels.txt"]
    (folder / "labels.txt").unlink()
    assert prepare(tmp_path, "mnist") == 0  # an empty folder is none


def test_absent_copy_leaves_nothing_behind(tmp_path, capsys):
    (tmp_path / "copies").mkdir()
    assert prepare(tmp_path, "dtd") == 1
    error = capsys.readouterr().err
    assert (
        "torchvision.datasets.DTD could not be read" in error
        and f"put its files into {tmp_path / 'copies'}" in error
    )
    assert [path.name for path in tmp_path.iterdir()] == ["copies"]


def test_damaged_copy_leaves_nothing_behind(copies, tmp_path, capsys):
    dtd(copies)
    (copies.root / "dtd/dtd/images/woven/woven_test.jpg").unlink()
    assert prepare(tmp_path, "dtd") == 1
    assert "woven_test.jpg" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["copies"]


def test_unknown_class_of_the_copy_is_an_error(copies, tmp_path, capsys):
    food(copies)
    for split in ("train", "test"):
        path = copies.root / f"food-101/meta/{split}.json"
        path.write_text(path.read_text().replace('"waffles":', '"wafers":'))
    assert prepare(tmp_path, "food-101") == 2
    assert "'wafers'" in capsys.readouterr().err


def test_test_labels_must_be_there(copies, tmp_path, capsys):
    for split in ("train", "test"):
        pixels = " ".join(["7"] * 48 * 48)
        copies.lines(
            f"fer2013/{split}.csv",
            ["emotion,pixels", *[f"{k % 7},{pixels}" for k in range(14)]],
        )
    assert prepare(tmp_path, "fer-2013") == 1
    assert "no labels of the test images" in capsys.readouterr().err


def test_set_that_torchvision_lacks(copies, tmp_path, capsys):
    mnist(copies)
    folders = f"--root {tmp_path} --source {copies.root} --offline"
    # and mnist is not begun
    assert (
        main(shlex.split(f"prepare mnist hateful-memes --from torchvision {folders}"))
        == 2
    )
    assert [path.name for path in tmp_path.iterdir()] == ["copies"]
    assert (
        "torchvision has no copy of hateful-memes; it has one of caltech-101, cifar-10"
        in capsys.readouterr().err
    )

"""`python -m datasets doctor`: every damage is named, a sound set has none, and nothing
on disk is changed.
"""

import json
import shlex
import shutil
import zipfile

import pytest

from datasets.__main__ import main
from datasets.catalog import entries as catalogue
from datasets.catalog.entries import Entry
from datasets.tools.doctor import examine

COUNTS = {"train": 6, "test": 3}
NAMES = ["ant", "bee", "cat"]
BIRDS = Entry(
    "birds",
    "coop",
    "classification/birds",
    "iris",
    3,
    COUNTS,
    files=("labels.txt", "train.txt", "test.txt", "train.zip", "test.zip"),
    zips=("train.zip", "test.zip"),
    indexes={"train": "train.txt", "val": "val.txt", "test": "test.txt"},
    labelmap="labels.txt",
)
MEMES = Entry(
    "memes",
    "coop",
    "classification/memes",
    "coco",
    3,
    COUNTS,
    files=("train.json", "test.json", "images.zip"),
    zips=("images.zip",),
    indexes={"train": "train.json", "test": "test.json"},
)
PETS = Entry(
    "pets",
    "coop",
    "pets",
    "coop",
    3,
    {"train": 6, "val": 3, "test": 3},
    files=("split.json", "images"),
    image_dir="images",
    split_json="split.json",
)
ENTRIES = {entry.name: entry for entry in (BIRDS, MEMES, PETS)}


@pytest.fixture
def root(disk, tmp_path, monkeypatch):
    """Return a data root with three sound sets, the only ones in the catalogue."""
    disk.iris("classification/birds", NAMES, ["0", "1", "2"] * 2, ["0", "1", "2"])
    members = {}
    for split, count in COUNTS.items():
        images, annotations = [], []
        for k in range(count):
            members[f"{split}/{k}.png"] = disk.image((30 * k, 90, 40 * len(split)))
            images.append(
                {
                    "id": count - k,
                    "file_name": f"{split}/{k}.png",
                    "zip_file": "images.zip",
                }
            )
            annotations.append({"image_id": count - k, "category_id": 5 + k % 3})
        categories = [{"id": 5 + k, "name": name} for k, name in enumerate(NAMES)]
        disk.json(
            f"classification/memes/{split}.json",
            {"images": images, "annotations": annotations, "categories": categories},
        )
    disk.zip("classification/memes/images.zip", members)
    splits = {}
    for split, count in PETS.images.items():
        splits[split] = [
            [f"{split}_{k}.png", k % 3, NAMES[k % 3]] for k in range(count)
        ]
        for k in range(count):
            disk.write(
                f"pets/images/{split}_{k}.png",
                disk.image((20 * k, 17 * len(split), 60 if split == "val" else 0)),
            )
    disk.json("pets/split.json", splits)
    monkeypatch.setattr(catalogue, "_entries", lambda: ENTRIES)
    return tmp_path


def kinds(report) -> dict[str, int]:
    return {
        kind: sum(f.kind == kind for f in report.findings)
        for kind in sorted({f.kind for f in report.findings})
    }


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rezip(path, change):
    """Write a zip again, its members (name -> bytes) changed by `change`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def flip(path, member, at=60):
    """Change a byte of a stored member."""
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(member).header_offset + 30 + len(member)
    content = bytearray(path.read_bytes())
    content[start + at] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("quick", [False, True])
def test_sound_set_has_no_finding(root, name, quick):
    done = []
    report = examine(ENTRIES[name], root, quick, progress=done.append)
    assert (report.status, report.findings) == ("ok", [])
    assert report.images == ENTRIES[name].images
    assert sum(done) == (0 if quick else sum(report.images.values()))


# damage to the folder of a set -> the findings, and how many of each
IRIS = {
    "no folder": (lambda f, d: shutil.rmtree(f), {"missing-folder": 1}),
    "no index": (lambda f, d: (f / "test.txt").unlink(), {"missing-index": 1}),
    "no labelmap": (lambda f, d: (f / "labels.txt").unlink(), {"missing-labelmap": 1}),
    "no zip": (lambda f, d: (f / "train.zip").unlink(), {"missing-zip": 1}),
    "zip by another name": (
        lambda f, d: (f / "train.zip").rename(f / "Train.zip"),
        {"missing-zip": 1},
    ),
    "truncated zip": (
        lambda f, d: (f / "train.zip").write_bytes(
            (f / "train.zip").read_bytes()[:-40]
        ),
        {"damaged-zip": 1},
    ),
    "empty zip": (lambda f, d: (f / "train.zip").write_bytes(b""), {"damaged-zip": 1}),
    "page for a zip": (
        lambda f, d: (f / "train.zip").write_text("<!DOCTYPE html><p>Quota exceeded"),
        {"damaged-zip": 1},
    ),
    "CRC": (lambda f, d: flip(f / "train.zip", "train/2.png"), {"damaged-member": 1}),
    "CRC of a member that no index names": (
        lambda f, d: (
            rezip(f / "train.zip", lambda m: m.update({"a.txt": b"x" * 99})),
            flip(f / "train.zip", "a.txt", 5),
        ),
        {"damaged-member": 1},
    ),
    "no member": (
        lambda f, d: rezip(f / "test.zip", lambda m: m.pop("test/1.png")),
        {"missing-member": 1},
    ),
    "truncated image": (
        lambda f, d: rezip(
            f / "train.zip", lambda m: m.update({"train/1.png": m["train/1.png"][:50]})
        ),
        {"unreadable-image": 1},
    ),
    "empty image": (
        lambda f, d: rezip(f / "train.zip", lambda m: m.update({"train/1.png": b""})),
        {"unreadable-image": 1},
    ),
    "text for an image": (
        lambda f, d: rezip(
            f / "test.zip", lambda m: m.update({"test/1.png": b"hello"})
        ),
        {"unreadable-image": 1},
    ),
    "label out of range": (
        lambda f, d: edit(f / "train.txt", "3.png 0", "3.png 3"),
        {"label-range": 1},
    ),
    "negative label": (
        lambda f, d: edit(f / "train.txt", "3.png 0", "3.png -1"),
        {"image-count": 1, "index-line": 1},
    ),
    "space between labels": (
        lambda f, d: edit(f / "train.txt", "3.png 0", "3.png 0, 0"),
        {"missing-member": 1},
    ),
    "line of words": (
        lambda f, d: edit(f / "train.txt", "3.png 0", "3.png zero"),
        {"image-count": 1, "index-line": 1},
    ),
    "line without label": (
        lambda f, d: edit(f / "train.txt", "3.png 0", "3.png"),
        {"no-label": 1},
    ),
    "line with two labels": (
        lambda f, d: edit(f / "train.txt", "3.png 0", "3.png 0,1"),
        {"many-labels": 1},
    ),
    "image twice": (
        lambda f, d: edit(f / "train.txt", "train/3.png", "train/0.png"),
        {"image-twice": 1},
    ),
    "train image in test": (
        lambda f, d: edit(
            f / "test.txt", "test.zip@test/0.png", "train.zip@train/0.png"
        ),
        {"train-in-test": 1},
    ),
    "same bytes in train and test": (
        lambda f, d: rezip(
            f / "test.zip", lambda m: m.update({"test/0.png": d.image((40, 7, 5))})
        ),
        {"same-content": 1},
    ),
    "labelmap too short": (
        lambda f, d: (f / "labels.txt").write_text("ant\nbee\n"),
        {"label-range": 3, "labelmap-size": 1},
    ),
    "labelmap too long": (
        lambda f, d: (f / "labels.txt").write_text("ant\nbee\ncat\ndog\n"),
        {"empty-class": 2, "labelmap-size": 1},
    ),
    "labelmap with a name twice": (
        lambda f, d: (f / "labels.txt").write_text("ant\nbee\nant\n"),
        {"labelmap-twice": 1},
    ),
    "labelmap with a blank line": (
        lambda f, d: (f / "labels.txt").write_text("ant\n\nbee\ncat\n"),
        {"labelmap-blank": 1},
    ),
    "fewer images": (
        lambda f, d: edit(f / "train.txt", "train.zip@train/5.png 2\n", ""),
        {"image-count": 1},
    ),
    "class without image": (
        lambda f, d: edit(f / "train.txt", ".png 1", ".png 0", 2),
        {"empty-class": 1},
    ),
    "empty index": (lambda f, d: (f / "test.txt").write_text("\n"), {"no-images": 1}),
    "index of bytes": (
        lambda f, d: (f / "test.txt").write_bytes(b"\xff\xfe\x00"),
        {"unreadable-index": 1},
    ),
    "path that leads outside": (
        lambda f, d: edit(
            f / "train.txt", "train.zip@train/3.png", "../birds/train.zip@train/3.png"
        ),
        {"path-outside": 1},
    ),
    "stopped download": (
        lambda f, d: (f / ".val.zip.part").write_bytes(b"PK"),
        {"unfinished-download": 1},
    ),
    "other test order": (
        lambda f, d: (f / "order.json").write_text('{"source": "torchvision 1"}'),
        {"unofficial-order": 1},
    ),
}
COCO = {
    "no index": (lambda f: (f / "train.json").unlink(), {"missing-index": 1}),
    "no json": (
        lambda f: (f / "train.json").write_text('{"images": [\n1,'),
        {"index-syntax": 1},
    ),
    "no list": (
        lambda f: edit_json(f / "test.json", lambda c: c.pop("annotations")),
        {"empty-class": 1, "index-key": 1, "no-label": 3},
    ),
    "no file name": (
        lambda f: edit_json(f / "test.json", lambda c: c["images"][0].pop("file_name")),
        {"empty-class": 1, "image-count": 1, "index-key": 1, "unknown-image": 1},
    ),
    "unknown category": (
        lambda f: edit_json(
            f / "train.json", lambda c: c["annotations"][0].update(category_id=9)
        ),
        {"label-range": 1, "no-label": 1},
    ),
    "unknown image": (
        lambda f: edit_json(
            f / "train.json",
            lambda c: c["annotations"].append({"image_id": 99, "category_id": 5}),
        ),
        {"unknown-image": 1},
    ),
    "image id twice": (
        lambda f: edit_json(f / "test.json", lambda c: c["images"][1].update(id=3)),
        {"empty-class": 1, "id-twice": 1, "unknown-image": 1},
    ),
    "two annotations": (
        lambda f: edit_json(
            f / "train.json",
            lambda c: c["annotations"].append({"image_id": 1, "category_id": 5}),
        ),
        {"many-labels": 1},
    ),
    "a category more": (
        lambda f: edit_json(
            f / "test.json", lambda c: c["categories"].append({"id": 8, "name": "dog"})
        ),
        {"empty-class": 1, "label-names": 1, "labelmap-size": 1},
    ),
    "no zip": (lambda f: (f / "images.zip").unlink(), {"missing-zip": 1}),
    "no member": (
        lambda f: rezip(f / "images.zip", lambda m: m.pop("test/2.png")),
        {"missing-member": 1},
    ),
}
COOP = {
    "no images": (
        lambda f: shutil.rmtree(f / "images"),
        {"missing-file": 1, "missing-image": 12},
    ),
    "an image less": (
        lambda f: (f / "images" / "val_1.png").unlink(),
        {"missing-image": 1},
    ),
    "no json": (lambda f: (f / "split.json").write_text("[1,\n2"), {"index-syntax": 1}),
    "no split": (
        lambda f: edit_json(f / "split.json", lambda c: c.pop("val")),
        {"missing-split": 1},
    ),
    "row of two": (
        lambda f: edit_json(f / "split.json", lambda c: c["train"][0].pop()),
        {"image-count": 1, "index-line": 1},
    ),
    "label out of range": (
        lambda f: edit_json(
            f / "split.json",
            lambda c: c["test"].__setitem__(0, ["test_0.png", 7, "dog"]),
        ),
        {"empty-class": 1, "label-range": 1},
    ),
    "label with two names": (
        lambda f: edit_json(
            f / "split.json", lambda c: c["test"][1].__setitem__(2, "wasp")
        ),
        {"label-names": 1},
    ),
    "train image in test": (
        lambda f: edit_json(
            f / "split.json", lambda c: c["test"][0].__setitem__(0, "train_0.png")
        ),
        {"train-in-test": 1},
    ),
    "same bytes": (
        lambda f: shutil.copy(
            f / "images" / "train_0.png", f / "images" / "test_0.png"
        ),
        {"same-content": 1},
    ),
    "truncated image": (
        lambda f: (f / "images" / "test_0.png").write_bytes(
            (f / "images" / "test_0.png").read_bytes()[:50]
        ),
        {"unreadable-image": 1},
    ),
}


@pytest.mark.parametrize("damage", IRIS)
def test_damage_of_an_iris_set(root, disk, damage):
    harm, expected = IRIS[damage]
    harm(root / BIRDS.folder, disk)
    assert kinds(examine(BIRDS, root)) == expected


@pytest.mark.parametrize("damage", COCO)
def test_damage_of_a_coco_set(root, damage):
    harm, expected = COCO[damage]
    harm(root / MEMES.folder)
    assert kinds(examine(MEMES, root)) == expected


@pytest.mark.parametrize("damage", COOP)
def test_damage_of_a_coop_set(root, damage):
    harm, expected = COOP[damage]
    harm(root / PETS.folder)
    assert kinds(examine(PETS, root)) == expected


def test_findings_name_file_line_and_cause(root):
    folder = root / BIRDS.folder
    edit(folder / "train.txt", "3.png 0", "3.png 12")
    edit(folder / "train.txt", "4.png 1", "4.png one")
    flip(folder / "test.zip", "test/2.png")
    (folder / "val.txt").write_text("val.zip@val/0.png 1\n")
    text = [str(finding) for finding in examine(BIRDS, root).findings]
    place = "error: classification/birds"
    assert text == [
        f"{place}/train.txt:5: 'one' is not a list of labels such as 3 or 0,4,17 [index-line]",
        f"{place}/train.txt:4: label 12 is out of range: there are 3 classes, counted from 0 [label-range]",
        f"{place}/val.zip: the zip does not exist [missing-zip]",
        f"{place}/train.txt: 5 images, but birds has 6 [image-count]",
        f"{place}/test.zip@test/2.png: cannot be read from its zip: Bad CRC-32 for file 'test/2.png' [damaged-member]",
    ]


def test_zip_that_several_splits_share_is_reported_once(root):
    (root / MEMES.folder / "images.zip").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    (finding,) = examine(MEMES, root).findings
    assert (
        finding.message
        == "the zip is truncated: it has 44 bytes, but no directory at its end"
    )


def test_multilabel_set_may_have_images_with_any_number_of_labels(disk, tmp_path):
    disk.iris("classification/birds", NAMES, ["0,1", "", "2"], ["0,1,2", "", "1,1"])
    report = examine(
        Entry(
            **{
                **BIRDS.__dict__,
                "images": {"train": 3, "test": 3},
                "label_kind": "multilabel",
            }
        ),
        tmp_path,
    )
    assert kinds(report) == {"label-twice": 1} and report.status == "ok"


def test_many_findings_of_a_kind_are_counted(root):
    (root / BIRDS.folder / "labels.txt").write_text("ant\n")
    report = examine(BIRDS, root)
    lines = report.lines(shown=2)
    assert (
        "error: classification/birds/train.txt: and 2 more of this kind [label-range]"
        in lines
    )
    assert len(report.lines(shown=9)) == len(report.findings)


# -- the command -------------------------------------------------------------------------------------------------


def snapshot(folder):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_command_on_a_sound_root(root, capsys):
    before = snapshot(root)
    assert main(shlex.split(f"doctor --root {root}")) == 0
    assert snapshot(root) == before
    assert capsys.readouterr().out.splitlines() == [
        "birds: ok (6 train, 3 test)",
        "memes: ok (6 train, 3 test)",
        "pets: ok (6 train, 3 val, 3 test)",
        "3 ok, 0 damaged, 0 missing",
    ]


def test_command_names_every_damage(root, disk, capsys):
    """Check one root that is damaged in 17 ways at once."""
    birds, memes, pets = (root / entry.folder for entry in (BIRDS, MEMES, PETS))
    for damage in (
        "CRC",
        "truncated image",
        "label out of range",
        "line of words",
        "image twice",
        "labelmap with a name twice",
    ):
        if damage == "CRC":
            rezip(
                birds / "train.zip",
                lambda members: members.update({"readme.txt": b"x" * 80}),
            )
            flip(birds / "train.zip", "readme.txt", 9)
        elif damage == "truncated image":
            rezip(
                birds / "test.zip",
                lambda members: members.update(
                    {"test/2.png": members["test/2.png"][:50]}
                ),
            )
        elif damage == "image twice":
            edit(birds / "train.txt", "train/1.png", "train/0.png")
        elif damage == "line of words":
            edit(birds / "train.txt", "4.png 1", "4.png one")
        else:
            IRIS[damage][0](birds, disk)
    edit(birds / "test.txt", "test.zip@test/0.png", "train.zip@train/0.png")
    (birds / ".train.zip.part").write_bytes(b"PK")
    edit_json(
        memes / "train.json",
        lambda c: c["annotations"].append({"image_id": 99, "category_id": 5}),
    )
    edit_json(
        memes / "train.json", lambda c: c["annotations"][0].update(category_id=77)
    )
    (memes / "test.json").unlink()
    rezip(memes / "images.zip", lambda members: members.pop("train/5.png"))
    edit_json(pets / "split.json", lambda c: c.pop("val"))
    edit_json(pets / "split.json", lambda c: c["train"].append(["train_0.png"]))
    edit_json(pets / "split.json", lambda c: c["test"][1].__setitem__(2, "wasp"))
    (pets / "images" / "test_2.png").unlink()
    shutil.copy(pets / "images" / "train_0.png", pets / "images" / "test_0.png")
    assert main(shlex.split(f"doctor --root {root} --all")) == 1
    out = capsys.readouterr().out
    for kind in (
        "damaged-member",
        "unreadable-image",
        "label-range",
        "index-line",
        "image-twice",
        "labelmap-twice",
        "train-in-test",
        "image-count",
        "unfinished-download",
        "unknown-image",
        "no-label",
        "missing-index",
        "missing-member",
        "missing-split",
        "label-names",
        "missing-image",
        "same-content",
    ):
        assert f"[{kind}]" in out, kind
    assert out.splitlines()[-1] == "0 ok, 3 damaged, 0 missing"


def test_command_reports_missing_sets(root, capsys):
    shutil.rmtree(root / BIRDS.folder)
    assert main(shlex.split(f"doctor --root {root}")) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "missing: birds",
        "2 ok, 0 damaged, 1 missing",
    ]
    assert main(shlex.split(f"doctor --root {root} memes")) == 0
    assert main(shlex.split(f"doctor --root {root} birds")) == 1
    assert (
        f"birds needs labels.txt, train.txt, test.txt, train.zip, test.zip in {root / BIRDS.folder}"
        in capsys.readouterr().out
    )
    shutil.rmtree(root / MEMES.folder)
    shutil.rmtree(root / PETS.folder)
    assert main(shlex.split(f"doctor --root {root}")) == 1


def test_quick_reads_no_image(root, capsys):
    flip(root / BIRDS.folder / "train.zip", "train/2.png")
    assert main(shlex.split(f"doctor --root {root} --quick birds")) == 0
    assert main(shlex.split(f"doctor --root {root} birds")) == 1


def test_json_of_the_command(root, capsys):
    (root / BIRDS.folder / "test.txt").unlink()
    assert main(shlex.split(f"doctor --root {root} --json birds")) == 1
    (record,) = json.loads(capsys.readouterr().out)
    assert record["status"] == "damaged" and record["images"] == {"train": 6}
    finding = {
        "level": "error",
        "kind": "missing-index",
        "where": "classification/birds/test.txt",
        "message": "the file does not exist",
    }
    assert record["findings"] == [finding]


def test_wrong_commands_have_exit_code_2(root, capsys):
    assert main(shlex.split(f"doctor --root {root}/nowhere")) == 2
    assert main(shlex.split(f"doctor --root {root} bird")) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: data root {root / 'nowhere'} is not a folder",
        "error: no set is called 'bird'; the nearest names are birds, pets, memes",
    ]
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 2

"""One command over tasks of every kind: a set in CoOp's layout, a COCO set, a
multilabel set, a folder and a CSV.
"""

import io
import json
import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import datasets
import prompting
import train
import trainers
from datasets.coop import CoopTask
from datasets.elevater import ElevaterTask
from prompting.__main__ import main as use
from trainers.engine import command_line

QUICK = "OPTIM.MAX_EPOCH 1 DATALOADER.NUM_WORKERS 0"
PETS, ROADS, SCENES = (
    ("beagle", "pug"),
    ("left", "far", "right"),
    ("sea", "sky", "tree"),
)


def png(rng: np.random.Generator, label: int) -> bytes:
    pixels = rng.integers(0, 120, (24, 30, 3), dtype=np.uint8)
    pixels[..., label % 3] += 130
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_all(root: Path) -> None:
    """Write data/pets (CoOp), data/classification/roads (COCO) and scenes (IRIS),
    mine/photos, mine/signs.csv.
    """
    rng = np.random.default_rng(0)
    split = {"train": [], "val": [], "test": []}
    for part, rows in split.items():
        for k in range(6):
            rows.append([f"{part}_{k}.png", k % 2, PETS[k % 2]])
            put(root / "data/pets/images" / rows[-1][0], png(rng, k % 2))
    put(root / "data/pets/split.json", json.dumps(split))
    for part in ("train", "test"):
        folder = root / "data/classification"
        (folder / "roads").mkdir(parents=True, exist_ok=True)
        (folder / "scenes").mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / f"roads/{part}.zip", "w") as archive:
            for k in range(9):
                archive.writestr(f"{k}.png", png(rng, k))
        content = {
            "categories": [{"id": c + 1, "name": name} for c, name in enumerate(ROADS)],
            "images": [
                {"id": k + 1, "file_name": f"{k}.png", "zip_file": f"{part}.zip"}
                for k in range(9)
            ],
            "annotations": [
                {"id": k, "image_id": k + 1, "category_id": k % 3 + 1} for k in range(9)
            ],
        }
        put(folder / f"roads/{part}.json", json.dumps(content))
        with zipfile.ZipFile(folder / f"scenes/{part}.zip", "w") as archive:
            for k in range(9):
                archive.writestr(f"{k}.png", png(rng, k))
        fields = ["0", "1,2", "2", "0,1", "", "1", "0,2", "2", "1"]
        put(
            folder / f"scenes/{part}.txt",
            "".join(
                f"{part}.zip@{k}.png {f}".strip() + "\n" for k, f in enumerate(fields)
            ),
        )
    put(root / "data/classification/scenes/labels.txt", "\n".join(SCENES))
    for label, name in enumerate(("red_flower", "tulip")):
        for k in range(8):
            put(root / f"mine/photos/{name}/{k}.png", png(rng, label))
    lines = ["path,labels,split"]
    for k in range(12):
        put(root / f"mine/images/{k}.png", png(rng, k))
        lines.append(
            f"images/{k}.png,{('stop', 'stop|yield', 'yield')[k % 3]},{'test' if k > 7 else 'train'}"
        )
    put(root / "mine/signs.csv", "\n".join(lines))
    put(
        root / "mine/signs.yaml",
        "names: {stop: stop sign, yield: yield sign}\ntemplates: a {} by the road.\n",
    )


def task_classes() -> list[type]:
    iris = {
        "root_folder": "classification/scenes",
        "label_kind": "multilabel",
        "metric": "11point_mAP",
    }
    coco = {
        "root_folder": "classification/roads",
        "format": "coco",
        "train_index": "train.json",
        "test_index": "test.json",
    }
    coop = {"folder": "pets", "image_dir": "images", "split_json": "split.json"}
    classes = {
        "run-pets": (CoopTask, coop),
        "run-roads": (ElevaterTask, coco),
        "run-scenes": (ElevaterTask, iris),
    }
    return [
        type(name, (base,), {"name": name, **values})
        for name, (base, values) in classes.items()
    ]


@pytest.fixture(scope="module", autouse=True)
def registered():
    from dassl.data.datasets import DATASET_REGISTRY

    trainers.register_all()
    datasets.register_all()
    classes = [datasets.register_task(cls) for cls in task_classes()]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield
    torch.set_num_threads(threads)
    for cls in classes:
        del DATASET_REGISTRY._obj_map[cls.name]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_all(root)
    return root


@pytest.fixture(scope="module")
def main(world, log_as_before):
    """Return a function that runs `train.py` with the words of a string, the data root,
    one epoch and the pocket model; it leaves logging as it was.
    """

    def run(command, quick=QUICK) -> int:
        words = shlex.split(f"--root {world}/data {command} {quick}")
        with log_as_before():
            return train.main(words)

    return run


def image_tasks(world: Path) -> str:
    return f"folder:{world}/mine/photos,csv:{world}/mine/signs.csv"


def read(path: Path):
    return json.loads(path.read_text())


NAMES = ["run-pets", "run-roads", "run-scenes", "photos", "signs"]


@pytest.fixture(scope="module")
def run(world, main, tmp_path_factory) -> Path:
    """Return the folder of one multitask run over all five."""
    out = tmp_path_factory.mktemp("run") / "out"
    tasks = f"run-pets,run-roads,run-scenes,{image_tasks(world)}"
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*")}
    assert (
        main(f"--trainer MVPT --dataset {tasks} --shots 2 --seed 3 --output-dir {out}")
        == 0
    )
    # nothing is written into the data
    assert {path: path.stat().st_mtime_ns for path in world.rglob("*")} == before
    return out


def test_one_run_over_five_kinds_of_tasks(run):
    records = {record["task"]: record for record in read(run / "results.json")}
    assert list(records) == NAMES
    assert {name: record["metric"] for name, record in records.items()} == {
        "run-pets": "accuracy",
        "run-roads": "accuracy",
        "run-scenes": "11point_mAP",
        "photos": "accuracy",
        "signs": "11point_mAP",
    }
    assert [record["test_images"] for record in records.values()] == [6, 9, 9, 3, 4]
    assert [record["classes"] for record in records.values()] == [2, 3, 3, 2, 2]
    assert {path.name for path in (run / "predictions").iterdir()} == {
        f"seed3_{name}.json" for name in NAMES
    }
    assert {path.name for path in (run / "fewshot").iterdir()} == {
        f"{name}.json" for name in NAMES
    }
    drawn = read(run / "fewshot" / "photos.json")
    assert (drawn["task"], drawn["shots"], drawn["seed"]) == ("photos", 2, 3)
    assert re.fullmatch(r"(red_flower|tulip)/\d.png", drawn["train"][0])
    assert all(
        key.startswith("images/")
        for key in read(run / "fewshot" / "signs.json")["train"]
    )


def test_no_shared_file_names_a_path_of_the_machine(run, world):
    files = [
        path for path in run.rglob("*") if path.is_file() and path.name != "log.txt"
    ]
    assert len(files) > 12
    for path in files:
        content = path.read_bytes()
        assert (
            str(world).encode() not in content
            and str(run.parent).encode() not in content
        ), path.name
    assert (
        "DATASET: run-pets,run-roads,run-scenes,folder:photos,csv:signs.csv"
        in (run / "config.yaml").read_text()
    )


def test_the_prompt_knows_its_classes_and_predicts_what_the_run_did(run, world, capsys):
    with safe_open(run / "prompts.safetensors", framework="pt") as file:
        metadata = file.metadata()
    classes = json.loads(metadata["classes"])
    assert list(classes) == NAMES and classes["signs"] == ["stop sign", "yield sign"]
    assert (classes["photos"], metadata["backbone"]) == (
        ["red_flower", "tulip"],
        "pocket",
    )
    predictor = prompting.load(run)
    for name, folder in (("signs", world / "mine"), ("photos", world / "mine/photos")):
        words = shlex.split("--trainer CoOp --dataset x --shots 2")
        cfg = command_line.configuration(train.arguments().parse_args(words))
        task = datasets.build_task(
            cfg,
            next(
                spec
                for spec in image_tasks(world).split(",")
                if datasets.task_name(spec) == name
            ),
        )
        assert task.test[0].impath.startswith(str(folder))
        got = predictor.probabilities(
            [sample.impath for sample in task.test], task=name
        )
        wanted = read(run / "predictions" / f"seed3_{name}.json")["predictions"][0]
        assert np.allclose(got.numpy(), wanted, atol=2e-5)
    assert (
        use(
            shlex.split(
                f"predict {run} {world}/mine/photos/tulip --task photos --json --device cpu"
            )
        )
        == 0
    )
    records = json.loads(capsys.readouterr().out)
    assert len(records) == 8 and {
        row["class"] for row in records[0]["predictions"]
    } == {"red_flower", "tulip"}
    assert use(shlex.split(f"predict {run} {world}/mine/photos --device cpu")) == 2
    assert "--task" in capsys.readouterr().err


def test_the_same_images_are_drawn_alone_and_can_be_replayed(
    run, main, world, tmp_path
):
    photos = f"--trainer CoOp --dataset folder:{world}/mine/photos"
    assert main(f"{photos} --shots 2 --seed 3 --output-dir {tmp_path}/alone") == 0
    record = read(run / "fewshot/photos.json")
    assert read(tmp_path / "alone/fewshot/photos.json") == record
    for k, where in enumerate((run, run / "fewshot", run / "fewshot/photos.json")):
        out = tmp_path / str(k)
        # shots are the record's
        assert main(f"{photos} --seed 9 --fewshot {where} --output-dir {out}") == 0
        assert read(out / "fewshot/photos.json") == record
        assert (
            read(out / "results.json")[0]["shots"] == 2
            and read(out / "results.json")[0]["seed"] == 9
        )
        assert str(run) not in (out / "config.yaml").read_text()
    pets = f"--trainer CoOp --dataset run-pets --shots 2 --seed 5 --fewshot {run}"
    assert main(f"{pets} --output-dir {tmp_path}/pets") == 0
    assert read(tmp_path / "pets/fewshot/run-pets.json") == read(
        run / "fewshot/run-pets.json"
    )


def test_two_stages_with_groups(main, world, tmp_path):
    put(tmp_path / "groups.yaml", "photos: [signs]\n")
    out = tmp_path / "out"
    argv = (
        f"--trainer MCoOp --source run-pets,csv:{world}/mine/signs.csv "
        f"--dataset folder:{world}/mine/photos,run-roads --shots 2 "
        f"--groups {tmp_path}/groups.yaml"
    )
    assert (
        main(f"{argv} --output-dir {out}", quick=f"{QUICK} MULTITASK.SOURCE_SHOTS 1")
        == 0
    )
    assert {path.name for path in (out / "adapt").iterdir()} == {"photos", "run-roads"}
    assert [record["task"] for record in read(out / "results.json")] == [
        "photos",
        "run-roads",
    ]
    assert {path.name for path in (out / "adapt/photos/fewshot").iterdir()} == {
        "photos.json",
        "signs.json",
    }
    assert (
        str(world)
        not in (out / "adapt/photos/config.yaml").read_text()
        + (out / "config.yaml").read_text()
    )
    shots = [
        read(out / folder / "fewshot/signs.json")["shots"]
        for folder in ("source", "adapt/photos")
    ]
    assert shots == [1, 2]


def test_a_two_stage_run_is_replayed_whole(main, world, tmp_path):
    argv = (
        "--trainer MCoOp --source run-pets "
        f"--dataset folder:{world}/mine/photos,run-roads"
    )
    assert main(f"{argv} --shots 2 --output-dir {tmp_path}/one") == 0
    assert (
        main(f"{argv} --seed 8 --fewshot {tmp_path}/one --output-dir {tmp_path}/two")
        == 0
    )
    records = sorted(
        path.relative_to(tmp_path / "one")
        for path in (tmp_path / "one").rglob("fewshot/*.json")
    )
    assert [path.name for path in records] == [
        "photos.json",
        "run-roads.json",
        "run-pets.json",
    ]
    for path in records:
        assert read(tmp_path / "two" / path) == read(tmp_path / "one" / path)
    assert read(tmp_path / "two/results.json")[0]["seed"] == 8


def test_own_images_that_changed_are_not_taken_for_the_same_run(main, tmp_path, capsys):
    rng = np.random.default_rng(1)
    for label, name in enumerate(("cat", "dog")):
        for k in range(6):
            put(tmp_path / f"p/{name}/{k}.png", png(rng, label))
    argv = (
        f"--trainer CoOp --dataset folder:{tmp_path}/p --shots 2 "
        f"--output-dir {tmp_path}/out"
    )
    assert main(argv) == 0
    before = (tmp_path / "out/results.json").stat().st_mtime_ns
    assert main(argv) == 0
    assert (tmp_path / "out/results.json").stat().st_mtime_ns == before
    for k in range(6, 16):
        put(tmp_path / f"p/cat/{k}.png", png(rng, 0))
    assert main(argv) == 2
    assert "it differs in the images of p" in capsys.readouterr().err


@pytest.fixture
def refused(main, world, tmp_path, capsys):
    """Return a function that returns the message of a run that ends with code 2 and
    writes nothing.
    """

    def run(words) -> str:
        command = f"--trainer MCoOp --shots 2 --output-dir {tmp_path}/out {words}"
        assert main(command) == 2
        assert not (tmp_path / "out").exists()
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("error: ")
        return message

    return run


def test_wrong_data_end_with_code_2_and_the_line(refused, world, tmp_path):
    put(
        tmp_path / "a.csv",
        f"path,label,split\n{world}/mine/images/0.png,x,train\n{world}/mine/images/1.png,y,dev\n",
    )
    assert f"{tmp_path}/a.csv:3: unknown split 'dev'" in refused(
        f"--dataset csv:{tmp_path}/a.csv"
    )
    assert f"{tmp_path}/a.csv:3" in refused(f"--dataset run-pets,csv:{tmp_path}/a.csv")
    put(tmp_path / "one/cat/0.png", png(np.random.default_rng(0), 0))
    put(tmp_path / "one/cat/1.png", png(np.random.default_rng(0), 0))
    assert f"{tmp_path}/one has one class, 'cat'" in refused(
        f"--dataset folder:{tmp_path}/one"
    )
    put(tmp_path / "one.yaml", "metrics: accuracy")
    assert "one.yaml: unknown key 'metrics'; the nearest is 'metric'" in refused(
        f"--dataset folder:{tmp_path}/one"
    )
    assert "no folder" in refused("--dataset folder:nowhere/at/all")


def test_two_tasks_of_one_name(refused, world, tmp_path):
    put(tmp_path / "signs.csv", (world / "mine/signs.csv").read_bytes())
    both = f"csv:{world}/mine/signs.csv,csv:{tmp_path}/signs.csv"
    assert "task signs is given twice" in refused(f"--dataset {both}")
    assert "task signs is given twice" in refused(f"--trainer CoOp --dataset {both}")


def test_records_that_do_not_belong(refused, run, world, tmp_path):
    photos = f"--dataset folder:{world}/mine/photos"
    assert "is a record of none of the tasks, but of signs" in refused(
        f"{photos} --fewshot {run}/fewshot/signs.json"
    )
    assert "no file" in refused(f"{photos} --fewshot {tmp_path}/no.json")
    assert "was drawn with 2 shots, but DATASET.NUM_SHOTS is 5" in refused(
        f"{photos} --shots 5 --fewshot {run}"
    )

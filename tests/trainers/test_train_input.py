"""Wrong input: one message that names the fault, exit code 2, and nothing written."""

import json
import shutil
from pathlib import Path

import pytest
import tiny_world
from PIL import Image

from datasets import multitask, register_task
from prompting.checkpoints.prompt_files import load_prompts
from trainers.engine import context
from trainers.features import store

ONE = "--dataset toy-shapes --shots 3"
TWO = "--dataset toy-shapes,toy-pets --shots 3"


WRONG = [
    (f"--trainer CoOpp {ONE}", ["'CoOpp'", "'CoOp'", "--trainer"]),
    (f"--trainer vpt {ONE}", ["'vpt'", "'VPT'"]),
    ("--trainer CoOp --dataset toy-shape --shots 3", ["'toy-shape'", "toy-shapes"]),
    (
        "--trainer MCoOp --dataset toy-shapes,toy-pet --shots 3",
        ["'toy-pet'", "toy-pets"],
    ),
    (
        "--trainer MCoOp --dataset toy-shapes,toy-shapes --shots 3",
        ["toy-shapes", "twice"],
    ),
    (
        "--trainer MCoOp --dataset toy-pets --source toy-shape --shots 3",
        ["'toy-shape'", "toy-shapes"],
    ),
    (f"--trainer CoOp {ONE} --backbone ViT-B/61", ["'ViT-B/61'", "ViT-B/16"]),
    (f"--trainer CoOp {ONE} --backbone ./no/such.pt", ["./no/such.pt"]),
    (
        f"--trainer CoOp {ONE} TRAINER.MVLPT.COOP.N_CTXX 4",
        ["TRAINER.MVLPT.COOP.N_CTXX", "'TRAINER.MVLPT.COOP.N_CTX'"],
    ),
    (f"--trainer CoOp {ONE} OPTIM.LR 1 --eval-only", ["--eval-only", "KEY VALUE"]),
    (f"--trainer CoOp {ONE} OPTIM.LR", ["KEY VALUE", "'OPTIM.LR'"]),
    (f"--trainer CoOp {ONE} OPTIM.LR fast", ["OPTIM.LR", "'fast'"]),
    (f"--trainer CoOp {ONE} OPTIM.MAX_EPOCH 2.5", ["OPTIM.MAX_EPOCH", "2.5"]),
    (f"--trainer CoOp {ONE} OPTIM.MAX_EPOCH 0", ["OPTIM.MAX_EPOCH"]),
    (f"--trainer CoOp {ONE} OPTIM.NAME sdg", ["sdg", "sgd"]),
    (f"--trainer CoOp {ONE} OPTIM.LR_SCHEDULER cosin", ["cosin", "cosine"]),
    (f"--trainer CoOp {ONE} DATALOADER.TRAIN_X.BATCH_SIZE 0", ["BATCH_SIZE", "0"]),
    (
        f"--trainer CoOp {ONE} TRAINER.MVLPT.PREC fp8",
        ["TRAINER.MVLPT.PREC", "'fp8'", "fp16"],
    ),
    (
        f"--trainer UPT {ONE} TRAINER.MVLPT.PROJECT_METHOD transformr",
        ["TRAINER.MVLPT.PROJECT_METHOD", "transformer"],
    ),
    (
        f"--trainer UPT {ONE} TRAINER.MVLPT.PROJECT_HEADS 5",
        ["PROJECT_HEADS", "5", "48"],
    ),
    (
        f"--trainer CoOp {ONE} TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION centre",
        ["CLASS_TOKEN_POSITION", "'centre'", "middle"],
    ),
    (
        f"--trainer MCoOp {TWO} MULTITASK.MIXING unifrom",
        ["MULTITASK.MIXING", "uniform"],
    ),
    (
        f"--trainer MCoOp {TWO} MULTITASK.TEMPERATURE 0 MULTITASK.MIXING temperature",
        ["MULTITASK.TEMPERATURE", "0"],
    ),
    (
        f"--trainer MCoOp {TWO} MULTITASK.LABEL_SPACE tasks",
        ["MULTITASK.LABEL_SPACE", "task, union"],
    ),
    (f"--trainer MCoOp {TWO} TEST.FINAL_MODEL best", ["TEST.FINAL_MODEL", "best_val"]),
    (
        f"--trainer MCoOp {TWO} --multi-task-evalkey toy-pet",
        ["DATASET.MULTITASK_EVALKEY", "toy-pets"],
    ),
    (f"--trainer MCoOp {TWO} TRAINER.MVLPT.COOP.CSC True", ["TRAINER.MVLPT.COOP.CSC"]),
    (
        f"--trainer CoOp {ONE} TRAINER.MVLPT.COOP.CSC 'yes please'",
        ["TRAINER.MVLPT.COOP.CSC", "'yes please'"],
    ),
    (
        f"--trainer CoOp {ONE} TRAINER.MVLPT.COOP.N_CTX 0",
        ["TRAINER.MVLPT.COOP.N_CTX", "0"],
    ),
    (f"--trainer CoOp {ONE} TRAINER.MVLPT.COOP.N_CTX 39", ["39", "40"]),
    (
        f"--trainer VPT {ONE} TRAINER.MVLPT.VPT.N_CTX 0",
        ["TRAINER.MVLPT.VPT.N_CTX", "0"],
    ),
    (
        f"--trainer UPT {ONE} TRAINER.MVLPT.VPT.N_CTX -1",
        ["TRAINER.MVLPT.VPT.N_CTX", "-1"],
    ),
    (
        f"--trainer MVLPT {ONE} TRAINER.MVLPT.VPT.N_CTX 0 TRAINER.MVLPT.COOP.N_CTX 0",
        ["TRAINER.MVLPT.COOP.N_CTX", "TRAINER.MVLPT.VPT.N_CTX"],
    ),
    (f"--trainer VPT {ONE} TRAINER.MVLPT.VPT.DROPOUT 1.5", ["DROPOUT", "1.5"]),
    (
        f"--trainer VPT {ONE} TRAINER.MVLPT.VPT.CTX_INIT 'a photo'",
        ["TRAINER.MVLPT.VPT.CTX_INIT"],
    ),
    ("--trainer CoOp --dataset toy-shapes --shots -3", ["NUM_SHOTS", "-3"]),
    ("--trainer CoOp --dataset toy-shapes --shots 0", ["--model-dir"]),
    (f"--trainer CoOp {ONE} --seed -4", ["--seed", "-4"]),
    (f"--trainer CoOp {ONE} --eval-only", ["--eval-only", "--model-dir"]),
    (f"--trainer VPT {TWO} --eval-only", ["--eval-only", "--model-dir"]),
    (f"--trainer CoOp {ONE} --model-dir no/such/run", ["no/such/run"]),
    (f"--trainer CoOp {ONE} --eval-only --model-dir no/such/run", ["no/such/run"]),
    (f"--trainer VPT {TWO} --model-dir no/such/run", ["no/such/run"]),
    (f"--trainer CoOp {ONE} --resume no/such/run", ["no/such/run"]),
    (
        "--trainer CoOp --dataset toy-shapes,toy-pets --source toy-pets --shots 3",
        ["MCoOp", "--source"],
    ),
    (f"--trainer CoOp {ONE} --groups no/groups.yaml", ["--groups", "no/groups.yaml"]),
]
every_mistake = pytest.mark.parametrize(
    ("argv", "words"), WRONG, ids=[argv for argv, _ in WRONG]
)


@every_mistake
def test_the_message_names_what_is_wrong(refuse, argv, words):
    message = refuse(argv)
    assert [word for word in words if word not in message] == [], message


@every_mistake
def test_nothing_is_left_behind(refuse, tmp_path, argv, words):
    refuse(argv)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("OPTIM: {LRR: 0.1}\n", ["OPTIM.LRR", "'OPTIM.LR'"]),
        (
            "TRAINER: {MVLPT: {VPT: {N_CTXS: 4}}}\n",
            ["TRAINER.MVLPT.VPT.N_CTXS", "TRAINER.MVLPT.VPT.N_CTX"],
        ),
        ("OPTIM: {LR: fast}\n", ["OPTIM.LR", "fast"]),
        ("OPTIM: 3\n", ["OPTIM"]),
        ("TRAINER: 3\n", ["TRAINER"]),
        ("OPTIM: {LR: {a: 1}}\n", ["OPTIM.LR"]),
        ("OPTIM: [unclosed\n", ["YAML"]),
        ("- a list\n", ["keys"]),
    ],
)
def test_the_message_names_the_configuration_file(refuse, tmp_path, text, words):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    message = refuse(f"--trainer CoOp {ONE}", config=file)
    assert "mine.yaml" in message
    assert [word for word in words if word not in message] == [], message


def test_a_missing_configuration_file_is_named_with_its_neighbours(refuse, quick):
    message = refuse(f"--trainer CoOp {ONE}", config=quick.with_name("quik.yaml"))
    assert "quik.yaml" in message and "quick.yaml" in message


def test_a_missing_data_root_is_named(refuse, tmp_path):
    assert (
        "no data root"
        in (message := refuse(f"--trainer CoOp {ONE}", data=tmp_path / "nowhere"))
        and "nowhere" in message
    )


def test_a_data_set_without_root_says_which_flag_is_missing(
    refuse, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert "--root" in refuse(f"--trainer CoOp {ONE}", data=None)


# -- data that are there, but wrong ------------------------------------------------------------------------------


@pytest.fixture
def damaged(root, tmp_path):
    """Return a copy of the data, to be damaged."""
    return Path(shutil.copytree(root, tmp_path / "data"))


def test_a_class_without_training_images_is_named(refuse, damaged):
    with (damaged / "classification/shapes/labels.txt").open("a") as file:
        file.write("comet\n")
    message = refuse(f"--trainer CoOp {ONE}", data=damaged)
    assert "'comet'" in message and "train.txt" in message


def test_a_class_without_training_images_in_a_split_file_is_named(refuse, damaged):
    path = damaged / "pets" / "split.json"
    splits = json.loads(path.read_text())
    splits["train"] = [row for row in splits["train"] if row[1] != 1]
    path.write_text(json.dumps(splits))
    message = refuse("--trainer CoOp --dataset toy-pets --shots 3", data=damaged)
    assert "'beagle'" in message and "split.json" in message


@pytest.mark.parametrize(
    ("trainer", "split"),
    [
        (name, split)
        for name in ("CoOp", "VPT", "MUPT")
        for split in ("train", "val", "test")
    ]
    + [("ZeroshotCLIP", "test")],
)
def test_a_truncated_image_is_named_and_the_run_can_be_repeated(
    refuse, main, damaged, root, tmp_path, trainer, split
):
    image = damaged / "pets" / "images" / "beagle" / f"{split}_1.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    arguments = f"--trainer {trainer} --dataset toy-pets --shots -1"
    assert str(image) in refuse(arguments, data=damaged)
    out = tmp_path / "out"
    assert not (out / "results.json").exists() and not (out / "predictions").exists()
    image.write_bytes(whole)
    assert main(f"--output-dir {out} {arguments} --resume auto", data=damaged) == 0
    assert (out / "results.json").is_file()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_image_is_named(refuse, damaged, split):
    image = damaged / "pets" / "images" / "beagle" / f"{split}_1.png"
    image.unlink()
    assert str(image) in refuse(
        "--trainer CoOp --dataset toy-pets --shots -1", data=damaged
    )


def test_a_missing_zip_is_named(refuse, damaged):
    (damaged / "classification/shapes/test.zip").unlink()
    assert "shapes/test.zip" in refuse(f"--trainer CoOp {ONE}", data=damaged)


def test_a_label_out_of_range_is_named_by_its_line(refuse, damaged):
    with (damaged / "classification/shapes/train.txt").open("a") as file:
        file.write("train.zip@train/0.png 9\n")
    assert "train.txt:16" in refuse(f"--trainer CoOp {ONE}", data=damaged)


@pytest.mark.parametrize("trainer", ["CoOp", "VPT"])
def test_damaged_test_images_are_named_before_anything_is_written(
    refuse, damaged, tmp_path, trainer
):
    for name, length in (("test_0", 150), ("test_1", 200)):  # their headers are whole
        image = damaged / "pets" / "images" / "beagle" / f"{name}.png"
        image.write_bytes(image.read_bytes()[:length])
    message = refuse(f"--trainer {trainer} --dataset toy-pets --shots 3", data=damaged)
    assert (
        "beagle/test_0.png" in message
        and "(and 1 more images of this split)" in message
    )
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_a_damaged_test_image_of_a_target_is_named_before_the_sources_are_trained(
    refuse, damaged, tmp_path
):
    image = damaged / "pets" / "images" / "beagle" / "test_1.png"
    image.write_bytes(image.read_bytes()[:200])
    out = tmp_path / "out"
    message = refuse(
        "--trainer MVPT --source toy-shapes --dataset toy-pets --shots 3", data=damaged
    )
    assert str(image) in message and not (out / "source").exists()


@pytest.mark.parametrize("trainer", ["CoOp", "VPT", "ZeroshotCLIP"])
def test_test_images_that_were_decoded_early_are_not_decoded_again(
    main, tmp_path, monkeypatch, trainer
):
    read, original = [], multitask.read_image
    monkeypatch.setattr(
        multitask,
        "read_image",
        lambda path, *more: (read.append(path), original(path, *more))[1],
    )
    arguments = (
        f"--trainer {trainer} --dataset toy-pets --shots 3 --no-cache --no-zero-shot"
    )
    for name, most in (("early", 5000), ("late", 0)):
        store.get_backbone.cache_clear()
        read.clear()
        monkeypatch.setattr(context, "MOST_DECODED", most)
        assert main(f"--output-dir {tmp_path}/{name} {arguments}") == 0
        tested = [path for path in read if "/test_" in path]
        assert len(tested) == len(set(tested)) > 5
        assert (tested == read[: len(tested)]) is (
            name == "early" or trainer == "ZeroshotCLIP"
        )
    predictions = [
        next((tmp_path / name / "predictions").iterdir()).read_bytes()
        for name in ("early", "late")
    ]
    assert predictions[0] == predictions[1]


def test_transparent_images_are_laid_on_the_configured_background(
    main, damaged, tmp_path
):
    for path in (damaged / "pets" / "images").rglob("*.png"):
        image = Image.open(path).convert("RGBA")
        image.putalpha(60)
        image.save(path)
    scores = {}
    for background in ("white", "black", "none"):
        out = tmp_path / background
        arguments = (
            f"--trainer CoOp --dataset toy-pets --shots 3 INPUT.BACKGROUND {background}"
        )
        assert main(f"--output-dir {out} {arguments}", data=damaged) == 0
        assert (
            load_prompts(out / "prompts.safetensors")[1]["preprocessing"]["background"]
            == background
        )
        scores[background] = next((out / "predictions").iterdir()).read_text()
    assert len(set(scores.values())) == 3


def test_an_unknown_background_is_refused(refuse):
    message = refuse(f"--trainer CoOp {ONE} INPUT.BACKGROUND grey")
    assert "INPUT.BACKGROUND is 'grey'; it is one of white, black, none" in message


def test_a_damaged_task_among_good_targets_stops_before_anything_is_trained(
    refuse, damaged
):
    (damaged / "classification/marks/test.txt").unlink()
    message = refuse(
        "--trainer MCoOp --source toy-pets --dataset toy-shapes,toy-marks --shots 3",
        data=damaged,
    )
    assert "marks/test.txt" in message


def test_best_val_without_validation_images_is_refused(refuse, damaged):
    path = damaged / "pets" / "split.json"
    splits = json.loads(path.read_text())
    path.write_text(json.dumps({**splits, "val": []}))
    message = refuse("--trainer CoOp --dataset toy-pets --shots 3", data=damaged)
    assert "best_val" in message and "validation" in message


def test_a_multilabel_task_scored_by_accuracy_is_refused(refuse, world):
    from dassl.data.datasets import DATASET_REGISTRY

    register_task(tiny_world.iris_task("toy-wrong", "scenes", "multilabel", "accuracy"))
    try:
        assert "toy-wrong" in refuse("--trainer CoOp --dataset toy-wrong --shots 3")
    finally:
        del DATASET_REGISTRY._obj_map["toy-wrong"]


# -- groups ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("toy-shapes: toy-pets\n", ["list"]),
        ("[a, b]\n", ["map"]),
        ("{unclosed\n", []),
        ("toy-marks: [toy-pets]\n", ["toy-marks", "--dataset"]),
        ("toy-shapes: [toy-pet]\n", ["toy-pet", "toy-pets"]),
        ("toy-shapes: [1, 2]\n", ["1"]),
    ],
)
def test_bad_groups_are_refused(refuse, tmp_path, text, words):
    file = tmp_path / "groups.yaml"
    file.write_text(text)
    message = refuse(f"--trainer MCoOp {ONE} --groups {file}")
    assert [word for word in words if word not in message] == [], message


def test_a_run_that_neither_trains_nor_tests_is_refused(refuse, quick):
    message = "TEST.NO_TEST is True, but nothing is trained"
    one = ["--dataset", "toy-shapes", "TEST.NO_TEST", "True"]
    assert message in refuse("--trainer", "ZeroshotCLIP", *one)
    sources = ["--trainer", "MCoOp", "--source", "toy-pets", "--shots", 0]
    assert message in refuse(*sources, *one)


@pytest.mark.parametrize("name", ["a" * 300, "here/" + "é" * 200, "loop"])
def test_an_output_folder_that_cannot_be_is_wrong_input(main, tmp_path, capsys, name):
    (tmp_path / "loop").symlink_to("loop")
    line = ["--trainer", "CoOp", "--dataset", "toy-shapes", "--shots", 2]
    assert main(*line, "--output-dir", tmp_path / name) == 2
    message = capsys.readouterr().err
    assert "error: --output-dir (OUTPUT_DIR): " in message
    assert name.rpartition("/")[2] in message and "--resume" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Folder:{}", "custom images are called folder:{}, not Folder:"),
        ("image_folder:{}", "custom images are called folder:{}, not image_folder:"),
        ("{}", "custom images are called folder:{}"),
    ],
)
def test_a_kind_of_custom_images_that_does_not_exist(refuse, tmp_path, name, hint):
    photos = tmp_path / "photos"
    photos.mkdir()
    message = refuse("--trainer", "CoOp", "--dataset", name.format(photos))
    assert hint.format(photos) in message


def test_flags_that_do_not_exist_are_refused(main, capsys):
    with pytest.raises(SystemExit) as stop:
        main("--trainr CoOp")
    assert stop.value.code == 2
    assert "--trainr" in capsys.readouterr().err

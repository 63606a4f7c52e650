"""Keys of Dassl: those that choose the scored images work, those that nobody reads are
errors; workers of any kind.
"""

import csv
import multiprocessing
import pickle
import shlex

import numpy as np
import pytest
import torch
from dassl.engine import TRAINER_REGISTRY
from run_files import read

import train
import trainers
from datasets import build_task
from datasets.custom.task import task_class
from scripts.study import work
from scripts.study.tables import latex_text, markdown_text, paper_scores
from trainers.engine import command_line, external
from trainers.engine.config import (
    is_native,
    resolve,
    trainer_class,
    with_overrides,
)
from trainers.engine.settings import declared_keys, reads
from trainers.engine.tables import class_scores, confusion
from trainers.engine.value_checks import check
from trainers.features import loaders
from trainers.features.builders import build_images

ONE = "--dataset toy-shapes --shots 3"


def configured(command):
    args = train.arguments().parse_args(shlex.split(command))
    return command_line.configuration(args)


def issues(*pairs, trainer="CoOp", dataset="pocket-digits"):
    cfg = resolve(trainer, [], {"DATASET.DATASET": dataset}, list(pairs))
    with pytest.raises(ValueError) as refused:
        check(cfg, trainer_class(trainer).multitask)
    return str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATALOADER.TRAIN_X.SAMPLER", "NoSuchSampler"),
        ("DATALOADER.TRAIN_U.BATCH_SIZE", "4"),
        ("DATALOADER.K_TRANSFORMS", "2"),
        ("MODEL.INIT_WEIGHTS", "/nowhere.pth"),
        ("MODEL.HEAD.NAME", "mlp"),
        ("OPTIM.STAGED_LR", "True"),
        ("OPTIM.NEW_LAYERS", "[ctx]"),
        ("TEST.EVALUATOR", "Detection"),
        ("TRAIN.COUNT_ITER", "train_u"),
        ("DATASET.SOURCE_DOMAINS", "[a]"),
        ("DATASET.TEST_SET", "test"),
        ("TRAINER.DDAIG.ALPHA", "0.2"),
        ("VERSION", "2"),
        ("INPUT.CUTOUT_N", "5"),
        ("INPUT.RANDAUGMENT_M", "9"),
        ("INPUT.RRCROP_SCALE", "(0.5, 1.0)"),
        ("INPUT.GB_K", "5"),
    ],
)
def test_a_key_that_nobody_reads_is_named(key, value):
    message = issues(key, value)
    assert (
        message.startswith(f"{key} is ") and "read" in message and "\n" not in message
    )


def test_defaults_of_unread_keys_may_be_given():
    cfg = resolve(
        "CoOp",
        [],
        {"DATASET.DATASET": "toy-shapes"},
        ["DATALOADER.TRAIN_X.SAMPLER", "RandomSampler"],
    )
    check(cfg, False)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("INPUT.SIZE", "-1"), "INPUT.SIZE is (-1,)"),
        (("INPUT.SIZE", "(32,48)"), "INPUT.SIZE is (32, 48)"),
        (("INPUT.PIXEL_MEAN", "0.5"), "INPUT.PIXEL_MEAN is [0.5]; it is three numbers"),
        (("INPUT.TRANSFORMS", "5"), "INPUT.TRANSFORMS is 5"),
        (("TEST.SPLIT", "nosuch"), "TEST.SPLIT is 'nosuch'; it is one of test, val"),
        (
            ("TRAINER.MVLPT.VPT.N_CTX", "100000000"),
            "TRAINER.MVLPT.VPT.N_CTX is 100000000; it is from 0 to 1024",
        ),
        (("CACHE.MAX_GB", "nan"), "CACHE.MAX_GB is nan"),
        (
            ("MULTITASK.TEMPERATURE", "3"),
            "MULTITASK.MIXING is 'proportional': it counts with temperature",
        ),
        (
            ("TEST.HALF_WEIGHT_SHOTS", "4"),
            "TEST.INTERPOLATE is '': it counts with shots or val",
        ),
        (
            ("SEED", "99999999999"),
            "SEED (--seed) is 99999999999; a seed is at most 4294967295",
        ),
        (("OPTIM.STEPSIZE", "x"), "OPTIM.STEPSIZE is ('x',)"),
        (("MULTITASK.TEMPERATURE", "nan"), "MULTITASK.TEMPERATURE is nan"),
        (("TRAIN.PRINT_FREQ", "0"), "TRAIN.PRINT_FREQ is 0; it must be positive"),
        (("TRAIN.CHECKPOINT_FREQ", "-1"), "TRAIN.CHECKPOINT_FREQ is -1; it is 0"),
        (
            ("TRAINER.MVLPT.PROJECT_HEADS", "3"),
            "TRAINER.MVLPT.PROJECT_DIM is 128; it is a multiple",
        ),
    ],
)
def test_a_value_out_of_range_is_named(pair, words):
    assert words in issues(*pair)


@pytest.mark.parametrize(
    ("transform", "key", "value", "words"),
    [
        ("gaussian_blur", "INPUT.GB_K", "4", "it is an odd number of pixels"),
        ("gaussian_blur", "INPUT.GB_P", "1.5", "it is a probability, 0 to 1"),
        ("cutout", "INPUT.CUTOUT_LEN", "-2", "it is 0 to 8192 pixels"),
        ("random_crop", "INPUT.CROP_PADDING", "-1", "it is 0 to 8192 pixels"),
        ("colorjitter", "INPUT.COLORJITTER_H", "0.7", "it is from 0 to 0.5"),
        ("randaugment", "INPUT.RANDAUGMENT_M", "31", "it is from 0 to 30"),
        ("random_resized_crop", "INPUT.RRCROP_SCALE", "(1, 0.5)", "it is the least"),
        ("random_resized_crop", "INPUT.RRCROP_SCALE", "[0.5]", "it is the least"),
    ],
)
def test_a_wrong_value_of_a_transform_is_named(transform, key, value, words):
    message = issues("INPUT.TRANSFORMS", f"[{transform}, normalize]", key, value)
    assert message.startswith(f"{key} is ") and f"; {words}" in message
    assert "does not read it" not in message


def test_the_keys_of_a_transform_that_is_used_are_read():
    for transform, key, value in (
        ("cutout", "INPUT.CUTOUT_N", "5"),
        ("randaugment2", "INPUT.RANDAUGMENT_N", "3"),
        ("random_resized_crop", "INPUT.RRCROP_SCALE", "(0.5, 1)"),
    ):
        words = ["INPUT.TRANSFORMS", f"[{transform}]", key, value]
        check(resolve("CoOp", [], {"DATASET.DATASET": "pocket-digits"}, words), False)


@pytest.mark.parametrize(
    ("trainer", "key", "value", "range_"),
    [
        ("APT", "TEST.HALF_WEIGHT_SHOTS", "-2", "0 or more"),
        ("MAPT", "TEST.HALF_WEIGHT_SHOTS", "nan", "0 or more"),
        ("IVLP", "TRAINER.IVLP.N_CTX_VISION", "100000000", "from 0 to 1024"),
        ("MaPLe", "TRAINER.MAPLE.N_CTX", "1000000", "from 0 to 1024"),
        ("KgCoOp", "TRAINER.KGCOOP.W", "-3", "from 0 to 1000000000.0"),
        ("ProGrad", "TRAINER.PROGRAD.T", "0", "from 0.001 to 1000000000.0"),
        ("MPromptSRC", "TRAINER.PROMPTSRC.GPA_STD", "0", "from 0.001 to"),
        ("CoOp", "OPTIM.LR", "1e38", "from 0 to 1e+30"),
        ("CoOp", "OPTIM.WEIGHT_DECAY", "1e38", "from 0 to 1e+30"),
        ("CoOp", "CACHE.MAX_GB", "1e300", "from 0 to 1000000000.0"),
        ("CoOp", "OPTIM.MIN_UPDATES", "-5", "0 or more"),
        ("MCoOp", "MULTITASK.TEMPERATURE", "0.001", "from 0.02 to 1000000000.0"),
        ("CoOp", "OPTIM.GAMMA", "1e300", "above 0 and at most 1"),
        ("CoOp", "OPTIM.GAMMA", "0", "above 0 and at most 1"),
        ("CoOp", "TRAINER.ANCHOR.TEXT_L2", "-1", "0 or more"),
    ],
)
def test_numbers_that_would_end_in_a_traceback_or_be_ignored(
    trainer, key, value, range_
):
    message = issues(key, value, trainer=trainer)
    assert message.startswith(f"{key} is ") and f"; it is {range_}" in message


def declared_numbers():
    """Return (trainer, key, wrong value) for every number that a trainer declares: of
    sizes 1,000,000, of other numbers nan, inf and -1000.
    """
    trainers.register_all()
    found = []
    for name in TRAINER_REGISTRY.registered_names():
        cls = trainer_class(name)
        if not is_native(cls) or not cls.learns or cls.multitask:
            continue
        for key, (default, _) in declared_keys(cls).items():
            is_size = "N_CTX" in key or key.endswith(("_TOKENS", "_DIM", "_RANK"))
            if type(default) is float:
                found += [(name, key, value) for value in ("nan", "inf", "-1000")]
            elif type(default) is int and is_size:
                found.append((name, key, "1000000"))
    return found


def test_every_number_that_a_trainer_declares_has_a_range():
    numbers = declared_numbers()
    for name, key, value in numbers:
        assert f"{key} is " in issues(key, value, trainer=name), (name, key, value)
    assert len(numbers) >= 45
    assert ("MMRL", "TRAINER.MMRL.REP_DIM", "1000000") in numbers
    assert ("TCP", "TRAINER.TCP.W", "nan") in numbers


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            "OPTIM.WARMUP_EPOCH -5",
            "OPTIM.WARMUP_EPOCH is -5; it is the epochs of warm-up, or -1 for none",
        ),
        (
            "OPTIM.STEPSIZE [0]",
            "OPTIM.STEPSIZE is (0,); epochs count from 1, and [-1] is OPTIM.MAX_EPOCH",
        ),
        (
            "OPTIM.STEPSIZE '[5, -1]' OPTIM.LR_SCHEDULER single_step",
            "OPTIM.STEPSIZE is (5, -1); epochs count from 1, and [-1] is OPTIM.MAX_EPOCH",
        ),
        (
            "OPTIM.STEPSIZE [-1] OPTIM.LR_SCHEDULER multi_step",
            "OPTIM.STEPSIZE is (-1,); multi_step needs the epochs of its steps, from 1",
        ),
        (
            "OPTIM.LR_SCHEDULER multi_step",
            "OPTIM.STEPSIZE is (-1,); multi_step needs the epochs of its steps, from 1",
        ),
    ],
)
def test_schedules_that_would_be_ignored_or_fail_late(pairs, message):
    assert issues(*shlex.split(pairs)) == message


OF_TEXT = "CoOp or KgCoOp or MVLPT or ProGrad or UPT"


@pytest.mark.parametrize(
    ("trainer", "key", "value", "others"),
    [
        ("VPT", "TRAINER.KGCOOP.W", 5, "KgCoOp"),
        ("CoOp", "TRAINER.APT.CLASS_OFFSETS", False, "APT"),
        ("IVLP", "TRAINER.PROMPTSRC.GPA_MEAN", 6, "PromptSRC"),
        ("MAPT", "TRAINER.PROGRAD.T", 1, "ProGrad"),
        ("VPT", "TRAINER.COOP.N_CTX", 4, OF_TEXT),
        ("APT", "TRAINER.MVLPT.COOP.CTX_INIT", "a photo of", OF_TEXT),
        ("LinearProbe", "TRAINER.COOP.CLASS_TOKEN_POSITION", "end", OF_TEXT),
        ("CoCoOp", "TRAINER.COOP.N_CTX", 4, OF_TEXT),
        ("ZeroshotCLIP", "TRAINER.MVLPT.VPT.N_CTX", 4, "APT or MVLPT or UPT or VPT"),
        ("KgCoOp", "TRAINER.MVLPT.VPT.DEEP", False, "APT or MVLPT or UPT or VPT"),
        ("CoOp", "TRAINER.MVLPT.PROJECT_METHOD", "mlp", "MVLPT or UPT"),
        ("UPT", "TRAINER.COCOOP.N_CTX", 4, "CoCoOp"),
        ("CoCoOp", "TRAINER.MVLPT.COCOOP.N_CTX", 4, "MVLPT"),
    ],
)
def test_a_key_of_another_trainer_is_named(trainer, key, value, others):
    with pytest.raises(ValueError) as refused:
        configured(f"--trainer {trainer} {ONE} {key} '{value}'")
    assert str(refused.value) == (
        f"{key} is given, but {trainer} does not read it: leave it out, "
        f"or use --trainer {others}"
    )


@pytest.mark.parametrize("trainer", ["VPT", "MVLPT", "CoOp"])
def test_a_key_that_no_trainer_reads_is_named(trainer):
    with pytest.raises(ValueError) as refused:
        configured(f"--trainer {trainer} {ONE} TRAINER.MVLPT.VPT.CSC True")
    assert str(refused.value) == (
        "TRAINER.MVLPT.VPT.CSC is given, but no trainer reads it: leave it out"
    )


def test_keys_of_others_may_be_given_at_their_defaults():
    off = "TRAINER.MVLPT.VPT.N_CTX 0 TRAINER.MVLPT.VPT.CSC False"
    node = configured(f"--trainer CoOp {ONE} {off} TRAINER.COOP.N_CTX 4")
    assert node.TRAINER.MVLPT.COOP.N_CTX == 4


def test_a_trainer_that_does_not_tell_its_keys_may_read_all():
    class Silent(trainer_class("VPT")):
        def build_prompt(self): ...

    class Telling(Silent):
        reads = ("TRAINER.MVLPT.COOP.",)

    assert reads(trainer_class("VPT"), "TRAINER.MVLPT.COOP.N_CTX") is False
    assert reads(Silent, "TRAINER.MVLPT.COOP.N_CTX") is None
    assert reads(Telling, "TRAINER.MVLPT.COOP.N_CTX") is True
    assert reads(Telling, "TRAINER.MVLPT.VPT.N_CTX") is False


def test_initial_weights_of_cocoop_that_are_missing(refuse):
    words = "--trainer CoCoOp --dataset toy-pets --shots 2"
    assert "/nowhere.pth" in refuse(f"{words} MODEL.INIT_WEIGHTS /nowhere.pth")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("OPTIM.MAX_EPOCH 0", "OPTIM.MAX_EPOCH is 0; it must be positive"),
        ("OPTIM.LR nan", "OPTIM.LR is nan; it is from 0 to 1e+30"),
        (
            "TEST.SPLIT nosuch",
            "TEST.SPLIT is 'nosuch'; it is one of test, val (nearest: test)",
        ),
        (
            "INPUT.SIZE 5",
            "INPUT.SIZE is (5,); CoCoOp takes height and width, 1 to 8192",
        ),
        (
            "INPUT.SIZE '(0, 5)'",
            "INPUT.SIZE is (0, 5); CoCoOp takes height and width, 1 to 8192",
        ),
        (
            "SEED 4294967296",
            "SEED (--seed) is 4294967296; a seed is at most 4294967295",
        ),
    ],
)
def test_values_of_trainers_that_were_written_for_dassl(refuse, pairs, message):
    words = f"--trainer CoCoOp --dataset toy-pets --shots 2 {pairs}"
    assert refuse(words).strip() == message


def test_values_that_dassl_allows_are_allowed():
    pairs = "SEED -1 OPTIM.MAX_EPOCH 0 INPUT.SIZE '(32, 48)'"
    cfg = configured(f"--trainer CoCoOp --dataset toy-pets {pairs}")
    assert external.wrong_values(cfg, trains=False) == []
    assert external.wrong_values(cfg, trains=True) == [
        "OPTIM.MAX_EPOCH is 0; it must be positive"
    ]


def test_scores_of_classes_and_the_confusion_matrix(main, tmp_path):
    out = tmp_path / "run"
    pairs = "TEST.PER_CLASS_RESULT True TEST.COMPUTE_CMAT True"
    assert main(f"--trainer CoOp {ONE} --output-dir {out} {pairs}") == 0
    (record,) = read(out / "results.json")
    entries = record["per_class"]
    assert sum(entry["images"] for entry in entries) == record["test_images"]
    right = (
        sum(entry["images"] * (entry["accuracy"] or 0) for entry in entries)
        / record["test_images"]
    )
    assert right == pytest.approx(record["score"], abs=1e-4)
    with open(out / "cmat_toy-shapes.csv", newline="") as stream:
        head, *rows = csv.reader(stream)
    counts = np.array([[int(cell) for cell in row[1:]] for row in rows])
    assert head[1:] == [row[0] for row in rows] == [entry["class"] for entry in entries]
    assert counts.sum() == record["test_images"]
    assert 100 * counts.trace() / counts.sum() == pytest.approx(
        record["score"], abs=1e-4
    )
    shares = torch.load(out / "cmat.pt", weights_only=True)
    assert shares.sum(dim=1).max() <= 1 + 1e-9
    assert "toy-shapes: per class" in (out / "log.txt").read_text()


def test_class_scores_by_hand():
    task = type("Stub", (), {"classnames": ["a", "b", "c"]})
    values = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    truth = np.array([0, 1, 1])
    predicted = values.argmax(axis=1)
    assert [entry["accuracy"] for entry in class_scores(task, truth, predicted)] == [
        100.0,
        50.0,
        None,
    ]
    assert confusion(truth, predicted, 3).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    several = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    found = [
        entry["average_precision"] for entry in class_scores(task, several, values)
    ]
    assert found[0] == 100.0 and 0 < found[1] <= 100 and found[2] is None


@pytest.mark.parametrize("tasks", ["toy-shapes", "toy-shapes,toy-pets"])
def test_a_run_without_a_test_ends(tasks, main, tmp_path):
    out = tmp_path / "run"
    line = (
        f"--trainer CoOp --dataset {tasks} --shots 3 --output-dir {out} "
        "TEST.NO_TEST True"
    )
    assert main(line) == 0
    records = read(out / "results.json")
    assert [record["task"] for record in records] == tasks.split(",")
    assert all("score" not in record for record in records)
    assert not (out / "predictions").exists()
    assert main(line) == 0  # reused


@pytest.mark.parametrize("tasks", ["toy-shapes", "toy-shapes,toy-pets"])
def test_a_run_that_is_scored_on_validation_images(tasks, main, tmp_path):
    out = tmp_path / "run"
    line = (
        f"--trainer CoOp --dataset {tasks} --shots 3 --output-dir {out} TEST.SPLIT val"
    )
    assert main(line) == 0
    for record in read(out / "results.json"):
        assert record["split"] == "val"
        # of the best epoch
        assert record["score"] == pytest.approx(record["val_score"], abs=1e-4)
    assert not (out / "predictions").exists() and not (out / "submission.zip").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset 'folder:/x/My Photos, 2024'", "a comma separates data sets"),
        ("--dataset ,", "--dataset is ',', which names no task"),
        ("--dataset ''", "--dataset is '', which names no task"),
        (
            "--dataset toy-shapes --load-epoch 2",
            "--load-epoch is an epoch of --model-dir",
        ),
        ("--dataset toy-shapes TRAINER.NAME VPT", "TRAINER.NAME is 'VPT'"),
        ("--dataset toy-shapes INPUT.FROM_BACKBONE False", "INPUT.SIZE is 224, but"),
    ],
)
def test_ordinary_mistakes_are_named(
    words, message, main, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(f"--trainer CoOp {words}") == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_bare_path_is_told_how_it_is_called(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "table.csv").write_text("path,label,split\n")
    cfg = resolve("CoOp", [], {"DATASET.DATASET": "toy-shapes"}, [])
    for name, kind in (("photos", "folder"), ("table.csv", "csv")):
        with pytest.raises(ValueError, match=f"custom images are called {kind}:"):
            build_task(cfg, str(tmp_path / name))


def test_overrides_keep_text_as_it_is():
    cfg = resolve("CoOp", [], {"DATASET.DATASET": "toy-shapes"}, [])
    for text in ("5", "1, 2", "None", "folder:/x/My Photos, 2024"):
        assert with_overrides(cfg, OUTPUT_DIR=text).OUTPUT_DIR == text


@pytest.mark.parametrize(
    "text",
    ["no", "a photo: of a", "007", "1e3", "2024-01-02", "True", "[a, b]", "12:30:45"],
)
def test_text_that_yaml_reads_as_another_kind_stays_text(text):
    key = "TRAINER.MVLPT.COOP.CTX_INIT"
    cfg = resolve("CoOp", [], {"DATASET.DATASET": "toy-shapes"}, [key, text])
    assert cfg.TRAINER.MVLPT.COOP.CTX_INIT == text
    options = {"TRAINER.COOP.CTX_INIT": text}
    cfg = work.resolved("CoOp", 1, 0, "pocket", options)
    assert cfg.TRAINER.MVLPT.COOP.CTX_INIT == text


def test_text_in_quotes_and_no_text():
    for text, expected in (("'no'", "no"), ('"a: b"', "a: b"), ("null", "")):
        cfg = resolve("CoOp", [], {}, ["TRAINER.COOP.CTX_INIT", text])
        assert cfg.TRAINER.MVLPT.COOP.CTX_INIT == expected
    cfg = work.resolved("CoOp", 1, 0, "pocket", {"TRAINER.COOP.CTX_INIT": None})
    assert cfg.TRAINER.MVLPT.COOP.CTX_INIT == ""


@pytest.mark.parametrize(
    ("text", "value"), [("no", "False"), ("{a: b}", "{'a': 'b'}"), ("[a]", "['a']")]
)
def test_a_file_with_another_kind_in_the_place_of_text(text, value, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"TRAINER:\n  MVLPT:\n    COOP:\n      CTX_INIT: {text}\n")
    with pytest.raises(ValueError) as refused:
        resolve("CoOp", [str(file)], {}, [])
    key = "TRAINER.MVLPT.COOP.CTX_INIT"
    if value.startswith("{"):  # keys below a key that has none
        assert f"mine.yaml: unknown key '{key}.a'" in str(refused.value)
    else:
        assert f"mine.yaml: {key} is text, not {value}" in str(refused.value)


# -- workers -----------------------------------------------------------------------------------------------------


def write_images(folder, count=6):
    from PIL import Image

    for split in ("train", "test"):
        for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
            (folder / split / name).mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (20, 20), colour).save(
                    folder / split / name / f"{k}.png"
                )


def test_custom_tasks_can_be_pickled(tmp_path):
    write_images(tmp_path / "photos", 2)
    cfg = resolve(
        "CoOp", [], {"DATASET.DATASET": "toy-shapes", "DATASET.NUM_SHOTS": -1}, []
    )
    task = task_class(f"folder:{tmp_path / 'photos'}")(cfg)
    again = pickle.loads(pickle.dumps(task))
    assert again.name == task.name == "photos"
    assert again.test == task.test and again.classnames == ["blue", "red"]
    assert type(again).__name__ == type(task).__name__


@pytest.mark.long
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_not_forked_read_custom_images(method, tmp_path):
    write_images(tmp_path / "photos")
    cfg = resolve(
        "CoOp", [], {"DATASET.DATASET": "toy-shapes", "DATASET.NUM_SHOTS": -1}, []
    )
    task = task_class(f"folder:{tmp_path / 'photos'}")(cfg)
    preprocessing = (
        trainer_class("CoOp")
        .load_backbone(with_overrides(cfg, MODEL__BACKBONE__NAME="pocket"))
        .preprocessing
    )
    images = build_images(cfg, [task], "test", preprocessing)
    loader = loaders.build_loader(images, 2, workers=2)
    loader.multiprocessing_context = multiprocessing.get_context(method)
    read_there = torch.cat([batch["img"] for batch in loader])
    read_here = torch.cat([batch["img"] for batch in loaders.build_loader(images, 2)])
    assert torch.equal(read_there, read_here)


def test_no_more_workers_than_shared_memory_allows(monkeypatch, caplog):
    loaders._warn.cache_clear()
    monkeypatch.setattr(loaders, "SHARED_MEMORY", "/")
    free = type("Usage", (), {"free": 10 * 4 * 1000})
    monkeypatch.setattr(loaders.shutil, "disk_usage", lambda path: free)
    assert loaders.affordable_workers(4, 1000) == 4
    assert loaders.affordable_workers(16, 1000) == 10
    assert loaders.affordable_workers(2, 10**6) == 0
    assert loaders.affordable_workers(0, 10**6) == 0
    assert "0 of 2 workers read images" in caplog.text and "--shm-size" in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 5) is killed by signal: Bus error.",
        "DataLoader timed out after 900 seconds",
        "unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)",
    ],
)
def test_a_worker_that_fails_is_one_message(message, monkeypatch):
    def fail(self):
        raise RuntimeError(message)

    monkeypatch.setattr(loaders.DataLoader, "__iter__", fail)
    with pytest.raises(OSError, match="NUM_WORKERS 0, or give more shared memory"):
        list(loaders.WatchedLoader([1, 2]))


# -- tables ------------------------------------------------------------------------------------------------------


def test_text_in_tables_is_harmless():
    assert latex_text("a_b & 5%") == "a\\_b \\& 5\\%"
    assert (
        latex_text("${x}^~#\\")
        == "\\$\\{x\\}\\textasciicircum{}\\textasciitilde{}\\#\\textbackslash{}"
    )
    assert markdown_text("a|b\nerror: c\x1b[31m") == "a\\|b\\nerror: c\\x1b[31m"


def test_the_papers_zero_shot_row_is_under_its_tasks():
    known = paper_scores()
    row = {
        task: score
        for (item, label, task), (score, _) in known.items()
        if label == "CLIP / - / -"
    }
    expected = {
        "food-101": 88.7,
        "gtsrb": 43.5,
        "hateful-memes": 58.1,
        "kitti-distance": 27.0,
        "mnist": 52.0,
    }
    assert expected | {"oxford-flower-102": 69.4} == {
        name: row[name] for name in (*expected, "oxford-flower-102")
    }
    mean = sum(score for task, score in row.items() if task != "average") / 20
    assert mean == pytest.approx(row["average"], abs=0.06)

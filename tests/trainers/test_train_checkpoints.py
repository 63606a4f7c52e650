"""Checkpoints that do not fit the prompt that loads them, and image towers that take no
prompt.
"""

import pytest

ONE = "--dataset toy-shapes --shots 3"


@pytest.fixture(scope="module")
def coop_run(main, tmp_path_factory):
    out = tmp_path_factory.mktemp("coop") / "run"
    assert main(f"--trainer CoOp {ONE} --output-dir {out}") == 0
    return out


@pytest.fixture(scope="module")
def csc_run(main, tmp_path_factory):
    out = tmp_path_factory.mktemp("csc") / "run"
    assert (
        main(f"--trainer CoOp {ONE} --output-dir {out} TRAINER.MVLPT.COOP.CSC True")
        == 0
    )
    return out


@pytest.mark.parametrize("evaluate", ["--eval-only", ""], ids=["evaluated", "adapted"])
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--trainer VPT", ["another method", "ctx", "embeddings"]),
        ("--trainer UPT", ["another method", "ctx"]),
        ("--trainer CoOp --backbone ViT-B/32", ["width 32, not 48"]),
        ("--trainer CoOp --load-epoch 9", ["model.pth.tar-9", "model.pth.tar-2"]),
        ("--trainer CoOp TRAINER.MVLPT.COOP.N_CTX 6", ["n_ctx 4, not 6"]),
        (
            "--trainer CoOp TRAINER.MVLPT.COOP.CSC True",
            ["shared by all classes", "class-specific"],
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_explained(
    refuse, coop_run, tmp_path, argv, words, evaluate
):
    message = refuse(f"{ONE} --model-dir {coop_run} {evaluate} {argv}")
    assert [word for word in [*words, str(coop_run)] if word not in message] == [], (
        message
    )
    assert not (tmp_path / "out").exists()


def test_class_specific_contexts_of_another_class_list_are_refused(refuse, csc_run):
    message = refuse(
        f"--trainer CoOp --dataset toy-marks --shots 3 --model-dir {csc_run} "
        "TRAINER.MVLPT.COOP.CSC True"
    )
    assert "classes 3, not 2" in message


@pytest.mark.parametrize("evaluate", ["--eval-only", ""])
def test_class_specific_contexts_of_as_many_other_classes_are_refused(
    refuse, csc_run, evaluate
):
    message = refuse(
        f"--trainer CoOp --dataset toy-pets --shots 3 --model-dir {csc_run} {evaluate} "
        "TRAINER.MVLPT.COOP.CSC True"
    )
    assert "another class list: persian_cat, beagle, snake have another" in message


@pytest.mark.parametrize("trainer", ["APT", "GDA", "CLAP"])
def test_parts_of_as_many_other_classes_are_refused(main, refuse, tmp_path, trainer):
    out = tmp_path / "run"
    assert main(f"--trainer {trainer} {ONE} --output-dir {out}") == 0
    message = refuse(
        f"--trainer {trainer} --dataset toy-pets --shots 3 --model-dir {out} --eval-only"
    )
    assert "another class list: persian_cat, beagle, snake have another" in message


def test_a_checkpoint_of_other_objects_is_refused(refuse, tmp_path):
    folder = tmp_path / "foreign" / "prompt_learner"
    folder.mkdir(parents=True)
    (folder / "model-best.pth.tar").write_bytes(b"not a checkpoint")
    assert "model-best.pth.tar" in refuse(
        f"--trainer CoOp {ONE} --model-dir {folder.parent}"
    )


@pytest.mark.parametrize("trainer", ["VPT", "MVPT", "UPT", "MUPT", "MVLPT"])
def test_visual_prompts_on_a_resnet_are_refused(refuse, trainer):
    message = refuse(f"--trainer {trainer} {ONE} --backbone RN50")
    assert (
        trainer in message
        and "RN50" in message
        and "vision transformer" in message
        and "CoOp" in message
    )


@pytest.mark.parametrize("trainer", ["CoOp", "ZeroshotCLIP"])
def test_a_resnet_serves_text_prompts(main, tmp_path, trainer):
    assert (
        main(f"--trainer {trainer} {ONE} --backbone RN50 --output-dir {tmp_path}/out")
        == 0
    )

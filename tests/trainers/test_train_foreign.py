"""`--model-dir` with the folders of CoOp, CoCoOp and the reference MVLPT."""

import pytest
import torch
from run_files import prompt_in, read

from tests.prompting.foreign_files import Attack, foreign_state, write_foreign

ONE = "--dataset toy-shapes --shots 3"
END = "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION end"
TWO_VISUAL = "TRAINER.MVLPT.VPT.N_CTX 4"
PER_TOKEN = f"{TWO_VISUAL} TRAINER.MVLPT.PROJECT_METHOD per-token"
ATTENTION = "TRAINER.MVLPT.PROJECT_METHOD transformer"


@pytest.mark.parametrize(
    ("method", "argv", "names"),
    [
        ("CoOp", f"--trainer CoOp {END}", {"ctx": "ctx"}),
        ("CoCoOp", "--trainer CoOp", {"ctx": "ctx"}),
        (
            "VPT",
            f"--trainer VPT {TWO_VISUAL}",
            {"vpt_embeddings_deep": "embeddings_deep"},
        ),
        (
            "VPT-shallow",
            f"--trainer VPT {TWO_VISUAL} TRAINER.MVLPT.VPT.DEEP False",
            {"vpt_embeddings": "embeddings"},
        ),
        (
            "UPT",
            f"--trainer UPT {PER_TOKEN}",
            {"ctx": "text.ctx", "vpt_embeddings": "visual.embeddings"},
        ),
        (
            "UPT",
            f"--trainer MVLPT {PER_TOKEN}",
            {"mvlpt_proj_ctx_coop_pre.weight": "text_pre.weight"},
        ),
    ],
)
@pytest.mark.parametrize("old", [False, True], ids=["new names", "old names"])
def test_a_foreign_prompt_is_evaluated(main, tmp_path, method, argv, names, old):
    stored, out, marker = (
        foreign_state(method, old=old),
        tmp_path / "out",
        tmp_path / "ran",
    )
    write_foreign(tmp_path / "theirs", stored, scheduler={"successor": Attack(marker)})
    assert (
        main(
            f"{ONE} --eval-only --model-dir {tmp_path}/theirs --output-dir {out} {argv}"
        )
        == 0
    )
    assert not marker.exists(), "nothing in the file ran"
    for theirs, ours in names.items():
        value = stored[theirs.replace("mvlpt_proj", "upt_proj") if old else theirs]
        assert torch.equal(prompt_in(out)[ours], value.float())
    (record,) = read(out / "results.json")
    assert (
        len(record["start"]) == 16
        and (out / "predictions" / "seed0_toy-shapes.json").is_file()
    )


def test_a_foreign_prompt_is_adapted_from_its_epoch(main, tmp_path):
    stored = foreign_state("CoOp")
    write_foreign(tmp_path / "theirs", foreign_state("CoOp"), 9)
    write_foreign(tmp_path / "theirs", stored, 5, "model.pth.tar-5")
    argv = f"--trainer CoOp {ONE} --model-dir {tmp_path}/theirs --load-epoch 5"
    assert main(f"{argv} --output-dir {tmp_path}/out OPTIM.LR 1e-9 {END}") == 0
    moved = (prompt_in(tmp_path / "out")["ctx"] - stored["ctx"].float()).abs().max()
    assert moved < 1e-4


@pytest.mark.parametrize(
    ("method", "argv", "words"),
    [
        (
            "VPT",
            "--trainer CoOp",
            [
                "a deep visual prompt in 2 layers of 4 vectors, 64 wide",
                "another method",
            ],
        ),
        (
            "CoOp",
            "--trainer VPT",
            ["a text prompt of 4 vectors", "missing: embeddings", "unexpected: ctx"],
        ),
        (
            "CoOp",
            f"--trainer CoOp {END} TRAINER.MVLPT.COOP.N_CTX 16",
            ["n_ctx 4, not 16"],
        ),
        ("VPT", "--trainer VPT", ["n_ctx 4, not 2"]),
        (
            "VPT-shallow",
            f"--trainer VPT {TWO_VISUAL}",
            ["a shallow visual prompt", "embeddings_deep"],
        ),
        (
            "UPT",
            f"--trainer UPT {TWO_VISUAL} {ATTENTION}",
            ["PROJECT_METHOD", "per-token", "transformer"],
        ),
        (
            "UPT",
            f"--trainer UPT {PER_TOKEN} TRAINER.MVLPT.PROJECT_DIM 16",
            ["text_pre.weight is (48, 32), not (16"],
        ),
    ],
)
def test_a_foreign_prompt_that_does_not_fit_is_explained(
    refuse, tmp_path, method, argv, words
):
    path = write_foreign(tmp_path / "theirs", foreign_state(method))
    message = refuse(f"{ONE} --eval-only --model-dir {tmp_path}/theirs {argv}")
    assert [word for word in [*words, str(path)] if word not in message] == [], message
    assert not (tmp_path / "out").exists()


def test_foreign_keys_are_named(refuse, tmp_path):
    write_foreign(
        tmp_path / "theirs", foreign_state("CoOp") | {"vpt_extra": torch.zeros(2)}
    )
    message = refuse(f"--trainer CoOp {ONE} --eval-only --model-dir {tmp_path}/theirs")
    assert "vpt_extra" in message and "model-best.pth.tar" in message


@pytest.mark.parametrize(
    ("method", "argv", "words"),
    [
        ("CoOp", "", "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION end: taken from"),
        ("CoOp", "TRAINER.MVLPT.COOP.CSC True", "in the order of this task's classes"),
        ("CoCoOp", "", "its context is read without meta_net.linear1.weight"),
    ],
)
def test_what_shapes_do_not_tell_is_said_once(
    main, tmp_path, capsys, method, argv, words
):
    folder, out = tmp_path / "nctx4_cscFalse_ctpend" / "seed1", tmp_path / "out"
    sizes = {"classes": 3} if argv else {}
    write_foreign(folder, foreign_state(method, **sizes))
    assert (
        main(
            f"--trainer CoOp {ONE} --eval-only --model-dir {folder} "
            f"--output-dir {out} {argv}"
        )
        == 0
    )
    shown = capsys.readouterr()
    assert (
        (shown.out + shown.err).count(words)
        == (out / "log.txt").read_text().count(words)
        == 1
    )


def test_a_position_as_the_folder_says_it_is_not_mentioned(main, tmp_path):
    folder, out = tmp_path / "nctx4_cscFalse_ctpmiddle" / "seed1", tmp_path / "out"
    write_foreign(folder, foreign_state("CoOp"))
    assert (
        main(
            f"--trainer CoOp {ONE} --eval-only --model-dir {folder} --output-dir {out}"
        )
        == 0
    )
    assert "CLASS_TOKEN_POSITION" not in (out / "log.txt").read_text()


@pytest.mark.parametrize("method", ["CoCoOp", "MVLPT-CoCoOp"])
def test_cocoop_loads_the_whole_learner(build, main, tmp_path, method):
    stored, marker = foreign_state(method), tmp_path / "ran"
    write_foreign(tmp_path / "theirs", stored, scheduler={"successor": Attack(marker)})
    argv = (
        "--trainer CoCoOp --dataset toy-pets --shots 2 --eval-only "
        "TRAINER.COCOOP.N_CTX 4"
    )
    assert (
        main(f"--model-dir {tmp_path}/theirs --output-dir {tmp_path}/out {argv}") == 0
    )
    trainer = build("CoCoOp", "", "DATASET.NAME", "toy-pets", "TRAINER.COCOOP.N_CTX", 4)
    trainer.load_model(str(tmp_path / "theirs"))
    assert not marker.exists()
    for name, value in trainer.model.prompt_learner.state_dict().items():
        theirs = "cocoop_ctx" if name == "ctx" and method != "CoCoOp" else name
        assert torch.equal(value, stored[theirs].float()), name

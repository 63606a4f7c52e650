"""`--model-dir` without the keys that the prompt was trained with: its own record
counts, and a contradiction is an error.
"""

import json
import shutil

import pytest
import tiny_world
import torch
from run_files import read
from safetensors.torch import load_file, save_file

from prompting import load_prompts
from prompting.backbones.backbone import Backbone
from tests.prompting.foreign_files import foreign_state, write_foreign

ONE = "--dataset toy-shapes --shots 3"
POSITION = "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION"
METHOD, HEADS = "TRAINER.MVLPT.PROJECT_METHOD", "TRAINER.MVLPT.PROJECT_HEADS"
PLAIN = """\
DATALOADER: {TRAIN_X: {BATCH_SIZE: 8}, TEST: {BATCH_SIZE: 16}, NUM_WORKERS: 0}
OPTIM: {NAME: sgd, LR: 0.5, MAX_EPOCH: 1, WARMUP_EPOCH: -1}
"""
DEPTHS = [f"TRAINER.IVLP.PROMPT_DEPTH_{tower}" for tower in ("TEXT", "VISION")]
TRAINED = {  # keys of a run's training; the evaluation repeats none of them
    "end": f"--trainer CoOp {POSITION} end TRAINER.MVLPT.COOP.N_CTX 3",
    "front": f"--trainer CoOp {POSITION} front",
    "words": "--trainer CoOp TRAINER.MVLPT.COOP.CTX_INIT 'a photo of one'",
    "deep": "--trainer VPT TRAINER.MVLPT.VPT.DEEP True TRAINER.MVLPT.VPT.N_CTX 3",
    "shallow": "--trainer VPT TRAINER.MVLPT.VPT.DEEP False",
    "heads": f"--trainer UPT {HEADS} 4 TRAINER.MVLPT.PROJECT_DIM 16",
    "per-token": f"--trainer UPT {METHOD} per-token {POSITION} end",
    "mlp": f"--trainer UPT {METHOD} mlp",
    "cropped": "--trainer VPT DATASET.CENTER_CROP True",
    "pixels": (
        f"--trainer CoOp INPUT.FROM_BACKBONE False INPUT.SIZE '[32, 32]' {POSITION} end"
    ),
    "ivlp": f"--trainer IVLP {DEPTHS[0]} 2 {DEPTHS[1]} 1 TRAINER.IVLP.N_CTX_TEXT 2",
    "maple": (
        "--trainer MaPLe TRAINER.MAPLE.PROMPT_DEPTH 2 "
        "TRAINER.MAPLE.CTX_INIT 'one two three'"
    ),
    "apt": "--trainer APT TRAINER.MVLPT.VPT.N_CTX 3",
    "interpolated": "--trainer CoOp TEST.INTERPOLATE shots",
    "tcp": "--trainer TCP TRAINER.TCP.N_CTX 2 TRAINER.TCP.BLOCK 1",
    "softcpt": (
        "--trainer SoftCPT TRAINER.SOFTCPT.N_CTX 3 TRAINER.SOFTCPT.TASK_N_CTX 2 "
        "TRAINER.SOFTCPT.CLASS_N_CTX 2"
    ),
    "mmrl": (
        "--trainer MMRL TRAINER.MMRL.N_REP_TOKENS 2 TRAINER.MMRL.REP_DIM 8 "
        "TRAINER.MMRL.REP_LAYERS [2] TRAINER.MMRL.ALPHA 0.4"
    ),
    "mmrlpp": (
        "--trainer MMRLPP TRAINER.MMRLPP.N_REP_TOKENS 2 TRAINER.MMRLPP.REP_DIM 8 "
        "TRAINER.MMRLPP.REP_LAYERS [2] TRAINER.MMRLPP.ALPHA 0.4 TRAINER.MMRLPP.BETA 0.5 "
        "TRAINER.MMRLPP.REP_RANK 2 TRAINER.MMRLPP.PROJ_RANK 3"
    ),
    "promptsrc": (
        "--trainer PromptSRC TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT 1 "
        "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION 2"
    ),
    "kgcoop": "--trainer KgCoOp",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a configuration that gives no key of a prompt."""
    path = tmp_path_factory.mktemp("configs") / "plain.yaml"
    path.write_text(PLAIN)
    return path


@pytest.fixture(scope="module")
def trained(main, plain, tmp_path_factory):
    """Return a function that returns the folder of a run of `TRAINED`, not to be
    changed.
    """
    folder, done = tmp_path_factory.mktemp("runs"), {}

    def run(name):
        if name not in done:
            done[name] = folder / name
            assert (
                main(
                    f"{ONE} --output-dir {folder}/{name} {TRAINED[name]}", config=plain
                )
                == 0
            )
        return done[name]

    return run


def predictions(folder) -> bytes:
    return (folder / "predictions" / "seed0_toy-shapes.json").read_bytes()


def trainer_of(name: str) -> str:
    return " ".join(TRAINED[name].split()[:2])


def evaluate(main, config, run, out, name, argv="") -> int:
    trainer = trainer_of(name)
    return main(
        f"{trainer} {ONE} --eval-only --model-dir {run} --output-dir {out} {argv}",
        config=config,
    )


@pytest.mark.parametrize("name", TRAINED)
def test_an_evaluation_repeats_no_key(main, plain, trained, tmp_path, name):
    run = trained(name)
    assert evaluate(main, plain, run, tmp_path / "out", name) == 0
    assert predictions(tmp_path / "out") == predictions(run)
    assert (
        load_prompts(tmp_path / "out/prompts.safetensors")[0].config()
        == load_prompts(run / "prompts.safetensors")[0].config()
    )
    assert evaluate(main, plain, run, tmp_path / "out", name) == 0, (
        "the same command is the same run"
    )


@pytest.mark.parametrize("name", ["end", "heads", "cropped", "ivlp", "kgcoop"])
@pytest.mark.parametrize("left", ["checkpoint", "prompts.safetensors", "config.yaml"])
def test_each_of_its_files_is_enough(main, plain, trained, tmp_path, name, left):
    """Use runs of earlier versions: no record in the checkpoint, and none of the
    backbone in prompts.safetensors.
    """
    run = shutil.copytree(trained(name), tmp_path / "run")
    if left != "config.yaml":
        (run / "config.yaml").unlink()
    if left != "prompts.safetensors":
        (run / "prompts.safetensors").unlink()
    if left != "checkpoint":
        for path in (run / "prompt_learner").glob("model*"):
            content = torch.load(path, weights_only=True)
            del content["prompt"]
            torch.save(content, path)
    assert evaluate(main, plain, run, tmp_path / "out", name) == 0
    assert predictions(tmp_path / "out") == predictions(run)


def test_what_nothing_tells_is_logged(main, plain, trained, tmp_path):
    run = shutil.copytree(trained("front"), tmp_path / "run")
    (run / "config.yaml").unlink()
    (run / "prompts.safetensors").unlink()
    for path in (run / "prompt_learner").glob("model*"):
        content = torch.load(path, weights_only=True)
        del content["prompt"]
        torch.save(content, path)
    given = f"TRAINER.MVLPT.COOP.N_CTX 16 {POSITION} front"
    assert evaluate(main, plain, run, tmp_path / "out", "front", given) == 0
    assert (
        "does not say what its prompt was trained with"
        in (tmp_path / "out" / "log.txt").read_text()
    )
    assert predictions(tmp_path / "out") == predictions(run)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("end", f"{POSITION} middle", [POSITION, "end", "middle"]),
        ("front", "TRAINER.COOP.CLASS_TOKEN_POSITION end", [POSITION, "front", "end"]),
        ("heads", f"{HEADS} 2", [HEADS, "4", "2"]),
        ("per-token", f"{METHOD} transformer", [METHOD, "per-token", "transformer"]),
        (
            "cropped",
            "DATASET.CENTER_CROP False",
            ["DATASET.CENTER_CROP", "True", "False"],
        ),
        (
            "maple",
            "TRAINER.MAPLE.CTX_INIT 'one two six'",
            ["fixed_words", "three", "six"],
        ),
        ("end", "TRAINER.MVLPT.COOP.N_CTX 5", ["n_ctx 3, not 5"]),
    ],
)
@pytest.mark.parametrize("mode", ["--eval-only", ""], ids=["evaluated", "adapted"])
def test_a_contradiction_names_both(refuse, plain, trained, name, given, words, mode):
    argv = f"{trainer_of(name)} {ONE} {mode} --model-dir {trained(name)} {given}"
    message = refuse(argv, config=plain)
    assert [word for word in words if word not in message] == [], message


def test_a_file_gives_keys_too(refuse, plain, trained, tmp_path):
    config = tmp_path / "given.yaml"
    config.write_text(PLAIN + "TRAINER: {COOP: {CLASS_TOKEN_POSITION: middle}}\n")
    message = refuse(
        f"--trainer CoOp {ONE} --eval-only --model-dir {trained('end')}", config=config
    )
    assert f"{POSITION} end, but middle is given" in message


def test_an_adaptation_starts_with_the_prompts_position(main, plain, trained, tmp_path):
    out = tmp_path / "out"
    assert (
        main(
            f"--trainer MCoOp {ONE} --model-dir {trained('end')} --output-dir {out}",
            config=plain,
        )
        == 0
    )
    assert (
        load_prompts(out / "prompts.safetensors")[0].config()
        == load_prompts(trained("end") / "prompts.safetensors")[0].config()
    )


# -- the backbone ------------------------------------------------------------------------------------------------------


@pytest.fixture
def twin(stubs):
    """Yield a backbone of the pocket stub's sizes, with one other weight."""
    pocket = stubs["pocket"]
    clip = tiny_world.tiny_clip()
    clip.visual.proj.data[0, 0] += 1
    stubs["ViT-B/16"] = Backbone(
        "ViT-B/16", clip, pocket.tokenizer, pocket.preprocessing
    )
    yield "ViT-B/16"
    del stubs["ViT-B/16"]


@pytest.mark.parametrize("name", ["end", "deep", "heads"])
def test_another_backbone_of_the_same_sizes_is_refused(
    refuse, main, plain, trained, twin, tmp_path, name
):
    argv = f"{trainer_of(name)} {ONE} --model-dir {trained(name)} --backbone {twin}"
    message = refuse(argv, config=plain)
    assert (
        "trained on the backbone pocket (weights " in message
        and f"not on {twin} (weights " in message
    )
    run = tmp_path / "run"
    assert (
        main(
            f"{ONE} --backbone {twin} --output-dir {run} {TRAINED[name]}", config=plain
        )
        == 0
    )
    assert evaluate(main, plain, run, tmp_path / "out", name) == 0, (
        "the record names the backbone"
    )
    assert predictions(tmp_path / "out") == predictions(run)


def test_a_backbone_that_is_a_file_must_be_given(refuse, plain, trained, tmp_path):
    run = shutil.copytree(trained("end"), tmp_path / "run")
    for path in (run / "prompt_learner").glob("model*"):
        content = torch.load(path, weights_only=True)
        record = json.loads(content["prompt"]) | {
            "backbone": "ViT-B-16",
            "backbone_is_path": True,
        }
        torch.save(content | {"prompt": json.dumps(record)}, path)
    message = refuse(
        f"--trainer CoOp {ONE} --eval-only --model-dir {run}", config=plain
    )
    assert (
        "trained on the file or folder ViT-B-16: give it with --backbone PATH"
        in message
    )


# -- prompts of other projects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["CoCoOp", "KgCoOp", "ProGrad"])
def test_a_method_tells_the_position(main, plain, tmp_path, method):
    stored = foreign_state("CoCoOp" if method == "CoCoOp" else "CoOp")
    if method == "KgCoOp":
        stored["bias_vectors"] = torch.zeros(1, 16)
    write_foreign(tmp_path / "theirs", stored)
    trainer = "ProGrad" if method == "ProGrad" else "CoOp"
    given = "TRAINER.MVLPT.COOP.N_CTX 4 TRAINER.MVLPT.COOP.CTX_INIT ''"
    argv = (
        f"--trainer {trainer} {ONE} --eval-only --model-dir {tmp_path}/theirs {given}"
    )
    outs = [tmp_path / "told", tmp_path / "given"]
    assert main(f"--output-dir {outs[0]} {argv}", config=plain) == 0
    assert main(f"--output-dir {outs[1]} {argv} {POSITION} end", config=plain) == 0
    assert (
        read(outs[0] / "predictions/seed0_toy-shapes.json")["predictions"]
        == read(outs[1] / "predictions/seed0_toy-shapes.json")["predictions"]
    )
    assert load_prompts(outs[0] / "prompts.safetensors")[0].position == "end"


def test_a_position_that_nothing_tells_must_be_given(refuse, plain, tmp_path):
    write_foreign(tmp_path / "theirs", foreign_state("CoOp"))
    given = "TRAINER.MVLPT.COOP.N_CTX 4"
    message = refuse(
        f"--trainer CoOp {ONE} --eval-only --model-dir {tmp_path}/theirs {given}",
        config=plain,
    )
    assert f"set {POSITION} to front, middle or end" in message


@pytest.mark.parametrize("old", [False, True], ids=["mvlpt_proj", "upt_proj"])
@pytest.mark.parametrize("trainer", ["UPT", "MVLPT"])
def test_a_reference_upt_with_the_references_command_line(
    main, plain, tmp_path, old, trainer
):
    write_foreign(tmp_path / "theirs", foreign_state("UPT", old=old))
    given = (
        "TRAINER.MVLPT.COOP.N_CTX 4 TRAINER.MVLPT.VPT.N_CTX 4 "
        "TRAINER.MVLPT.PROJECT_DIM 48"
    )
    argv = (
        f"--trainer {trainer} {ONE} --eval-only --model-dir {tmp_path}/theirs {given}"
    )
    assert main(f"--output-dir {tmp_path}/out {argv}", config=plain) == 0
    assert (
        f"{METHOD} per-token: taken from" in (tmp_path / "out" / "log.txt").read_text()
    )
    assert (
        main(
            f"--output-dir {tmp_path}/given {argv} {METHOD} per-token {POSITION} middle",
            config=plain,
        )
        == 0
    )
    assert predictions(tmp_path / "out") == predictions(tmp_path / "given")


# -- values that are no numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_prompt_that_is_no_number_is_refused(refuse, plain, trained, tmp_path, value):
    run = shutil.copytree(trained("end"), tmp_path / "run")
    path = run / "prompt_learner" / "model-best.pth.tar"
    if not path.is_file():
        path = max((run / "prompt_learner").glob("model.pth.tar-*"))
    content = torch.load(path, weights_only=True)
    content["state_dict"]["ctx"][0, 0] = value
    torch.save(content, path)
    message = refuse(f"--trainer CoOp {ONE} --model-dir {run}", config=plain)
    assert "ctx holds" in message and path.name in message and "OPTIM.LR" not in message


@pytest.mark.parametrize("tensor", ["visual.proj", "token_embedding.rows"])
def test_a_backbone_that_is_no_number_is_refused(
    refuse, plain, tmp_path, monkeypatch, tensor
):
    from prompting.backbones import loading

    folder = shutil.copytree(loading.POCKET_FOLDER, tmp_path / "pocket")
    state = load_file(folder / "model.safetensors")
    state[tensor][0, 0] = float("nan")
    save_file(state, folder / "model.safetensors")
    with pytest.raises(
        ValueError,
        match=r"model\.safetensors: (visual\.proj|token_embedding\.weight) holds NaN",
    ):
        loading.load_pocket(folder)


@pytest.mark.parametrize("trainer", ["CoOp", "VPT", "UPT"])
def test_a_divergence_that_validation_finds_names_the_epoch(
    main, plain, tmp_path, capsys, trainer
):
    argv = (
        f"--trainer {trainer} {ONE} --output-dir {tmp_path}/out OPTIM.LR 1e30 "
        "TEST.FINAL_MODEL best_val"
    )
    assert main(f"{argv} DATALOADER.TRAIN_X.BATCH_SIZE 64", config=plain) == 1
    message = capsys.readouterr().err
    assert (
        "epoch 1" in message
        and "val probabilities of toy-shapes are not finite" in message
    )

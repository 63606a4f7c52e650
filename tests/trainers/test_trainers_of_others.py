"""Trainer and data set files written for Dassl alone, dropped in, run unchanged; ours
run on an installed Dassl.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from run_files import read

import datasets
import toolkit
import train
import trainers
from prompting import load_backbone
from trainers.engine import command_line

OTHERS = Path(__file__).parent / "others"
YAML = """\
DATALOADER: {TRAIN_X: {BATCH_SIZE: 4}, TEST: {BATCH_SIZE: 16}, NUM_WORKERS: 0}
INPUT:
  SIZE: (48, 48)
  INTERPOLATION: "bicubic"
  PIXEL_MEAN: [0.5, 0.5, 0.5]
  PIXEL_STD: [0.25, 0.25, 0.25]
  TRANSFORMS: ["random_resized_crop", "random_flip", "normalize"]
OPTIM: {NAME: "sgd", LR: 0.02, MAX_EPOCH: 2, LR_SCHEDULER: "cosine", WARMUP_EPOCH: 1, WARMUP_TYPE: "constant",
  WARMUP_CONS_LR: 1e-5}
TRAIN: {PRINT_FREQ: 1}
TRAINER:
  COOP: {PREC: "fp32"}
  MAPLE: {N_CTX: 2, CTX_INIT: "a photo of a", PREC: "fp32", PROMPT_DEPTH: 1}
"""


@pytest.fixture(scope="module", autouse=True)
def dropped_in(world):
    """Put the files into folders in which `trainers` and `datasets` look, as a user
    would.
    """
    from dassl.data.datasets import DATASET_REGISTRY
    from dassl.engine import TRAINER_REGISTRY

    with pytest.MonkeyPatch.context() as patch:
        for package in (trainers, datasets):
            patch.setattr(
                package, "__path__", [*package.__path__, str(OTHERS / package.__name__)]
            )
            package.register_all()
        yield
    for registry in (DATASET_REGISTRY, TRAINER_REGISTRY):
        for name in [
            name for name in registry.registered_names() if name.startswith("Others")
        ]:
            del registry._obj_map[name]
    for name in [
        name for name in sys.modules if name.rpartition(".")[2].startswith("others_")
    ]:
        del sys.modules[name]


@pytest.fixture
def start(main, tmp_path):
    """Return a function that runs a trainer in CoOp's manner of calling train.py, and
    returns the lines of its log.
    """
    config, data = tmp_path / "method.yaml", tmp_path / "data.yaml"
    config.write_text(YAML)
    data.write_text('DATASET:\n  NAME: "OthersPets"\n')

    def run(trainer, out, words=""):
        command = f"--seed 1 --trainer {trainer} --dataset-config-file {data} "
        command += (
            f"--output-dir {out} {words} TRAINER.COOP.N_CTX 4 DATASET.NUM_SHOTS 4"
        )
        assert main(command, config=config) == 0
        return "".join(file.read_text() for file in sorted(out.glob("log.txt*")))

    return run


@pytest.mark.parametrize(
    ("trainer", "folder"),
    [("OthersCoOp", "prompt_learner"), ("OthersMaPLe", "MultiModalPromptLearner")],
)
def test_a_trainer_and_a_dataset_written_for_dassl_run_unchanged(
    start, tmp_path, trainer, folder
):
    out = tmp_path / "run"
    log = start(trainer, out)
    assert (out / folder / "model.pth.tar-2").is_file()
    # 12 images in batches of 4
    assert log.count("epoch [2/2] batch [") == 3 and "lr 2.0000e-02" in log
    assert "# train_x  12" in log and "* total: 9" in log
    (trained,) = re.findall(r"\* accuracy: ([\d.]+)%", log)
    evaluated = start(
        trainer, tmp_path / "eval", f"--model-dir {out} --load-epoch 2 --eval-only"
    )
    assert re.findall(r"\* accuracy: ([\d.]+)%", evaluated) == [trained]


def test_only_the_prompt_of_a_dropped_in_trainer_has_moved(start, tmp_path):
    start("OthersMaPLe", tmp_path / "run")
    path = tmp_path / "run" / "MultiModalPromptLearner" / "model.pth.tar-2"
    state = torch.load(path, weights_only=True)["state_dict"]
    clip = load_backbone("pocket").clip
    torch.testing.assert_close(
        state["image_encoder.visual.proj"], clip.visual.proj.data
    )
    # "a photo"
    words = state["prompt_learner.ctx"] - clip.token_embedding.weight[[320, 1125]]
    assert words.abs().max() > 0


def test_keys_of_their_own_have_the_values_that_yacs_gives_them(tmp_path):
    config = tmp_path / "method.yaml"
    config.write_text(YAML)
    words = (
        "TRAINER.MAPLE.DECAY 1e-5 TRAINER.MAPLE.SIZES '(1, 2)' TRAINER.MAPLE.N_CTX 3"
    )
    argv = f"--trainer OthersMaPLe --config-file {config} {words}"
    args = train.arguments().parse_args(shlex.split(argv))
    node = command_line.configuration(args).TRAINER.MAPLE
    assert (node.DECAY, node.SIZES, node.N_CTX, node.CTX_INIT) == (
        1e-5,
        (1, 2),
        3,
        "a photo of a",
    )


@pytest.mark.parametrize("trainer", ["CoOp", "CoCoOp"])
def test_our_trainers_take_a_dropped_in_dataset(main, tmp_path, trainer):
    argv = f"--trainer {trainer} --dataset OthersPets --shots 2 --output-dir {tmp_path}/run"
    keys = "TRAINER.COCOOP.N_CTX 4" if trainer == "CoCoOp" else ""
    assert main(f"{argv} {keys}") == 0
    assert (tmp_path / "run" / "prompt_learner" / "model.pth.tar-2").is_file()


def test_keys_are_free_for_trainers_of_others_only(refuse, tmp_path):
    config = tmp_path / "method.yaml"
    config.write_text(YAML.replace("MAPLE:", "TAPLE:"))
    assert "TRAINER.TAPLE" in refuse("--trainer CoOp --dataset toy-pets", config=config)
    words = "--trainer OthersMaPLe --dataset OthersPets OPTIM.MAX_EPOCH x"
    assert "OPTIM.MAX_EPOCH" in refuse(words, config=config)


@pytest.mark.skipif(
    "built in" in toolkit.which_dassl(), reason="upstream Dassl is not installed"
)
@pytest.mark.parametrize("trainer", ["CoOp", "VPT", "MUPT", "CoCoOp"])
def test_our_trainers_run_on_an_installed_dassl(main, tmp_path, trainer):
    tasks = "toy-shapes,toy-pets" if trainer.startswith("M") else "toy-shapes"
    argv = (
        f"--trainer {trainer} --dataset {tasks} --shots 3 --output-dir {tmp_path}/run"
    )
    assert main(f"{argv} TRAINER.COCOOP.N_CTX 4") == 0
    assert (tmp_path / "run" / "prompt_learner" / "model.pth.tar-2").is_file()
    if trainer != "CoCoOp":
        assert {row["task"] for row in read(tmp_path / "run" / "results.json")} == set(
            tasks.split(",")
        )

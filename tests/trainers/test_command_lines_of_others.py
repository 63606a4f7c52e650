"""The command lines of the reference's four scripts, and of CoOp's and CoCoOp's: all
parse, and all run on toy tasks.
"""

import math
import shlex
from pathlib import Path

import pytest
import yaml
from run_files import read

import train
import trainers
from datasets.catalog.entries import entries
from trainers.engine import command_line

CONFIGS = Path(trainers.__file__).parents[1] / "configs"
SUITES = {
    suite: ",".join(
        name
        for name, entry in entries().items()
        if entry.suite == suite and name != "imagenet-1k"
    )
    for suite in ("coop", "elevater")
}
QUICK = "OPTIM.MAX_EPOCH 1 DATALOADER.NUM_WORKERS 0"
FIXED = "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION middle TRAINER.MVLPT.COOP.CSC False"
# method -> TRAINER.MVLPT.COOP.N_CTX, .VPT.N_CTX
LENGTHS = {"UPT": (4, 4), "VPT": (0, 4), "CoOp": (4, 0)}
SCRIPTS = {  # script -> its suite, whether it learns many tasks, and its methods
    "main_mt_coopdata_cut": ("coop", True, ("UPT", "VPT", "CoOp")),
    "main_mt_elevater_cut": ("elevater", True, ("UPT", "VPT", "CoOp", "COCOOP")),
    "main_single_coopdata_cut": ("coop", False, ("UPT", "VPT", "CoOp")),
    "main_single_elevater_cut": ("elevater", False, ("UPT", "VPT", "CoOp", "COCOOP")),
}
INVOCATIONS = [
    (script, method)
    for script, (_, _, methods) in SCRIPTS.items()
    for method in methods
]
every_invocation = pytest.mark.parametrize(("script", "method"), INVOCATIONS)


def configured(command: str):
    """Return the configuration of a command line."""
    args = train.arguments().parse_args(shlex.split(command))
    return command_line.configuration(args)


def invocation(
    script, method, root, out, tasks, config="vit_b32", start="", seed=1
) -> str:
    """Return the arguments with which the script starts train.py, word for word but for
    the paths.
    """
    suite, multitask, _ = SCRIPTS[script]
    file = CONFIGS / "trainers" / "MVLPT" / f"{config}.yaml"
    flags = (
        f"--root {root} --seed {seed} --trainer MVLPT --config-file {file} "
        f"--output-dir {out} --dataset {tasks} --shots 3"
    )
    if suite == "coop":
        flags += " --dataset-coop"
    if multitask:
        flags += " --multi-task"
    if start:
        flags += f" --model-dir {start}"
    end = "TEST.NO_TEST False TEST.FINAL_MODEL best_val"
    if method == "COCOOP":
        return f"{flags} TRAINER.MVLPT.COCOOP.N_CTX 4 {end}"
    text, visual = LENGTHS[method]
    lengths = f"TRAINER.MVLPT.VPT.N_CTX {visual} TRAINER.MVLPT.COOP.N_CTX {text}"
    if method != "VPT":
        end += " TRAINER.CUT_CONTEXTLEN True"
    return f"{flags} {lengths} {FIXED} {end}"


@every_invocation
@pytest.mark.parametrize(
    "config",
    [
        "vit_b16",
        "vit_b16_ep50",
        "vit_b16_ep100",
        "vit_b32",
        "vit_b32_ep50",
        "vit_l14",
        "vit_l14_336",
    ],
)
def test_every_invocation_of_the_reference_parses(script, method, config):
    suite, multitask, _ = SCRIPTS[script]
    tasks = SUITES[suite] if multitask else SUITES[suite].split(",")[3]
    argv = invocation(
        script,
        method,
        "data",
        "out",
        tasks,
        config,
        start="" if multitask else "source/",
    )
    cfg = configured(argv)
    assert len(cfg.DATASET.DATASET.split(",")) == (
        1 if not multitask else 11 if suite == "coop" else 20
    )
    assert (cfg.SEED, cfg.DATASET.NUM_SHOTS, cfg.TEST.FINAL_MODEL, cfg.OPTIM.LR) == (
        1,
        3,
        "best_val",
        0.002,
    )
    if method == "COCOOP":
        assert (cfg.TRAINER.NAME, cfg.TRAINER.COCOOP.N_CTX) == ("CoCoOp", 4)
    else:
        node = cfg.TRAINER.MVLPT
        assert (cfg.TRAINER.NAME, node.COOP.N_CTX, node.VPT.N_CTX) == (
            "MVLPT",
            *LENGTHS[method],
        )
        assert cfg.TRAINER.CUT_CONTEXTLEN is (method != "VPT")


@every_invocation
def test_every_invocation_of_the_reference_runs(main, root, tmp_path, script, method):
    suite, multitask, _ = SCRIPTS[script]
    run = {"data": None, "config": None}
    many = (
        "toy-pets,toy-shapes" if suite == "coop" else "toy-scenes,toy-shapes,toy-marks"
    )
    source = tmp_path / many / method / "vit_b32_3shots" / "nctx4_csc_ctp"
    first = invocation(script.replace("single", "mt"), method, root, source, many)
    assert main(f"{first} {QUICK}", **run) == 0
    out, tasks = source, many
    if not multitask:
        out, tasks = (
            tmp_path / "adapted" / "seed1",
            "toy-pets" if suite == "coop" else "toy-marks",
        )
        start = "" if method == "COCOOP" else f"{source}/"
        second = invocation(script, method, root, out, tasks, start=start)
        assert main(f"{second} {QUICK}", **run) == 0
    assert (out / "prompt_learner" / "model-best.pth.tar").is_file()
    assert (out / "prompt_learner" / "model.pth.tar-1").is_file()
    if method == "COCOOP":
        assert "* accuracy" in (out / "log.txt").read_text()
        return
    records = read(out / "results.json")
    assert [record["task"] for record in records] == tasks.split(",")
    assert all(
        math.isfinite(record["score"]) and record["seed"] == 1 for record in records
    )
    if not multitask:
        assert records[0]["start"]  # the prompt that it was adapted from


def test_both_kinds_of_contexts_do_not_mix_with_cocoop_s(refuse, root):
    argv = "--trainer MVLPT --dataset toy-pets --shots 2"
    # the configuration file sets another N_CTX
    message = refuse(f"{argv} TRAINER.MVLPT.COCOOP.N_CTX 4")
    assert "TRAINER.MVLPT.COCOOP.N_CTX" in message and "--trainer CoCoOp" in message


# -- CoOp's and CoCoOp's scripts ---------------------------------------------------------------------------------


def stems() -> dict[str, str]:
    files = (CONFIGS / "datasets").glob("*.yaml")
    return {
        file.stem: yaml.safe_load(file.read_text())["DATASET"]["NAME"] for file in files
    }


def test_every_data_set_of_coop_has_its_file():
    known = [
        name
        for name, entry in entries().items()
        if entry.suite in ("coop", "imagenet-variant")
    ]
    assert sorted(stems().values()) == sorted(known) and len(known) == 15
    words = "caltech101 dtd eurosat fgvc_aircraft food101 imagenet imagenet_a imagenet_r imagenet_sketch imagenetv2"
    words += " oxford_flowers oxford_pets stanford_cars sun397 ucf101"
    assert sorted(stems()) == words.split()


@pytest.mark.parametrize(
    "config",
    sorted(file.stem for file in (CONFIGS / "trainers" / "CoOp").glob("[rv]*.yaml")),
)
def test_coop_s_command_line_parses(config):
    argv = "--root data --seed 1 --trainer CoOp --output-dir out"
    argv += f" --dataset-config-file {CONFIGS}/datasets/dtd.yaml"
    argv += f" --config-file {CONFIGS}/trainers/CoOp/{config}.yaml"
    argv += " TRAINER.COOP.N_CTX 16 TRAINER.COOP.CSC True"
    argv += " TRAINER.COOP.CLASS_TOKEN_POSITION end DATASET.NUM_SHOTS 16"
    cfg = configured(argv)
    assert (cfg.DATASET.NAME, cfg.DATASET.NUM_SHOTS) == ("DescribableTextures", 16)
    node = cfg.TRAINER.MVLPT.COOP
    assert (node.N_CTX, node.CSC, node.CLASS_TOKEN_POSITION) == (16, True, "end")
    assert node.CTX_INIT == ("a photo of a" if "ctxv1" in config else "")
    epochs = 200
    for stem, count in (("ep50", 50), ("ep100", 100), ("val", 10)):
        if stem in config.split("_"):
            epochs = count
    assert cfg.OPTIM.MAX_EPOCH == epochs
    assert cfg.INPUT.TRANSFORMS == ("random_resized_crop", "random_flip", "normalize")


@pytest.mark.parametrize(
    ("trainer", "config", "opts"),
    [
        (
            "CoOp",
            "CoOp/rn50_ep50",
            "TRAINER.COOP.N_CTX 4 TRAINER.COOP.CSC False",
        ),
        ("CoOp", "CoOp/vit_b32", "TRAINER.COOP.N_CTX 4 TRAINER.COOP.CSC True"),
        ("CoCoOp", "CoCoOp/vit_b32", "DATASET.SUBSAMPLE_CLASSES base"),
    ],
)
def test_command_lines_of_coop_and_cocoop_run(
    main, root, tmp_path, trainer, config, opts
):
    data, out = tmp_path / "pets.yaml", tmp_path / "run"
    data.write_text('DATASET:\n  NAME: "toy-pets"\n')
    common = f"--seed 2 --trainer {trainer} --dataset-config-file {data}"
    file = CONFIGS / "trainers" / f"{config}.yaml"
    end = f"{opts} DATASET.NUM_SHOTS 2 {QUICK}"
    assert main(f"{common} --output-dir {out} {end}", config=file) == 0
    assert (out / "prompt_learner" / "model.pth.tar-1").is_file()
    again = f"--output-dir {tmp_path}/eval --model-dir {out} --load-epoch 1 --eval-only"
    assert main(f"{common} {again} {end}", config=file) == 0


def test_a_file_that_only_names_a_data_set_leaves_the_recipe_in_place():
    file = CONFIGS / "datasets" / "dtd.yaml"
    cfg = configured(f"--trainer CoOp --dataset-config-file {file} --backbone RN50")
    assert (cfg.OPTIM.NAME, cfg.OPTIM.MAX_EPOCH, cfg.DATASET.NAME) == (
        "sgd",
        200,
        "DescribableTextures",
    )
    assert cfg.INPUT.TRANSFORMS == ()


@pytest.mark.parametrize("text", ["(32, 48)", "[32, 48]"])
def test_tuples_as_coop_s_files_write_them(tmp_path, text):
    file = tmp_path / "one.yaml"
    file.write_text(f"INPUT:\n  SIZE: {text}\n")
    for words in (f"--config-file {file}", f"INPUT.SIZE '{text}'"):
        cfg = configured(f"--trainer CoOp {words}")
        assert cfg.INPUT.SIZE == (32, 48)


def test_a_broken_tuple_is_named(refuse):
    assert "INPUT.SIZE" in refuse(
        "--trainer CoOp --dataset toy-pets INPUT.SIZE '(32, x)'"
    )

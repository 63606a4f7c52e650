"""Flags, YAML files and the configuration that a run writes."""

import shlex
from pathlib import Path

import pytest
import yaml

import train
import trainers
from trainers.engine import command_line
from trainers.engine import config as configuration
from trainers.engine.config import differences, resolve, trainer_class, with_overrides

CONFIGS = Path(trainers.__file__).parents[1] / "configs"
FILES = sorted(
    file
    for kind in ("trainers", "datasets")
    for file in (CONFIGS / kind).rglob("*.y*ml")
)
COUNT = 81  # YAML files below configs/trainers and configs/datasets
NAMES = ["ZeroshotCLIP", "CoOp", "VPT", "UPT", "MCoOp", "MVPT", "MUPT", "MVLPT"]
# each with its multitask form
ANCHORED = ["KgCoOp", "ProGrad", "IVLP", "MaPLe", "PromptSRC", "TCP", "APT"]
ANCHORED += ["MMRL", "MMRLPP", "SoftCPT"]
NAMES += [*ANCHORED, *(f"M{name}" for name in ANCHORED)]
NAMES += ["LinearProbe", "GDA", "CLAP"]  # of one task each
ONE = "--dataset toy-shapes --shots 3"


def configured(command):
    """Return the configuration of a command line."""
    args = train.arguments().parse_args(shlex.split(command))
    return command_line.configuration(args)


def test_the_number_of_configuration_files():
    assert len(FILES) == COUNT


@pytest.mark.parametrize(
    "file", FILES, ids=[file.relative_to(CONFIGS).as_posix() for file in FILES]
)
def test_every_configuration_file_resolves_and_its_values_arrive(file):
    kind = file.relative_to(CONFIGS).parts[0]
    assert kind in ("trainers", "datasets")
    text = yaml.safe_load(file.read_text())
    folder = file.parent.name
    trainer = folder if folder in (*NAMES, "CoCoOp") else "CoOp"
    cfg = resolve(trainer, [str(file)], {}, [])
    for key, value in configuration.flatten(text):
        if not key.startswith(("TRAINER.COOP.", "TRAINER.NAME")):
            node = cfg
            for part in key.split("."):
                node = node[part]
            assert node == (
                tuple(value)
                if isinstance(node, tuple)
                else float(value)
                if isinstance(node, float)
                else value
            ), key


@pytest.mark.parametrize(
    "file", FILES, ids=[file.relative_to(CONFIGS).as_posix() for file in FILES]
)
def test_every_configuration_file_says_what_it_is_for(file):
    head = [line for line in file.read_text().splitlines() if line.startswith("#")]
    assert head and any("python" in line for line in head)


@pytest.mark.parametrize(
    "backbone",
    [
        "pocket",
        "ViT-B/16",
        "ViT-B/32",
        "ViT-L/14",
        "ViT-L/14@336px",
        "RN50",
        "some/checkpoint.pt",
    ],
)
def test_every_trainer_has_a_recipe_for_every_backbone(backbone):
    for name in NAMES:
        found = configuration.recipes(trainer_class(name), backbone)
        assert found and all(path.is_file() for path in found), name


def test_a_joint_trainer_has_the_recipe_of_its_method():
    for name in ("CoOp", "VPT", "UPT", *ANCHORED):
        assert configuration.recipes(
            trainer_class(f"M{name}"), "pocket"
        ) == configuration.recipes(trainer_class(name), "pocket")


def test_there_are_these_trainers_cocoop_and_no_more():
    from dassl.engine import TRAINER_REGISTRY

    registered = [
        name
        for name in TRAINER_REGISTRY.registered_names()
        if trainer_class(name).__module__.startswith("trainers.")
    ]
    assert sorted(registered) == sorted([*NAMES, "CoCoOp"])
    assert {
        name for name in registered if getattr(trainer_class(name), "multitask", False)
    } == {
        "ZeroshotCLIP",
        "MCoOp",
        "MVPT",
        "MUPT",
        *(f"M{name}" for name in ANCHORED),
        "MVLPT",
    }


@pytest.mark.parametrize(
    ("trainer", "lengths"),
    [
        ("CoOp", (16, 0)),
        ("MCoOp", (16, 0)),
        ("VPT", (0, 16)),
        ("MVPT", (0, 16)),
        ("UPT", (4, 4)),
        ("MUPT", (4, 4)),
        ("MVLPT", (0, 0)),
    ],
)
def test_every_method_has_its_context_lengths_by_default(tmp_path, trainer, lengths):
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    node = configured(f"--trainer {trainer} --config-file {empty}").TRAINER.MVLPT
    assert (node.COOP.N_CTX, node.VPT.N_CTX) == lengths


def test_later_settings_win(quick, tmp_path):
    assert configured(f"--trainer CoOp --config-file {quick}").OPTIM.LR == 0.5
    assert (
        configured(f"--trainer CoOp --config-file {quick} OPTIM.LR 1e-3").OPTIM.LR
        == 0.001
    )
    assert (
        configured(f"--trainer CoOp --config-file {quick}").TRAINER.MVLPT.COOP.N_CTX
        == 4
    )  # the file's, not the trainer's 16
    data = tmp_path / "data.yaml"
    data.write_text("DATASET: {NAME: toy-pets, NUM_SHOTS: 7}\n")
    both = f"--trainer CoOp --config-file {quick} --dataset-config-file {data}"
    assert (configured(both).DATASET.NAME, configured(both).DATASET.NUM_SHOTS) == (
        "toy-pets",
        7,
    )
    assert configured(f"{both} --shots 2").DATASET.NUM_SHOTS == 2
    assert configured(f"{both} --shots 2 DATASET.NUM_SHOTS 4").DATASET.NUM_SHOTS == 4


def test_what_flags_set():
    cfg = configured(
        "--trainer MVPT --root /data --seed 3 --shots 5 --dataset a,b "
        "--backbone ViT-B/16 --multi-task-evalkey b --source c --act-ckpt 2 "
        "--cut-contextlen --dataset-coop --multi-task-label_pertask "
        f"--config-file {CONFIGS}/trainers/MVLPT/pocket.yaml"
    )
    assert (cfg.DATASET.ROOT, cfg.SEED, cfg.DATASET.RANDOM_SEED_SAMPLING) == (
        "/data",
        3,
        3,
    )
    assert (
        cfg.DATASET.NUM_SHOTS,
        cfg.DATASET.NUM_SAMPLES_PER_CLASS,
        cfg.DATASET.DATASET,
    ) == (5, 5, "a,b")
    assert (
        cfg.MODEL.BACKBONE.NAME,
        cfg.DATASET.MULTITASK_EVALKEY,
        cfg.MULTITASK.SOURCE,
    ) == ("ViT-B/16", "b", "c")
    assert (
        cfg.TRAINER.ACT_CKPT,
        cfg.TRAINER.CUT_CONTEXTLEN,
        cfg.DATASET.COOP,
        cfg.DATASET.MULTITASK_LABEL_PERTASK,
    ) == (2, True, True, True)


@pytest.mark.parametrize("seed", [0, 1, 12345678901])
def test_zero_is_a_seed_like_any_other(seed):
    cfg = configured(f"--trainer CoOp --seed {seed}")
    assert (cfg.SEED, cfg.DATASET.RANDOM_SEED_SAMPLING) == (seed, seed)


def test_without_flags_the_seed_is_0_and_the_shots_are_20():
    cfg = configured("--trainer CoOp")
    assert (
        cfg.SEED,
        cfg.DATASET.RANDOM_SEED_SAMPLING,
        cfg.DATASET.NUM_SHOTS,
        cfg.DATASET.NUM_SAMPLES_PER_CLASS,
    ) == (
        0,
        0,
        20,
        20,
    )


@pytest.mark.parametrize(
    ("key", "value"), [("DATASET.RANDOM_SEED_SAMPLING", 2), ("SEED", 4)]
)
def test_a_seed_among_the_options_is_not_overridden(key, value):
    node = configured(f"--trainer CoOp {key} {value}")
    for part in key.split("."):
        node = node[part]
    assert node == value


@pytest.mark.parametrize("shots", [-1, 0, 1])
def test_shots_are_taken_as_given(shots):
    assert configured(f"--trainer CoOp --shots {shots}").DATASET.NUM_SHOTS == shots


def test_all_shots_by_the_reference_s_key():
    assert (
        configured("--trainer CoOp DATASET.NUM_SAMPLES_PER_CLASS 5").DATASET.NUM_SHOTS
        == 5
    )


@pytest.mark.parametrize(
    "text", ["1", "1e-3", "[1, 2]", "yes", "null", "a: b", "'", "0x10"]
)
def test_strings_stay_strings(text):
    assert isinstance(
        configured(
            f"--trainer CoOp TRAINER.MVLPT.COOP.CTX_INIT {shlex.quote(text)}"
        ).TRAINER.MVLPT.COOP.CTX_INIT,
        str,
    )


def test_differences_name_keys_and_leave_out_the_machine():
    cfg = configured("--trainer CoOp")
    assert (
        differences(
            cfg,
            with_overrides(
                cfg, OUTPUT_DIR="elsewhere", DATASET__ROOT="/data", RESUME="x"
            ),
        )
        == []
    )
    assert differences(cfg, with_overrides(cfg, OPTIM__LR=0.5, SEED=3)) == [
        "OPTIM.LR",
        "SEED",
    ]

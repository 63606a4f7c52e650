"""Trainers and data sets of a repository for Dassl, imported as a folder: names that are
ours, defaults of its train.py, values, draws, resume and results.
"""

import random
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from run_files import read
from torch import nn
from torch.overrides import BaseTorchFunctionMode

import datasets
import train
import trainers
from toolkit import plugin_files
from toolkit.common import plugins
from trainers.engine import command_line, no_gpu
from trainers.engine.config import load
from trainers.engine.flags import arguments

REPOSITORY = Path(__file__).parent / "foreign_repository"
YAML = """\
DATALOADER: {TRAIN_X: {BATCH_SIZE: 4}, TEST: {BATCH_SIZE: 16}, NUM_WORKERS: 0}
INPUT:
  SIZE: (48, 48)
  TRANSFORMS: ["normalize"]
OPTIM: {NAME: "sgd", LR: 0.02, MAX_EPOCH: 2, LR_SCHEDULER: "cosine"}
MODEL: {BACKBONE: {NAME: "pocket"}}
TRAINER:
  COOP: {PREC: "fp32"}
"""


@pytest.fixture
def repository(registries, tmp_path):
    """Return the repository, copied to a folder that is no part of the project."""
    folder = tmp_path / "theirs"
    for file in REPOSITORY.rglob("*.py"):
        copy = folder / file.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text())
    return folder


@pytest.fixture
def files(tmp_path):
    config, data = tmp_path / "method.yaml", tmp_path / "data.yaml"
    config.write_text(YAML)
    data.write_text('DATASET:\n  NAME: "OxfordPets"\n')
    return f"--config-file {config} --dataset-config-file {data}"


@pytest.fixture
def start(main, repository, files, tmp_path):
    """Run a trainer of the repository; return its log."""

    def run(trainer, out, words="", code=0):
        command = f"--import {repository} --trainer {trainer} {files}"
        assert main(f"{command} --output-dir {out} {words}", config=None) == code
        return "".join(path.read_text() for path in sorted(out.glob("log.txt*")))

    return run


def write_broken(file, registry, name):
    """Write a file that would register a class if its imports were installed."""
    lines = [
        "import not_installed_learner",
        f"from dassl.{registry}",
        f"@{registry.split()[-1]}.register()",
        f"class {name}:",
        "    pass",
    ]
    file.write_text("\n".join(lines) + "\n")


def configured(command):
    words = shlex.split(command)
    args = arguments(words).parse_args(words)
    trainers.register_all()
    return command_line.configuration(args)


# -- names that are ours -------------------------------------------------------------------------------------------


def test_names_of_the_folder_win_and_each_imports_its_own(start, tmp_path, repository):
    log = start("MaPLe", tmp_path / "run", "--seed 1 DATASET.NUM_SHOTS 2")
    assert "words of the repository: a photo of a, weight 0.25" in log
    assert f"MaPLe is that of {repository}/trainers/maple.py, not that of" in log
    assert f"OxfordPets is that of {repository}/datasets/oxford_pets.py" in log
    assert "# train_x  6" in log and "not imported: " in log
    ours = trainers.methods.coop.CoOp
    assert ours.native and ours.__module__ == "trainers.methods.coop"
    assert not list(repository.rglob("__pycache__"))


def test_our_trainers_and_tasks_run_beside_a_folder(main, repository, tmp_path):
    out = tmp_path / "run"
    argv = f"--import {repository} --trainer VPT --dataset toy-shapes"
    assert main(f"{argv} --shots 1 --output-dir {out}") == 0
    assert read(out / "results.json")[0]["trainer"] == "VPT"


def test_an_error_in_a_file_stops_what_needs_it(start, capsys, repository, tmp_path):
    start("MetaPrompt", tmp_path / "run", code=2)
    message = capsys.readouterr().err
    assert str(repository / "trainers" / "meta.py") in message
    assert "No module named 'not_installed_learner'" in message


@pytest.mark.parametrize(
    ("place", "registry", "name"),
    [
        ("trainers/vpt.py", "engine import TRAINER_REGISTRY", "VPT"),
        ("datasets/food.py", "data.datasets import DATASET_REGISTRY", "Food101"),
    ],
)
def test_ours_is_no_substitute_for_a_file_that_cannot_be_imported(
    main, capsys, repository, tmp_path, place, registry, name
):
    file = repository / place
    write_broken(file, registry, name)
    for trainer, data in (("VPT", "toy-shapes"), ("CoOp", "Food101")):
        argv = f"--import {repository} --trainer {trainer} --dataset {data} --shots 1"
        code = main(f"{argv} --output-dir {tmp_path / trainer}")
        message = capsys.readouterr().err
        if name in (trainer, data):
            assert code == 2 and f"{name} is in {file}, which cannot be" in message
            assert "No module named 'not_installed_learner'" in message
        else:
            assert str(file) not in message


@pytest.mark.parametrize(
    ("registry", "name", "key"),
    [
        ("evaluation import EVALUATOR_REGISTRY", "Classification", ""),
        ("modeling import BACKBONE_REGISTRY", "Small", "MODEL.BACKBONE.NAME Small"),
        ("modeling import HEAD_REGISTRY", "Narrow", "MODEL.HEAD.NAME Narrow"),
    ],
)
def test_an_evaluator_or_model_part_that_cannot_be_imported_stops_the_run(
    start, capsys, repository, tmp_path, registry, name, key
):
    file = repository / "trainers" / "part.py"
    write_broken(file, registry, name)
    start("MaPLe", tmp_path / "run", f"DATASET.NUM_SHOTS 2 {key}", code=2)
    message = capsys.readouterr().err
    assert f"{name} is in {file}, which cannot be imported" in message


def test_copies_of_clip_find_the_versions_of_old_setuptools(repository, tmp_path):
    file = repository / "trainers" / "old.py"
    file.write_text(
        "from pkg_resources import packaging\n"
        "import pkg_resources\n"
        "newer = packaging.version.parse('1.10') > packaging.version.parse('1.7.1')\n"
        "REGISTRY = 'TRAINER_REGISTRY'\n"
    )
    one = plugin_files.package(repository)
    one.import_file(file)
    module = sys.modules[f"{one.name}.trainers.old"]
    assert module.newer and module.pkg_resources.packaging.version


def test_a_folder_of_loose_files_and_one_of_trainers_alone(repository, tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    for name in ("coop", "maple", "words"):
        text = (repository / "trainers" / f"{name}.py").read_text()
        (loose / f"{name}.py").write_text(text.replace("from clip import clip", ""))
    for place in (loose, repository / "trainers", repository / "trainers" / "maple.py"):
        words = ["--import", str(place)]
        args = arguments(words).parse_args(words)
        assert args.imports
        plugin_files.import_all()
        from dassl.engine import TRAINER_REGISTRY

        folder = plugin_files.package_of(TRAINER_REGISTRY.get("MaPLe")).folder
        assert folder in (loose, repository)


def test_files_dropped_into_our_folders_stop_no_run(registries, tmp_path, monkeypatch):
    dropped = tmp_path / "datasets"
    dropped.mkdir()
    text = (REPOSITORY / "datasets" / "oxford_pets.py").read_text()
    (dropped / "oxford_pets_of_coop.py").write_text(text)
    (dropped / "broken_of_coop.py").write_text("import not_installed\n")
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(dropped)])
    datasets.register_all()
    from dassl.data.datasets import DATASET_REGISTRY

    found = DATASET_REGISTRY.get("OxfordPets")
    assert found.__module__ == "datasets.oxford_pets_of_coop"
    assert any("not_installed" in line for line in plugin_files.lines([]))


def test_the_folder_plugins_needs_no_flag(repository, monkeypatch):
    monkeypatch.setattr(plugins, "FOLDER", repository.parent)
    plugin_files.import_all()
    from dassl.engine import TRAINER_REGISTRY

    cls = TRAINER_REGISTRY.get("MaPLe")
    assert plugin_files.package_of(cls).folder == repository


# -- keys and values -----------------------------------------------------------------------------------------------


def test_defaults_of_extend_cfg_and_settings_of_setup_cfg(repository, files):
    words = f"--import {repository} --trainer MaPLe {files} --root data"
    cfg = configured(f"{words} --temperature 2 TRAINER.W 3 OPTIM.LR_EXP 0.1")
    assert cfg.TRAINER.MAPLE.CTX_INIT == "a photo of a"
    assert cfg.TRAINER.MAPLE.REG_WEIGHT == 0.25  # of setup_cfg, for this data set
    assert (cfg.TRAINER.W, cfg.OPTIM.LR_EXP, cfg.LOSS.GM) == (3, 0.1, False)
    assert cfg.TRAINER.TEMPERATURE == 2  # that extend_cfg reads from the global `args`
    assert (cfg.DEVICE, cfg.SEED, cfg.DATASET.NUM_SHOTS) == ("cpu", -1, -1)
    assert cfg.TRAINER.COOP.CTX_INIT is False
    assert "N_CTX" not in cfg.TRAINER.MAPLE and "MVLPT" not in cfg.TRAINER


def test_the_script_that_imports_the_trainer_has_its_defaults(repository, files):
    text = (repository / "train.py").read_text()
    (repository / "train.py").unlink()
    (repository / "a_train.py").write_text(text.replace("trainers.maple", "os.path"))
    other = text.replace('"a photo of a"', '"an image of a"')
    (repository / "maple_train.py").write_text(other)
    cfg = configured(f"--import {repository} --trainer MaPLe {files}")
    assert cfg.TRAINER.MAPLE.CTX_INIT == "an image of a"


def test_keys_that_no_default_has_are_free(repository, files):
    words = f"--import {repository} --trainer CoOp {files}"
    pairs = "TASK B2N OPTIM_VNET.LR 1e-3 DATASET.GPT_DIR gpt"
    cfg = configured(f"{words} {pairs}")
    assert (cfg.TASK, cfg.OPTIM_VNET.LR, cfg.DATASET.GPT_DIR) == ("B2N", 1e-3, "gpt")
    (line,) = [line for line in plugin_files.lines([]) if "no default" in line]
    assert "OPTIM_VNET.LR" in line and "TASK" in line


def test_a_new_key_in_a_yaml_keeps_the_settings_of_setup_cfg(
    repository, files, tmp_path
):
    config = tmp_path / "method.yaml"
    config.write_text(YAML.replace('"pocket"}', '"pocket"}, N: 4'))
    with config.open("a") as file:
        file.write("  MAPLE: {ORDER: [1, 2]}\n")
    cfg = configured(f"--import {repository} --trainer MaPLe {files}")
    assert (cfg.MODEL.N, cfg.TRAINER.MAPLE.ORDER) == (4, [1, 2])
    assert cfg.TRAINER.MAPLE.REG_WEIGHT == 0.25
    lines = [line for line in plugin_files.lines([]) if "no default" in line]
    assert "MODEL.N, TRAINER.MAPLE.ORDER" in lines[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("1:30", "1:30"),
        ("017", "017"),
        ("2021-01-01", "2021-01-01"),
        ("X #3", "X #3"),
        ("False", False),
        ("(1, 2)", (1, 2)),
        ("1e-5", 1e-5),
        ("null", "null"),
    ],
)
def test_values_are_those_of_yacs(repository, files, text, value):
    words = f"--import {repository} --trainer CoOp {files}"
    words += f" TRAINER.NEW.KEY '{text}' MODEL.BACKBONE.PRETRAINED True"
    cfg = configured(words)
    assert cfg.TRAINER.NEW.KEY == value and type(cfg.TRAINER.NEW.KEY) is type(value)
    assert cfg.MODEL.BACKBONE.PRETRAINED is True


def test_a_false_in_a_yaml_stays_false(repository, files, tmp_path):
    (repository / "train.py").unlink()
    config = tmp_path / "tcp.yaml"
    config.write_text("OPTIM: {LR: 1}\nTRAINER: {COOP: {CTX_INIT: False, W: 1.0}}\n")
    words = f"--import {repository} --trainer CoOp --config-file {config}"
    cfg = configured(words)
    assert cfg.TRAINER.COOP.CTX_INIT is False and cfg.OPTIM.LR == 1.0


def test_a_wrong_type_of_a_key_of_dassl_is_named(repository, files):
    words = f"--import {repository} --trainer CoOp {files}"
    with pytest.raises(ValueError, match=r"OPTIM\.MAX_EPOCH is a whole number"):
        configured(f"{words} OPTIM.MAX_EPOCH many")


def test_a_missing_key_is_one_message(start, repository, capsys, tmp_path):
    (repository / "train.py").unlink()
    start("MaPLe", tmp_path / "run", "TRAINER.MAPLE.REG_WEIGHT 1", code=2)
    error = capsys.readouterr().err
    assert "TRAINER.MAPLE.CTX_INIT has no value" in error and "extend_cfg" in error


def test_a_backbone_that_their_clip_does_not_know(start, capsys, tmp_path):
    start("CoOp", tmp_path / "run", "--backbone RN51", code=2)
    assert "MODEL.BACKBONE.NAME is 'RN51'" in capsys.readouterr().err


def test_without_a_gpu_cuda_and_half_change_nothing_but_the_log(start, tmp_path):
    plain, on_gpu = tmp_path / "plain", tmp_path / "gpu"
    words = "--seed 1 DATASET.NUM_SHOTS 2"
    assert "no GPU" not in start("CoOp", plain, words)
    log = start("OnGPU", on_gpu, words)
    assert log.count("no GPU is available: .cuda() keeps tensors on the CPU") == 1
    assert log.count("no GPU is available: .half() keeps float32") == 1
    assert torch.equal(learned(on_gpu), learned(plain))
    name = "predictions/seed1_OxfordPets.json"
    scores = [read(out / name)["predictions"] for out in (plain, on_gpu)]
    assert scores[0] == scores[1]
    assert torch.ones(1).half().dtype == torch.float16  # undone after the run


def test_with_a_gpu_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with no_gpu.kept_on_cpu():
        assert torch.ones(1).half().dtype == torch.float16


def test_without_a_gpu_other_operations_are_the_same_to_the_bit():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
    x = torch.randn(3, 17, 64)
    methods = torch.zeros, torch.Tensor.to, torch.Tensor.cuda
    with torch.no_grad():
        expected = layer(x)
        with no_gpu.kept_on_cpu():
            assert torch.equal(layer(x), expected)
            assert torch.zeros(2, device="cuda:0").cuda().half().dtype == torch.float32
        with BaseTorchFunctionMode():  # shows that this can fail
            assert not torch.equal(layer(x), expected)
    assert (torch.zeros, torch.Tensor.to, torch.Tensor.cuda) == methods


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Found no NVIDIA driver on your system."),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
)
def test_a_gpu_that_is_not_there_is_one_message(
    start, capsys, tmp_path, monkeypatch, error
):
    def current_device():
        raise error

    monkeypatch.setattr(torch.cuda, "current_device", current_device)
    start("NeedsGPU", tmp_path / "run", code=2)
    message = capsys.readouterr().err
    assert f"NeedsGPU needs a GPU, as its own lines ask for one: {error}" in message


def test_a_data_set_that_their_tables_lack_is_one_message(start, capsys, tmp_path):
    start("Templates", tmp_path / "run", "--dataset toy-pets", code=2)
    message = capsys.readouterr().err
    assert "Templates has no entry for the data set toy-pets" in message


# -- data, resume and results --------------------------------------------------------------------------------------


def test_shots_have_dassl_s_meaning(start, tmp_path, root):
    for words in ("", "DATASET.NUM_SHOTS 0"):
        out = tmp_path / f"run{len(words)}"
        assert "# train_x  15" in start("CoOp", out, words)
        assert not (out / "split_fewshot").exists()
    ours = "--dataset toy-pets DATASET.NUM_SHOTS 0"
    assert "# train_x  15" in start("CoOp", tmp_path / "ours", ours)


def test_draws_are_those_of_python_s_generator(start, tmp_path, root):
    out = tmp_path / "run"
    start("CoOp", out, "--seed 3 DATASET.NUM_SHOTS 2")
    import pickle

    with (out / "split_fewshot" / "shot_2-seed_3.pkl").open("rb") as file:
        drawn = [Path(item.impath).name for item in pickle.load(file)["train"]]
    random.seed(3)
    expected = []
    for _ in range(3):  # classes
        expected += random.sample([f"train_{i}.png" for i in range(5)], 2)
    assert drawn == expected


def test_a_random_seed(start, tmp_path):
    folder = tmp_path / "run"
    log = start("CoOp", folder, "--seed -1 --dataset toy-pets TRAIN.CHECKPOINT_FREQ 1")
    assert "precision" not in log
    seed = int(re.search(r"(\d+) is a random seed", log)[1])
    assert load(folder / "config.yaml").SEED == seed
    (record,) = read(folder / "results.json")
    assert record["seed"] == seed
    (file,) = (folder / "predictions").iterdir()
    assert file.name == f"seed{seed}_toy-pets.json"
    assert read(file)["rnd_seeds"] == [seed]

    # the same command resumes this run with its seed
    whole = learned(folder)
    interrupted(folder)
    start("CoOp", folder, "--seed -1 --dataset toy-pets TRAIN.CHECKPOINT_FREQ 1")
    assert torch.equal(learned(folder), whole)
    assert read(folder / "results.json")[0]["seed"] == seed


def interrupted(folder):
    """Take a run back to the end of its first epoch."""
    (folder / "prompt_learner" / "model.pth.tar-2").unlink()
    (folder / "prompt_learner" / "checkpoint").write_text("model.pth.tar-1\n")


def learned(folder):
    path = folder / "prompt_learner" / "model.pth.tar-2"
    return torch.load(path, weights_only=True)["state_dict"]["ctx"]


def test_the_same_command_resumes_also_into_another_folder(start, tmp_path):
    out, other = tmp_path / "run", tmp_path / "other"
    words = "--seed 1 DATASET.NUM_SHOTS 2 TRAIN.CHECKPOINT_FREQ 1"
    start("CoOp", out, words)
    whole = learned(out)
    interrupted(out)
    assert f"resumed from {out}, as Dassl does" in start("CoOp", out, words)
    assert torch.equal(learned(out), whole)
    interrupted(out)
    log = start("CoOp", other, f"--resume {out} {words}")
    assert f"resumed from {out}" in log and torch.equal(learned(other), whole)
    assert not (out / "prompt_learner" / "model.pth.tar-2").exists()


def test_a_folder_without_a_checkpoint_is_not_resumed(start, capsys, tmp_path):
    start("CoOp", tmp_path / "run", f"--resume {tmp_path}/none", code=2)
    assert "holds no checkpoint" in capsys.readouterr().err


def test_results_are_those_of_the_log(start, tmp_path):
    out = tmp_path / "run"
    log = start("CoOp", out, "--seed 1")
    (record,) = read(out / "results.json")
    (shown,) = re.findall(r"\* accuracy: ([\d.]+)%", log)
    (f1,) = re.findall(r"\* macro_f1: ([\d.]+)%", log)
    assert f"{record['score']:.1f}" == shown and f"{record['macro_f1']:.1f}" == f1
    assert (record["task"], record["metric"]) == ("OxfordPets", "accuracy")
    assert (record["trainer"], record["shots"], record["seed"]) == ("CoOp", -1, 1)
    predictions = read(out / "predictions" / "seed1_OxfordPets.json")
    assert len(predictions["predictions"][0]) == 9
    assert (out / "results" / "confusion_OxfordPets.csv").is_file()
    again = f"--eval-only --model-dir {out}"
    log = start("CoOp", tmp_path / "eval", f"--seed 1 {again}")
    assert "that of epoch 2 is read" in log
    assert read(tmp_path / "eval" / "results.json")[0]["score"] == record["score"]


def test_a_trainer_that_tests_nothing_is_scored_by_eval_only(start, tmp_path):
    out = tmp_path / "run"
    log = start("Untested", out, "--seed 1")
    assert (
        f"Untested tests nothing after training: --eval-only --model-dir {out}" in log
    )
    assert "score" not in read(out / "results.json")[0]
    log = start(
        "Untested", tmp_path / "eval", f"--seed 1 --eval-only --model-dir {out}"
    )
    assert "loading a model of OxfordPets" in log
    start("CoOp", tmp_path / "CoOp", "--seed 1")
    score = read(tmp_path / "CoOp" / "results.json")[0]["score"]
    assert read(tmp_path / "eval" / "results.json")[0]["score"] == score


def test_a_multilabel_task_is_refused(start, capsys, tmp_path):
    start("CoOp", tmp_path / "run", "--dataset toy-scenes", code=2)
    assert "toy-scenes has several labels an image" in capsys.readouterr().err
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_task_is_scored_by_its_metric(start, tmp_path):
    log = start("CoOp", tmp_path / "run", "--seed 1 --dataset toy-marks")
    (record,) = read(tmp_path / "run" / "results.json")
    assert record["metric"] == "mean-per-class" and "macro_f1" not in record
    assert "toy-marks is scored by mean-per-class, not by accuracy" in log


def test_several_tasks_have_a_record_each(start, tmp_path):
    tasks = "toy-shapes,toy-marks"
    start("CoOp", tmp_path / "run", f"--seed 1 --dataset {tasks}")
    records = read(tmp_path / "run" / "results.json")
    assert [record["task"] for record in records] == tasks.split(",")
    assert [record["test_images"] for record in records] == [9, 6]


def test_model_dir_without_eval_only_is_not_read(start, tmp_path):
    start("CoOp", tmp_path / "one", "--seed 1")
    words = f"--seed 2 --model-dir {tmp_path}/one"
    assert "--model-dir is not read" in start("CoOp", tmp_path / "two", words)


def test_the_command_line_of_train_py_parses_their_flags(repository):
    words = shlex.split(f"--import {repository} --temperature 0.5 --device cuda")
    args = train.arguments(words).parse_args([*words, "A.B", "1"])
    assert args.opts == ["A.B", "1"] and args.theirs_temperature == 0.5

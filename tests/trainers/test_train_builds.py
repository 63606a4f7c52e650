"""The objects that a command builds: a trainer for each executed run and none
otherwise, each task once.
"""

import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from run_files import read

from trainers.engine import command_line, context, experiment, flags, results
from trainers.engine.config import trainer_class
from trainers.engine.context import RunContext, TaskPool
from trainers.engine.run_dir import Action, FolderState, Status, decide
from trainers.evaluation import PromptEvaluator
from trainers.features.extraction import probabilities

PROGRAM = Path(__file__).resolve().parents[2] / "train.py"
TWO_STAGES = (
    "--trainer MCoOp --source toy-shapes,toy-pets "
    "--dataset toy-marks,toy-scenes --shots 3"
)


@pytest.fixture
def built(monkeypatch) -> list[str]:
    """Return a list of the output folders of the trainers that are built."""
    folders, original = [], PromptEvaluator.__init__

    def counted(self, cfg, *args) -> None:
        folders.append(Path(cfg.OUTPUT_DIR).name)
        original(self, cfg, *args)

    monkeypatch.setattr(PromptEvaluator, "__init__", counted)
    return folders


@pytest.fixture
def read_tasks(monkeypatch) -> Counter:
    """Return a counter of the constructions of each task."""
    names, original = Counter(), context.build_task

    def counted(cfg, name: str):
        names[name] += 1
        return original(cfg, name)

    monkeypatch.setattr(context, "build_task", counted)
    return names


def test_a_trainer_is_built_once_a_run_and_for_no_reused_one(
    main, built, read_tasks, tmp_path
):
    command = f"{TWO_STAGES} --output-dir {tmp_path}/run"
    assert main(command) == 0
    assert built == ["source", "toy-marks", "toy-scenes"]
    assert read_tasks == {
        "toy-shapes": 1,
        "toy-pets": 1,
        "toy-marks": 1,
        "toy-scenes": 1,
    }
    built.clear()
    read_tasks.clear()
    assert main(command) == 0
    assert built == []
    # a run is reused only if its images and labels are the same, so each index is read,
    # once
    assert read_tasks == {
        "toy-shapes": 1,
        "toy-pets": 1,
        "toy-marks": 1,
        "toy-scenes": 1,
    }


def test_only_missing_runs_build_a_trainer(main, built, tmp_path):
    command = f"{TWO_STAGES} --output-dir {tmp_path}/run"
    assert main(command) == 0
    built.clear()
    (tmp_path / "run" / "adapt" / "toy-scenes" / "results.json").unlink()
    assert main(f"{command} --resume auto") == 0
    assert built == ["toy-scenes"]


def test_a_task_in_the_groups_of_several_targets_is_read_once(
    main, built, read_tasks, tmp_path
):
    groups = tmp_path / "groups.yaml"
    groups.write_text("toy-marks: [toy-shapes, toy-scenes]\ntoy-scenes: [toy-shapes]\n")
    command = (
        f"--trainer MCoOp --dataset toy-marks,toy-scenes --shots 3 --groups {groups}"
    )
    assert main(f"{command} --output-dir {tmp_path}/run") == 0
    assert built == ["toy-marks", "toy-scenes"]
    assert read_tasks == {"toy-marks": 1, "toy-shapes": 1, "toy-scenes": 1}


def test_a_check_builds_no_trainer_and_writes_nothing(
    root, quick, built, read_tasks, tmp_path
):
    words = (
        f"--root {root} --config-file {quick} {TWO_STAGES} --output-dir {tmp_path}/run"
    )
    args = flags.arguments().parse_args(shlex.split(words))
    cfg = command_line.configuration(args)
    plan = experiment.plan(cfg, command_line.run_options(args, cfg))
    experiment.check(plan, TaskPool())
    assert built == [] and max(read_tasks.values()) == 1
    assert not (tmp_path / "run").exists()


def test_a_trainer_takes_all_it_needs_at_construction(build, tmp_path):
    cfg = build("CoOp", "toy-shapes").cfg
    tasks = TaskPool().get(cfg, ["toy-shapes"])
    metadata = {"epochs": 2, "note": "kept"}
    references = ("zero_shot", "zero_shot_one_template")
    built = trainer_class("CoOp")(
        cfg, RunContext(tasks=tasks, references=references, metadata=metadata)
    )
    (record,) = built.run()
    assert built.tasks is tasks
    assert record == read(Path(cfg.OUTPUT_DIR) / "results.json")[0]
    assert record["note"] == "kept"
    images = built.constant_features("test").all()
    sentences = {
        "zero_shot": tasks[0].templates,
        "zero_shot_one_template": ["a photo of a {}."],
    }
    for reference, templates in sentences.items():
        classes = built.store.encoder.encode_classes(tasks[0].classnames, templates)
        expected = results.score(
            tasks[0],
            built.sets["test"].targets(0),
            probabilities(built.store.encoder, images, classes),
        )
        assert record[reference] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("status", "default", "resumed"),
    [
        (Status.EMPTY, Action.RUN, Action.RUN),
        (Status.FINISHED, Action.REUSE, Action.REUSE),
        (Status.INTERRUPTED, "--resume auto", Action.RESUME),
        (Status.OTHER, "it differs in OPTIM.LR", "it differs in OPTIM.LR"),
    ],
)
def test_what_a_folder_holds_decides_what_is_done(status, default, resumed):
    for resume_allowed, expected in ((False, default), (True, resumed)):
        state = FolderState(status, "OPTIM.LR" if status is Status.OTHER else "")
        if isinstance(expected, Action):
            assert decide("run", state, resume_allowed) is expected
        else:
            with pytest.raises(ValueError, match=expected):
                decide("run", state, resume_allowed)


def test_a_plugin_that_says_joint_is_multitask():
    with pytest.warns(DeprecationWarning, match="multitask"):
        old = type("Old", (PromptEvaluator,), {"joint": True})
    assert old.multitask and not PromptEvaluator.multitask


MODULES_OF = """
import sys, train
code = train.main(sys.argv[1:])
heavy = {"open_clip", "torchvision", "timm", "transformers", "scipy.stats", "torch._dynamo"}
sys.stderr.write(f"ended {code} with {sorted(heavy & set(sys.modules))}")
"""


def test_a_finished_experiment_loads_no_model_library(main, tmp_path):
    command = (
        "--trainer CoOp --dataset pocket-memes --shots 1 "
        f"--output-dir {tmp_path}/run OPTIM.MAX_EPOCH 1"
    )
    assert main(command, data=None, config=None) == 0
    environment = {**os.environ, "PYTHONPATH": str(Path(PROGRAM).parent)}
    again = subprocess.run(
        [sys.executable, "-c", MODULES_OF, *shlex.split(command)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.stderr.endswith("ended 0 with []"), again.stderr
    assert "reused" in again.stdout

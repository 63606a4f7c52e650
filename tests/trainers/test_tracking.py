"""Experiment trackers: the values that they get, that they never end a run, and
messages.
"""

import json
import sys
import types

import pytest

RUN = "--trainer VPT --dataset toy-shapes --shots 3"


class FakeWandb(types.ModuleType):
    """Replaces the package: keeps the values that it gets, or raises."""

    def __init__(self, fails_at=""):
        super().__init__("wandb")
        self.fails_at, self.runs = fails_at, []

    def init(self, **arguments):
        if self.fails_at == "init":
            raise RuntimeError("no network\nat all")
        run = types.SimpleNamespace(id=arguments["id"] or f"id{len(self.runs)}")
        run.arguments, run.points, run.summary, run.ended = arguments, [], {}, False
        run.log = lambda values, step: self._log(run, values, step)
        run.finish = lambda: setattr(run, "ended", True)
        self.runs.append(run)
        return run

    def _log(self, run, values, step):
        if self.fails_at == "log":
            raise OSError("disk full")
        run.points.append((step, values))


@pytest.fixture
def wandb(monkeypatch):
    """Return a function that installs a fake package, which fails at the given call."""

    def install(fails_at=""):
        package = FakeWandb(fails_at)
        monkeypatch.setitem(sys.modules, "wandb", package)
        return package

    return install


def test_curves_settings_and_scores_are_sent(main, wandb, tmp_path):
    package, out = wandb(), tmp_path / "run"
    assert main(f"{RUN} --output-dir {out} --track wandb") == 0
    (run,) = package.runs
    assert run.arguments["project"] == "mvlpt"
    assert run.arguments["config"]["TRAINER.NAME"] == "VPT"
    assert str(tmp_path) not in json.dumps(run.arguments, default=str)
    losses = [
        (step, values["train/loss"])
        for step, values in run.points
        if "train/loss" in values
    ]
    assert [step for step, _ in losses] == [0, 1]
    assert all(loss > 0 for _, loss in losses)
    (record,) = json.loads((out / "results.json").read_text())
    assert run.summary == {
        "final/toy-shapes": record["score"],
        "zero_shot/toy-shapes": record["zero_shot"],
    }
    assert run.ended
    assert json.loads((out / "tracking.json").read_text()) == {"wandb": "id0"}


def test_tracking_changes_no_result(main, wandb, tmp_path):
    wandb()
    assert main(f"{RUN} --output-dir {tmp_path}/a --track wandb") == 0
    assert main(f"{RUN} --output-dir {tmp_path}/b") == 0
    prompts = [(tmp_path / name / "prompts.safetensors").read_bytes() for name in "ab"]
    assert prompts[0] == prompts[1]
    assert not (tmp_path / "b" / "tracking.json").exists()


@pytest.mark.parametrize(
    "fails_at, message", [("init", "no network"), ("log", "disk full")]
)
def test_a_failing_tracker_is_one_warning(main, wandb, tmp_path, fails_at, message):
    wandb(fails_at)
    assert main(f"{RUN} --output-dir {tmp_path}/run --track wandb") == 0
    lines = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8").splitlines()
    warnings = [line for line in lines if line.startswith("--track")]
    assert len(warnings) == 1 and message in warnings[0]
    assert warnings[0].endswith("this run is tracked no further")
    assert (tmp_path / "run" / "results.json").is_file()


def test_each_run_of_two_stages_is_tracked(main, wandb, tmp_path):
    package = wandb()
    command = (
        "--trainer MVPT --source toy-shapes,toy-pets --dataset toy-marks --shots 3"
    )
    out = tmp_path / "run"
    assert main(f"{command} --output-dir {out} --track wandb") == 0
    names = [run.arguments["name"] for run in package.runs]
    assert names == ["MVPT toy-shapes,toy-pets seed 0", "MVPT toy-marks seed 0"]


def test_a_resumed_run_is_the_same_in_the_tracker(wandb, tmp_path):
    from trainers.engine.tracking import open_tracker

    package = wandb()
    for _ in range(2):
        tracker = open_tracker("wandb")
        tracker.start("a run", {}, tmp_path)
        tracker.log({"train/loss": 1.0}, 0)
    assert [run.id for run in package.runs] == ["id0", "id0"]


def test_a_missing_package_is_named_with_the_command(
    main, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert main(f"{RUN} --output-dir {tmp_path}/run --track trackio") == 2
    assert "pip install trackio" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_mlflow_keeps_the_curves_in_a_folder(main, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlflow'}")
    out = tmp_path / "run"
    assert main(f"{RUN} --output-dir {out} --track mlflow") == 0
    run_id = json.loads((out / "tracking.json").read_text())["mlflow"]
    run = mlflow.get_run(run_id)
    (record,) = json.loads((out / "results.json").read_text())
    assert run.data.metrics["final/toy-shapes"] == record["score"]
    assert run.data.params["TRAINER.NAME"] == "VPT"
    assert run.info.status == "FINISHED"
    client = mlflow.MlflowClient()
    points = client.get_metric_history(run_id, "train/loss")
    assert [point.step for point in points] == [0, 1]

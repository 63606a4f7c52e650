"""Trainers written for Dassl alone in study, sweep, transfer and protocols."""

import shlex
from pathlib import Path

import pytest
import torch
from run_files import read

from scripts.protocols import __main__ as protocols
from scripts.study import (
    free_runs,
    items,
    methods,
    plan_file,
    protocol,
    tables,
    work,
)
from scripts.transfer import __main__ as transfer
from toolkit import plugin_files
from toolkit.common import plugins

FILE = '''\
"""A trainer as of a paper's repository: a linear classifier of small images."""

import torch
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn
from torch.nn import functional as F


@TRAINER_REGISTRY.register()
class SmallImages(TrainerX):
    def build_model(self):
        print("a line of SmallImages")
        pool = nn.AdaptiveAvgPool2d(4)
        classifier = nn.Linear(48, self.num_classes)
        self.model = nn.Sequential(pool, nn.Flatten(), classifier).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("classifier", self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        images, labels = self.parse_batch_train(batch)
        loss = F.cross_entropy(self.model(images), labels)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)


@TRAINER_REGISTRY.register()
class NoTraining(TrainerX):
    def model_inference(self, images):
        return torch.zeros(len(images), self.num_classes)


@TRAINER_REGISTRY.register()
class CoOp(SmallImages):
    """A trainer under a name of ours."""
'''
PLAN = """\
runs:
  - methods: SmallImages
    targets: [toy-shapes, toy-pets]
    shots: 1
    seeds: [1]
    options: {OPTIM.MAX_EPOCH: [1, 2], OPTIM.LR: [0.1, 0.2], TEST.FINAL_MODEL: last_step}
"""


@pytest.fixture(autouse=True)
def imported(registries, monkeypatch, tmp_path):
    """Import the file as `--import` does."""
    caches = (
        methods.is_multitask,
        methods.single_form,
        methods.multitask_form,
        methods.leaves_prompt,
    )
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "small_images.py").write_text(FILE)
    monkeypatch.setenv(plugins.VARIABLE, str(folder / "small_images.py"))
    plugin_files.import_all()
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()
    work._configuration.cache_clear()
    work._fingerprint.cache_clear()


@pytest.fixture
def planned(tmp_path):
    """Return the jobs and the table of the plan."""
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    plan, (item,) = free_runs.plan_entries(plan_file.read(file).entries)
    return plan, item


@pytest.fixture
def place(root, tmp_path):
    return work.Place(str(tmp_path / "out"), str(root))


def test_trainers_that_learn_are_methods():
    known = methods.known()
    assert "SmallImages" in known and "CoOp" in known and "NoTraining" not in known
    assert not methods.is_multitask("SmallImages")
    assert methods.multitask_form("SmallImages") == ""
    # ours extends our CoOp, not the file's
    assert methods.single_form("MCoOp") == "MCoOp"
    assert methods.multitask_form("VPT") == "MVPT"


def test_an_executed_plan_has_a_row_for_each_setting(planned, place, capfd):
    plan, item = planned
    out = Path(place.folder)
    for job in plan:
        work.perform(job, place)
    assert "a line of" not in capfd.readouterr().out
    for job in plan:
        assert work.finished(job, place)
        folder = out / job.name
        (record,) = read(folder / "results.json")
        assert record["trainer"] == "SmallImages" and 0 <= record["score"] <= 100
        assert (folder / "predictions" / f"seed1_{record['task']}.json").is_file()
        lines = (folder / "log.txt").read_text().splitlines()
        assert "a line of SmallImages" in lines
        tested = lines.index("Evaluate on the *test* set")
        accuracy = f"* accuracy: {record['score']:.1f}%"
        assert accuracy in lines[tested : lines.index("Evaluate on the *val* set")]
        assert 0 <= record["val_score"] <= 100
    table = tables.build(item, out, compare=False)
    assert len(table.lines) == 2 + 4 + 1
    assert table.lines[0].cells["average"].mean is not None  # zero-shot
    assert table.lines[-1].labels[-1] == "best by validation"
    chosen = table.lines[-1].chosen[1]
    for task, best in chosen.items():
        names = item.rows[-1].runs[1, task]
        scores = [read(out / name / "results.json")[0]["val_score"] for name in names]
        assert scores.index(max(scores)) == best


def test_plain_clip_beside_is_that_of_our_own_runs(planned, place):
    job = next(iter(planned[0]))
    work.perform(job, place)
    settings = job.settings | {"method": "VPT", "options": {"OPTIM.MAX_EPOCH": 1}}
    ours = work.Job("ours", "adaptation", settings)
    work.perform(ours, place)
    (record,) = read(Path(place.folder) / "ours" / "results.json")
    (theirs,) = read(Path(place.folder) / job.name / "results.json")
    assert theirs["zero_shot"] == record["zero_shot"]


def test_a_backbone_that_only_theirs_knows_has_no_zero_shot_score(
    planned, place, monkeypatch
):
    monkeypatch.setattr(work, "UNAVAILABLE", {})
    options = {"OPTIM.MAX_EPOCH": 1, "DATALOADER.NUM_WORKERS": 0}
    changed = {"backbone": "ViT-C/61", "options": options}
    settings = next(iter(planned[0])).settings | changed
    for name in ("one", "two"):
        work.perform(work.Job(name, "adaptation", settings), place)
        (record,) = read(Path(place.folder) / name / "results.json")
        assert "zero_shot" not in record and record["score"] >= 0
    lines = (Path(place.folder) / "one" / "log.txt").read_text()
    assert "no zero-shot scores of ViT-C/61" in lines
    assert list(work.UNAVAILABLE) == ["ViT-C/61"]


def test_plain_clip_is_the_file_that_their_package_has(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert work._weights("ViT-L/14@336px") == "ViT-L/14@336px"
    file = tmp_path / ".cache" / "clip" / "ViT-L-14-336px.pt"
    file.parent.mkdir(parents=True)
    file.touch()
    assert work._weights("ViT-L/14@336px") == str(file)


def test_a_stopped_job_is_resumed_from_its_last_epoch(planned, place):
    job = list(planned[0])[-1]
    folder = Path(place.folder) / job.name
    work.perform(job, place)
    (before,) = read(folder / "results.json")
    (folder / work.DONE_FILE).unlink()
    work.perform(job, place)
    (after,) = read(folder / "results.json")
    assert f"resumed from {folder}" in (folder / "log.txt").read_text()
    for key in ("score", "val_score", "zero_shot"):
        assert after[key] == before[key]


SUITE = """\
backbone: pocket
sets: [toy-pets, toy-shapes]
largest: toy-shapes
shifts: [toy-shapes]
seeds: [1]
shots: [1]
options: {OPTIM.MAX_EPOCH: 1, TEST.FINAL_MODEL: last_step}
methods: {}
"""


def test_protocols_train_and_evaluate_it(place, tmp_path):
    file = tmp_path / "suite.yaml"
    file.write_text(SUITE)
    command = f"base2new crossdataset --suite {file} --trainer SmallImages"
    args = protocols.arguments().parse_args(shlex.split(command))
    _, plan, (base2new, _) = protocols.plan_of(args)
    assert plan.counts() == {"adaptation": 3, "evaluation": 5}
    trained = base2new.runs["SmallImages", "base"][1, "toy-pets"]
    tested = base2new.runs["SmallImages", "new"][1, "toy-pets"]
    work.perform(plan.jobs[trained], place)
    (record,) = read(Path(place.folder) / trained / "results.json")
    assert record["classes"] == 2 and "val_score" not in record
    # 2 of 3 classes are base classes: its head fits no single class
    with pytest.raises(ValueError, match="learns parameters of each class"):
        work.perform(plan.jobs[tested], place)


def test_an_evaluation_reads_the_last_checkpoint(planned, place):
    job = next(iter(planned[0]))
    work.perform(job, place)
    settings = job.settings | {"stage": "evaluation", "start": job.name}
    work.perform(work.Job("evaluated", "evaluation", settings, (job.name,)), place)
    (record,) = read(Path(place.folder) / job.name / "results.json")
    (again,) = read(Path(place.folder) / "evaluated" / "results.json")
    assert again["score"] == record["score"] and "val_score" not in again
    path = Path(place.folder) / job.name / "classifier" / "model.pth.tar-1"
    assert torch.load(path, weights_only=True)["epoch"] == 1


def test_a_study_takes_it_as_a_method_of_one_task():
    known = protocol.narrowed(protocol.load("pocket"), [0], ["SmallImages", "VPT"])
    assert known.methods == ("VPT", "SmallImages")
    plan, planned = items.plan_items(known, ["table1", "table2", "figure4"])
    table1, table2, figure4 = planned
    assert ("20", "SmallImages") in [row.labels for row in table1.rows]
    assert ("SmallImages", "-", "S") in [row.labels for row in table2.rows]
    assert list(figure4.matrices) == ["VPT"]
    kinds = {job.kind for job in plan if job.settings["method"] == "SmallImages"}
    assert kinds == {"adaptation"}


def test_the_settings_of_their_train_py_hold_for_each_data_set(planned, tmp_path):
    (tmp_path / "theirs" / "train.py").write_text(
        "from dassl.config import get_cfg_default\n\n\n"
        "def extend_cfg(cfg):\n    cfg.TRAINER.WEIGHT = 1.0\n\n\n"
        "def setup_cfg(args):\n    cfg = get_cfg_default()\n    extend_cfg(cfg)\n"
        "    cfg.merge_from_list(args.opts)\n"
        "    if cfg.DATASET.NAME == 'toy-pets':\n        cfg.TRAINER.WEIGHT = 2.0\n"
        "    return cfg\n"
    )
    work._configuration.cache_clear()
    found = {}
    for job in planned[0]:
        (task,) = job.settings["tasks"]
        found[task] = work.configuration_of(job).TRAINER.WEIGHT
    assert found == {"toy-shapes": 1.0, "toy-pets": 2.0}


def test_what_needs_a_prompt_of_ours_is_one_message(capsys, tmp_path):
    out = f"--output-dir {tmp_path}/out --tasks toy-pets,toy-shapes"
    assert transfer.main(shlex.split(f"--trainer SmallImages {out}")) == 2
    error = capsys.readouterr().err
    assert "SmallImages is a trainer for Dassl alone" in error
    assert error.count("\n") == 1
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN + "    sources: [toy-pets]\n")
    with pytest.raises(ValueError, match="SmallImages starts from no source tasks"):
        plan_file.read(file)

"""Studies: how many runs the paper's experiments are, the numbers of the tables, and a
small study from end to end.
"""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_jobs import perform_for_test

from scripts.study import __main__ as study
from scripts.study import (
    comparisons,
    costs,
    items,
    methods,
    options,
    output,
    plots,
    protocol,
    tables,
    work,
)
from scripts.study.planner import Planner
from scripts.transfer import predictors
from scripts.transfer.matrix import Matrix, normalised, write_matrix
from scripts.transfer.output import heat_maps
from toolkit.common.hardware import processor_name
from toolkit.common.markers import fill, replace_or_append

ROOT = Path(__file__).resolve().parents[2]

# item -> source prompts, adaptations, transfer matrices of --suite paper with three
# seeds
PAPER = {
    # 3 shots x 3 seeds x (3 source prompts, 6 methods x 12 targets)
    "table1": (27, 648, 0),
    # (20 alone + 20 x 2 groups) x {no source, source} x 3 methods x 3 seeds
    "table2": (9, 1080, 9),
    "table3": (
        9,
        1080,
        9,
    ),  # 180 alone, to make the matrices; from the source 20 alone, 40 in best and 40 in worst groups
    "table4": (27, 324, 0),
    "figure1": (27, 648, 0),
    "figure4": (0, 180, 9),
    "figure5": (27, 324, 0),
    "figure6": (21, 252, 0),
}


def counted(plan):
    return tuple(
        plan.counts().get(kind, 0) for kind in ("source", "adaptation", "transfer")
    )


@pytest.mark.parametrize("item", protocol.ITEMS)
def test_the_papers_runs_are_counted(item):
    plan, _ = items.plan_items(protocol.load("paper"), [item])
    assert counted(plan) == PAPER[item]


@pytest.mark.parametrize("suite", protocol.SUITES)
def test_a_protocol_states_the_lengths_of_its_backbones_recipe(suite):
    from trainers import register_all
    from trainers.engine.config import resolve

    register_all()
    known = protocol.load(suite)
    for method in methods.PAPER:
        single = method.removeprefix("M")
        node = resolve(
            method, [], {"MODEL.BACKBONE.NAME": known.backbone}, []
        ).TRAINER.MVLPT
        found = {node[part].N_CTX for part in protocol.LENGTH_NODES[single]}
        assert found == {known.lengths[single]}, method


def test_context_lengths_are_runs_of_their_own():
    _, (item,) = items.plan_items(protocol.load("pocket"), ["figure5"])
    for method in ("MCoOp", "MVPT", "MUPT"):
        runs = [
            names
            for row in item.rows
            if row.labels[0] == method
            for names in row.runs.values()
        ]
        assert len(set(runs)) == 3 * 20 * 3  # lengths, targets, seeds


def test_runs_that_several_tables_want_are_planned_once():
    plan, _ = items.plan_items(protocol.load("paper"), protocol.ITEMS)
    assert counted(plan) == (108, 3060, 9) and sum(map(sum, PAPER.values())) > len(plan)
    both, _ = items.plan_items(protocol.load("paper"), ["table1", "figure1"])
    # figure 1 adds two backbones: 18 source prompts, 432 adaptations
    assert counted(both) == (45, 1080, 0)


def test_seeds_and_methods_narrow_a_plan():
    narrow = protocol.narrowed(protocol.load("paper"), [0], ["mvpt", "VPT"])
    assert narrow.methods == ("VPT", "MVPT")
    plan, (item,) = items.plan_items(narrow, ["table1"])
    assert counted(plan) == (3, 72, 0)
    assert [row.labels for row in item.rows] == [
        ("0", "zero-shot"), ("0", "zero-shot, one template"), *((shots, m) for shots in ("1", "5", "20") for m in ("VPT", "MVPT"))
    ]  # fmt: skip


def test_any_registered_trainer_is_a_method():
    assert (
        methods.known()[: len(methods.PAPER)] == methods.PAPER
        and "ZeroshotCLIP" not in methods.known()
    )
    assert [methods.single_form(name) for name in ("MVPT", "VPT", "MVLPT")] == [
        "VPT",
        "VPT",
        "MVLPT",
    ]
    assert [methods.multitask_form(name) for name in ("UPT", "CoOp")] == [
        "MUPT",
        "MCoOp",
    ]
    known = protocol.narrowed(protocol.load("pocket"), [0], ["mvlpt"])
    plan, planned = items.plan_items(known, ["table1", "table2"])
    assert "runs/MVLPT_1shots_seed0_source11" in plan.jobs
    assert ("MVLPT", "-", "S") in [row.labels for row in planned[1].rows]


def test_matrices_are_of_prompts_that_serve_any_classes():
    known = protocol.narrowed(protocol.load("paper"), [0], ["APT", "MAPT", "GDA"])
    plan, _ = items.plan_items(known, ["table1", "table2", "table3"])
    job = plan.jobs["transfer/APT_offsetsFalse_20shots_seed0"]
    alone = plan.jobs["runs/APT_offsetsFalse_20shots_seed0/mnist"]
    assert alone.name in job.needs
    assert alone.settings["options"]["TRAINER.APT.CLASS_OFFSETS"] is False
    alone = plan.jobs["runs/APT_20shots_seed0/mnist"]
    assert "TRAINER.APT.CLASS_OFFSETS" not in alone.settings["options"]
    options.check_jobs(job for job in plan if job.settings["method"] == "APT")
    plan, _ = items.plan_items(known, ["figure4"])
    with pytest.raises(ValueError, match="GDA: .* \\(a head has weights of each class"):
        options.check_jobs(plan)


def test_jobs_have_readable_names_and_their_needs():
    plan, _ = items.plan_items(protocol.load("paper"), protocol.ITEMS)
    job = plan.jobs["runs/MVPT_20shots_seed0_from-targets20_worst3/mnist"]
    assert job.needs == (
        "runs/MVPT_20shots_seed0_targets20",
        "transfer/VPT_20shots_seed0",
    )
    assert (
        plan.jobs["transfer/VPT_20shots_seed0"].needs[0]
        == "runs/VPT_20shots_seed0/caltech-101"
    )
    assert plan.jobs["runs/MUPT_length16_20shots_seed1_source11"].settings[
        "options"
    ] == {
        "TRAINER.MVLPT.COOP.N_CTX": 16,
        "TRAINER.MVLPT.VPT.N_CTX": 16,
    }
    assert plan.jobs["runs/MCoOp_20shots_seed2_largest1"].settings["tasks"] == [
        "ImageNet"
    ]
    assert "runs/CoOp_ViT-L-14_20shots_seed0/gtsrb" in plan.jobs


def test_a_dry_run_needs_no_data(capsys, tmp_path):
    assert (
        study.main(
            shlex.split(f"all --suite paper --dry-run --output-dir {tmp_path}/new")
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "together" in text and "3,060" in text and not (tmp_path / "new").exists()
    assert study.main(shlex.split("table1 --dry-run --seeds 0 --jobs 2")) == 0
    assert "about" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("table7", "unknown item 'table7'"),
        ("table1 --methods MVTP", "the nearest is 'MVPT'"),
        ("table1 --seeds a", "--seeds: whole numbers"),
        ("table1 --suite nowhere", "--suite: nowhere"),
        ("table1 --jobs 0", "--jobs is 0"),
        ("table1 --seeds ''", "--seeds is '', which names none"),
        ("table1 --seeds -1", "--seeds: whole numbers from 0"),
        ("table1 --seeds 4294967296", "--seeds: whole numbers from 0"),
        ("table1 --methods ' , '", "--methods is ' , ', which names none"),
        ("table1 --root nowhere", "--root: no folder nowhere"),
        ("table1 --job-timeout 0", "--job-timeout is 0; it must be positive"),
        ("table1 --suite paper", "--root"),
    ],
)
def test_wrong_input_ends_in_one_line(argv, message, capsys, tmp_path):
    assert study.main(shlex.split(f"{argv} --output-dir {tmp_path}")) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("backbone", 5, "backbone is 5; it is a name"),
        ("backbone", "", "backbone is ''; it is a name"),
        ("sources", "pocket-objects", "sources is 'pocket-objects'; it is a list of names"),
        ("sources", [], "sources is a list of different entries, at least one"),
        ("targets", ["pocket-cells", None], "targets is ['pocket-cells', None]; it is a list of names"),
        ("targets", ["pocket-cells", "pocket-cells"], "targets is a list of different entries"),
        ("cross_targets", {"pocket-cells": 1}, "cross_targets is {'pocket-cells': 1}; it is a list of names"),
        ("cross_targets", ["pocket-objects"], "cross_targets names 'pocket-objects', which is none of its targets"),
        ("seeds", 0, "seeds is 0; it is a list of whole numbers from 0"),
        ("seeds", [0.5], "seeds is [0.5]; it is a list of whole numbers from 0"),
        ("seeds", [True], "seeds is [True]; it is a list of whole numbers from 0"),
        ("seeds", [-1], "seeds is [-1]; it is a list of whole numbers from 0"),
        ("lengths", [8], "lengths is [8]; it is methods with their lengths"),
        ("lengths", {"CoOp": "8"}, "lengths is {'CoOp': '8'}; it is methods with their lengths"),
        ("lengths", {"CoOpp": 8}, "lengths: CoOpp is no key; the nearest is 'CoOp' of CoOp, VPT, UPT"),
        ("options", "OPTIM.MAX_EPOCH 1", "options is 'OPTIM.MAX_EPOCH 1'; it is keys with values"),
        ("options", {1: 2}, "options is {1: 2}; it is keys with values"),
        ("items", ["table1"], "items is ['table1']; it is names with their settings"),
        ("items", {"table1": 5}, "items is {'table1': 5}; it is names with their settings"),
        ("items", {"table9": {"shots": 5}}, "unknown item 'table9'; the nearest is 'table4' of table1"),
        ("items", {"table1": {"shots": 5}}, "items: table1: shots is 5; it is a list of whole numbers from 1"),
        ("items", {"table2": {"shots": "five"}}, "items: table2: shots is 'five'; it is a whole number from 1"),
        ("items", {"table2": {"shots": 0}}, "items: table2: shots is 0; it is a whole number from 1"),
        ("items", {"table2": {}}, "items: table2: shots is missing; it is a whole number from 1"),
        ("items", {"figure5": {"shots": 5, "length": [4]}}, "items: figure5: length is no key; the nearest is 'lengths' of shots, lengths"),
        ("items", {"table2": {"shots": 5, "seeds": [1]}}, "items: table2: seeds is no key; the nearest is 'shots' of shots"),
        ("items", {"figure5": {"shots": 5, "lengths": []}}, "items: figure5: lengths is an empty list"),
        ("largets", "pocket-objects", "largets is no key; the nearest is 'targets' of backbone"),
        ("targets", ["pocket-cels"], "targets: unknown dataset 'pocket-cels'; the nearest is 'pocket-cells'"),
        ("lengths", {"CoOp": 8, "UPT": 4}, "lengths: VPT is missing, which figure5 needs"),
        ("lengths", {"KgCoOp": 8}, "lengths: KgCoOp is no key; the nearest is 'CoOp'"),
        ("options", {"OPTIM.MAX_EPOHC": 5}, "options: unknown key 'OPTIM.MAX_EPOHC'; the nearest is 'OPTIM.MAX_EPOCH'"),
        ("options", {"TRAINER.COOP.W": 2.0}, "options: TRAINER.COOP.W is given, but CoOp, VPT, UPT, MCoOp, MVPT, MUPT do not read it"),
        ("options", {"SEED": 5}, "options: SEED is no option of a run: see seeds"),
        ("options", {"OPTIM.NAME": "adamx"}, "options: OPTIM.NAME is 'adamx'; it is one of adam"),
        ("largest", "pocket-cells", "largest is 'pocket-cells', which is none of its sources"),
    ],
)  # fmt: skip
def test_a_protocol_of_the_wrong_kind_is_named(key, value, message, capsys, tmp_path):
    content = yaml.safe_load((protocol.FOLDER / "pocket.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content | {key: value}))
    assert study.main(shlex.split(f"all --suite {path} --dry-run")) == 2
    error = capsys.readouterr().err
    assert f"error: mine.yaml: {message}" in error and error.count("\n") == 1


# -- tables ------------------------------------------------------------------------------------------------------


def written(folder, name, task, score, val=None, zero=10.0):
    path = folder / name / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "task": task,
        "score": score,
        "zero_shot": zero,
        "zero_shot_one_template": zero / 2,
    }
    record |= {} if val is None else {"val_score": val}
    path.write_text(json.dumps([record]))
    return name


def test_means_and_deviations_and_the_choice_by_validation(tmp_path):
    runs = {}
    for seed, shift in ((0, 0.0), (1, 4.0)):
        for task, score in (("a", 50.0), ("b", 60.0)):
            small = written(
                tmp_path, f"s{seed}/{task}/1", task, score + shift, val=70.0
            )
            large = written(
                tmp_path,
                f"s{seed}/{task}/2",
                task,
                90.0,
                val=80.0 if task == "b" else 70.0,
            )
            runs[seed, task] = (small, large)
    item = items.Item(
        "table2", "T", ("method",), ("a", "b"), [items.Row(("MVPT",), runs)]
    )
    item.rows.append(
        items.Row(
            ("CLIP",), {key: value[:1] for key, value in runs.items()}, "zero_shot"
        )
    )
    item.rows.append(
        items.Row(("CLIP, one template",), item.rows[-1].runs, "zero_shot_one_template")
    )
    item.rows.append(items.Row(("an older version",), runs, "no_such_score"))
    item.rows.append(items.Row(("gone",), {key: ("nowhere",) for key in runs}))
    line, zero, one_template, older, gone = tables.build(
        item, tmp_path, compare=False
    ).lines
    # of equals the smaller group
    assert line.chosen == {0: {"a": 0, "b": 1}, 1: {"a": 0, "b": 1}}
    assert line.cells["a"].mean == 52.0 and line.cells["a"].std == pytest.approx(8**0.5)
    assert line.cells["average"].values == (70.0, 72.0)
    assert zero.cells["average"].values == (10.0,)
    assert one_template.cells["average"].values == (5.0,)
    assert older.cells["average"].mean is None and older.scores == {}
    assert gone.cells["average"].mean is None and tables.number(gone.cells["a"]) == "–"
    table = tables.build(item, tmp_path, compare=False)
    assert "| MVPT | 71.0 ± 1.4 | 52.0 ± 2.8 | 90.0 ± 0.0 |" in tables.markdown(table)
    assert "MVPT,average,71.0000,1.4142,2,," in tables.tidy(table)
    assert "71.0$\\,\\pm\\,$1.4" in tables.latex(table)
    rows = tables.to_dict(table)["rows"]  # one for each line, with all of its columns
    assert [row["labels"][0] for row in rows] == [
        "MVPT",
        "CLIP",
        "CLIP, one template",
        "an older version",
        "gone",
    ]
    assert all(list(row["cells"]) == ["average", "a", "b"] for row in rows)
    assert rows[0]["cells"]["a"]["mean"] == 52.0 and rows[0]["chosen"] == line.chosen


def test_the_papers_figures_are_there_for_every_row_that_has_them():
    known = tables.paper_scores()
    assert known["table1", "20 / MVPT", "average"] == (71.73, 0.3)
    assert (
        known["table2", "MVPT / M / M", "average"] == (74.13, 0.3)
        and known["table2", "CLIP / - / -", "mnist"][0] == 52.0
    )
    _, planned = items.plan_items(
        protocol.load("paper"), ["table1", "table2", "table3", "table4"]
    )
    rows = {
        (item.name, " / ".join(row.labels)) for item in planned for row in item.rows
    }
    assert {(item, row) for item, row, _ in known} <= rows
    tasks = {item.name: {"average", *item.tasks} for item in planned}
    assert all(task in tasks[item] for item, _, task in known)


def test_paired_comparison_on_known_numbers():
    first = tables.Line(
        ("x",),
        {},
        {0: {"a": 12.0, "b": 21.0, "c": 33.0}, 1: {"a": 10.0, "b": 21.0, "c": 33.0}},
    )
    second = tables.Line(
        ("y",),
        {},
        {0: {"a": 10.0, "b": 20.0, "c": 30.0}, 1: {"a": 10.0, "b": 20.0, "c": 30.0}},
    )
    found = comparisons.compare("q", first, second, ("x", "y"))
    assert found["difference"] == pytest.approx(5 / 3)
    assert (found["wins"], found["tasks"], found["seeds"]) == (3, 3, 2)
    back = comparisons.compare("q", second, first, ("y", "x"))
    assert (found["losses"], back["losses"]) == (0, 1)  # by 1, 1 and 3 points
    # the most extreme draws of three tasks
    assert (found["low"], found["high"]) == (pytest.approx(1.0), pytest.approx(3.0))
    assert comparisons.signed_rank(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == 0.0625
    assert comparisons.signed_rank(np.zeros(4)) == 1.0


def test_questions_about_a_new_multitask_method():
    shots = [("5", name) for name in ("VPT", "MVPT", "IVLP", "MIVLP")]
    labels = [("0", "zero-shot"), *shots]
    lines = [
        tables.Line(row, {}, {0: {"a": float(number), "b": float(number)}})
        for number, row in enumerate(labels)
    ]
    table = tables.Table("table1", "t", ("shots", "method"), ("a", "b"), lines)
    found = {
        (c["question"].split(",")[0], c["first"], c["second"]): c["difference"]
        for c in comparisons.of_tables([table])
    }
    assert found == {
        ("beside zero-shot", "VPT", "zero-shot"): 1.0,
        ("beside zero-shot", "MVPT", "zero-shot"): 2.0,
        ("beside zero-shot", "IVLP", "zero-shot"): 3.0,
        ("beside zero-shot", "MIVLP", "zero-shot"): 4.0,
        ("a source prompt first", "MVPT", "VPT"): 1.0,
        ("a source prompt first", "MIVLP", "IVLP"): 1.0,
        ("beside MVPT", "MIVLP", "MVPT"): 2.0,
    }


def test_predictors_of_a_matrix_that_follows_the_sources_own_score(tmp_path):
    scores = ((90.0, 30.0, 31.0), (20.0, 80.0, 21.0), (10.0, 11.0, 70.0))
    (source_score, classes) = predictors.compare_over_seeds(
        "VPT", {0: Matrix.square(("a", "b", "c"), scores)}, tmp_path / "none"
    )
    assert source_score[
        "predictor"
    ] == "the source's score on its own task" and source_score[
        "spearman"
    ] == pytest.approx(1)
    assert classes["spearman"] == 0.0  # unknown tasks: the same for all
    matrix = normalised(Matrix.square(("a", "b"), ((50.0, 20.0), (25.0, 40.0))))
    assert matrix.scores.tolist() == [[1.0, 0.5], [0.5, 1.0]]
    write_matrix(tmp_path / "m.csv", matrix)
    assert (
        tmp_path / "m.csv"
    ).read_text() == "source,a,b\na,1.000000,0.500000\nb,0.500000,1.000000\n"


def test_the_results_page_keeps_what_stands_around_its_parts():
    text = replace_or_append("# Own words\n", "table1", "old")
    text = replace_or_append(text + "\nmore own words\n", "table1", "new")
    assert (
        text
        == "# Own words\n\n<!-- table1:begin -->\nnew\n<!-- table1:end -->\n\nmore own words\n"
    )


def test_a_part_that_a_page_lacks_is_named(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- tasks:begin -->\nold\n<!-- tasks:end -->\nown\n")
    fill(page, "tasks", "new\n")
    assert page.read_text() == "<!-- tasks:begin -->\nnew\n<!-- tasks:end -->\nown\n"
    with pytest.raises(ValueError, match="page.md has no markers <!-- zero:begin -->"):
        fill(page, "zero", "new")


def test_a_group_is_read_off_the_transfer_jobs_matrix(tmp_path):
    rows = ((9.0, 1.0, 2.0), (3.0, 9.0, 8.0), (4.0, 5.0, 9.0))
    write_matrix(
        tmp_path / "transfer" / "VPT" / "scores.csv",
        Matrix.square(("a", "b", "c"), rows),
    )
    best, worst = (
        {"transfer": "transfer/VPT", "worst": w, "size": 2} for w in (False, True)
    )
    assert work.group_of(best, "a", tmp_path) == {"a": ["c"]} and work.group_of(
        worst, "a", tmp_path
    ) == {"a": ["b"]}


def test_a_folder_with_another_job_is_not_taken_for_this_one(tmp_path):
    plan, _ = items.plan_items(
        protocol.narrowed(protocol.load("pocket"), [0], ["CoOp"]), ["table1"]
    )
    job, place = (
        plan.jobs["runs/CoOp_1shots_seed0/pocket-memes"],
        work.Place(str(tmp_path)),
    )
    assert not work.finished(job, place)
    folder = tmp_path / job.name
    folder.mkdir(parents=True)
    (folder / work.DONE_FILE).write_text(json.dumps(work._done(job)))
    assert work.finished(job, place)
    longer = dataclasses.replace(
        job, settings=job.settings | {"options": {"OPTIM.MAX_EPOCH": 11}}
    )
    with pytest.raises(
        ValueError, match="holds another run .* use another --output-dir"
    ):
        work.finished(longer, place)


def test_the_cost_of_sizes_is_measured_once_and_drawn(tmp_path):
    row = {
        "parameters": 150e6,
        "trained": 100,
        "seconds_per_image": 0.2,
        "batch": 2,
        "classes": 10,
        "threads": 1,
    }
    rows = [
        row | {"backbone": "ViT-B/32", "method": method} for method in costs.VECTORS
    ]
    (tmp_path / "sizes.json").write_text(json.dumps(rows))
    assert costs.measured(["ViT-B/32"], tmp_path / "sizes.json") == rows
    cells = {"average": tables.Cell((70.0, 71.0)), "a": tables.Cell((70.0, 71.0))}
    lines = [tables.Line(("pocket", method), cells) for method in methods.PAPER]
    table = tables.Table(
        "figure1", "Size", ("backbone", "method"), ("average", "a"), lines
    )
    plots.sizes(table, rows, tmp_path / "figure1.png")
    heat_maps(
        [tmp_path / "figure4.png"],
        ["a", "b"],
        {"VPT": np.array([[1.0, 0.5], [0.8, 1.0]])},
        "Transfer",
    )
    assert all((tmp_path / f"figure{k}.png").stat().st_size > 5000 for k in (1, 4))


# -- a study from end to end ---------------------------------------------------------------------------------------

TINY = """\
backbone: pocket
sources: [pocket-tiles, pocket-dishes]
largest: pocket-tiles
targets: [pocket-memes, pocket-cells, pocket-distance]
cross_targets: [pocket-memes, pocket-cells]
seeds: [0]
lengths: {CoOp: 2, VPT: 8, UPT: 4}
options: {OPTIM.MAX_EPOCH: 1, MULTITASK.SOURCE_EPOCH: 1, TRAINER.MVLPT.COOP.N_CTX: 2}
items:
  table1: {shots: [1]}
  table2: {shots: 2}
"""


def start(suite: Path, out: Path, options: str = "") -> subprocess.Popen:
    command = (
        f"{sys.executable} -m scripts.study all --suite {suite} --methods CoOp "
        f"--output-dir {out} --jobs 2 {options}"
    )
    return subprocess.Popen(
        shlex.split(command), cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.long
def test_a_killed_study_goes_on_and_gives_the_same_tables(tmp_path):
    suite = tmp_path / "tiny.yaml"
    suite.write_text(TINY)
    first = start(suite, tmp_path / "killed")
    record, deadline = tmp_path / "killed" / "study.log", time.monotonic() + 300
    while time.monotonic() < deadline and first.poll() is None:
        if record.is_file() and record.read_text().count(" done\n") >= 3:
            break
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done = record.read_text().count(" done\n")
    assert done >= 3 and not (tmp_path / "killed" / "tables").exists()

    again, whole = (
        start(suite, tmp_path / "killed", f"--results {tmp_path}/RESULTS.md"),
        start(suite, tmp_path / "one"),
    )
    texts = [process.communicate(timeout=600)[0] for process in (again, whole)]
    assert again.returncode == 0 and whole.returncode == 0, texts
    assert (
        f"{done} jobs reused" in texts[0]
        or f"{done + 1} jobs reused" in texts[0]
        or f"{done + 2} jobs reused" in texts[0]
    )
    for name in (
        "table1.json",
        "table1.tex",
        "table2.csv",
        "table2.md",
        "comparisons.json",
    ):
        assert (tmp_path / "killed" / "tables" / name).read_bytes() == (
            tmp_path / "one" / "tables" / name
        ).read_bytes()
    assert (tmp_path / "one" / "tables" / "table2.png").stat().st_size > 5000
    table = json.loads((tmp_path / "one" / "tables" / "table2.json").read_text())
    grouped = next(row for row in table["rows"] if row["labels"] == ["MCoOp", "M", "M"])
    assert grouped["chosen"]["0"].keys() == {
        "pocket-memes",
        "pocket-cells",
        "pocket-distance",
    }
    page = (tmp_path / "RESULTS.md").read_text()
    assert (
        "docs/study/table2.png" in page
        and (tmp_path / "docs" / "study" / "table2.png").is_file()
    )
    (run,) = json.loads(
        (tmp_path / "one/runs/CoOp_2shots_seed0/pocket-memes/results.json").read_text()
    )
    assert 0 <= run["val_score"] <= 100

    before = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "one" / "runs").rglob("*")
    }
    third = start(suite, tmp_path / "one")
    text = third.communicate(timeout=600)[0]
    assert third.returncode == 0 and " 0 done" in text
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "one" / "runs").rglob("*")
    } == before


@pytest.mark.long
def test_a_process_that_dies_fails_its_job_alone(tmp_path):
    from scripts.jobs.local_executor import Processes
    from scripts.jobs.plan import Job, Plan, run_plan

    plan = Plan()
    for name in ("dies", "well", "raises"):
        plan.add(Job(name, "run", {"name": name}))
    with Processes(1, perform_for_test, str(tmp_path)) as executor:
        report = run_plan(plan, executor, lambda job: False)
    assert report.done == ["well"] and (tmp_path / "well").is_file()
    assert report.failed == {
        "dies": "its process ended with code 3",
        "raises": "ValueError: no such luck",
    }


def test_a_process_that_hangs_is_killed_and_its_job_lost(tmp_path):
    from scripts.jobs.local_executor import Processes
    from scripts.jobs.plan import Job

    hangs, well = (Job(name, "run", {"name": name}) for name in ("hangs", "well"))
    with Processes(2, perform_for_test, str(tmp_path), timeout=0.36) as executor:
        executor.submit(hangs)
        (outcome,) = executor.wait()
        assert outcome.job is hangs and outcome.lost and not executor.busy
        assert outcome.error == "it took more than 0.0001 hours (--job-timeout)"
        executor.timeout = 600.0
        executor.submit(well)
        (outcome,) = executor.wait()
    assert (
        outcome.job == well
        and not outcome.error
        and (tmp_path / "well").read_text() == "well"
    )


def test_a_second_suite_has_parts_of_its_own_on_the_page(tmp_path):
    page = tmp_path / "RESULTS.md"
    page.write_text("# Results\n\n<!-- table1:begin -->\nold\n<!-- table1:end -->\n")
    known = protocol.load("pocket_updates")
    _, planned = items.plan_items(known, ["table1"])
    line = tables.Line(("0", "zero-shot"), {"average": tables.Cell((1.0,))})
    table = tables.Table("table1", "t", ("shots", "method"), ("average",), [line])
    out = tmp_path / "tables"
    out.mkdir()
    (out / "table1.png").write_bytes(b"picture")
    (tmp_path / "machine.json").write_text('{"cores": 2}')
    output.write_page(page, known, planned, [table], out)
    text = page.read_text()
    assert "<!-- table1:begin -->\nold\n<!-- table1:end -->" in text
    assert "<!-- pocket_updates_table1:begin -->" in text
    assert "![Cross-task generalisation](docs/study/pocket_updates_table1.png)" in text
    copy = tmp_path / "docs" / "study" / "pocket_updates_table1.png"
    assert copy.read_bytes() == b"picture"
    copy = tmp_path / "docs" / "study" / "pocket_updates_machine.json"
    assert copy.read_text() == '{"cores": 2}'


DOCS = ROOT / "docs" / "study"


def is_recorded_machine() -> bool:
    """Return True on a machine with the processor and versions of the recorded study."""
    recorded = json.loads((DOCS / "pocket_updates_machine.json").read_text())
    versions = {name: version(name) for name in recorded["versions"]}
    return recorded["cpu"] == processor_name() and recorded["versions"] == versions


@pytest.mark.long
@pytest.mark.skipif(not is_recorded_machine(), reason="recorded on another machine")
@pytest.mark.parametrize(
    ("suite", "method", "task", "seed", "score"),
    [
        ("pocket", "CoOp", "pocket-cells", 1, 75.0),
        ("pocket", "CoOp", "pocket-digits", 0, 33.8),
        ("pocket", "VPT", "pocket-digits", 1, 46.4),
        ("pocket_updates", "KgCoOp", "pocket-digits", 0, 41.2),
    ],
)
def test_recorded_cells_are_measured_again(suite, method, task, seed, score, tmp_path):
    """Run single cells of table 1 at one shot with one thread, as they were recorded."""
    file = "table1" if suite == "pocket" else f"{suite}_table1"
    rows = json.loads((DOCS / f"{file}.json").read_text())["rows"]
    (row,) = [row for row in rows if row["labels"] == ["1", method]]
    assert row["cells"][task]["values"][seed] == score
    planner = Planner(protocol.load(suite))
    name = planner.adapt(method, 1, seed, task)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work.perform(planner.plan.jobs[name], work.Place(str(tmp_path)))
    finally:
        torch.set_num_threads(threads)
    (record,) = json.loads((tmp_path / name / "results.json").read_text())
    assert record["score"] == pytest.approx(score, abs=1e-4)

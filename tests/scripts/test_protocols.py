"""The field's protocols: their plans, published numbers, a small run from nothing, and
the same cells by train.py.
"""

import csv
import json
import shlex
from pathlib import Path

import pytest
import yaml

import train
from scripts.protocols import __main__ as protocols
from scripts.protocols import suite, tables
from scripts.protocols.planner import Results

SMALL = """\
backbone: pocket
sets: [pocket-breeds, pocket-dishes]
largest: pocket-breeds
shifts: [pocket-objects-v2]
seeds: [1]
shots: [1]
options: {OPTIM.MAX_EPOCH: 1, TEST.FINAL_MODEL: last_step}
methods: {}
"""


def planned(command):
    """Return the plan of a command, and its tables."""
    words = shlex.split(command)
    _, plan, tables = protocols.plan_of(protocols.arguments().parse_args(words))
    return plan, tables


# -- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "adaptations", "sources", "evaluations"),
    [
        ("base2new", 22 * 2, 2, 2 * 2 * 22),  # CoOp and MVPT, 11 sets, 2 seeds
        ("crossdataset", 2 * 2, 0, 2 * 2 * 10),
        ("domain", 2 * 2, 0, 2 * 2 * 4),
        ("fewshot", 22 * 2 * 5, 2 * 5, 0),
        # CoOp's prompt of the largest set is that of the few-shot curve
        ("all", 266, 12, 144),
    ],
)
def test_runs_are_counted(names, adaptations, sources, evaluations):
    plan, _ = planned(f"{names} --trainer CoOp,MVPT --seeds 1,2")
    counts = plan.counts()
    assert counts["adaptation"] == adaptations
    assert (counts.get("source", 0), counts.get("evaluation", 0)) == (
        sources,
        evaluations,
    )


def test_prompts_for_other_classes_hold_nothing_of_their_own_classes():
    key = "TRAINER.APT.CLASS_OFFSETS"
    plan, _ = planned("base2new crossdataset domain --trainer MAPT --seeds 1")
    assert {job.settings["options"][key] for job in plan} == {False}
    plan, _ = planned("fewshot --trainer MAPT --seeds 1")
    assert not any(key in job.settings["options"] for job in plan)


def test_settings_are_those_of_the_methods_authors():
    known = suite.load("coop")
    assert known.settings("CoOp", "fewshot", 2)["OPTIM.MAX_EPOCH"] == 100
    assert known.settings("MCoOp", "fewshot", 2, "ImageNet")["OPTIM.MAX_EPOCH"] == 50
    assert known.settings("CoOp", "base2new", 16)["TRAINER.MVLPT.COOP.N_CTX"] == 4
    assert known.settings("MaPLe", "domain", 16)["OPTIM.LR"] == 0.0026
    methods = "CoOp,MaPLe,PromptSRC,KgCoOp"
    plan, _ = planned(f"all --suite coop --trainer {methods} --seeds 1")
    # MaPLe, PromptSRC: other settings for the largest set
    assert len(plan) == 4 * (11 * 3 + 11 * 5 + 10 + 4) + 3


def test_folders_as_coop_names_them():
    plan, _ = planned("base2new --suite coop --seeds 1 --coop-folders")
    label = next(iter(plan)).name.split("/")[5]
    assert label.startswith("vit_b16_")
    for stage in ("train_base", "test_new"):
        assert f"base2new/{stage}/oxford_pets/shots_16/CoOp/{label}/seed1" in plan.jobs


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("base2old", "unknown protocol 'base2old'; the nearest is 'base2new'"),
        ("all --trainer CoOpp", "the nearest is 'CoOp'"),
        ("all --seeds one", "--seeds: whole numbers from 0"),
        ("all --suite nowhere", "--suite: nowhere is none of pocket, coop"),
        ("all --opts OPTIM.LRR 1", "OPTIM.LR"),
        ("all --opts OPTIM.LR", "--opts: pairs KEY VALUE"),
        ("all --opts SEED 5", "SEED is no option of a run: see seeds"),
        ("all --opts TRAINER.PROGRAD.T 2", "CoOp does not read it"),
        ("all --opts OPTIM.MOMENTUM 7", "OPTIM.MOMENTUM is 7.0; it is from"),
    ],
)
def test_wrong_input_is_one_sentence(argv, message, capsys):
    assert protocols.main(shlex.split(f"{argv} --dry-run")) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("setss", ["pocket-cells"], "setss is no key; the nearest is 'sets' of backbone"),
        ("backbone", 5, "backbone is 5; it is a name"),
        ("seeds", [1, "x"], "seeds is [1, 'x']; it is a list of whole numbers from 0"),
        ("shots", [1, 0], "shots is [1, 0]; it is a list of whole numbers from 1"),
        ("sets", ["pocket-objects", "pocket-objcts"], "sets: unknown dataset 'pocket-objcts'; the nearest is 'pocket-objects'"),
        ("shifts", [], "shifts is a list of different entries, at least one"),
        ("options", 5, "options is 5; it is keys with values"),
        ("options", {"OPTIM.LRR": 0.1}, "options: unknown key 'OPTIM.LRR'; the nearest is 'OPTIM.LR'"),
        ("options", {"TRAINER.COOP.W": 1.0}, "options: TRAINER.COOP.W is given, but CoOp does not read it"),
        ("methods", 5, "methods is 5; it is names with their settings"),
        ("methods", {"CoOpp": {"all": {}}}, "methods: unknown method 'CoOpp'; the nearest is 'CoOp'"),
        ("methods", {"VPT": {"alll": {}}}, "methods.VPT.alll is no key; the nearest is 'all' of all"),
        ("methods", {"VPT": {"all": 5}}, "methods.VPT.all is 5; it is keys with values"),
        ("methods", {"VPT": {"all": {"OPTIM.LRR": 0.1}}}, "methods.VPT.all: unknown key 'OPTIM.LRR'; the nearest is 'OPTIM.LR'"),
        ("methods", {"VPT": {"all": {"TRAINER.COOP.N_CTX": 5}}}, "methods.VPT.all: TRAINER.COOP.N_CTX is given, but VPT does not read it"),
        ("methods", {"VPT": {"all": {"OPTIM.LR": {1: 0.1}}}}, "methods.VPT.all: OPTIM.LR has no value for 2 shots; it has some for 1"),
        ("methods", {"VPT": {"all": {"OPTIM.LR": {3: 0.1}}}}, "methods.VPT.all: OPTIM.LR: 3 is none of the shots, 1, 2, 4, 8, 16"),
    ],
)  # fmt: skip
def test_a_suite_of_the_wrong_kind_is_named(key, value, message, capsys, tmp_path):
    content = yaml.safe_load((suite.FOLDER / "pocket.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content | {key: value}))
    assert protocols.main(["all", "--suite", str(path), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert f"error: mine.yaml: {message}" in error and error.count("\n") == 1


# -- published numbers -----------------------------------------------------------------------------------------------


def test_harmonic_means_are_the_published_ones():
    values = tables.published_values("coop", "ViT-B/16")
    methods = {method for name, method, *_ in values if name == "base2new"}
    assert len(methods) == 8
    for method in methods:
        base, new, h = (
            values["base2new", method, label] for label in ("base", "new", "H")
        )
        # all three are rounded to 0.01
        assert tables.harmonic_mean(base, new) == pytest.approx(h, abs=0.01), method
    assert tables.published_values("pocket", "pocket") == {}
    assert tables.published_values("coop", "RN50") == {}


def write_score(folder, score):
    folder.mkdir(parents=True)
    record = {"task": folder.name, "score": score, "zero_shot": 0.0}
    (folder / "results.json").write_text(json.dumps([record]))


PAPERS = yaml.safe_load((Path(__file__).parent / "published_sets.yaml").read_text())


@pytest.mark.parametrize("method", ["CoOp", "CoCoOp", "KgCoOp", "MaPLe", "PromptSRC"])
def test_published_sets_give_the_published_h_and_averages(tmp_path, method):
    known = suite.load("coop")
    results = Results("base2new")
    rows = PAPERS["base2new"][method]
    for column, label in enumerate(("base", "new")):
        runs = results.runs[method, label] = {}
        for task in known.sets:
            runs[1, task] = f"{label}/{task}"
            write_score(tmp_path / label / task, rows[task][column])
    table = tables.build(known, results, tmp_path, {})
    lines = [line for line in table.lines if line.labels[0] == method]
    assert [line.labels[1] for line in lines] == ["base", "new", "H"]
    for column, line in enumerate(lines):
        for task in ("average", *known.sets):
            # a mean of values that are rounded to 0.01, rounded again
            expected = pytest.approx(rows[task][column], abs=0.016)
            assert line.cells[task].mean == expected, (line.labels, task)


@pytest.mark.parametrize("protocol", ["crossdataset", "domain"])
@pytest.mark.parametrize("method", ["CoOp", "CoCoOp", "MaPLe", "PromptSRC"])
def test_published_sets_give_the_published_average(tmp_path, protocol, method):
    known = suite.load("coop")
    results = Results(protocol)
    numbers = PAPERS[protocol][method]
    runs = results.runs[method, ""] = {}
    for task, score in numbers.items():
        if task != "average":
            runs[1, task] = task
            write_score(tmp_path / task, score)
    (*_, line) = tables.build(known, results, tmp_path, {}).lines
    assert line.labels[0] == method
    assert line.cells["average"].mean == pytest.approx(numbers["average"], abs=0.016)


# around the published averages, so that sets differ and their mean is known
SPREAD = (-10, -8, -6, -4, -2, 0, 2, 4, 6, 8, 10)


@pytest.mark.parametrize(
    ("method", "base", "new", "h"),
    [("CoCoOp", 80.47, 71.69, 75.83), ("MaPLe", 82.28, 75.14, 78.55)],
)
def test_a_table_averages_its_sets_and_has_the_published_values_beside(
    tmp_path, method, base, new, h
):
    known = suite.load("coop")
    results = Results("base2new")
    for label, average in (("base", base), ("new", new)):
        runs = results.runs[method, label] = {}
        for task, offset in zip(known.sets, SPREAD, strict=True):
            runs[1, task] = f"{label}/{task}"
            write_score(tmp_path / label / task, average + offset)
    values = tables.published_values("coop", "ViT-B/16")
    table = tables.build(known, results, tmp_path, values)
    averages = {}
    for line in table.lines:
        if line.labels[0] == method:
            averages[line.labels[1]] = line.cells["average"]
    for label, expected in (("base", base), ("new", new), ("H", h)):
        assert averages[label].mean == pytest.approx(expected, abs=0.006)
        assert averages[label].paper == expected


def test_averages_leave_out_the_set_that_is_trained_on(tmp_path):
    known = suite.load("coop")
    values = tables.published_values("coop", "ViT-B/16")
    for protocol, expected in (("crossdataset", 65.74), ("domain", 59.90)):
        results = Results(protocol)
        averaged = tables.averaged_tasks(known, protocol)
        runs = results.runs["CoCoOp", ""] = {}
        for task in (known.largest, *averaged):
            runs[1, task] = f"{protocol}/{task}"
            is_largest = task == known.largest
            write_score(tmp_path / protocol / task, 100.0 if is_largest else expected)
        line = tables.build(known, results, tmp_path, values).lines[-1]
        cell = line.cells["average"]
        assert (cell.mean, cell.paper) == (pytest.approx(expected), expected)


def test_h_of_a_table_is_of_the_averages():
    assert tables.harmonic_mean(0.0, 0.0) == 0.0
    assert tables.harmonic_mean(82.69, 63.22) == pytest.approx(71.66, abs=0.005)
    assert tables.harmonic_mean(80.47, 71.69) == pytest.approx(75.83, abs=0.005)
    scores = {"base": {1: {"a": 80.0, "b": 40.0}}, "new": {1: {"a": 20.0, "b": 60.0}}}
    lines = []
    for label, by_seed in scores.items():
        cells = tables.line_cells(by_seed, ("a", "b"), ("a", "b"))
        lines.append(tables.Line(("CoOp", label), cells, by_seed))
    *_, h = tables.with_harmonic_means(lines)
    assert h.cells["a"].mean == pytest.approx(32.0)
    # of 60 and 40; the mean of H would be 40
    assert h.cells["average"].mean == pytest.approx(48.0)
    assert h.scores == {1: {"a": pytest.approx(32.0), "b": pytest.approx(48.0)}}


# -- a small run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory, log_as_before):
    """Return the folder of the four protocols for CoOp on two small sets."""
    folder = tmp_path_factory.mktemp("protocols")
    (folder / "small.yaml").write_text(SMALL)
    with log_as_before():
        code = protocols.main(
            shlex.split(
                f"all --suite {folder}/small.yaml --jobs 2 --output-dir {folder}/out"
            )
        )
    assert code == 0
    return folder


def row(folder, name, **labels):
    with open(folder / "out" / "tables" / f"{name}.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if labels.items() <= row.items()]
    (found,) = rows
    return float(found["mean"])


@pytest.mark.long
def test_every_protocol_has_its_files(small):
    names = {path.name for path in (small / "out" / "tables").iterdir()}
    names.remove("rows")
    expected = {
        f"{name}.{kind}"
        for name in suite.PROTOCOLS
        for kind in ("csv", "md", "tex", "json", "png")
    }
    assert names == expected | {"comparisons.json", "comparisons.md"}
    base = row(small, "base2new", method="CoOp", classes="base", task="average")
    new = row(small, "base2new", method="CoOp", classes="new", task="average")
    h = row(small, "base2new", method="CoOp", classes="H", task="average")
    assert h == pytest.approx(tables.harmonic_mean(base, new), abs=1e-3)
    path = small / "out" / "tables" / "rows" / "base2new_CoOp_H.csv"
    [one] = csv.DictReader(path.read_text().splitlines())
    assert list(one) == ["average", "pocket-breeds", "pocket-dishes"]
    assert float(one["average"]) == pytest.approx(h, abs=0.005)
    assert (
        0
        < row(
            small,
            "base2new",
            method=tables.ZERO_SHOT,
            classes="open",
            task="pocket-breeds",
        )
        < 100
    )
    text = (small / "out" / "tables" / "base2new.md").read_text()
    assert "| average |" in text and "CoOp open" in text


@pytest.mark.long
def test_a_second_call_reuses_everything(small, caplog, log_as_before):
    with log_as_before(), caplog.at_level("INFO", "protocols"):
        argv = f"all --suite {small}/small.yaml --output-dir {small}/out"
        assert protocols.main(shlex.split(argv)) == 0
    assert "10 jobs reused, 0 done" in caplog.text


@pytest.mark.long
def test_cells_equal_train_py_by_hand(small, tmp_path, log_as_before):
    def by_hand(name, flags, more):
        keys = f"OPTIM.MAX_EPOCH 1 TEST.FINAL_MODEL last_step {more}"
        flags += f" --trainer CoOp --shots 1 --seed 1 --output-dir {tmp_path}/{name}"
        with log_as_before():
            assert train.main(shlex.split(f"{flags} {keys}")) == 0
        (record,) = json.loads((tmp_path / name / "results.json").read_text())
        return record["score"]

    base = by_hand("base", "--dataset pocket-dishes", "DATASET.SUBSAMPLE_CLASSES base")
    start = f"--eval-only --model-dir {tmp_path / 'base'} --dataset pocket-dishes"
    new = by_hand("new", start, "DATASET.SUBSAMPLE_CLASSES new")
    everything = by_hand("open", start, "")
    cells = {}
    for label in ("base", "new", "open"):
        cells[label] = row(
            small, "base2new", method="CoOp", classes=label, task="pocket-dishes"
        )
    assert cells == pytest.approx(
        {"base": base, "new": new, "open": everything}, abs=1e-4
    )
    log = (tmp_path / "base" / "log.txt").read_text().splitlines()
    assert "Finish training" in log and f"* accuracy: {base:.1f}%" in log


@pytest.mark.long
def test_logs_for_coops_parser(small):
    plan, plan_tables = planned(f"base2new --suite {small}/small.yaml")
    tables.write_logs(plan, small / "out")
    found = plan_tables[0].runs["CoOp", "new"][1, "pocket-dishes"]
    lines = (small / "out" / found / "log.txt").read_text().splitlines()
    assert (
        lines[0] == "=> result"
        and lines[1].startswith("* accuracy: ")
        and lines[2].startswith("* macro_f1: ")
    )

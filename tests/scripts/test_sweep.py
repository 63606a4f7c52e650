"""Sweeps: plan files, retries, a sweep on this machine, and on a Ray cluster that loses
a node.
"""

import contextlib
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from scripts import sweep
from scripts.jobs.plan import MAX_LOSSES, Job, Outcome, Plan, run_plan
from scripts.study import methods, plan_file, tables
from scripts.study.free_runs import plan_entries, write_results
from scripts.study.items import Item

ROOT = Path(__file__).resolve().parents[2]
SMALL = """\
runs:
  - methods: [CoOp, MCoOp]
    sources: [pocket-memes, pocket-reviews]
    targets: [pocket-cells, pocket-memes]
    shots: 1
    seeds: [0, 1]
    options: {OPTIM.MAX_EPOCH: 2, TRAINER.MVLPT.COOP.N_CTX: 2}
"""


def written(folder: Path, text: str, name: str = "plan.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# -- plan files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "plan.yaml: maps keys to values"),
        ("runs: [", "plan.yaml is no YAML"),
        ("output_dir: x", "plan.yaml: a plan has either items (of a study) or runs"),
        (SMALL + "items: table1", "either items (of a study) or runs"),
        (SMALL + "resource: {cpus: 1}", "plan.yaml: resource: is no key; the nearest is 'resources'"),
        (SMALL + "resources: {gpu: 1}", "plan.yaml: resources.gpu: is no key; the nearest is 'gpus' of cpus, gpus"),
        (SMALL + "resources: {gpus: one}", "plan.yaml: resources.gpus: is a number, not 'one'"),
        (SMALL + "retries: -1", "plan.yaml: retries: is a whole number from 0, not -1"),
        (SMALL + "seeds: [0]", "plan.yaml: seeds: is a study's; with runs it belongs in each of them"),
        ("runs: []", "plan.yaml: runs: is empty"),
        ("runs: {methods: CoOp}", "plan.yaml: runs: is a list"),
        (SMALL.replace("shots:", "shot:"), "plan.yaml: runs[0].shot: is no key; the nearest is 'shots'"),
        (SMALL.replace("    shots: 1\n", ""), "plan.yaml: runs[0].shots: is missing"),
        (SMALL.replace("shots: 1", "shots: [1, 0]"), "runs[0].shots: takes whole numbers from 1, not 0"),
        (SMALL.replace("seeds: [0, 1]", "seeds: [1, 1]"), "runs[0].seeds: 1 is given twice"),
        (SMALL.replace("[CoOp, MCoOp]", "[MCoOpp]"), "runs[0].methods: unknown 'MCoOpp', nearest 'MCoOp'"),
        (SMALL.replace("pocket-reviews", "pocket-rviews"), "runs[0].sources: unknown dataset 'pocket-rviews'; the nearest"),
        (SMALL.replace("targets: [pocket-cells, pocket-memes]", "targets: []"), "runs[0].targets: is empty"),
        (SMALL.replace("sources: [pocket-memes, pocket-reviews]", "sources: []"), "[0].sources: MCoOp learns a prompt on source tasks"),
        (SMALL.replace("[CoOp, MCoOp]", "CoOp"), "runs[0].sources: CoOp starts from no source tasks; MCoOp does"),
        (SMALL + SMALL.removeprefix("runs:\n").replace("- methods", "- name: '1'\n    methods"), "runs[1].name: '1' is that of runs[0]"),
        (SMALL.replace("OPTIM.MAX_EPOCH", "OPTIM.MAX_EPOCHS"), "plan.yaml: options: unknown key 'OPTIM.MAX_EPOCHS'; the nearest"),
        (SMALL.replace("EPOCH: 2", "EPOCH: []"), "plan.yaml: options: OPTIM.MAX_EPOCH has no values"),
        (SMALL.replace("OPTIM.MAX_EPOCH: 2", "OUTPUT_DIR: elsewhere"), "plan.yaml: options: OUTPUT_DIR is no option of a run"),
        (SMALL.replace("OPTIM.MAX_EPOCH: 2", "SEED: [1, 2]"), "plan.yaml: options: SEED is no option of a run: see seeds"),
        (SMALL.replace("OPTIM.MAX_EPOCH: 2", "TEST.NO_TEST: True"), "TEST.NO_TEST is no option of a run: a table needs scores"),
        (SMALL.replace("OPTIM.MAX_EPOCH: 2", "TRAINER.PROGRAD.T: 2.0"), "but CoOp, MCoOp do not read it: leave it out, or use"),
        (SMALL.replace("OPTIM.MAX_EPOCH: 2", "OPTIM.MOMENTUM: [0.9, 7]"), "plan.yaml: options: OPTIM.MOMENTUM is 7.0; it is from 0 to 1"),
        (SMALL.replace("OPTIM.MAX_EPOCH: 2", "MODEL.INIT_WEIGHTS: x.pth"), "MODEL.INIT_WEIGHTS is 'x.pth', but CoOp does not read it"),
        (SMALL.replace("options: {", "options: {OPTIM.MAX_EPOCH: 3, "), "line 7: key 'OPTIM.MAX_EPOCH' is in line 7, too"),
        (SMALL.replace("    seeds:", "    evaluate: {class: new}\n    seeds:"), "evaluate.class: is no key; the nearest is 'classes'"),
        ("items: [table7]", "plan.yaml: items: unknown 'table7', nearest 'table"),
        ("items: table1\nmethods: [VTP]", "plan.yaml: methods: unknown 'VTP', nearest 'VPT'"),
        ("items: table1\nsuite: nowhere", "plan.yaml: --suite: nowhere is none of pocket, pocket_updates, pocket_recipes, paper"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_plan_is_one_line_that_names_it(text, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        sweep.main(
            shlex.split(f"{written(tmp_path, text)} --output-dir {out} --dry-run")
        )
        == 2
    )
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--gpus 1", "--gpus is of a Ray cluster: give its --address, too"),
        (
            "--address auto --gpus 1.5",
            "--gpus is 1.5; it is a part of one, or a whole number",
        ),
        ("--address auto --cpus 0", "--cpus is 0"),
        ("--jobs 0", "--jobs is 0"),
        ("--retries -1", "--retries is -1"),
        ("--job-timeout 0", "--job-timeout is 0; it must be positive"),
        ("--job-timeout -2", "--job-timeout is -2"),
        ("--job-timeout nan", "--job-timeout is nan"),
        ("--job-timeout inf", "--job-timeout is inf"),
    ],
)
@pytest.mark.parametrize("plan", [SMALL, "items: table1"], ids=["runs", "study"])
def test_flags_that_make_no_sense_are_refused(plan, flags, message, tmp_path, capsys):
    command = f"{written(tmp_path, plan)} --output-dir {tmp_path}/out {flags}"
    assert sweep.main(shlex.split(command)) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_ray_an_address_is_one_helpful_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    plan = str(written(tmp_path, SMALL))
    assert (
        sweep.main(shlex.split(f"{plan} --output-dir {tmp_path}/out --address auto"))
        == 2
    )
    # the bar of a first rendering may precede the message
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "pip install ray, or leave --address out" in error


def test_flags_win_over_the_file(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        sweep, "run_entries", lambda known, args: seen.append(args) or 0
    )
    head = "root: there\noutput_dir: out\nretries: 5\nresources: {cpus: 2, gpus: 0.5}\n"
    plan = str(written(tmp_path, head + SMALL))
    assert sweep.main(shlex.split(f"{plan} --address auto")) == 0
    assert (
        sweep.main(
            shlex.split(f"{plan} --address auto --gpus 1 --retries 0 --root here")
        )
        == 0
    )
    assert sweep.main([str(plan)]) == 0  # the resources are a cluster's
    found = [
        (args.root, args.output_dir, args.retries, args.cpus, args.gpus)
        for args in seen
    ]
    assert found == [
        ("there", "out", 5, 2, 0.5),
        ("here", "out", 0, 2, 1.0),
        ("there", "out", 5, None, None),
    ]


def test_a_plan_may_be_a_study(tmp_path, capsys):
    plan = written(
        tmp_path, "items: [table1, figure5]\nseeds: [0, 2]\nmethods: [VPT, MVPT]\n"
    )
    assert sweep.main(shlex.split(f"{plan} --dry-run --output-dir {tmp_path}/out")) == 0
    text = capsys.readouterr().out
    assert (
        "seeds 0, 2, VPT, MVPT" in text
        and "figure5" in text
        and not (tmp_path / "out").exists()
    )


def test_free_runs_become_jobs_and_what_two_entries_want_is_one(tmp_path):
    plan, items = plan_entries(plan_file.read(written(tmp_path, SMALL)).entries)
    assert plan.counts() == {"source": 2, "adaptation": 8} and len(items) == 1
    assert [row.labels for row in items[0].rows] == [
        *(("", "zero-shot", "0"), ("", "zero-shot, one template", "0")),
        *(("1", "CoOp", "1"), ("1", "MCoOp", "1")),
    ]
    job = next(job for job in plan if job.needs)
    assert (
        job.settings["options"]["OPTIM.MAX_EPOCH"] == 2
        and job.settings["start"] == job.needs[0]
    )
    assert plan.jobs[job.needs[0]].settings["tasks"] == [
        "pocket-memes",
        "pocket-reviews",
    ]

    more = (
        SMALL
        + SMALL.removeprefix("runs:\n")
        + SMALL.removeprefix("runs:\n").replace("EPOCH: 2", "EPOCH: 3")
    )
    again, items = plan_entries(plan_file.read(written(tmp_path, more)).entries)
    # the second entry adds nothing, the third all its runs
    assert again.counts() == {"source": 4, "adaptation": 16}
    assert len(items) == 1 and len(items[0].rows) == 8


def test_a_list_of_values_is_a_grid_and_the_best_is_chosen_by_validation(tmp_path):
    text = SMALL.replace(
        "OPTIM.MAX_EPOCH: 2",
        "OPTIM.MAX_EPOCH: [1, 2], OPTIM.LR: [0.1, 0.2], OPTIM.STEPSIZE: [1]",
    )
    plan, (item,) = plan_entries(plan_file.read(written(tmp_path, text)).entries)
    assert plan.counts() == {"source": 8, "adaptation": 32}
    assert item.label_names == ("runs", "method", "shots", "setting")
    of_coop = [row for row in item.rows if row.labels[1] == "CoOp"]
    settings = [
        "1, OPTIM.LR 0.1",
        "1, OPTIM.LR 0.2",
        "2, OPTIM.LR 0.1",
        "2, OPTIM.LR 0.2",
    ]
    assert [row.labels[3] for row in of_coop] == [
        *(f"OPTIM.MAX_EPOCH {name}" for name in settings),
        "best by validation",
    ]
    (first, *_, last), best = of_coop[:4], of_coop[4]
    cell = (0, "pocket-cells")
    assert best.runs[cell] == tuple(row.runs[cell][0] for row in of_coop[:4])
    job = plan.jobs[last.runs[cell][0]]
    assert job.settings["options"]["OPTIM.LR"] == 0.2 and job.settings["options"][
        "OPTIM.STEPSIZE"
    ] == [1]

    # the last setting has the best test score, the first the best validation score
    for row in of_coop[:4]:
        for (_, task), (name,) in row.runs.items():
            record = {
                "task": task,
                "zero_shot": 1.0,
                "score": 10.0 if row is first else 90.0,
                "val_score": 50.0,
            }
            record["val_score"] += 10.0 if row is first else 0.0
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "results.json").write_text(json.dumps([record]))
    write_results(plan, [item], tmp_path)
    assert (
        "| 1 | CoOp | 1 | best by validation | 10.0 ± 0.0 |"
        in (tmp_path / "results.md").read_text()
    )
    assert (
        '"OPTIM.MAX_EPOCH 2, OPTIM.LR 0.2",average,90.0000,0.0000,2'
        in (tmp_path / "results.csv").read_text()
    )


def grid_of(method: str, folder: Path, options: str):
    """Return the plan and the rows of a grid of two keys."""
    text = (
        f"runs:\n  - {{methods: {method}, targets: [pocket-cells, pocket-memes], shots: 1, seeds: [0],\n"
        f"     options: {{OPTIM.MAX_EPOCH: [1, 2], OPTIM.LR: [0.1, 0.2]{options}}}}}\n"
    )
    plan, (item,) = plan_entries(plan_file.read(written(folder, text)).entries)
    return plan, [row for row in item.rows if row.labels[1] == method]


def test_methods_that_keep_the_last_epoch_are_validated_for_a_grid(tmp_path):
    plan, rows = grid_of("CoOp", tmp_path, ", TEST.FINAL_MODEL: last_step")
    assert all(job.settings["options"]["TEST.VAL_SCORE"] for job in plan)
    assert rows[-1].labels[-1] == "best by validation" and len(rows) == 5
    plan, rows = grid_of("CoOp", tmp_path, "")
    assert not any("TEST.VAL_SCORE" in job.settings["options"] for job in plan)


def test_without_validation_images_no_setting_is_the_best(tmp_path, caplog):
    _, rows = grid_of("APT", tmp_path, "")  # trains on them
    assert len(rows) == 4 and "APT: no setting is the best" in caplog.text
    # a run without a validation score chooses nothing
    _, rows = grid_of("CoOp", tmp_path, "")
    for row in rows[:-1]:
        for (_, task), (name,) in row.runs.items():
            (tmp_path / name).mkdir(parents=True)
            record = {"task": task, "score": 50.0}
            (tmp_path / name / "results.json").write_text(json.dumps([record]))
    item = Item("grid", "", ("a", "b", "c", "d"), ("pocket-cells", "pocket-memes"))
    item.rows = rows
    table = tables.build(item, tmp_path, compare=False)
    means = [line.cells["average"].mean for line in table.lines]
    assert means == [50.0, 50.0, 50.0, 50.0, None]


def test_the_example_is_planned(capsys, tmp_path):
    example = ROOT / "configs" / "sweeps" / "pocket_small.yaml"
    assert (
        sweep.main(shlex.split(f"{example} --dry-run --output-dir {tmp_path}/out")) == 0
    )
    text = capsys.readouterr().out
    assert "2 source prompts, 8 adaptations" in text and "about" in text


# -- retries -----------------------------------------------------------------------------------------------------------


class Pretend:
    """Ends the job that was started first, as `fates` says: name -> the results of its
    tries, "" if they are over.
    """

    def __init__(self, fates, slots=(2,)):
        self.fates, self.sizes = (
            {name: list(tries) for name, tries in fates.items()},
            list(slots),
        )
        self.running, self.tried, self.most = [], Counter(), []

    @property
    def slots(self):
        return self.sizes[0]

    def submit(self, job):
        self.running.append(job)
        self.tried[job.name] += 1

    def wait(self):
        self.most.append(len(self.running))
        if len(self.sizes) > 1:
            self.sizes.pop(0)
        job = self.running.pop(0)
        fate = self.fates[job.name].pop(0) if self.fates.get(job.name) else ""
        return [Outcome(job, 1.0, fate, wrong=fate == "wrong", lost=fate == "lost")]


def chain(*names):
    plan = Plan()
    for name, *needs in names:
        plan.add(Job(name, "run", {}, tuple(needs)))
    return plan


def test_a_failed_job_is_tried_again_and_then_its_dependents_are_skipped():
    executor, seen = Pretend({"a": ["broke"], "b": ["broke"] * 5}), []
    plan = chain(("a",), ("b",), ("c", "a"), ("d", "b"), ("e",))
    report = run_plan(
        plan,
        executor,
        lambda job: False,
        lambda outcome, clock: seen.append(outcome),
        retries=2,
    )
    assert (
        sorted(report.done) == ["a", "c", "e"]
        and report.failed == {"b": "broke"}
        and report.skipped == {"d": "b"}
    )
    assert executor.tried == {"a": 2, "b": 3, "c": 1, "e": 1}
    assert [outcome.again for outcome in seen if outcome.job.name == "b"] == [
        True,
        True,
        False,
    ]
    assert [bool(outcome.error) for outcome in seen if outcome.job.name == "a"] == [
        True,
        False,
    ]


def test_wrong_input_is_not_tried_again():
    executor = Pretend({"a": ["wrong"]})
    report = run_plan(chain(("a",), ("b",)), executor, lambda job: False, retries=2)
    assert (
        report.failed == {"a": "wrong"}
        and report.done == ["b"]
        and executor.tried == {"a": 1, "b": 1}
    )


def test_lost_tries_are_made_good_within_bounds_and_are_not_the_jobs_own():
    executor = Pretend(
        {"a": ["lost"] * MAX_LOSSES + ["broke"], "b": ["lost"] * (MAX_LOSSES + 1)}
    )
    report = run_plan(chain(("a",), ("b",)), executor, lambda job: False, retries=1)
    assert report.done == ["a"] and report.failed == {"b": "lost"}
    assert executor.tried == {"a": MAX_LOSSES + 2, "b": MAX_LOSSES + 1}


def test_no_more_jobs_run_than_fit_when_nodes_come_and_go():
    executor = Pretend({}, slots=[3, 1, 1, 1, 4])
    report = run_plan(
        chain(*((name,) for name in "abcdefghij")), executor, lambda job: False
    )
    assert len(report.done) == 10
    # on one place, the three that ran have to end first
    assert executor.most[:6] == [3, 2, 1, 1, 4, 4]


# -- on this machine -----------------------------------------------------------------------------------------------------


def call(plan: Path, out: Path, flags: str) -> list[str]:
    command = f"{sys.executable} -m scripts.sweep {plan} --output-dir {out} {flags}"
    return shlex.split(command)


ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}
JOBS_FLAGS = f"--jobs {os.cpu_count()}"  # a thread each


@pytest.mark.long
def test_a_sweep_writes_its_results_and_is_done_once(tmp_path):
    text = SMALL.replace("[CoOp, MCoOp]", "CoOp").replace(
        "    sources: [pocket-memes, pocket-reviews]\n", ""
    )
    plan, out = (
        written(tmp_path, text.replace("seeds: [0, 1]", "seeds: 0")),
        tmp_path / "out",
    )
    first = subprocess.run(
        call(plan, out, JOBS_FLAGS),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert first.returncode == 0 and "0 jobs reused, 2 done" in first.stderr, (
        first.stderr
    )
    records = json.loads((out / "results.json").read_text())
    assert [record["task"] for record in records] == ["pocket-cells", "pocket-memes"]
    assert (
        records[0]["options"]["OPTIM.MAX_EPOCH"] == 2
        and (out / records[0]["run"]).is_dir()
    )
    mean = sum(record["score"] for record in records) / 2
    assert (
        f"pocket,1,CoOp,1,average,{mean:.4f},0.0000,1"
        in (out / "results.csv").read_text()
    )
    assert f"| 1 | CoOp | 1 | {mean:.1f} |" in (out / "results.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    second = subprocess.run(
        call(plan, out, JOBS_FLAGS),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert second.returncode == 0 and "2 jobs reused, 0 done" in second.stderr
    assert {
        path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")
    } == before


@pytest.mark.long
def test_a_sweep_runs_every_method(tmp_path):
    learned_alone, learned_first = [], []
    names = [name for name in methods.known() if methods.leaves_prompt(name)]
    names.remove("MVLPT")  # its keys must name a method
    for name in names:
        several = methods.is_multitask(name)
        (learned_first if several else learned_alone).append(name)
    common = {"targets": "pocket-cells", "shots": 1}
    common["options"] = {"OPTIM.MAX_EPOCH": 1, "OPTIM.MIN_UPDATES": 0}
    alone = {"methods": learned_alone, **common}
    first = {"methods": learned_first, **common}
    first["sources"] = ["pocket-memes", "pocket-reviews"]
    plan = written(tmp_path, json.dumps({"runs": [alone, first]}))
    out = tmp_path / "out"
    words = call(plan, out, JOBS_FLAGS)
    done = subprocess.run(
        words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    records = json.loads((out / "results.json").read_text())
    assert [record["trainer"] for record in records] == learned_alone + learned_first
    table = (out / "results.md").read_text()
    assert all(f"| {record['score']:.1f} |" in table for record in records)


# -- on a Ray cluster ----------------------------------------------------------------------------------------------------

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@pytest.fixture
def cluster(monkeypatch):
    """Yield two nodes of one CPU each."""
    for name in ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    # on which workers find this module
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own in place
    nodes = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        nodes.add_node(**NODE)
        yield nodes
    finally:
        nodes.shutdown()
        signal.signal(signal.SIGTERM, before)


def workers(node) -> list[int]:
    """Return the processes of the node that have a job."""
    raylets = [
        info.process.pid for infos in node.all_processes.values() for info in infos
    ]
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and (path / "cmdline").read_bytes().startswith(
                b"ray::_Worker.do"
            ):
                found.append(int(path.name))
    return found


def wait_for(condition, process=None, seconds=600):
    """Return the result of `condition` once it is true; the process must not have
    ended.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    raise TimeoutError


def lines(out: Path) -> list[str]:
    return (
        (out / "sweep.log").read_text().splitlines()
        if (out / "sweep.log").is_file()
        else []
    )


def start(plan: Path, out: Path, flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        call(plan, out, flags),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.long
@needs_ray
def test_a_lost_node_costs_its_job_one_more_try_and_no_result(cluster, tmp_path):
    plan, out = written(tmp_path, SMALL), tmp_path / "ray"
    process, node = (
        start(plan, out, f"--address {cluster.address}"),
        cluster.list_all_nodes()[1],
    )
    wait_for(lambda: sum(line.endswith(" done") for line in lines(out)) >= 2, process)
    while True:
        (worker,) = wait_for(lambda: workers(node), process)
        os.kill(worker, signal.SIGSTOP)  # so that it is at its job when the node goes
        if workers(node) == [worker]:
            break
        os.kill(worker, signal.SIGCONT)
    cluster.remove_node(node, allow_graceful=False)
    os.kill(worker, signal.SIGKILL)
    text = process.communicate(timeout=900)[0]
    assert (
        process.returncode == 0
        and "0 jobs reused, 10 done, 0 failed, 0 skipped" in text
    ), text

    done = Counter(line.split()[2] for line in lines(out) if line.endswith(" done"))
    lost = [line for line in lines(out) if " lost: " in line]
    assert len(done) == 10 and set(done.values()) == {1}
    assert len(lost) == 1 and "is tried again" in lost[0] and lost[0].split()[2] in done

    here = subprocess.run(
        call(plan, tmp_path / "here", JOBS_FLAGS),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
    )
    assert here.returncode == 0
    for name in ("results.json", "results.csv", "results.md"):
        assert (out / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.long
@needs_ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_sweep_leaves_no_job_on_the_cluster_and_goes_on(
    cluster, tmp_path, number
):
    plan, out = written(tmp_path, SMALL), tmp_path / "ray"
    process = start(plan, out, f"--address {cluster.address}")
    wait_for(
        lambda: any(map(workers, cluster.list_all_nodes())) and lines(out), process
    )
    process.send_signal(number)
    text = process.communicate(timeout=300)[0]
    if number != signal.SIGKILL:
        assert process.returncode == 130 and text.endswith(
            "stopped; the same command continues\n"
        ), text
    wait_for(lambda: not any(map(workers, cluster.list_all_nodes())))
    done = sum(line.endswith(" done") for line in lines(out))
    again = start(plan, out, f"--address {cluster.address}")
    text = again.communicate(timeout=900)[0]
    reused = int(text.partition(" jobs reused")[0].split()[-1])
    assert (
        again.returncode == 0 and " 0 failed, 0 skipped" in text and done <= reused < 10
    ), text


@pytest.mark.long
@needs_ray
def test_nodes_that_come_are_used_and_jobs_that_end_their_worker_fail_alone(
    cluster, tmp_path
):
    from scripts.jobs.ray_executor import Ray

    plan = chain(
        *((name,) for name in ("dies", "raises", "waits0", "waits1", "waits2"))
    )
    with Ray(perform_for_test, str(tmp_path), tmp_path, cluster.address) as executor:
        executor.settle = 0.0
        assert executor.slots == 2

        def report(outcome, clock):
            # a third node, for the jobs that wait for each other
            if outcome.lost and outcome.again:
                cluster.add_node(**NODE) if executor.slots == 2 else None

        result = run_plan(plan, executor, lambda job: False, report)
    assert sorted(result.done) == ["waits0", "waits1", "waits2"]
    assert (
        result.failed["raises"] == "ValueError: no such luck"
        and "(ActorDiedError)" in result.failed["dies"]
    )
    for cpus, gpus, message in ((2, 0, "fits on no node"), (1, 1, "1 CPUs and 0 GPUs")):
        with (
            pytest.raises(ValueError, match=message),
            Ray(print, "", tmp_path, cluster.address, cpus, gpus),
        ):
            pass


def perform_for_test(job, place):
    """Do a job in the workers of the test above; the three that wait do so until all of
    them run.
    """
    if job.name == "dies":
        os._exit(3)
    if job.name == "raises":
        raise ValueError("no such luck")
    (Path(place) / job.name).write_text(job.name)
    wait_for(lambda: len(list(Path(place).glob("waits*"))) == 3)


@pytest.mark.long
@needs_ray
def test_a_node_that_does_not_see_the_output_folder_says_so(cluster, tmp_path):
    from scripts.jobs.ray_executor import Ray

    with Ray(perform_for_test, str(tmp_path), tmp_path, cluster.address) as executor:
        (tmp_path / ".nodes").write_text("of another file system")
        result = run_plan(chain(("raises",)), executor, lambda job: False)
    assert f"does not see {tmp_path}" in result.failed["raises"]


# -- jobs that only evaluate ---------------------------------------------------------------------------------------------

EVALUATE = """\
runs:
  - methods: CoOp
    targets: [pocket-breeds, pocket-dishes]
    shots: 1
    options: {OPTIM.MAX_EPOCH: 1, DATASET.SUBSAMPLE_CLASSES: base}
    evaluate: {classes: [new, all]}
  - name: elsewhere
    methods: CoOp
    targets: pocket-breeds
    shots: 1
    options: {OPTIM.MAX_EPOCH: 1, DATASET.SUBSAMPLE_CLASSES: base}
    evaluate: {tasks: pocket-dishes}
"""


def test_prompts_are_evaluated_on_other_classes_and_tasks(tmp_path):
    entries = plan_file.read(written(tmp_path, EVALUATE)).entries
    plan, _ = plan_entries(entries)
    assert plan.counts() == {"adaptation": 2, "evaluation": 5}
    found = {}
    for job in plan:
        if job.kind == "evaluation":
            (task,) = job.settings["tasks"]
            classes = job.settings["options"]["DATASET.SUBSAMPLE_CLASSES"]
            found.setdefault(job.settings["start"].rsplit("/", 1)[1], set()).add(
                (task, classes)
            )
            assert job.needs == (job.settings["start"],)
    assert found == {
        "pocket-breeds": {
            ("pocket-breeds", "new"),
            ("pocket-breeds", "all"),
            ("pocket-dishes", "all"),
        },
        "pocket-dishes": {("pocket-dishes", "new"), ("pocket-dishes", "all")},
    }


@pytest.mark.long
def test_results_of_evaluations_name_their_run(tmp_path):
    path = written(tmp_path, EVALUATE)
    assert sweep.main(shlex.split(f"{path} --output-dir {tmp_path}/out --jobs 2")) == 0
    records = json.loads((tmp_path / "out" / "results.json").read_text())
    evaluated = [record for record in records if "from" in record]
    assert len(records) == 7 and len(evaluated) == 5
    assert {record["epochs"] for record in evaluated} == {0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "evaluate: {classes: old}",
            "runs[0].evaluate.classes: unknown 'old', nearest",
        ),
        (
            "evaluate: {class: new}",
            "runs[0].evaluate.class: is no key; the nearest is 'classes'",
        ),
        (
            "evaluate: {tasks: pocket-cell}",
            "runs[0].evaluate.tasks: unknown dataset 'pocket-cell'; the nearest is 'pocket-cells'",
        ),
    ],
)
def test_wrong_evaluations(tmp_path, change, message):
    text = SMALL + f"    {change}\n"
    with pytest.raises(ValueError) as error:
        plan_file.read(written(tmp_path, text))
    assert message in str(error.value)

"""The transfer matrix: every task's prompt on every task, kept, normalised, and its
predictors.
"""

import csv
import json
import math
import multiprocessing
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from small_jobs import process_in_process

import datasets
import trainers
from datasets.pocket import SPECS
from prompting import load_prompts
from scripts.jobs import local_executor
from scripts.transfer import __main__ as transfer
from scripts.transfer import output as transfer_output
from scripts.transfer import predictors as transfer_predictors
from scripts.transfer import scores as transfer_scores
from scripts.transfer.matrix import Matrix, normalised
from scripts.transfer.scores import transfer_matrix
from trainers.engine.run import execute

ROOT = Path(__file__).resolve().parents[2]
TASKS = ["pocket-memes", "pocket-reviews", "pocket-cells"]  # the smallest ones
QUICK = "OPTIM.MAX_EPOCH 1 TRAINER.MVLPT.COOP.N_CTX 2"


def command(
    out: Path, more: str = "", trainer: str = "CoOp", opts: str = QUICK
) -> list[str]:
    """Return the words of a command on the tasks; `more` are further flags."""
    flags = f"--trainer {trainer} --shots 2 --tasks {','.join(TASKS)} --jobs 1"
    return shlex.split(f"{flags} --output-dir {out} {more} {opts}")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """Return the folder of a finished command, whose runs are of this process; no test
    writes to it.
    """
    out = tmp_path_factory.mktemp("transfer")
    datasets.register_all()
    trainers.register_all()
    args = transfer.arguments().parse_args(command(out))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for run in transfer.plan(args, "CoOp", TASKS):
            execute(run)
        assert transfer.main(command(out)) == 0
    finally:
        torch.set_num_threads(threads)
    return out / "CoOp_2shots_seed0"


def table(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    header, *rows = csv.reader(path.read_text().splitlines())
    return (
        [row[0] for row in rows],
        header[1:],
        np.array([[float(value) for value in row[1:]] for row in rows]),
    )


def stamps(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


# -- the command -------------------------------------------------------------------------------------------------


def test_matrix_has_the_runs_own_scores_on_its_diagonal(done):
    sources, targets, matrix = table(done / "matrix.csv")
    assert sources == targets == TASKS
    diagonal = [
        json.loads((done / task / "results.json").read_text())[0]["score"]
        for task in TASKS
    ]
    assert np.allclose(np.diag(matrix), diagonal, atol=5e-5)
    value = json.loads((done / "results.json").read_text())
    assert np.allclose(value["scores"], matrix, atol=5e-5) and value["tasks"] == TASKS
    assert (value["trainer"], value["shots"], value["seed"]) == ("CoOp", 2, 0)
    assert 0 < min(value["zero_shot"]) <= max(value["zero_shot"]) <= 100


def test_columns_are_divided_by_their_best_entry(done):
    matrix, share = table(done / "matrix.csv")[2], table(done / "normalised.csv")[2]
    assert (
        np.allclose(share, matrix / matrix.max(axis=0), atol=1e-4)
        and (share.max(axis=0) == 1).all()
    )


def test_predictors_are_written_for_every_pair_and_as_correlations(done):
    rows = list(csv.DictReader((done / "predictors.csv").read_text().splitlines()))
    assert [(row["source"], row["target"]) for row in rows] == [
        (a, b) for a in TASKS for b in TASKS
    ]
    for row in rows:
        for name in transfer_predictors.PREDICTORS:
            assert -1 - 1e-6 <= float(row[name]) <= 1 + 1e-6
            assert row["source"] != row["target"] or math.isclose(
                float(row[name]), 1, abs_tol=1e-6
            )
    found = json.loads((done / "predictors.json").read_text())
    assert set(found) == {"prompts", "classes", "images"}
    assert found == json.loads((done / "results.json").read_text())["predictors"]


def test_pictures_are_drawn(done):
    assert (done / "heatmap.png").read_bytes()[:4] == b"\x89PNG" and (
        done / "heatmap.pdf"
    ).read_bytes()[:4] == b"%PDF"


def test_the_second_call_does_nothing(done, capsys, monkeypatch):
    before = stamps(done)

    def refuse(*args, **kwargs):
        raise RuntimeError("nothing is left to compute")

    monkeypatch.setattr(transfer.execution, "execute", refuse)
    monkeypatch.setattr(transfer_scores, "score_prompts", refuse)
    monkeypatch.setattr(transfer_output, "report", refuse)
    for jobs in ("1", "2"):
        assert transfer.main(command(done.parent, f"--jobs {jobs}")) == 0
    assert stamps(done) == before


def test_a_stopped_command_goes_on_where_it_was(done, tmp_path, monkeypatch):
    calls, original = [], transfer_scores.score_prompts

    def stop(prompts, cfg, tasks):
        calls.append(tasks)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(prompts, cfg, tasks)

    monkeypatch.setattr(transfer_scores, "score_prompts", stop)
    assert transfer.main(command(tmp_path, f"--runs {done.parent}")) == 130
    folder = tmp_path / "CoOp_2shots_seed0"
    assert list(json.loads((folder / "scores.json").read_text())) == TASKS[:1]
    assert transfer.main(command(tmp_path, f"--runs {done.parent}")) == 0
    assert calls == [[task] for task in (TASKS[0], TASKS[1], TASKS[1], TASKS[2])]
    for name in (
        "matrix.csv",
        "normalised.csv",
        "predictors.csv",
        "predictors.json",
        "results.json",
        "scores.json",
    ):
        assert (folder / name).read_bytes() == (done / name).read_bytes()
    # the runs were not moved
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_columns_of_other_prompts_are_not_taken(done, tmp_path):
    kept = tmp_path / "scores.json"
    kept.write_bytes((done / "scores.json").read_bytes())
    ready = []
    matrix, zero = transfer_matrix(
        [done / task for task in TASKS[::-1]], TASKS, kept=kept, done=ready.append
    )
    assert ready == [0, 1, 2, 3]
    assert np.allclose(matrix, table(done / "matrix.csv")[2][::-1], atol=5e-5)
    again = []
    assert np.array_equal(
        transfer_matrix(
            [done / t for t in TASKS[::-1]], TASKS, kept=kept, done=again.append
        )[0],
        matrix,
    )
    assert again == [3]


@pytest.mark.long
def test_processes_give_the_same_matrix(tmp_path):
    datasets.register_all()
    trainers.register_all()
    args = transfer.arguments().parse_args(
        command(tmp_path, trainer="VPT", opts="OPTIM.MAX_EPOCH 1")
    )
    runs = transfer.plan(args, "VPT", TASKS[:2])
    for run in runs:
        execute(run)
    folders, ready = [run.folder for run in runs], []
    here = transfer_matrix(folders, TASKS, runs[0].cfg)
    there = transfer_matrix(
        folders,
        TASKS,
        runs[0].cfg,
        jobs=2,
        kept=tmp_path / "kept.json",
        done=ready.append,
    )
    # other numbers of threads sum in another order: two images of nearly equal
    # probability may change places
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.05)
    assert ready == [0, 1, 2, 3]


def test_a_matrix_need_not_be_square(done):
    matrix, zero = transfer_matrix([done / TASKS[1]], TASKS[:2])
    assert matrix.shape == (1, 2) and zero.shape == (2,)
    assert np.allclose(matrix[0], table(done / "matrix.csv")[2][1, :2], atol=5e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--trainer MCoOp", "MCoOp learns no prompt on one task alone"),
        ("--trainer ZeroshotCLIP", "ZeroshotCLIP learns no prompt"),
        ("--trainer CoOpp", "nearest is 'CoOp'"),
        ("--trainer GDA", "one task alone (a head has weights of each class)"),
        ("--trainer APT", "one task alone (TRAINER.APT.CLASS_OFFSETS is True)"),
        ("--tasks pocket-memes", "at least two tasks"),
        ("--tasks pocket-memes,pocket-memes", "each once"),
        ("--tasks pocket-memes,pocket-rviews", "pocket-reviews"),
        ("--jobs 0", "--jobs is 0"),
        ("--shots 0", "--shots is 0"),
        ("--runs nowhere/at/all", "nowhere/at/all"),
        ("OPTIM.MAX_EPOCHS 3", "OPTIM.MAX_EPOCH"),
        ("OPTIM.MAX_EPOCH 3", "differs in OPTIM.MAX_EPOCH"),
    ],
)
def test_wrong_input_is_one_message(done, capsys, change, message):
    before = stamps(done)
    assert transfer.main(command(done.parent, change, opts="")) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and error[0].startswith("error: ") and message in error[0]
    assert stamps(done) == before


def test_folders_without_prompts_are_named(tmp_path, done):
    with pytest.raises(FileNotFoundError, match="no config.yaml"):
        transfer_matrix([tmp_path], TASKS)
    (tmp_path / "config.yaml").write_text((done / TASKS[0] / "config.yaml").read_text())
    with pytest.raises(FileNotFoundError, match=r"no prompts\.safetensors"):
        transfer_matrix([tmp_path], TASKS)


def test_by_default_the_tasks_are_the_pocket_targets(tmp_path):
    words = shlex.split(f"--output-dir {tmp_path} --trainer VPT --shots 20")
    args = transfer.arguments().parse_args(words)
    names = [spec.task for spec in SPECS.values() if spec.layout != "coop"]
    runs = transfer.plan(args, "VPT", names)
    assert len(runs) == 20 and {run.cfg.DATASET.NUM_SHOTS for run in runs} == {20}
    assert runs[3].folder == tmp_path / "VPT_20shots_seed0" / names[3]


# -- predictors --------------------------------------------------------------------------------------------------


def test_similarity_is_the_cosine_of_centred_rows():
    vectors = np.array([[1.0, 2.0], [3.0, 1.0], [2.0, 6.0]])
    centred = vectors - [2.0, 3.0]
    found = transfer_predictors.similarity(vectors)
    expected = (
        centred[0]
        @ centred[1]
        / np.linalg.norm(centred[0])
        / np.linalg.norm(centred[1])
    )
    assert math.isclose(found[0, 1], expected) and math.isclose(found[2, 2], 1)
    assert np.array_equal(
        transfer_predictors.similarity(np.ones((3, 2))), np.zeros((3, 3))
    )


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(5):
        one, other = rng.integers(0, 6, (2, 12))  # with ties
        assert math.isclose(
            transfer_predictors.spearman(one, other), spearmanr(one, other).statistic
        )
    assert math.isnan(transfer_predictors.spearman(np.ones(4), np.arange(4)))


def test_agreement_leaves_the_diagonal_out_and_averages_targets():
    rng = np.random.default_rng(1)
    matrix = rng.random((6, 6))
    same = matrix.copy()
    np.fill_diagonal(same, -100)
    found = transfer_predictors.agreement(matrix, same)
    assert found["targets"] == 6 and all(
        math.isclose(found[name], 1) for name in ("mean", "low", "high")
    )
    other = rng.random((6, 6))
    found = transfer_predictors.agreement(matrix, other)
    columns = [
        spearmanr(np.delete(matrix[:, k], k), np.delete(other[:, k], k)).statistic
        for k in range(6)
    ]
    assert np.allclose(found["by_target"], columns) and math.isclose(
        found["mean"], np.mean(columns)
    )
    assert found["low"] < found["mean"] < found["high"]
    assert found == transfer_predictors.agreement(matrix, other)


def test_targets_that_all_prompts_serve_alike_are_left_out():
    matrix = np.array([[1.0, 2, 3], [4, 2, 5], [9, 2, 7]])
    found = transfer_predictors.agreement(matrix, np.eye(3) + matrix)
    assert found["targets"] == 2 and found["by_target"][1] is None
    assert transfer_predictors.agreement(np.ones((3, 3)), np.eye(3))["mean"] is None


def test_prompt_vectors_are_context_vectors(done):
    vectors = transfer_predictors.prompt_vectors([done / task for task in TASKS])
    prompt = load_prompts(done / TASKS[1] / "prompts.safetensors")[0]
    assert np.allclose(vectors[1], prompt.ctx.detach().flatten())


def test_a_large_heat_map_has_no_numbers(tmp_path):
    values = np.random.default_rng(0).random((24, 24))
    transfer_output.heat_maps(
        [tmp_path / "a.png"], [f"task {k}" for k in range(24)], {"": values}, "many"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_column_of_zeros_stays_zero():
    matrix = Matrix.square(("a", "b"), [[0.0, 2], [0, 4]])
    assert np.array_equal(normalised(matrix).scores, [[0, 0.5], [0, 1]])


# -- the pool ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_pool_gives_every_result_and_lets_errors_pass(jobs):
    found = dict(local_executor.each(math.sqrt, [4.0, -1.0, 9.0], jobs))
    assert found[0] == 2 and found[2] == 3 and isinstance(found[1], ValueError)


def test_a_job_may_start_processes_as_a_data_loader_does():
    default = multiprocessing.get_start_method()
    found = dict(local_executor.each(process_in_process, [0, 1], 2))
    assert found == {0: (0, default), 1: (0, default)}


def test_a_pool_has_at_least_one_process():
    with pytest.raises(ValueError, match="--jobs is 0"):
        list(local_executor.each(math.sqrt, [4.0], 0))


@pytest.mark.long
def test_runs_in_worker_processes_are_those_of_this_one(done, tmp_path):
    assert transfer.main(command(tmp_path)) == 0
    folder = tmp_path / done.name
    for name in ("matrix.csv", "predictors.csv", "scores.json"):
        assert (folder / name).read_bytes() == (done / name).read_bytes()
    for task in TASKS:
        one, other = (
            load_prompts(place / task / "prompts.safetensors")[0]
            for place in (folder, done)
        )
        assert torch.equal(one.ctx, other.ctx)


@pytest.mark.long
def test_a_run_that_fails_ends_the_command_with_its_message(done, tmp_path, caplog):
    (tmp_path / "CoOp_2shots_seed0").mkdir()
    (tmp_path / "CoOp_2shots_seed0" / TASKS[0]).write_text("where its folder should be")
    assert transfer.main(command(tmp_path, "--retries 0")) == 1
    assert f"failed: {TASKS[0]}: " in caplog.text
    # the others went on
    assert (tmp_path / "CoOp_2shots_seed0" / TASKS[1] / "results.json").is_file()


@pytest.mark.long
def test_the_command_itself_runs_the_newer_methods(tmp_path):
    methods = "KgCoOp,ProGrad,IVLP,MaPLe,PromptSRC,TCP,MMRL,MMRLPP"
    words = command(tmp_path, trainer=methods, opts="OPTIM.MAX_EPOCH 1")
    apt = "OPTIM.MAX_EPOCH 1 TRAINER.APT.CLASS_OFFSETS False"
    for arguments in (words, command(tmp_path, trainer="APT", opts=apt)):
        done = subprocess.run(
            [sys.executable, "-m", "scripts.transfer", *arguments],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    for method in (*methods.split(","), "APT"):
        folder = tmp_path / f"{method}_2shots_seed0"
        scores = []
        for task in TASKS:
            (record,) = json.loads((folder / task / "results.json").read_text())
            scores.append(record["score"])
        # batches of several prompts sum in another order: two of the 240 images of a
        # ROC AUC may change places, which is 1 of 14,400 pairs, 0.007 points
        assert np.allclose(np.diag(table(folder / "matrix.csv")[2]), scores, atol=7e-3)


def test_workers_find_what_they_do():
    assert transfer.perform.__module__ == "scripts.transfer.runs"

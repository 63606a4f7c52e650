"""Tables of finished runs beside zero-shot and each other."""

import json
import shlex

import pytest

from scripts.study import compare_runs


def write_run(folder, trainer, shots, seed, scores, zero_shot=(50.0, 60.0)):
    folder.mkdir(parents=True)
    records = []
    for task, score, reference in zip(("a", "b"), scores, zero_shot, strict=True):
        records.append(
            {
                "task": task,
                "score": score,
                "zero_shot": reference,
                "trainer": trainer,
                "shots": shots,
                "seed": seed,
            }
        )
    (folder / "results.json").write_text(json.dumps(records))
    return folder


def paths(folders):
    return " ".join(map(str, folders))


@pytest.fixture
def runs(tmp_path):
    return [
        write_run(tmp_path / "1", "APT", 5, 0, (52.0, 58.0)),
        write_run(tmp_path / "2", "APT", 5, 1, (54.0, 58.5)),
        write_run(tmp_path / "3", "MAPT", 5, 0, (60.0, 59.5)),
        write_run(tmp_path / "4", "MAPT", 5, 1, (62.0, 60.5)),
        write_run(tmp_path / "5", "MAPT", 1, 0, (50.0, 60.0)),
    ]


def test_means_deviations_gains_and_tasks_below_zero_shot(runs):
    scores = compare_runs.read_scores(runs)
    assert list(scores) == [(1, "MAPT"), (5, "APT"), (5, "MAPT")]
    row = scores[5, "APT"].record()
    assert row["score"] == pytest.approx(55.625)
    assert row["deviation"] == pytest.approx(0.8839, abs=1e-4)
    assert row["gain_by_task"] == {"a": 3.0, "b": -1.75}
    assert row["gain"] == pytest.approx(0.625)
    assert row["tasks_below_zero_shot"] == 1
    assert row["interval"] == pytest.approx([-1.75, 3.0])
    assert scores[1, "MAPT"].record()["deviation"] == 0.0


def test_trainers_are_compared_at_the_same_shots(runs):
    (record,) = compare_runs.compare(compare_runs.read_scores(runs))
    assert (record["first"], record["second"], record["shots"]) == ("APT", "MAPT", 5)
    assert record["difference"] == pytest.approx(4.875)  # 8.0 on a, 1.75 on b
    assert record["interval"] == pytest.approx([1.75, 8.0])


def test_the_command_prints_tables_and_writes_json(runs, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert compare_runs.main(shlex.split(f"{paths(runs)} -o {out}")) == 0
    printed = capsys.readouterr().out
    assert "| 5 | APT | 55.6 ± 0.9 | 55.0 | +0.6 | -1.8 to +3.0 | 1 of 2 |" in printed
    assert "| 5 | MAPT - APT | +4.88 | +1.75 to +8.00 |" in printed
    assert len(json.loads(out.read_text())["trainers"]) == 3


def test_wrong_folders_are_one_sentence(runs, tmp_path, capsys):
    other = write_run(tmp_path / "6", "APT", 5, 2, (1.0, 2.0))
    records = json.loads((other / "results.json").read_text())
    (other / "results.json").write_text(json.dumps(records[:1]))
    assert compare_runs.main(shlex.split(f"{paths(runs)} {other}")) == 2
    assert (
        capsys.readouterr().err
        == "error: APT, 5 shots: the runs are over different tasks\n"
    )
    assert compare_runs.main([str(tmp_path / "nowhere")]) == 2
    assert "no file" in capsys.readouterr().err


def test_tasks_side_by_side(runs, capsys):
    assert compare_runs.main(shlex.split(f"{paths(runs)} --by-task")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0] == "| task | zero-shot | MAPT, 1 shot | APT, 5 shots | MAPT, 5 shots |"
    )
    assert lines[2:5] == [
        "| a | 50.0 | 50.0 | 53.0 | 61.0 |",
        "| b | 60.0 | 60.0 | 58.2 | 60.0 |",
        "| mean | 55.0 | 55.0 | 55.6 | 60.5 |",
    ]

"""The table of methods: what it computes from runs, and where it writes it."""

import json

import pytest

from scripts import table


def write_run(folder, method, shots, seed, scores):
    run = folder / f"{method}_{shots}shots_seed{seed}"
    run.mkdir(parents=True)
    records = [{"task": task, "zero_shot": zero, "score": score} for task, (zero, score) in scores.items()]
    (run / "results.json").write_text(json.dumps(records))


def test_mean_and_deviation_are_over_seeds(tmp_path):
    grid = [("VPT", 5, seed) for seed in range(3)]
    for (method, shots, seed), value in zip(grid, (50.0, 60.0, 70.0), strict=True):
        write_run(tmp_path, method, shots, seed, {"pocket-a": (40.0, value), "pocket-b": (20.0, value + 10)})
    summary = table.summarise(table.gather(grid, tmp_path))
    assert summary["zero_shot"]["average"] == 30.0
    (row,) = summary["rows"]
    assert row["average"] == {"mean": 65.0, "std": 10.0} and row["seeds"] == 3
    assert row["tasks"]["pocket-a"] == {"mean": 60.0, "std": 10.0}
    text = table.markdown(summary, "command")
    assert "| VPT | 65.0 ± 10.0 |" in text and "| a | 40.0 | 60.0 ± 10.0 |" in text
    table.picture(summary, tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 5000


def test_fill_replaces_what_is_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- results:begin -->\nold\n<!-- results:end -->\nb\n")
    table.fill(readme, "results", "new")
    assert readme.read_text() == "a\n<!-- results:begin -->\nnew\n<!-- results:end -->\nb\n"
    with pytest.raises(ValueError, match="no markers"):
        table.fill(readme, "zeroshot", "new")


def test_a_failed_run_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="Nope_5shots_seed0 .exit code 2"):
        table.run_all([("Nope", 5, 0)], tmp_path, jobs=1, options=[])

"""Comparing settings on source tasks: the file, the runs, and the gains."""

import json

import pytest

from datasets import pocket
from scripts.pocket import choose_recipe
from scripts.pocket.choose_recipe import Recipes

TASKS = [spec.task for spec in pocket.SOURCES]


@pytest.mark.parametrize(
    "text, said",
    [
        ("trainer: MVPT", "trainer and settings"),
        ("[1, 2]", "trainer and settings"),
        ("{trainer: MVPT, settings: [1]}", "name: {KEY: value}"),
        ("{trainer: MVPT, settings: {short: 3}}", "short has no keys"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, text, said):
    file = tmp_path / "recipes.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        Recipes.read(file)


def test_each_source_task_is_held_out_once_and_gains_are_over_zero_shot(
    tmp_path, monkeypatch
):
    commands = []

    def run(command, **options):
        commands.append(command)
        folder = tmp_path / command[command.index("--output-dir") + 1]
        folder.mkdir(parents=True)
        targets = command[command.index("--dataset") + 1].split(",")
        lost = 3.0 if "OPTIM.LR" in command else 0.0
        records = [
            {"score": 50.0 + TASKS.index(task) - lost, "zero_shot": 50.0}
            for task in targets
        ]
        (folder / "results.json").write_text(json.dumps(records))
        return choose_recipe.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(choose_recipe.subprocess, "run", run)
    recipes = Recipes("VPT", {"a": {}, "b": {"OPTIM.LR": 1.0}})
    homes = {"as they are": tmp_path}
    found = choose_recipe.gains(tmp_path, homes, recipes, "a", 5)
    assert sorted(found["as they are"]) == [float(number) for number in range(11)]
    found = choose_recipe.gains(tmp_path, homes, recipes, "b", 5)
    assert sorted(found["as they are"]) == [number - 3.0 for number in range(11)]
    assert len(commands) == 6
    for command in commands:
        sources = set(command[command.index("--source") + 1].split(","))
        targets = set(command[command.index("--dataset") + 1].split(","))
        assert sources | targets == set(TASKS) and not sources & targets


def test_a_failing_run_is_named(tmp_path):
    recipes = Recipes("NoSuchTrainer", {"first": {}})
    with pytest.raises(ValueError, match="settings: first: error: .*NoSuchTrainer"):
        choose_recipe.train(tmp_path / "run", tmp_path, recipes, "first", [])

"""Plugins outside the repository: imported by flag, with declared keys, and errors that
name their own line.
"""

import shlex
import subprocess

import pytest

import train
from scripts import sweep
from toolkit.common import plugins

METHOD = """\
from dassl.engine import TRAINER_REGISTRY

from trainers.methods.coop import CoOp


@TRAINER_REGISTRY.register()
class {name}(CoOp):
    keys = {{"TRAINER.{upper}.RANK": (2, "rank of the two matrices"), "TRAINER.{upper}.SCALE": 1.5}}

    def build_prompt(self):
        rank = self.cfg.TRAINER.{upper}.RANK
        if rank > 3:
            raise ValueError("the rank is too large")
        return self.make_prompt(self.setup)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a plugin that registers a trainer of a name; the registration and settings
    are undone.
    """
    from dassl.engine import TRAINER_REGISTRY

    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.setattr(TRAINER_REGISTRY, "_obj_map", dict(TRAINER_REGISTRY._obj_map))

    def write(name, text=METHOD):
        path = tmp_path / f"{name.lower()}_file.py"
        path.write_text(text.format(name=name, upper=name.upper()))
        return path

    return write


def test_declared_keys_are_listed_and_set(plugin, capsys, main, tmp_path):
    path = plugin("Listed")
    assert train.main(shlex.split(f"--trainer Listed --import {path} --list-keys")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        " ".join(lines[0].split()) == "TRAINER.LISTED.RANK 2 rank of the two matrices"
    )
    assert lines[1].split() == ["TRAINER.LISTED.SCALE", "1.5"]
    out = tmp_path / "run"
    command = (
        f"--trainer Listed --import {path} --dataset toy-shapes --shots 1 "
        f"--output-dir {out}"
    )
    assert main(f"{command} TRAINER.LISTED.RANK 3") == 0
    assert "RANK: 3" in (out / "config.yaml").read_text()


def test_an_error_in_a_plugin_is_a_traceback_with_its_line(
    plugin, capsys, main, tmp_path
):
    path = plugin("Broken")
    command = f"--trainer Broken --import {path} --dataset toy-shapes --shots 1"
    assert main(f"{command} --output-dir {tmp_path}/run TRAINER.BROKEN.RANK 4") == 1
    error = capsys.readouterr().err
    line = 1 + path.read_text().splitlines().index(
        '            raise ValueError("the rank is too large")'
    )
    assert f'File "{path}", line {line}, in build_prompt' in error
    assert error.rstrip().endswith("ValueError: the rank is too large")


def test_an_error_while_a_plugin_is_imported(plugin, capsys):
    path = plugin("Unfinished", 'raise ValueError("not finished")\n')
    assert train.main(shlex.split(f"--trainer CoOp --import {path}")) == 1
    assert f'File "{path}", line 1' in capsys.readouterr().err


def test_wrong_input_is_a_sentence_still(plugin, capsys, tmp_path):
    path = plugin("Fine")
    assert train.main(shlex.split(f"--trainer Fyne --import {path}")) == 2
    assert "the nearest is 'Fine'" in capsys.readouterr().err
    assert (
        train.main(shlex.split(f"--trainer CoOp --import {tmp_path}/nowhere.py")) == 2
    )
    assert "nowhere.py is no Python file" in capsys.readouterr().err


@pytest.mark.long
def test_a_failed_job_of_a_plugin_names_its_line(plugin, capsys, caplog, tmp_path):
    path = plugin("Swept")
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "runs:\n  - methods: Swept\n    targets: pocket-reviews\n    shots: 1\n"
        "    options: {TRAINER.SWEPT.RANK: [2, 4], OPTIM.MAX_EPOCH: 1}\n"
    )
    command = f"{plan} --import {path} --jobs 2 --output-dir {tmp_path}/out"
    with caplog.at_level("INFO"):
        assert sweep.main(shlex.split(command)) == 1
    assert "1 done, 1 failed" in caplog.text and f'File "{path}"' in caplog.text
    assert "TRAINER.SWEPT.RANK 2" in (tmp_path / "out" / "results.md").read_text()


def test_the_modules_that_are_no_plugins_are_listed():
    for folder, names in plugins.OURS.items():
        listed = subprocess.run(
            ["git", "ls-files", f"{folder}/*.py"],
            cwd=plugins.ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode:
            pytest.skip("no git checkout")
        top = {
            path.split("/")[1].removesuffix(".py")
            for path in listed.stdout.split()
            if path.count("/") == 1
        }
        assert top == set(names)

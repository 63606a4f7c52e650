"""`python -m datasets list` and `show`."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.__main__ import _parser, main
from datasets.catalog import entries as catalogue

ROOT = Path(__file__).resolve().parents[2]


def test_list_has_a_line_for_every_set(capsys):
    assert main(["list"]) == 0
    head, rule, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:7] == [
        "name",
        "suite",
        "classes",
        "metric",
        "train",
        "val",
        "test",
    ]
    rows = {line.split()[0]: line.split() for line in lines}
    assert (
        list(rows) == list(catalogue.entries())
        and len(rows) == len(lines) == 15 + 21 + 35
    )
    assert rows["voc-2007-classification"][1:7] == [
        "elevater",
        "20",
        "11point_mAP",
        "2501",
        "2510",
        "4952",
    ]
    assert rows["OxfordPets"][1:] == [
        "coop",
        "37",
        "accuracy",
        "2944",
        "736",
        "3669",
        "oxford_pets",
    ]
    assert rows["ImageNetA"][4:7] == ["-", "-", "7500"]


@pytest.mark.parametrize(
    ("suite", "count"),
    [("coop", 11), ("imagenet-variant", 4), ("elevater", 21), ("pocket", 35)],
)
def test_list_of_one_suite_as_json(capsys, suite, count):
    assert main(shlex.split(f"list --suite {suite} --json")) == 0
    records = json.loads(capsys.readouterr().out)
    assert len(records) == count
    for record in records:
        assert list(record) == [
            "name",
            "suite",
            "classes",
            "metric",
            "label_kind",
            "images",
            "folder",
        ]


@pytest.mark.parametrize("name", catalogue.entries())
def test_show_as_json(capsys, name):
    assert main(shlex.split(f"show {name} --json")) == 0
    record, entry = json.loads(capsys.readouterr().out), catalogue.entry(name)
    assert list(record) == [
        "name",
        "suite",
        "classes",
        "metric",
        "label_kind",
        "templates",
    ]
    assert (
        record["name"],
        record["suite"],
        record["metric"],
        record["label_kind"],
    ) == (
        name,
        entry.suite,
        entry.metric,
        entry.label_kind,
    )
    assert len(record["classes"]) == entry.classes and all(record["classes"])
    assert record["templates"] and all(
        "{}" in template for template in record["templates"]
    )


def test_show_for_a_reader(capsys):
    assert main(shlex.split("show mnist")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "mnist (elevater): 10 classes, multiclass, scored by accuracy",
        "images: 60000 train, 10000 test",
    ]
    assert (
        "source: torchvision.datasets.MNIST (python -m datasets prepare mnist --from torchvision --root ROOT)"
        in lines
    )
    assert lines[-10:] == [f"    {label} {label}" for label in range(10)]


def test_unknown_name_has_exit_code_2(capsys):
    assert main(shlex.split("show mnsit")) == 2
    assert capsys.readouterr().err.startswith(
        "error: no set is called 'mnsit'; the nearest names are mnist"
    )


def test_command_line_of_its_own_process():
    """Expect only JSON on the standard output; a reader that stops early is no error."""
    shown = subprocess.run(
        shlex.split(f"{sys.executable} -m datasets show dtd --json"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0 and len(json.loads(shown.stdout)["classes"]) == 47
    listed = subprocess.run(
        f"{sys.executable} -m datasets list | head -1",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (
        listed.stdout.startswith("name ")
        and "Traceback" not in listed.stderr
        and "Broken" not in listed.stderr
    )
    with pytest.raises(SystemExit) as stop:
        main(["shwo"])
    assert stop.value.code == 2


@pytest.mark.parametrize("document", ["README.md", "docs/datasets.md"])
def test_commands_of_the_documents_are_understood(document):
    commands = re.findall(
        r"python -m datasets( [^`\n]*)", (ROOT / document).read_text(encoding="utf-8")
    )
    assert commands
    for command in commands:
        options = _parser().parse_args(shlex.split(command, comments=True))
        for name in [
            *getattr(options, "names", []),
            *filter(None, [getattr(options, "name", None)]),
        ]:
            catalogue.entry(name)

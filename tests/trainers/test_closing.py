"""The last lines of a run's log."""

import pytest

from trainers.engine import experiment
from trainers.engine.config import resolve


@pytest.mark.parametrize(
    ("root", "names", "source", "expected"),
    [
        ("", "folder:photos,pocket-digits", "", ""),
        ("/data", "pets", "", " --root /data"),
        ("/data", "folder:/home/me/photos", "", " --root /data"),
        ("", "pocket-digits,folder:/my data/photos/", "", " --root '/my data'"),
        ("", "pocket-digits", "csv:/home/me/scenes.csv", " --root /home/me"),
    ],
)
def test_the_command_of_the_report_names_the_folder_of_the_data(
    root, names, source, expected
):
    values = {
        "DATASET.ROOT": root,
        "DATASET.DATASET": names,
        "MULTITASK.SOURCE": source,
        "OUTPUT_DIR": "output/run",
    }
    cfg = resolve("CoOp", [], values, [])
    command = "python -m scripts.report output/run"
    assert experiment.report_command(cfg) == command + expected

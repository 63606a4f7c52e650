import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

COUNTS = {
    "num_trainable_params": 1,
    "num_params": 3,
    "num_visual_params": 1,
    "num_backbone_params": 2,
}
REPOSITORY = Path(__file__).parents[2]
STATUS = Path("/proc/self/status")
PROGRAM = """
import pathlib, re, sys
from elevater_eval.__main__ import main
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
code = main(sys.argv[1:])
print(code, peak() - before)
"""


@pytest.mark.skipif(
    not STATUS.is_file() or "VmHWM" not in STATUS.read_text(),
    reason="the peak memory of a process is Linux's",
)
def test_memory_of_validate_does_not_grow_with_the_submission(tmp_path, probabilities):
    values = json.dumps(np.round(probabilities(1500, 50), 6).tolist())
    task = json.dumps(
        {
            "model_name": "m",
            "dataset_name": "toy-0",
            **COUNTS,
            "n_shot": 5,
            "rnd_seeds": [0, 1, 2],
        }
    )
    task = f'{task[:-1]}, "predictions": [{values}, {values}, {values}]}}'
    content = ", ".join(task.replace("toy-0", f"toy-{i}") for i in range(12))
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("all_predictions.json", f'{{"data": [{content}]}}')
    assert len(content) > 25e6  # decoded whole, this takes six times as much
    command = [sys.executable, "-c", PROGRAM, "validate", str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, peak = map(int, done.stdout.splitlines()[-1].split())
    assert code == 0 and "toy-11" in done.stdout
    assert peak < len(content), (
        f"{peak / 1e6:.0f} MB for {len(content) / 1e6:.0f} MB of text"
    )

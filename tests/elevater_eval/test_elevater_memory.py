import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elevater_eval import write_predictions

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
    not STATUS.is_file() or "VmHWM" not in STATUS.read_text(), reason="the peak memory of a process is Linux's"
)
def test_memory_does_not_grow_with_the_submission(tmp_path):
    fields = {"model_name": "m", "n_shot": 5, "num_trainable_params": 1}
    fields |= {"num_params": 3, "num_visual_params": 1, "num_backbone_params": 2}
    values = np.random.default_rng(0).dirichlet(np.ones(50), size=1500)
    run, zipped = tmp_path / "run", tmp_path / "submission.zip"
    for seed in range(3):
        file = write_predictions(run / "one.json", dataset_name="toy-0", seed=seed, probabilities=values, **fields)
        text = file.read_text()
        file.unlink()
        for task in range(24):
            (run / f"seed{seed}_toy-{task}.json").write_text(text.replace("toy-0", f"toy-{task}"))
    size = sum(file.stat().st_size for file in run.iterdir())
    assert size > 45e6  # decoded by json, this takes six times as much
    for arguments in (["combine", str(run), "-o", str(zipped)], ["validate", str(zipped)]):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        code, peak = map(int, done.stdout.splitlines()[-1].split())
        assert code == 0 and peak < size, (arguments[0], peak, size)

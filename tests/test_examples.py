"""The files that CONTRIBUTING shows, used as a reader would: in a copy of the tree,
twice in a row, leaving it clean.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import pocket

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FOLDERS = (
    "configs",
    "datasets",
    "elevater_eval",
    "prompting",
    "scripts",
    "toolkit",
    "trainers",
    "tests",
)


def block(name):
    """Return the code of CONTRIBUTING whose first line is a comment that begins with
    `name`.
    """
    (found,) = re.findall(
        rf"```(?:python|yaml)\n(# {re.escape(name)}\b.*?)```", TEXT, re.S
    )
    return found


@pytest.fixture
def tree(tmp_path):
    """Return a copy of the tree."""
    copy = tmp_path / "tree"
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("train.py", "pyproject.toml"):
        shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.fixture
def run(tree, tmp_path):
    """Run a command, as one types it, in the copy."""

    def command(text):
        environment = os.environ | {
            "MVLPT_POCKET": str(pocket.home()),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        environment |= {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
        words = [sys.executable, *text.split()]
        done = subprocess.run(
            words,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    return command


def files(folder):
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def birds(tmp_path):
    """Return a data root with the folder that the example of a data set reads."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for k, name in enumerate(("cat", "dog")):
            folder = tmp_path / "data" / "birds" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 90, (20, 24, 3)) + [150 * k, 60, 0]
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "data"


@pytest.mark.long
def test_a_method_and_a_data_set_are_dropped_in(tree, run, birds, tmp_path):
    before = files(tree)
    (tree / "trainers" / "methods" / "shallow.py").write_text(
        block("trainers/methods/shallow.py")
    )
    (tree / "datasets" / "birds.py").write_text(block("datasets/birds.py"))
    out = tmp_path / "run"
    for _ in range(2):
        run(
            f"train.py --trainer ShallowVPT --root {birds} --dataset birds --shots 5 --output-dir {out} OPTIM.MAX_EPOCH 1"
        )
    assert (out / "predictions" / "seed0_birds.json").is_file()
    assert "TRAINER.SHALLOWVPT.N_CTX  8" in run(
        "train.py --trainer ShallowVPT --list-keys"
    )
    run(f"-m pytest -q tests/contracts --root {birds}")  # they find both
    assert files(tree) - before == {
        Path("trainers/methods/shallow.py"),
        Path("datasets/birds.py"),
    }


@pytest.mark.long
def test_a_method_outside_the_tree_and_its_grid(tree, run, tmp_path):
    before = files(tree)
    method, plan = tmp_path / "lowrank.py", tmp_path / "ranks.yaml"
    method.write_text(block("plugins/lowrank.py"))
    (tmp_path / "lowrank_prompt.py").write_text(block("plugins/lowrank_prompt.py"))
    plan.write_text(block("plugins/ranks.yaml"))
    out = tmp_path / "out"
    for _ in range(2):
        run(
            f"-m scripts.sweep {plan} --import {method} --jobs 2 --output-dir {out / 'sweep'}"
        )
    table = (out / "sweep" / "results.md").read_text()
    assert all(
        text in table
        for text in (
            "TRAINER.LOWRANK.RANK 1",
            "TRAINER.LOWRANK.RANK 2",
            "best by validation",
        )
    )
    small = tmp_path / "suite.yaml"
    small.write_text(
        "backbone: pocket\nsets: [pocket-breeds, pocket-dishes]\nlargest: pocket-breeds\nshifts: [pocket-objects-v2]\n"
        "seeds: [1]\nshots: [1]\noptions: {OPTIM.MAX_EPOCH: 1, TEST.FINAL_MODEL: last_step}\nmethods: {}\n"
    )
    for _ in range(2):
        command = f"-m scripts.protocols base2new --suite {small} --trainer LowRank --import {method} --jobs 2"
        run(f"{command} --output-dir {out / 'protocols'}")
    assert "LowRank H" in (out / "protocols" / "tables" / "base2new.md").read_text()
    base = f"train.py --import {method} --trainer LowRank --dataset pocket-memes"
    run(f"{base} --shots 1 --output-dir {out / 'run'} OPTIM.MAX_EPOCH 1")
    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32), "red").save(image)
    kinds = f"--import {tmp_path / 'lowrank_prompt.py'}"
    run(f"-m prompting predict {out / 'run'} {image} {kinds}")
    run(
        f"-m scripts.study table1 --import {method} --methods LowRank --dry-run --output-dir {out / 'study'}"
    )
    assert files(tree) == before

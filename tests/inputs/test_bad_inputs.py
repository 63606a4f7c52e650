"""Wrong input ends in one message and an exit code, whatever the command line, and
leaves everything as it was.
"""

import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_inputs import CASES, PAGE, Case, markdown
from PIL import Image

import train

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("cat", "dog")


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_world(folder: Path) -> None:
    """Write the files that the commands of the cases name: images, tables, a data root,
    two finished runs and a submission.
    """
    for split, count in (("train", 4), ("test", 2)):
        for k, name in enumerate(CLASSES):
            (folder / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                (folder / "photos" / split / name / f"{i}.png").write_bytes(
                    png(10 * k + i + count)
                )
    rows = [
        f"photos/{split}/{name}/{i}.png,{name},{split}"
        for split in ("train", "test")
        for name in CLASSES
        for i in (0, 1)
    ]
    (folder / "table.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    camelyon = folder / "data/classification/patch_camelyon_20211007"
    camelyon.mkdir(parents=True)
    for split in ("train", "test"):
        with zipfile.ZipFile(camelyon / f"{split}.zip", "w") as archive:
            for i in range(8):
                archive.writestr(f"{i}.png", png(i))
        (camelyon / f"{split}.txt").write_text(
            "".join(f"{split}.zip@{i}.png {i % 2}\n" for i in range(8))
        )
    (camelyon / "labels.txt").write_text(
        "lymph node\nlymph node containing metastatic tumor tissue\n"
    )
    pets = folder / "data/oxford_pets"
    (pets / "images").mkdir(parents=True)
    split = {}
    for part in ("train", "val", "test"):
        split[part] = [[f"{part}_{i}.png", i % 2, CLASSES[i % 2]] for i in range(6)]
        for i, (name, _, _) in enumerate(split[part]):
            (pets / "images" / name).write_bytes(png(i))
    (pets / "split_zhou_OxfordPets.json").write_text(json.dumps(split))
    write_submission(folder / "submission.zip")
    (folder / "text.txt").write_text("hello\n")
    (folder / "matrix.csv").write_text("source,a,b\na,1,2\nb,3,4\n")


def write_submission(path: Path) -> None:
    rows = [[0.25, 0.75] for _ in range(8)]
    record = {
        "model_name": "m",
        "dataset_name": "patch-camelyon",
        "num_trainable_params": 1,
        "num_params": 3,
    }
    record |= {
        "num_visual_params": 1,
        "num_backbone_params": 2,
        "n_shot": 5,
        "rnd_seeds": [0],
        "predictions": [rows],
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("all_predictions.json", json.dumps({"data": [record]}))


class Commands:
    """Runs command lines in this process."""

    def __init__(self, capsys, log_as_before):
        self._capsys, self._log_as_before = capsys, log_as_before

    def __call__(self, command: str) -> tuple[int, str, str]:
        """Return (exit code, standard output, standard error)."""
        words = shlex.split(command)
        main, words = entry(words)
        self._capsys.readouterr()
        with self._log_as_before():
            try:
                code = main(words)
            except SystemExit as stop:  # argparse's
                code = stop.code
        return code, *self._capsys.readouterr()


def entry(words: list[str]):
    """Return the function that `python <words>` calls, and its arguments."""
    if words[0] == "train.py":
        return train.main, words[1:]
    package = ROOT / words[1].replace(".", "/") / "__main__.py"
    module = importlib.import_module(
        words[1] + (".__main__" if package.is_file() else "")
    )
    return module.main, words[2:]


@pytest.fixture(scope="module")
def world(tmp_path_factory, log_as_before):
    """Yield the folder of which every case gets a copy, with short runs of CoOp in run/
    (5 vectors) and csc/ (class-specific).
    """
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    before = Path.cwd()
    os.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learn = "--trainer CoOp --dataset folder:photos --shots 2"
        short = "OPTIM.MAX_EPOCH 1 TRAINER.MVLPT.COOP.N_CTX 5"
        with log_as_before():
            assert train.main(shlex.split(f"{learn} --output-dir run {short}")) == 0
            assert (
                train.main(
                    shlex.split(
                        f"{learn} --output-dir csc {short} TRAINER.MVLPT.COOP.CSC True"
                    )
                )
                == 0
            )
    finally:
        os.chdir(before)
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def prepared(world, tmp_path, monkeypatch):
    """Return a function that makes the folder of a case, which becomes the working
    folder.
    """

    def make(case: Case) -> Path:
        folder = tmp_path / "here"
        shutil.copytree(world, folder)
        for name, content in case.files.items():
            path = folder / name
            if callable(content):
                content(path)
            elif content is None:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(
                    content if isinstance(content, bytes) else content.encode()
                )
        monkeypatch.chdir(folder)
        return folder

    return make


def state(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder, with the content of files."""
    paths = (path for path in folder.rglob("*") if path.name != "lock")
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in paths
    }


def message_of(out: str, err: str) -> str:
    """Return all text from "error: " on, in one line; progress bars are no message.

    Of `validate`, the first error that it lists.
    """
    text = re.sub(r"[^\n]*\r", "", err) if "error: " in err else out
    lines = [line for line in text.splitlines() if line.strip() and "%|" not in line]
    first = next((k for k, line in enumerate(lines) if "error: " in line), -1)
    return " ".join(lines[first : first + 1] if text is out else lines[first:])


def matches(message: str, expected: str) -> bool:
    return (
        re.fullmatch(".*".join(map(re.escape, expected.split("..."))), message)
        is not None
    )


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.command[:24]}: {case.wrong}" for case in CASES]
)
def test_wrong_input_ends_in_one_message_and_changes_nothing(
    case, prepared, capsys, log_as_before
):
    folder = prepared(case)
    before = state(folder)
    code, out, err = Commands(capsys, log_as_before)(case.command)
    message = message_of(out, err).replace(str(folder), "DIR")
    assert code == case.code
    assert matches(message, case.message), message
    assert "Traceback" not in out + err and len(message) < 600
    after = state(folder)
    if case.begun:
        new = {Path(name) for name in after.keys() - before.keys()}
        assert all(path.parts[0] == "output" for path in new)
        assert not {"results.json", "predictions", "prompts.safetensors"} & {
            path.name for path in new
        }
        after = {name: after[name] for name in before}
    assert after == before


@pytest.mark.parametrize(
    "wrong",
    [
        "an unknown trainer",
        "validate: what is no zip",
        "predict: an image that declares 60,000 x 60,000 pixels",
    ],
)
def test_a_process_says_the_same(wrong, prepared):
    case = next(case for case in CASES if case.wrong == wrong)
    folder = prepared(case)
    before = state(folder)
    program, *words = shlex.split(case.command)
    argv = [
        sys.executable,
        *([str(ROOT / program)] if program == "train.py" else [program]),
        *words,
    ]
    surroundings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        argv, env=surroundings, cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == case.code
    assert matches(
        message_of(done.stdout, done.stderr).replace(str(folder), "DIR"), case.message
    ), done.stderr
    assert state(folder) == before


def test_the_page_is_what_the_cases_say():
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "python tests/inputs/bad_inputs.py writes it again"
    )


def test_no_case_is_there_twice():
    assert len({(case.command, str(case.files)) for case in CASES}) == len(CASES) >= 40

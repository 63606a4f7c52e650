"""The whole path of a user, from a folder of photographs to a model in another program.

The photographs are those that scikit-learn and matplotlib ship.
"""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.fresh_environment import outside
from tests.prompting import service, service_page
from tests.scripts import headless_browser

pytestmark = pytest.mark.long
needs_browser = pytest.mark.skipif(
    not headless_browser.executable(), reason="no chromium or google-chrome on PATH"
)

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ["flower", "person", "temple"]
SIDE = 200  # pixels of a crop
LOAD = """
import json, sys
import prompting
prompts, *images = sys.argv[1:]
probabilities = prompting.load(prompts).probabilities(images)
print(json.dumps([prompting.__file__, probabilities.tolist()]))
"""
RUN_ONNX = """
import json, sys
import numpy, onnxruntime
import prompting
prompts, model, *images = sys.argv[1:]
predictor = prompting.load(prompts)
pixels = numpy.stack([predictor.prepare(image).numpy() for image in images])
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
(probabilities,) = session.run(None, {"images": pixels})
names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
print(json.dumps([names, probabilities.tolist()]))
"""


def photographs() -> dict[str, Image.Image]:
    """Return one photograph of each class."""
    with get_sample_data("grace_hopper.jpg") as file:
        person = Image.open(file).convert("RGB")
    return {
        "flower": Image.fromarray(load_sample_image("flower.jpg")),
        "person": person,
        "temple": Image.fromarray(load_sample_image("china.jpg")),
    }


def write_crops(photo: Image.Image, folder: Path) -> None:
    """Write 12 overlapping square crops of a photograph, as JPEG files."""
    folder.mkdir(parents=True)
    for number in range(12):
        left = (photo.width - SIDE) * (number % 4) // 3
        top = (photo.height - SIDE) * (number // 4) // 2
        crop = photo.crop((left, top, left + SIDE, top + SIDE))
        crop.save(folder / f"{number}.jpg")


def run(command: str, code: int = 0) -> subprocess.CompletedProcess:
    """Run a command as a user types it in the checkout, and check its exit code."""
    done = subprocess.run(
        [sys.executable, *shlex.split(command)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def by_class(predictions: list[dict]) -> list[float]:
    """Return the probabilities of one image in the order of CLASSES."""
    found = {row["class"]: row["probability"] for row in predictions}
    assert sorted(found) == CLASSES
    return [found[name] for name in CLASSES]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of crops, those of left halves for training and those of right
    halves for the test.
    """
    folder = tmp_path_factory.mktemp("data") / "photos"
    for name, photo in photographs().items():
        middle = photo.width // 2
        left = photo.crop((0, 0, middle, photo.height))
        right = photo.crop((middle, 0, photo.width, photo.height))
        write_crops(left, folder / "train" / name)
        write_crops(right, folder / "test" / name)
    return folder


@pytest.fixture(scope="module")
def out(photos, tmp_path_factory):
    """Return the folder of a run on them."""
    folder = tmp_path_factory.mktemp("run") / "out"
    command = f"train.py --trainer APT --dataset folder:{photos} --shots 5 --force"
    run(f"{command} --output-dir {folder}")
    return folder


@pytest.fixture(scope="module")
def report(out):
    """Return the report of the run, written by the command that the run logged."""
    log = (out / "log.txt").read_text(encoding="utf-8")
    (command,) = re.findall("look at it: python (.*)", log)
    done = run(command)
    assert "WARNING" not in done.stderr
    return out / "report.html"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return the whole photographs, in the order of CLASSES."""
    folder = tmp_path_factory.mktemp("new")
    paths = []
    for name, photo in photographs().items():
        paths.append(folder / f"{name}.jpg")
        photo.save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def broken(images):
    """Return a JPEG file beside them that is cut off after 200 bytes."""
    path = images[0].with_name("broken.jpg")
    path.write_bytes(images[0].read_bytes()[:200])
    return path


@pytest.fixture(scope="module")
def predicted(out, images, broken):
    """Return the images' probabilities and the error's text, as `predict` writes
    them.
    """
    command = f"-m prompting predict {out} {broken.parent} --json --device cpu"
    done = run(command, code=1)
    first, *others = json.loads(done.stdout)
    assert sorted(first) == ["error", "image"]
    assert first["image"] == str(broken)
    assert [other["image"] for other in others] == [str(path) for path in images]
    return [by_class(other["predictions"]) for other in others], done.stderr


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = headless_browser.Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def assert_same(probabilities, predicted) -> None:
    wanted, _ = predicted
    for row, expected in zip(probabilities, wanted, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def test_the_run_scores_photographs_that_it_has_not_seen(out):
    (result,) = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert result["task"] == "photos"
    assert (result["train_images"], result["test_images"]) == (15, 36)
    with open(out / "results" / "predictions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    hits = [row for row in rows if row["true"] == row["predicted"]]
    assert len(rows) == 36
    assert result["score"] == pytest.approx(100 * len(hits) / 36)
    assert result["score"] > result["zero_shot"] + 10


def test_the_report_names_classes_and_scores(out, report):
    (result,) = json.loads((out / "results.json").read_text(encoding="utf-8"))
    html = report.read_text(encoding="utf-8")
    assert 'id="task-photos"' in html
    assert f"{result['score']:.1f}" in html
    assert f"{result['zero_shot']:.1f}" in html
    assert all(name in html for name in CLASSES)


@needs_browser
def test_the_report_shows_the_mistakes_in_a_browser(out, report, browser):
    browser.open(report, 1280)
    assert browser.errors == []
    assert browser.evaluate("document.images.length") > 0
    assert browser.evaluate("[...document.images].every(e => e.naturalWidth > 0)")


def test_predict_reports_a_broken_file_and_goes_on(predicted):
    probabilities, errors = predicted
    assert "broken.jpg" in errors
    assert "1 of 4 images could not be read" in errors
    best = [CLASSES[row.index(max(row))] for row in probabilities]
    assert best == CLASSES


def test_the_service_and_its_page_answer_the_same(
    out, images, broken, predicted, request
):
    pytest.importorskip("fastapi")
    uploads = [(image.name, image.read_bytes()) for image in [*images, broken]]
    with service.in_process(out) as (port, _):
        status, answer = service.predict(port, uploads)
        assert status == 200
        *results, last = answer["results"]
        assert_same([by_class(row["predictions"]) for row in results], predicted)
        assert "cannot decode broken.jpg" in last["error"]
        assert service.predict(port, uploads[-1:])[0] == 415


@needs_browser
def test_a_photograph_dropped_on_the_page(out, images, predicted, browser):
    pytest.importorskip("fastapi")
    with service.in_process(out) as (port, _):
        browser.open(f"http://127.0.0.1:{port}/", 1280)
        service_page.drop(browser, images[1], "person.jpg")
        (shown,) = service_page.results(browser, 1, CLASSES)
        hint = browser.evaluate("document.getElementById('hint').textContent")
    assert "This prompt was trained for each of these classes" in hint
    assert shown["name"] == "person.jpg"
    wanted = dict(zip(CLASSES, predicted[0][1], strict=True))
    for name, percent in shown["classes"]:
        number = float(percent.removesuffix(" %"))
        assert number == pytest.approx(100 * wanted[name], abs=0.06)
    assert browser.errors == []


def test_the_installed_package_predicts_the_same(fresh, out, images, predicted):
    folder, _, programs = fresh
    python = programs / "python"
    module, loaded = json.loads(outside(folder, python, "-c", LOAD, out, *images))
    assert module.startswith(str(programs.parent))
    assert_same(loaded, predicted)


def test_the_exported_model_predicts_the_same(fresh, out, images, predicted, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder, _, programs = fresh
    python = programs / "python"
    model = tmp_path / "photos.onnx"
    outside(folder, python, "-m", "prompting", "export", out, model)
    program = [python, "-c", RUN_ONNX]
    names, exported = json.loads(outside(folder, *program, out, model, *images))
    assert names == CLASSES
    assert_same(exported, predicted)


def test_the_installed_command_checks_the_submission(fresh, out, tmp_path):
    folder, _, programs = fresh
    command = programs / "elevater-eval"
    submission = tmp_path / "submission.zip"
    outside(folder, command, "combine", out, "-o", submission)
    shown = outside(folder, command, "validate", submission)
    assert "photos" in shown
    assert "valid: 1 tasks, 0 errors" in shown

"""The whole path of a user, from a folder of photographs to a model in another program.

The photographs are those that scikit-learn and matplotlib ship.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.fresh_environment import outside
from tests.prompting import service
from tests.scripts import headless_browser

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ["flower", "person", "temple"]
LOADED = """
import json, sys
import prompting
prompts, *images = sys.argv[1:]
probabilities = prompting.load(prompts).probabilities(images)
print(json.dumps([prompting.__file__, probabilities.tolist()]))
"""
EXPORTED = """
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


def write_photos(folder: Path) -> None:
    """Write 12 overlapping crops of one photograph for each class, as JPEG files."""
    with get_sample_data("grace_hopper.jpg") as file:
        person = Image.open(file).convert("RGB")
    photos = {
        "flower": Image.fromarray(load_sample_image("flower.jpg")),
        "person": person,
        "temple": Image.fromarray(load_sample_image("china.jpg")),
    }
    for name, photo in photos.items():
        (folder / name).mkdir(parents=True)
        for number in range(12):
            left = 60 * (number % 4)
            top = 50 * (number // 4)
            crop = photo.crop((left, top, left + 320, top + 320))
            crop.save(folder / name / f"{number}.jpg")


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


def check_in_a_browser(report: Path, folder: Path) -> None:
    """Check that the report opens without errors and that its images are seen."""
    browser = headless_browser.Browser(folder)
    try:
        browser.open(report, 1280)
        assert browser.errors == []
        seen = "[...document.images].every(e => e.naturalWidth > 0)"
        assert browser.evaluate("document.images.length") > 0
        assert browser.evaluate(seen)
    finally:
        browser.close()


@pytest.mark.long
def test_from_photographs_to_a_model_in_another_program(fresh, tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_photos(photos)

    # train
    run(
        f"train.py --trainer CoOp --dataset folder:{photos} --shots 4"
        f" --force --output-dir {out} OPTIM.MAX_EPOCH 20"
    )
    (result,) = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert result["task"] == "photos"
    assert (out / "prompts.safetensors").is_file()

    # report
    run(f"-m scripts.report {out}")
    report = out / "report.html"
    html = report.read_text(encoding="utf-8")
    assert 'id="task-photos"' in html
    assert "zero-shot" in html
    assert all(name in html for name in CLASSES)
    if headless_browser.executable():
        check_in_a_browser(report, tmp_path / "profile")

    # predict, with a broken file among good ones
    new = tmp_path / "new"
    new.mkdir()
    for name in CLASSES:
        shutil.copyfile(photos / name / "5.jpg", new / f"{name}.jpg")
    content = (new / "flower.jpg").read_bytes()
    (new / "broken.jpg").write_bytes(content[:200])
    done = run(f"-m prompting predict {out} {new} --json --device cpu", code=1)
    assert "broken.jpg" in done.stderr
    records = json.loads(done.stdout)
    assert [Path(record["image"]).stem for record in records] == CLASSES
    best = [record["predictions"][0]["class"] for record in records]
    assert best == CLASSES
    wanted = [by_class(record["predictions"]) for record in records]

    # serve
    images = [new / f"{name}.jpg" for name in CLASSES]
    uploads = [(image.name, image.read_bytes()) for image in images]
    with service.in_process(out) as (port, _):
        status, answer = service.predict(port, uploads)
        again = service.predict(port, [("broken.jpg", content[:200])])[0]
    assert (status, again) == (200, 400)
    served = [by_class(row["predictions"]) for row in answer["results"]]
    for row, expected in zip(served, wanted, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)

    # load in an environment that has the wheel alone
    folder, _, programs = fresh
    python = programs / "python"
    module, loaded = json.loads(outside(folder, python, "-c", LOADED, out, *images))
    assert module.startswith(str(programs.parent))
    for row, expected in zip(loaded, wanted, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)

    # export there, and onnxruntime
    model = tmp_path / "photos.onnx"
    outside(folder, python, "-m", "prompting", "export", out, model)
    argv = [python, "-c", EXPORTED, out, model, *images]
    names, exported = json.loads(outside(folder, *argv))
    assert names == CLASSES
    for row, expected in zip(exported, wanted, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)

    # check the submission there
    outside(folder, programs / "elevater-eval", "validate", out / "submission.zip")

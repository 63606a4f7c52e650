"""The service's page in a real browser: real photographs are chosen and dropped, and
other classes typed in.
"""

import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from prompting import load
from tests.prompting import service
from tests.prompting.service import CLASSES
from tests.prompting.service_page import drop, results
from tests.scripts import headless_browser

pytest.importorskip("fastapi")
pytestmark = pytest.mark.skipif(
    not headless_browser.executable(), reason="no chromium or google-chrome on PATH"
)

from prompting.serve.app import build_app  # noqa: E402

PHOTOS = Path(find_spec("sklearn").origin).parent / "datasets" / "images"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(service.save_pocket_prompt(tmp_path_factory.mktemp("prompt")))


@pytest.fixture(scope="module")
def page(predictor):
    with service.in_thread(build_app(predictor)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = headless_browser.Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def expected(predictor, file: str, classes: list[str]) -> list[list[str]]:
    return [
        [name, f"{100 * p:.1f} %"]
        for name, p in predictor.predict(PHOTOS / file, classes)[0]
    ]


@pytest.mark.parametrize("width", [390, 1280])
def test_photographs_are_chosen_dropped_and_classified_again(
    page, browser, predictor, width
):
    browser.open(page, width)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    files = browser.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    paths = [str(PHOTOS / "china.jpg"), str(PHOTOS / "flower.jpg")]
    browser.call("DOM.setFileInputFiles", files=paths, nodeId=files)
    china, flower = results(browser, 2, CLASSES)
    assert (china["name"], flower["name"]) == ("china.jpg", "flower.jpg")
    assert china["classes"] == expected(predictor, "china.jpg", CLASSES)
    assert flower["classes"] == expected(predictor, "flower.jpg", CLASSES)
    texts = [float(text.split()[0]) for _, text in flower["classes"]]
    assert flower["widths"] == pytest.approx(texts, abs=0.06)
    assert browser.evaluate("document.getElementById('classes').value") == ", ".join(
        CLASSES
    )

    drop(browser, PHOTOS / "flower.jpg", "dropped.jpg")
    (dropped,) = results(browser, 1, CLASSES)
    assert dropped["name"] == "dropped.jpg" and dropped["classes"] == flower["classes"]

    typed = "const field = document.getElementById('classes'); field.value = 'flower\\nred house'"
    browser.evaluate(f"{typed}; field.dispatchEvent(new Event('change'))")
    (again,) = results(browser, 1, ["flower", "red house"])
    assert again["classes"] == expected(
        predictor, "flower.jpg", ["flower", "red house"]
    )
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.errors == []
    assert all(url.startswith((page, "blob:", "data:")) for url in browser.requests)


def test_errors_are_shown_as_text(page, browser, tmp_path):
    wrong = tmp_path / "<b>no<b>.png"
    wrong.write_text("hello")
    browser.open(page, 390)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    files = browser.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    browser.call("DOM.setFileInputFiles", files=[str(wrong)], nodeId=files)
    deadline = time.monotonic() + 60
    while "cannot decode" not in browser.evaluate(
        "document.getElementById('status').textContent"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "<b>no<b>.png" in browser.evaluate(
        "document.getElementById('status').textContent"
    )
    assert browser.evaluate("document.querySelectorAll('b').length") == 0

"""The report of a real run in a real browser: everything is there, nothing is wrong,
and nothing is too wide.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import headless_browser
import pytest

from scripts.report import __main__ as report

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("pocket-landuse", "pocket-scenes")
INKS = ("ink", "soft", "blue", "up", "down")
pytestmark = pytest.mark.skipif(
    not headless_browser.executable(), reason="no chromium or google-chrome on PATH"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the page of two targets from a source prompt, two epochs each, with a
    transfer matrix of 20 tasks.
    """
    folder = tmp_path_factory.mktemp("run")
    names = [f"task-{k}" for k in range(20)]
    rows = [
        ",".join([name, *(str(k + j) for j in range(20))])
        for k, name in enumerate(names)
    ]
    command = (
        f"{sys.executable} train.py --trainer MVPT --source pocket-tiles "
        f"--dataset {','.join(TASKS)} --shots 1 --output-dir {folder}/out "
        "OPTIM.MAX_EPOCH 2"
    )
    done = subprocess.run(
        shlex.split(command), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (folder / "out" / "transfer.csv").write_text(
        "\n".join([",".join(["source", *names]), *rows])
    )
    return report.write([folder / "out"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = headless_browser.Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(page, browser, width, dark):
    browser.open(page, width, dark=dark)
    assert browser.errors == []
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    heads = browser.evaluate(
        "[...document.querySelectorAll('h2')].map(e => e.textContent)"
    )
    assert {
        "Results",
        "Transfer",
        "Learning curves",
        "Tasks",
        "Source tasks",
        "How to reproduce",
    } <= set(heads)
    for task in TASKS:
        assert (
            browser.evaluate(
                f"document.getElementById('task-{task}').querySelector('h3').textContent"
            )
            == task
        )
        assert (
            browser.evaluate(
                f"document.querySelector('a[href=\"#task-{task}\"]').textContent"
            )
            == task
        )
    assert browser.evaluate(
        "[...document.images].every(e => e.naturalWidth > 0 && e.alt)"
    )
    assert browser.evaluate("document.images.length") > 20
    assert browser.evaluate("document.querySelectorAll('svg').length") >= 3


def test_mistakes_are_sorted_by_a_click(page, browser):
    browser.open(page, 390)
    mistakes = "document.querySelector('#task-pocket-landuse .mistakes')"
    in_reading_order = f"""[...{mistakes}.querySelectorAll('figure')]
        .sort((a, b) => a.offsetTop - b.offsetTop || a.offsetLeft - b.offsetLeft)
        .map(e => [...e.querySelectorAll('figcaption span')].map(line => line.textContent))"""
    confidences = [
        line[1].rsplit("(", 1)[1] for line in browser.evaluate(in_reading_order)
    ]
    assert len(confidences) > 5 and confidences == sorted(
        confidences, key=lambda text: -int(text.split()[0])
    )
    for order, line in (("true", 0), ("predicted", 1), ("file", 2)):
        browser.evaluate(f"{mistakes}.querySelector('[value={order}]').click()")
        found = [
            lines[line].rsplit(" (", 1)[0]
            for lines in browser.evaluate(in_reading_order)
        ]
        assert found == sorted(found) and len(set(found)) > 1


def test_classes_and_confusions_are_beside_zero_shot(page, browser):
    browser.open(page, 390)
    task = "document.getElementById('task-pocket-landuse')"
    heads = browser.evaluate(
        f"[...{task}.querySelectorAll('table')].map(e => e.rows[0].textContent)"
    )
    assert any("recall (%)zero-shot (%)" in head for head in heads)
    browser.evaluate(f"{task}.querySelectorAll('details').forEach(e => e.open = true)")
    counts = browser.evaluate(
        f"[...{task}.querySelectorAll('.confusion .heat')].map(e => Number(e.textContent))"
    )
    images = browser.evaluate(
        f"{task}.querySelector('.facts').textContent.match(/(\\d+) test images/)[1]"
    )
    assert sum(counts) == int(images)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_wide_tables_scroll_inside_themselves(page, browser):
    browser.open(page, 390)
    wide = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert browser.evaluate(f"{wide}.length") >= 2
    assert browser.evaluate(
        f"{wide}.every(e => getComputedStyle(e).overflowX == 'auto' && e.tabIndex == 0)"
    )


def test_text_has_contrast(page, browser):
    """Expect at least 4.5 : 1 between the colours of text and page, light and dark."""
    luminance = """(name => {
        const probe = document.createElement('i');
        probe.style.color = `var(${name})`;
        document.body.append(probe);
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
        const [r, g, b] = parts.map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    })"""
    for dark in (False, True):
        browser.open(page, 1280, dark=dark)
        value = {
            name: browser.evaluate(f"{luminance}('--{name}')")
            for name in ("paper", "wash", "band", *INKS)
        }
        pairs = [(ink, ground) for ink in INKS for ground in ("paper", "wash")] + [
            ("ink", "band")
        ]
        for ink, ground in pairs:
            low, high = sorted((value[ink], value[ground]))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground, dark)


def test_no_path_of_the_machine_is_on_the_page(page):
    text = page.read_text(encoding="utf-8")
    assert str(page.parent.parent) not in text and os.path.expanduser("~/") not in text

"""The service's page in a browser: drop an image, and read the results."""

import base64
import json
import time
from pathlib import Path

from tests.scripts.headless_browser import Browser

DROP = """(() => {
    const bytes = Uint8Array.from(atob(%s), c => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], %s, {type: "image/jpeg"}));
    const event = new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
    document.getElementById("drop").dispatchEvent(event);
})()"""
ROWS = """[...document.querySelectorAll("figure")].map(figure => ({
    name: figure.querySelector("figcaption div").textContent,
    seen: figure.querySelector("img").naturalWidth > 0,
    classes: [...figure.querySelectorAll(".class")].map(row => [...row.querySelectorAll("span")].map(e => e.textContent)),
    widths: [...figure.querySelectorAll(".class i")].map(bar => parseFloat(bar.style.width)),
}))"""


def drop(browser: Browser, image: Path, name: str) -> None:
    """Drop a JPEG file on the page, as a file called `name`."""
    content = base64.b64encode(image.read_bytes()).decode()
    browser.evaluate(DROP % (json.dumps(content), json.dumps(name)))


def results(browser: Browser, count: int, classes: list[str]) -> list[dict]:
    """Wait until the page shows `count` images with these classes; return for each its
    name, its (class, percent) texts, and the widths of their bars.

    Raises AssertionError after a minute.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = browser.evaluate(ROWS)
        if len(found) == count and all(_is_shown(one, classes) for one in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{found}, {browser.evaluate('document.body.innerText')}")


def _is_shown(result: dict, classes: list[str]) -> bool:
    names = [name for name, _ in result["classes"]]
    return result["seen"] and sorted(names) == sorted(classes)

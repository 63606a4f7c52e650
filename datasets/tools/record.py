"""The record that `prepare` leaves in a set's folder, `order.json`: its source, counts
and how it differs from the published set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from datasets.catalog.entries import Entry
from toolkit.common.structured import read_json, write_json

FILE = "order.json"
SAME = "same images and split"
OTHER_ORDER = "same images, other order"
OTHER_SPLIT = "another split"


@dataclass(frozen=True)
class Record:
    """The metadata of a prepared set."""

    source: str  # without a local path
    verdict: str  # `SAME`, `OTHER_ORDER` or `OTHER_SPLIT`, of the test images
    images: Mapping[str, int]  # split -> number of images
    note: str  # other differences in brackets, after a space, or ""


def write(
    folder: Path,
    entry: Entry,
    images: Mapping[str, int],
    verdict: str,
    source: str,
    note: str = "",
    revision: str = "",
) -> None:
    """Write the record into a set's folder.

    Args:
        verdict: if the number of test images is right; otherwise it is another split.
        note: other differences than numbers of images.
        revision: of the source on the Hub, or "".
    """
    differences = [note] if note else []
    for split, expected in entry.images.items():
        count = images.get(split, 0)
        if expected and count != expected:
            differences.append(f"{split}: {count:,} of {expected:,} images")
            if split == "test":
                verdict = OTHER_SPLIT
    content = {
        "order": "official" if verdict == SAME else "unofficial",
        "source": source,
        "verdict": verdict,
        "revision": revision,
        "images": images,
        "note": "; ".join(differences),
    }
    write_json(folder / FILE, content, indent=1)


def read(folder: Path) -> Record | None:
    """Return the record in a set's folder, if any; a damaged one is from elsewhere."""
    try:
        content = read_json(folder / FILE)
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {}
    verdict = content.get("verdict")
    if verdict not in (SAME, OTHER_ORDER, OTHER_SPLIT):
        verdict = OTHER_ORDER
    images = content.get("images")
    if not isinstance(images, dict):
        images = {}
    source = str(content.get("source") or "elsewhere")
    note = content.get("note")
    return Record(source, verdict, images, f" ({note})" if note else "")

"""One form for images that come packed: class names, and for each split a stream of
images with labels.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.files import decode_text, no_data_reason

NAMES_FILE = "classnames.txt"  # a class name a line, in label order
SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
)


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One image."""

    name: str  # a file name that no other image of the split has
    content: bytes  # of its file
    labels: tuple[int, ...]  # positions in the class list; () is a negative image
    where: str  # file and member or row, for messages


@dataclass(frozen=True)
class Collection:
    """Packed images of one data set."""

    classnames: list[str]  # in label order, as the source spells them
    names_from: str  # the file of the class names, for messages
    # split of this project (train, val, test) -> opens the stream of its images
    splits: Mapping[str, Callable[[], Iterator[PackedImage]]]
    multilabel: bool = False  # an image may have several labels, or none
    templates: tuple[str, ...] = ()  # the source's prompts, with {} for the class


def image_suffix(content: bytes, where: str) -> str:
    """Return "png", "jpg", ... by an image's first bytes, or raise ValueError."""
    for signature, suffix in SIGNATURES:
        if content.startswith(signature):
            return suffix
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[:4] in (b"II*\0", b"MM\0*"):
        return "tif"
    if content[:1] == b"P" and content[1:2].isdigit():
        return "ppm"
    if content[4:8] == b"ftyp":
        return "avif" if content[8:12] in (b"avif", b"avis") else "heic"
    reason = no_data_reason(content[:256])
    if reason:
        raise ValueError(f"{where} is {reason}")
    raise ValueError(f"{where} is no image: it begins with {content[:8]!r}")


def require_labels(
    labels: tuple[int, ...], classnames: list[str], where: str, names_from: str
) -> None:
    """Raise ValueError if a label has no class name."""
    for label in labels:
        if not 0 <= label < len(classnames):
            raise ValueError(
                f"{where}: label {label} is out of range: {names_from} has {len(classnames)} classes"
            )


def read_class_list(path: Path) -> list[str]:
    """Return the class names of a file; blank lines may end it. Raises ValueError if it
    is no text, names no class, or has other blank lines.
    """
    text = decode_text(path.read_bytes(), str(path))
    names = list(map(str.strip, text.rstrip().splitlines()))
    if not names:
        raise ValueError(f"{path} names no class")
    if "" in names:
        raise ValueError(
            f"{path}:{names.index('') + 1} is blank, but each line is a label: name the class, or delete the line"
        )
    return names

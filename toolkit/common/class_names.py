"""Class names as CLIP reads them."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable


def as_clip_reads(name: str) -> str:
    """Return a class name as CLIP's tokenizer sees it: lower case, single spaces,
    composed letters, no underscores.
    """
    text = html.unescape(html.unescape(name)).replace("_", " ")
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def require_distinct(names: Iterable[str], where: str) -> None:
    """Raise ValueError if two class names are the same text to CLIP, so that the second
    is never predicted.
    """
    first: dict[str, str] = {}
    for name in names:
        text = as_clip_reads(name)
        if text in first:
            other = first[text]
            raise ValueError(
                f"{where}: the classes {other!r} and {name!r} are the same text to CLIP; rename one of them"
            )
        first[text] = name

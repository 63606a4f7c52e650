"""Class names as CLIP reads them."""

import html
from collections.abc import Iterable

_WORDS = r"'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def as_clip_reads(name: str) -> str:
    """Return a class name as CLIP's tokenizer takes it apart: words, digits and marks,
    a space between. Case, spaces, underscores, ligatures, full-width letters, curly
    quotes and forms of accents make no difference; characters without a shape are left
    out.
    """
    import ftfy
    import regex

    text = regex.sub(r"\p{Cf}", "", name.replace("_", " "))
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(regex.findall(_WORDS, text.lower()))


def require_distinct(names: Iterable[str], where: str) -> None:
    """Raise ValueError if two class names are the same text to CLIP."""
    first: dict[str, str] = {}
    for name in names:
        text = as_clip_reads(name)
        if text in first:
            other = first[text]
            raise ValueError(
                f"{where}: the classes {other!r} and {name!r} are the same text to CLIP; rename one of them"
            )
        first[text] = name

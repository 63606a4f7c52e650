"""Generated parts of a Markdown page, between `<!-- marker:begin -->` and `<!--
marker:end -->`; text around them stays.
"""

from pathlib import Path

from toolkit.common.files import write_text


def replace(text: str, marker: str, content: str) -> str:
    """Return `text` with the marker's part replaced. Raise ValueError without one."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    if begin not in text or end not in text:
        raise ValueError(f"no markers {begin} and {end}")
    before = text.split(begin, 1)[0]
    after = text.split(end, 1)[1]
    return before + _part(marker, content) + after


def replace_or_append(text: str, marker: str, content: str) -> str:
    """Return `text` with the marker's part replaced, or appended if it has none."""
    try:
        return replace(text, marker, content)
    except ValueError:
        return f"{text.rstrip()}\n\n{_part(marker, content)}\n"


def fill(page: Path, marker: str, content: str) -> None:
    """Replace the marker's part of a file. Raise ValueError naming it without one."""
    try:
        write_text(page, replace(page.read_text(encoding="utf-8"), marker, content))
    except ValueError as error:
        raise ValueError(f"{page.name} has {error}") from None


def _part(marker: str, content: str) -> str:
    return f"<!-- {marker}:begin -->\n{content.strip()}\n<!-- {marker}:end -->"

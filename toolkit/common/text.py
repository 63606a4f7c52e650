"""Text from files in messages: without characters that steer a terminal, and of bounded length."""

from __future__ import annotations

LONGEST = 2000  # characters of a message
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets begin one with


def printable(text: object, longest: int = LONGEST, lines: bool = False) -> str:
    """Return text with control characters escaped ("\\x1b") and its middle left out if it is longer than `longest`.

    Args:
        lines: keep line breaks. Without them, text from a file cannot look like a message of its own.
    """
    text = str(text)
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]} ... {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(_escaped(character, lines) for character in text)


def _escaped(character: str, lines: bool) -> str:
    if character.isprintable() or (lines and character == "\n"):
        return character
    return character.encode("unicode_escape").decode("ascii")


def spreadsheet_text(text: str) -> str:
    """Return text for a cell of a CSV file: a quote before what a spreadsheet would take for a formula."""
    if text.startswith(FORMULA):
        return f"'{text}"
    return text

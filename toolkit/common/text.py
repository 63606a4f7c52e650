"""Text from files in messages: without characters that steer a terminal, and of bounded
length.
"""

from __future__ import annotations

import copy
import csv
import io
import logging
import os
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

from toolkit.common import encoding

LONGEST = 2000  # characters of a message
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # controls, halves of pairs, line breaks
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # begin formulas in spreadsheets


def printable(text: object, longest: int = LONGEST, lines: bool = False) -> str:
    r"""Return text with control characters escaped ("\x1b") and its middle left out if
    it is longer than `longest`.

    Args:
        lines: keep line breaks and tabs. Without them, text from a file cannot look
            like another message.
    """
    text = str(text)
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]} ... {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(_escaped(character, lines) for character in text)


def error_message(error: object) -> str:
    """Return the message of a command line about an error, without a line break at its
    end.

    Lines after the first are indented: a file's name cannot begin another message.
    """
    message = printable(error, lines=True).strip().replace("\n", "\n  ")
    return f"error: {message}{encoding.hint(str(error))}"


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line, or the name of its type."""
    return " ".join(str(error).split()) or type(error).__name__


def _escaped(character: str, lines: bool) -> str:
    if character.isprintable() or (lines and character in "\n\t"):
        return character
    return character.encode("unicode_escape").decode("ascii")


def counted(number: object, noun: str) -> str:
    """Return "1 shot", "5 shots": a number with its noun."""
    ending = "" if str(number) == "1" else "s"
    return f"{number} {noun}{ending}"


def require_printable(text: str, where: str) -> None:
    """Raise ValueError if a name or path steers terminals, breaks lines, or is no text
    (half of a surrogate pair).
    """
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in text):
        raise ValueError(f"{where}: {text!r} holds a control character")


def spreadsheet_text(text: str) -> str:
    """Return text for a cell of a CSV file: a quote precedes text that a spreadsheet
    would read as a formula.
    """
    if text.startswith(FORMULA):
        return f"'{text}"
    return text


def csv_text(rows: Iterable[Sequence]) -> str:
    """Return rows, the header first, as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def markdown_table(rows: Iterable[Sequence[object]], alignment: str) -> str:
    """Return rows, the header first, as a Markdown table.

    alignment: "l" or "r" for each column.
    """
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    marks = {"l": "---|", "r": "---:|"}
    lines.insert(1, "|" + "".join(marks[letter] for letter in alignment))
    return "\n".join(lines) + "\n"


def shortened(text: str, columns: int) -> str:
    """Return text that takes at most so many columns of a terminal; "…" stands for a
    left-out end.
    """
    taken, kept = 0, 0
    for position, character in enumerate(text):
        taken += _columns(character)
        if taken < columns:
            kept = position + 1
    if taken <= columns:
        return text
    return text[:kept] + "…"


def _columns(character: str) -> int:
    """Return the columns that a terminal gives a character."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class PrintableFormatter(logging.Formatter):
    """Formats messages so that text from a file does not steer the terminal, nor looks
    like a message: line breaks of arguments are escaped, those of the message's form
    kept. Each line is of bounded length.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        record = copy.copy(record)
        if isinstance(record.args, tuple):
            record.args = tuple(_printable_argument(value) for value in record.args)
        lines = super().format(record).split("\n")
        return "\n".join(printable(line, lines=True) for line in lines)


def _printable_argument(value: object) -> object:
    """Return an argument of a message; numbers are left for %d and %f."""
    if isinstance(value, str | os.PathLike | BaseException):
        return printable(value)
    return value


def log_lines(logger: logging.Logger, text: str, level: int = logging.INFO) -> None:
    """Log each line of a text, such as a table."""
    for line in text.splitlines():
        logger.log(level, "%s", line)


def start_log(
    level: int = logging.INFO, stream: TextIO | None = None, form: str = "%(message)s"
) -> None:
    """Log messages of a level and above to a stream, standard error by default, unless
    a log is set up already.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])

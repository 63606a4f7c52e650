"""Text from files in messages: it steers no terminal, and its length is bounded."""

import contextlib
import copy
import csv
import io
import logging
import os
import sys
import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, TextIO

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
    end. Lines after the first are indented: a file's name cannot begin another message.
    """
    message = printable(error, lines=True).strip().replace("\n", "\n  ")
    return f"error: {message}{hint(str(error))}"


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line, or the name of its type."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the beginning of an error's message: up to 200 characters of a line."""
    return str(error).strip().partition("\n")[0][:200]


@contextlib.contextmanager
def naming(source: object) -> Iterator[None]:
    """Begin the message of a ValueError in the block with the name of its source."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def some(names: Sequence[str], most: int = 5) -> str:
    """Return up to `most` of the names, and how many more there are, or "none"."""
    shown = ", ".join(names[:most]) or "none"
    if len(names) > most:
        shown += f" and {len(names) - most} more"
    return shown


def _escaped(character: str, lines: bool) -> str:
    if character.isprintable() or (lines and character in "\n\t"):
        return character
    return character.encode("unicode_escape").decode("ascii")


def nonblank_lines(text: str) -> list[str]:
    """Return the lines that are not blank, without white space around them."""
    return list(filter(None, map(str.strip, text.split("\n"))))


def counted(number: object, noun: str) -> str:
    """Return "1 shot", "5 shots": a number with its noun."""
    ending = "" if str(number) == "1" else "s"
    return f"{number} {noun}{ending}"


def require_printable(text: str, where: str) -> None:
    """Raise ValueError if a name holds control characters or half a surrogate pair."""
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in text):
        raise ValueError(f"{where}: {text!r} holds a control character")


def spreadsheet_text(cell: Any) -> Any:
    """Return a cell of a CSV file: a quote precedes text that is a formula."""
    if isinstance(cell, str) and cell.startswith(FORMULA):
        return f"'{cell}"
    return cell


def csv_text(rows: Iterable[Iterable]) -> str:
    """Return rows, the header first, as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def markdown_table(rows: Iterable[Sequence[object]], alignment: str) -> str:
    """Return rows, the header first, as a Markdown table. alignment: "l" or "r" for
    each column.
    """
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    marks = {"l": "---|", "r": "---:|"}
    lines.insert(1, "|" + "".join(marks[letter] for letter in alignment))
    return "\n".join(lines) + "\n"


def aligned_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Container[int]
) -> str:
    """Return lines of equal columns; numbers: those that are aligned to the right."""
    lines = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    forms = []
    for column, width in enumerate(widths):
        side = ">" if column in numbers else "<"
        forms.append(f"{{:{side}{width}}}")
    form = "  ".join(forms)
    return "\n".join(form.format(*line).rstrip() for line in lines)


def shortened(text: str, columns: int) -> str:
    """Return text cut to so many columns of a terminal; "…" stands for the rest."""
    taken, kept = 0, 0
    for position, character in enumerate(text):
        taken += _columns(character)
        if taken < columns:
            kept = position + 1
    if taken <= columns:
        return text
    return text[:kept] + "…"


def _columns(character: str) -> int:
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
    """Log to a stream, by default standard error, unless a log is set up already."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])


# -- names when Python does not read them as UTF-8: in a Latin-1 locale without PYTHONUTF8=1 --------------------------


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise ValueError if a command line has letters that were not understood: a class
    name would be another text. Paths of files that are there work all the same.
    """
    if _is_utf8():
        return
    for argument in arguments:
        if not is_text(argument) and not os.path.lexists(argument):
            raise ValueError(
                f"{argument!r} is not what was typed: Python reads the command line as "
                f"{sys.getfilesystemencoding()} here; set PYTHONUTF8=1"
            )


def is_text(name: str) -> bool:
    """Return False if a name of a file has bytes that were not understood."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def require_text(name: str, where: str | os.PathLike) -> None:
    """Raise ValueError if a name of a file has bytes that were not understood."""
    if is_text(name):
        return
    encoding, advice = "UTF-8", "rename it"
    if not _is_utf8():
        encoding, advice = sys.getfilesystemencoding(), "set PYTHONUTF8=1"
    raise ValueError(
        f"{where}: the name {os.fsencode(name)!r} is not {encoding}; {advice}"
    )


def hint(message: str) -> str:
    """Return a note for an error that may be about such a name, else ""."""
    if _is_utf8() or (message.isascii() and "codec can't encode" not in message):
        return ""
    encoding = sys.getfilesystemencoding()
    return f" (names of files are {encoding} here; PYTHONUTF8=1 makes them UTF-8)"


def _is_utf8() -> bool:
    return sys.getfilesystemencoding() == "utf-8"

"""Text from files in messages."""

import io
import logging
from pathlib import Path

import pytest

from toolkit.common.text import (
    PrintableFormatter,
    error_message,
    log_lines,
    printable,
    shortened,
)


def test_plain_text_is_unchanged():
    assert printable("no file a.jpg") == "no file a.jpg"
    assert printable("größer 図") == "größer 図"
    assert printable(ValueError("x")) == "x"


def test_characters_that_steer_a_terminal_are_escaped():
    assert printable("\x1b[31mred\x07") == r"\x1b[31mred\x07"
    assert printable("a\nerror: b") == r"a\nerror: b"
    assert printable("a\nb\r", lines=True) == "a\nb\\r"
    assert printable("\u202eright") == r"\u202eright"


def test_long_text_loses_its_middle():
    text = printable("a" * 1_000_000 + "z", longest=20)
    assert text == "a" * 10 + " ... " + "a" * 9 + "z"


def test_a_log_does_not_steer_the_terminal():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s: %(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    log.warning("%s: no label", "a\x1b[2Jb\r\x9b.png")
    log.info("| task\tscore |\n| %s |", "größer")
    log.error("%s", "x" * 1_000_000)
    first, second, third, last = stream.getvalue().splitlines()
    assert first == r"WARNING: a\x1b[2Jb\r\x9b.png: no label"
    assert (second, third) == ("INFO: | task\tscore |", "| größer |")
    assert last.startswith("ERROR: xxx") and len(last) < 2100


def logged(log_messages) -> list[str]:
    """Return the lines that a function logs."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    log = logging.Logger("test")
    log.addHandler(handler)
    log_messages(log)
    return stream.getvalue().split("\n")[:-1]


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("bird\nresults: 99.9", r"bird\nresults: 99.9"),
        (Path("a\n| task | 99.9 |"), r"a\n| task | 99.9 |"),
        (ValueError("no x\nerror: y"), r"no x\nerror: y"),
        (OSError(2, "no file", "a\r\nb"), "[Errno 2] no file: 'a\\r\\nb'"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
    ],
)
def test_a_line_break_in_a_name_is_none_of_the_log(argument, shown):
    def messages(log):
        log.info("%s: damaged", argument)
        log.warning("%d of %.1f: %s", 3, 2.5, argument)

    assert logged(messages) == [f"{shown}: damaged", f"3 of 2.5: {shown}"]


def test_lines_of_a_message_and_of_a_table_are_kept():
    def messages(log):
        log.info("two\nlines of %s", "a\nb")
        log_lines(log, "| task |\n|------|\n| \x1b[0m |")
        log.info("%(name)s", {"name": "digits"})
        log.info("100 % of 3")

    assert logged(messages) == [
        "two", r"lines of a\nb", "| task |", "|------|", r"| \x1b[0m |", "digits", "100 % of 3",
    ]  # fmt: skip


def test_an_error_keeps_its_traceback():
    def messages(log):
        try:
            raise ValueError("a\nb")
        except ValueError:
            log.exception("failed: %s", "x\ny")

    lines = logged(messages)
    assert lines[0] == r"failed: x\ny" and lines[1].startswith("Traceback")


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("digits", 6, "digits"),
        ("digits", 5, "digi…"),
        ("鳥の写真", 8, "鳥の写真"),
        ("鳥の写真", 7, "鳥の写…"),
        ("鳥の写真", 6, "鳥の…"),
        ("a鳥", 2, "a…"),
        ("Vo\u0308gel", 5, "Vo\u0308gel"),
        ("Vo\u0308gel", 4, "Vo\u0308g…"),
        ("", 5, ""),
        ("鳥", 1, "…"),
    ],
)
def test_text_is_shortened_to_the_columns_that_it_takes(text, columns, shown):
    assert shortened(text, columns) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no file a", "error: no file a"),
        ("no file a\nerror: b.png", "error: no file a\n  error: b.png"),
        ("x\n\nwarning: \x1b[31m", "error: x\n  \n  warning: \\x1b[31m"),
        (
            "cannot decode a\rerror: b\u2028c",
            "error: cannot decode a\\rerror: b\\u2028c",
        ),
    ],
)
def test_a_name_cannot_begin_a_message_of_its_own(text, message):
    assert error_message(ValueError(text)) == message

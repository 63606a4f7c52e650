"""Text from files in messages."""

import io
import logging

import pytest

from toolkit.common.text import PrintableFormatter, error_message, printable


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

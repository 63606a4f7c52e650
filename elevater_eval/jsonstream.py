"""Strict JSON read from a stream piece by piece: a long document never exists as one text or one tree of objects."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

BLOCK = 1 << 20  # bytes read at once
MARGIN = 32  # characters that must follow a value before it is known to end where it seems to
SPACE = re.compile(r"[ \t\r\n]*")
LONGEST = 1 << 26  # characters of a value that is decoded whole
MOST_KEYS, MOST_ELEMENTS = 1_000, 10_000  # of an object and a list that are walked through
CLOSED_TWICE = re.compile(r"\][ \t\r\n]*\]")

T = TypeVar("T")


class JSONError(ValueError):
    """The text is not JSON; the message says what is wrong, and at which character."""


class Reader:
    """A cursor in JSON text. Whoever reads decides what is decoded whole (``value``) and what is walked through.

    What ``json`` accepts beyond the standard is kept apart as faults: NaN and infinities, which become floats so
    that their place can be named, and keys that occur more than once in an object.
    """

    def __init__(self, stream: BinaryIO, block: int = BLOCK) -> None:
        self._stream, self._block = stream, block
        self._utf8 = codecs.getincrementaldecoder("utf-8")("strict")
        self._json = json.JSONDecoder(parse_constant=self._constant, object_pairs_hook=self._unique)
        self._text, self._at = "", 0  # what is buffered, and the place in it
        self._passed = 0  # characters before the buffer
        self._singly_until = 0  # up to this character, elements of a list are decoded one by one
        self._ended = False
        self._faults: set[str] = set()

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the text."""
        while True:
            self._at = SPACE.match(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """Decode the next value whole."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated") or error.pos > len(self._text) - MARGIN
                if not (unfinished and self._more()):
                    raise self._error(error.msg, error.pos) from None
            except RecursionError:
                raise self._error("nested too deeply", self._at) from None
            except ValueError as error:  # an integer of thousands of digits
                raise self._error(str(error), self._at) from None
            else:
                if end <= len(self._text) - MARGIN or not self._more():
                    self._at = end
                    return value

    def members(self) -> Iterator[str]:
        """The keys of the next object, in turn; the value of each must be read before the next key is asked for."""
        self._take("{")
        seen = set()
        if self.peek() == "}":
            self._take("}")
            return
        while True:
            if self.peek() != '"':
                self._take('"')
            key = self.value()
            self._take(":")
            if len(seen) > MOST_KEYS:
                raise self._error(f"an object has more than {MOST_KEYS:,} keys", self._at)
            if key in seen:
                self._faults.add(f"key {key!r} occurs more than once in an object")
            seen.add(key)
            yield key
            if self._take(",}") == "}":
                return

    def elements(self) -> Iterator[int]:
        """The positions 0, 1, ... of the next list; the element at each must be read before the next is asked for."""
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        position = 0
        while True:
            yield position
            position += 1
            if self._take(",]") == "]":
                return
            if position > MOST_ELEMENTS:
                raise self._error(f"a list has more than {MOST_ELEMENTS:,} elements", self._at)

    def lists(self, parse: Callable[[str], T | None]) -> Iterator[T | list[Any]]:
        """The elements of a list of lists, many at a time.

        ``parse`` gets the text of one or several elements with commas between them, and may return None; then, or where
        it is not called, elements come decoded, in a list.
        """
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            text = self._whole_lists() if self.peek() == "[" else ""
            block = parse(text) if text else None
            if block is None:
                block = self._decoded(text) if text else [self.value()]
            if block is not None:
                yield block
                if self._take(",]") == "]":
                    return

    def end(self) -> None:
        """Nothing but white space may follow."""
        if self.peek():
            raise self._error("extra data", self._at)

    def take_faults(self) -> list[str]:
        """The faults found since the last call, sorted."""
        faults = sorted(self._faults)
        self._faults.clear()
        return faults

    def _whole_lists(self) -> str:
        """Pass over the text up to the end of the list of lists, or to the last closing bracket in the buffer."""
        if self._passed + self._at < self._singly_until:
            return ""
        if len(self._text) - self._at < self._block // 2:
            self._more()
        end = CLOSED_TWICE.search(self._text, self._at)
        cut = end.start() + 1 if end else self._text.rfind("]", self._at) + 1
        start, self._at = self._at, max(cut, self._at)
        return self._text[start : self._at]

    def _decoded(self, text: str) -> list[Any] | None:
        """The lists of a text just passed over. Is it cut in a string or a nested list, or damaged: None, and back."""
        try:
            return self._json.decode(f"[{text}]")
        except (ValueError, RecursionError):
            self._singly_until = self._passed + self._at
            self._at -= len(text)
            return None

    def _take(self, expected: str) -> str:
        found = self.peek()
        if not found or found not in expected:
            wanted = " or ".join(map(repr, expected))
            raise self._error(f"{wanted} expected, " + (f"got {found!r}" if found else "the text ends"), self._at)
        self._at += 1
        return found

    def _more(self) -> bool:
        """Drop what is read from the buffer and add to the rest; False where the text has ended."""
        if self._ended:
            return False
        if len(self._text) - self._at > LONGEST:
            raise self._error(f"a value is longer than {LONGEST:,} characters", self._at)
        block = self._stream.read(max(self._block, len(self._text) - self._at))
        self._ended = not block
        try:
            text = self._utf8.decode(block, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._error(f"not UTF-8 text: {error.reason}", len(self._text)) from None
        if text.startswith("\ufeff") and not self._passed and not self._text:
            raise self._error("a byte order mark", 0)
        if not self._ended:
            self._passed += self._at
            self._text, self._at = self._text[self._at :] + text, 0
        return not self._ended

    def _error(self, message: str, place: int) -> JSONError:
        return JSONError(f"{message} at character {self._passed + place}")

    def _constant(self, token: str) -> float:
        self._faults.add(f"the token {token} is not JSON")
        return float(token.replace("Infinity", "inf"))

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for key, value in pairs:
            if key in record:
                self._faults.add(f"key {key!r} occurs more than once in an object")
            record[key] = value
        return record

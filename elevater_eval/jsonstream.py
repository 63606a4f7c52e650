"""Strict JSON read from a stream piece by piece: a long document never exists as one
text or one tree of objects.
"""

import codecs
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

from toolkit.common.text import printable

BLOCK = 1 << 20  # bytes read at once
MARGIN = 32  # characters that must follow a value before it is known to end there
LONGEST = 1 << 26  # characters of a value that is decoded whole
# of an object and a list that are walked through
MOST_KEYS, MOST_ELEMENTS = 1_000, 10_000
SPACE = re.compile(r"[ \t\r\n]*")


class JSONError(ValueError):
    """The text is not JSON; the message names the character."""


class Reader:
    """A cursor in JSON text; values are decoded whole (`value`) or walked through. Text
    that `json` accepts beyond the standard is kept as faults: NaN and infinities, which
    become floats, and keys that occur more than once in an object.
    """

    def __init__(self, stream: IO[bytes], block: int = BLOCK) -> None:
        self._stream = stream
        self._block = block
        self._utf8 = codecs.getincrementaldecoder("utf-8")("strict")
        self._json = json.JSONDecoder(
            parse_constant=self._constant, object_pairs_hook=self._unique
        )
        self._text = ""  # the buffer
        self._at = 0  # position in the buffer
        self._passed = 0  # characters before the buffer
        self._ended = False
        self._faults: set[str] = set()

    def peek(self) -> str:
        """Return the next character that is not white space, "" at the end of the text."""
        while True:
            space = SPACE.match(self._text, self._at)
            if space:
                self._at = space.end()
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
                is_near_end = error.pos > len(self._text) - MARGIN
                unfinished = is_near_end or error.msg.startswith("Unterminated")
                if not unfinished or not self._more():
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
        """Yield the next object's keys; read each value before the next key."""
        seen: set[str] = set()
        for _ in self._items("{}"):
            if self.peek() != '"':
                self._take('"')
            key = self.value()
            self._take(":")
            if len(seen) > MOST_KEYS:
                message = f"an object has more than {MOST_KEYS:,} keys"
                raise self._error(message, self._at)
            if key in seen:
                self._add_repeated(key)
            seen.add(key)
            yield key

    def elements(self, most: float = MOST_ELEMENTS) -> Iterator[int]:
        """Yield the next list's positions; read each element before the next."""
        for position in self._items("[]"):
            if position > most:
                raise self._error(f"a list has more than {most:,} elements", self._at)
            yield position

    def end(self) -> None:
        """Raise JSONError if anything but white space follows."""
        if self.peek():
            raise self._error("extra data", self._at)

    def take_faults(self) -> list[str]:
        """Return the faults found since the last call, sorted."""
        faults = sorted(self._faults)
        self._faults.clear()
        return faults

    def _items(self, brackets: str) -> Iterator[int]:
        """Yield the positions of what is between brackets and commas."""
        self._take(brackets[0])
        if self.peek() == brackets[1]:
            self._at += 1
            return
        for position in itertools.count():
            yield position
            if self._take("," + brackets[1]) == brackets[1]:
                return

    def _take(self, expected: str) -> str:
        found = self.peek()
        if not found or found not in expected:
            wanted = " or ".join(map(repr, expected))
            got = f"got {found!r}" if found else "the text ends"
            raise self._error(f"{wanted} expected, {got}", self._at)
        self._at += 1
        return found

    def _more(self) -> bool:
        """Drop the read part of the buffer and read on; return False at the end."""
        if self._ended:
            return False
        if len(self._text) - self._at > LONGEST:
            message = f"a value is longer than {LONGEST:,} characters"
            raise self._error(message, self._at)
        rest = len(self._text) - self._at
        block = self._stream.read(max(self._block, rest))
        self._ended = not block
        try:
            text = self._utf8.decode(block, final=self._ended)
        except UnicodeDecodeError as error:
            message = f"not UTF-8 text: {error.reason}"
            raise self._error(message, len(self._text)) from None
        if text.startswith("\ufeff") and not self._passed and not self._text:
            raise self._error("a byte order mark", 0)
        if not self._ended:
            self._passed += self._at
            self._text = self._text[self._at :] + text
            self._at = 0
        return not self._ended

    def _error(self, message: str, position: int) -> JSONError:
        return JSONError(f"{message} at character {self._passed + position}")

    def _constant(self, token: str) -> float:
        self._faults.add(f"the token {token} is not JSON")
        return float(token.replace("Infinity", "inf"))

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict:
        record = dict(pairs)
        if len(record) < len(pairs):
            for key, count in Counter(key for key, _ in pairs).items():
                if count > 1:
                    self._add_repeated(key)
        return record

    def _add_repeated(self, key: str) -> None:
        self._faults.add(
            f"key {printable(repr(key), 100)} occurs more than once in an object"
        )

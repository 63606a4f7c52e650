"""A check of pickles before they are loaded: a few bytes can ask for hours.

Hashing a tuple visits all that it holds, and a tuple that holds another one twice
visits it twice: 30 such levels are 2^30 visits. The check follows the pickle's stack
without making an object of it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_DEPTH = 1000  # tuples in tuples: one is hashed within the other, on the stack
MAX_VISITS = 1 << 25  # if each value is hashed or copied at each of its uses
MAX_MEMO = 2_000_000
WORD = 16  # bytes of a text or number that count as one visit

_FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")
_EMPTY = ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


@dataclass(slots=True)
class _Value:
    """A value on the stack."""

    visits: int = 1  # the values that hashing or copying it visits
    is_simple: bool = False  # it is made of text, numbers, classes and tuples alone
    depth: int = 0  # of tuples in tuples
    items: Sequence[_Value] = ()  # of a tuple


def check_pickle(file: BinaryIO) -> None:
    """Raise ValueError if loading the pickle at the file's position would exhaust the
    stack, the memory or the time, or if a persistent id is not made of simple values.

    The position is then after the pickle.
    """
    machine = _Machine()
    try:
        for operation, argument, _ in pickletools.genops(file):
            machine.step(operation, argument)
    except LookupError:
        raise ValueError("its pickle is damaged") from None


class _Machine:
    """The stack and the memo of a pickle; None on the stack is a mark."""

    def __init__(self) -> None:
        self.stack: list[_Value | None] = []
        self.memo: dict[int, _Value | None] = {}
        self.visits = 0

    def step(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do an operation. Raise ValueError if too large, LookupError if damaged."""
        name = operation.name
        if name == "MARK":
            self.stack.append(None)
        elif name == "DUP":
            self._push(self.stack[-1])
        elif name in _PUTS:
            self._remember(argument)
        elif name == "MEMOIZE":
            self._remember(len(self.memo))
        elif name in _GETS:
            self._push(self.memo[argument])
        else:
            values = self._pop(operation.stack_before)
            if operation.stack_after:
                self._push(self._result(operation, argument, values))

    def _remember(self, key: int) -> None:
        self._require(key <= MAX_MEMO)
        self.memo[key] = self.stack[-1]

    def _push(self, value: _Value | None) -> None:
        if value is not None:
            self._visit(value)
        self.stack.append(value)

    def _visit(self, value: _Value) -> None:
        self.visits += value.visits
        self._require(self.visits <= MAX_VISITS and value.depth <= MAX_DEPTH)

    @staticmethod
    def _require(is_small: bool) -> None:
        if not is_small:
            raise ValueError("its pickle is far too large for a checkpoint's")

    def _pop(self, before: Sequence[pickletools.StackObject]) -> list[_Value]:
        """Return the values that an operation takes, the lowest first, without marks."""
        values = []
        if pickletools.stackslice in before:
            while (value := self.stack.pop()) is not None:
                values.append(value)
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            value = self.stack.pop()
            if value is not None:
                values.append(value)
        values.reverse()
        return values

    def _result(
        self, operation: pickletools.OpcodeInfo, argument: Any, values: list[_Value]
    ) -> _Value:
        """Return the value that an operation makes of those that it takes."""
        name = operation.name
        if name in _TUPLES:
            return _tuple(values)
        if name in _FILLS:
            filled = values[0]
            if name != "BUILD":  # which gives no state to what is loaded here
                filled.visits += sum(value.visits for value in values[1:])
            self.visits -= filled.visits  # it stays where it is
            return filled
        if name == "BINPERSID" and not values[0].is_simple:
            raise ValueError("it refers to something that is no tensor")
        if name == "REDUCE":
            for item in values[1].items:  # some are filled after the tuple is made
                self._visit(item)
        if operation.stack_before or name in _EMPTY:
            return _Value(is_simple=name == "STACK_GLOBAL")
        return _Value(1 + _bytes(argument) // WORD, is_simple=True)


def _tuple(items: list[_Value]) -> _Value:
    return _Value(
        visits=1 + sum(item.visits for item in items),
        is_simple=all(item.is_simple for item in items),
        depth=1 + max((item.depth for item in items), default=0),
        items=items,
    )


def _bytes(argument: Any) -> int:
    """Return the size of a text or number in bytes."""
    if isinstance(argument, int):
        return argument.bit_length() // 8
    return len(argument) if isinstance(argument, str | bytes) else 0
